"""How close a written answer is to the wanted one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whet.errors import DataError, Problem
from whet.measure.inputs import FloatArray
from whet.measure.intervals import Statistic

Wanted = str | Sequence[str]  # an answer, or several that are equally right
_TOKEN = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class GenerationMetrics:
    """Written answers on one split: means over its examples."""

    n: int
    exact_match: float
    token_f1: float
    rouge_l: float

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, keys as in evaluation.json."""
        return asdict(self)


def measure_generation(targets: Sequence[Wanted], answers: Sequence[str]) -> GenerationMetrics:
    """The metrics of these answers against these targets; where a target is several, against the nearest, metric by metric.

    Raises:
        DataError: if there are none, or not one answer per target.
    """
    scores = score_answers(targets, answers)
    return GenerationMetrics(len(targets), **{name: float(values.mean()) for name, values in scores.items()})


def generation_statistics(targets: Sequence[Wanted], answers: Sequence[str]) -> dict[str, Statistic]:
    """The metrics as functions of rows, for `intervals.bootstrap`."""

    def mean_of(values: FloatArray) -> Statistic:
        return lambda rows: float(values[rows].mean())

    return {name: mean_of(values) for name, values in score_answers(targets, answers).items()}


def score_answers(targets: Sequence[Wanted], answers: Sequence[str]) -> dict[str, FloatArray]:
    """Exact match, token F1 and ROUGE-L of each answer, (N,) each.

    Source: of several references the best counts, as in Rajpurkar et al. 2016 (SQuAD), section 6.
    """
    if len(targets) != len(answers) or not targets:
        what = f"{len(answers)} answers to {len(targets)} targets"
        raise DataError(Problem("answers", what, "Give one answer per target, at least one"))
    measures = {"exact_match": exact_match, "token_f1": token_f1, "rouge_l": rouge_l}
    pairs = [([wanted] if isinstance(wanted, str) else wanted, answer) for wanted, answer in zip(targets, answers, strict=True)]
    return {
        name: np.array([max(score(one, answer) for one in wanted) for wanted, answer in pairs], dtype=np.float64)
        for name, score in measures.items()
    }


def exact_match(target: str, answer: str) -> float:
    """1 if the texts are the same, else 0: case counts, how much white space stands where does not.

    Example:
        >>> exact_match("40,000 homes", " 40,000  homes\\n"), exact_match("Yes", "yes")
        (1.0, 0.0)
    """
    return float(_plain(target) == _plain(answer))


def token_f1(target: str, answer: str) -> float:
    """The F1 of the two bags of words: order does not count. Two answers without a word agree fully.

    Source: Rajpurkar et al. 2016 (SQuAD), without its removal of English articles.
    Example:
        >>> token_f1("build 40 homes", "40 new homes")
        0.6666666666666666
    """
    a, b = tokens(target), tokens(answer)
    if not a or not b:
        return float(a == b)
    shared = (Counter(a) & Counter(b)).total()
    return 2 * shared / (len(a) + len(b))


def rouge_l(target: str, answer: str) -> float:
    """The ROUGE-L F1: twice the longest common subsequence of words over the words of both. No words on a side: 0.

    Source: Lin 2004; equal to `rouge_score` without stemming on ASCII text. That package cuts words at every other letter
        ("år" becomes "r"); here letters of all scripts are letters.
    Example:
        >>> round(rouge_l("the cat sat on the mat", "the cat is on the mat"), 6)
        0.833333
    """
    from rapidfuzz.distance import LCSseq

    a, b = tokens(target), tokens(answer)
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b)) if a and b else 0.0


def tokens(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits."""
    return _TOKEN.findall(unicodedata.normalize("NFC", text).lower())


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
