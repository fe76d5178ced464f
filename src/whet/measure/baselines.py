"""What a fine-tuned model must beat to be worth its trouble: the majority, and words counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whet.errors import DataError, Problem
from whet.measure.inputs import FloatArray, IntArray, check_targets
from whet.measure.metrics import nll

# Texts and the label position of each.
LabelledTexts = tuple[Sequence[str], ArrayLike]
GRID = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# At most this many weights each for words and for characters: L-BFGS keeps 25 copies. Two labels are not limited in practice.
WEIGHTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a baseline says of the texts: probabilities (N, C) in label order, and how it was made, for people."""

    probabilities: FloatArray
    about: str


def majority(train_targets: ArrayLike, n_labels: int, n: int) -> Baseline:
    """The share of each label in train, as the answer to every one of n texts. A label that train lacks gets 0."""
    counts = np.bincount(check_targets(train_targets, n_labels, where="train"), minlength=n_labels)
    return Baseline(np.tile(counts / counts.sum(), (n, 1)), f"the share of each label among {counts.sum():,} training examples")


def tfidf(train: LabelledTexts, validation: LabelledTexts, texts: Sequence[str], n_labels: int) -> Baseline:
    """Logistic regression on TF-IDF of words 1-2 and characters 2-5, its C chosen by validation NLL.

    Trained on train alone, as the model it is compared with. A label that train lacks gets probability 0.

    Args:
        train: texts and targets to learn from.
        validation: texts and targets to choose C by: the first valley in 0.3, 1, 3, 10, 30, 100.
        texts: (N,) what to answer.
        n_labels: C.
    Raises:
        DataError: if train holds no text at all, or texts and targets differ in number.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    train_texts, train_y = _checked("train", train, n_labels)
    held_texts, held_y = _checked("validation", validation, n_labels)
    if len(np.unique(train_y)) == 1:  # logistic regression needs two labels; with one there is nothing to learn
        return majority(train_y, n_labels, len(texts))
    features, held_features, new_features = _count(WEIGHTS // n_labels, train_texts, held_texts, texts)
    model = LogisticRegression(max_iter=2000, warm_start=True)
    lowest, chosen, answers = np.inf, 0.0, np.empty((0, n_labels))
    for c in GRID:
        with threadpool_limits(1, user_api="blas"):  # its vectors are too short to share: 10 s against 0.6 s on two busy cores
            model.set_params(C=c).fit(features, train_y)
        cost = nll(held_y, _in_order(model.predict_proba(held_features), model.classes_, n_labels))
        if cost >= lowest:  # weaker regularisation overfits from here on, and takes the longest to fit
            break
        lowest, chosen, answers = cost, c, _in_order(model.predict_proba(new_features), model.classes_, n_labels)
    return Baseline(answers, f"TF-IDF of words 1-2 and characters 2-5, logistic regression, C = {chosen:g} by validation NLL")


def _count(max_features: int, train: Sequence[str], *others: Sequence[str]) -> list[Any]:
    """TF-IDF of train and of the others in its vocabulary, the most frequent words and characters: sparse, (N, features)."""
    from scipy.sparse import hstack  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    # A word is a run of letters and digits or of signs, so that a text of signs alone still has one; char_wb pads words with
    # spaces, so that a text of one character still has a pair. Neither vocabulary is ever empty.
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]+", max_features=max_features)
    characters = TfidfVectorizer(sublinear_tf=True, ngram_range=(2, 5), analyzer="char_wb", max_features=max_features)
    fitted = [words.fit(train), characters.fit(train)]
    return [hstack([part.transform(texts) for part in fitted], format="csr") for texts in (train, *others)]


def _in_order(probabilities: FloatArray, classes: IntArray, n_labels: int) -> FloatArray:
    everywhere = np.zeros((len(probabilities), n_labels))
    everywhere[:, classes] = probabilities
    return everywhere


def _checked(where: str, labelled: LabelledTexts, n_labels: int) -> tuple[Sequence[str], IntArray]:
    texts, targets = labelled
    if not any(text.strip() for text in texts):
        raise DataError(Problem(where, "no example has any text", "Check which column is the input"))
    return texts, check_targets(targets, n_labels, len(texts), where)
