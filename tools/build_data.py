"""Writes the embedded data again, with whet installed: `python tools/build_data.py`. With `--score`, says how far TF-IDF gets on it.

The figures of `src/whet/base/DATA.md` come from `--score` (scikit-learn: words 1-2 and characters 2-5, sublinear counts,
logistic regression at its default strength, fitted on the train file, scored on the other two).
"""

from __future__ import annotations

import sys
from typing import get_args

from whet.base.promises import SEED, Sentence, Split, csv_text, generate, shipped


def score(train: list[Sentence], held_out: dict[str, list[Sentence]]) -> None:
    """Prints macro F1 and accuracy on each held-out split, and the accuracy of each kind on the last."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    features = make_union(words, characters)
    model = LogisticRegression(max_iter=2000)
    model.fit(features.fit_transform([s.sentence for s in train]), [s.is_promise for s in train])
    hits: dict[tuple[bool, str], list[bool]] = {}
    for split, sentences in held_out.items():
        truth = [s.is_promise for s in sentences]
        guess = [bool(g) for g in model.predict(features.transform([s.sentence for s in sentences]))]
        print(f"{split}: macro F1 {f1_score(truth, guess, average='macro'):.3f}, accuracy {accuracy_score(truth, guess):.3f}")
        hits = {}
        for sentence, g in zip(sentences, guess, strict=True):
            hits.setdefault((sentence.is_promise, sentence.kind), []).append(g == sentence.is_promise)
    for (is_promise, kind), right in sorted(hits.items()):
        print(f"{is_promise!s:5}  {kind:16} {sum(right):3} of {len(right):3}   {sum(right) / len(right):.2f}")


def main() -> None:
    """Writes the three files and prints their counts."""
    made: dict[str, list[Sentence]] = {}
    for split in get_args(Split):
        made[split] = generate(split)
        shipped(f"promises_{split}.csv").write_text(csv_text(made[split]), encoding="utf-8", newline="")
        promises = sum(s.is_promise for s in made[split])
        speeches = len({s.speech_id for s in made[split]})
        print(f"{split}: {len(made[split])} sentences, {promises} promises, {speeches} speeches, seed {SEED}")
    if "--score" in sys.argv[1:]:
        score(made["train"], {split: made[split] for split in ("validation", "test")})


if __name__ == "__main__":
    main()
