"""What confidence is good for: keeping the sure answers, giving sets of labels, weighing two kinds of mistake.

Everywhere: confidence (N,) is the probability of the chosen label, correct (N,) says whether the choice was right. Equal
confidences cannot be told apart by any threshold, so each shares the errors of its tie: order of the rows never matters.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from whet.errors import DataError, Problem
from whet.measure.inputs import BoolArray, FloatArray, check_confidence, check_probabilities, check_targets


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The share of examples kept, i/N, and the share of errors among the i surest, for i = 1..N: two arrays (N,)."""
    errors = _cumulative_errors(confidence, correct)
    kept = np.arange(1, len(errors) + 1)
    return kept / len(errors), errors / kept


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """The area under the risk-coverage curve: the error rate among the surest, averaged over all coverages. Low is good.

    Source: Geifman and El-Yaniv 2017; errors inside a tie replaced by the mean of the tie (ours: any order of the
        rows gives the same number).
    """
    return float(risk_coverage(confidence, correct)[1].mean())


def excess_aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """How far AURC is above that of an oracle which ranks every error last. Source: Geifman et al. 2019 (1805.08206)."""
    _, a = check_confidence(confidence, correct)
    oracle = aurc(np.linspace(1.0, 0.0, len(a)), np.sort(a)[::-1])
    return aurc(confidence, correct) - oracle


def augrc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """The area under the generalised curve: errors kept out of all N, averaged over coverages. Source: Traub et al. 2024."""
    errors = _cumulative_errors(confidence, correct)
    return float(errors.mean() / len(errors))


def accuracy_at(coverage: float, confidence: ArrayLike, correct: ArrayLike) -> float:
    """The accuracy among the surest ceil(coverage * N) examples. `coverage` is above 0 and at most 1."""
    _in_range("coverage", coverage, 0 < coverage <= 1, "above 0 and at most 1")
    risk = risk_coverage(confidence, correct)[1]
    return float(1.0 - risk[math.ceil(Fraction(str(coverage)) * len(risk)) - 1])


def coverage_at(risk: float, confidence: ArrayLike, correct: ArrayLike) -> float | None:
    """The largest share of examples that can be kept with an error rate of at most `risk`; None if there is none.

    Risk may fall again as coverage grows, so this is the largest coverage, not the first. Never choose it on the test split.
    """
    shares, risks = risk_coverage(confidence, correct)
    within = np.flatnonzero(risks <= risk)
    return float(shares[within[-1]]) if len(within) else None


def auroc(confidence: ArrayLike, correct: ArrayLike) -> float | None:
    """The chance that a right answer is surer than a wrong one, ties half; None if all are right or all wrong."""
    c, a = check_confidence(confidence, correct)
    n_right, n_wrong = int(a.sum()), int((~a).sum())
    if n_right == 0 or n_wrong == 0:
        return None
    _, tie, sizes = np.unique(c, return_inverse=True, return_counts=True)
    wrong = np.bincount(tie[~a], minlength=len(sizes))
    right = np.bincount(tie[a], minlength=len(sizes))
    below = np.cumsum(wrong) - wrong
    return float((right * (below + wrong / 2)).sum() / (n_right * n_wrong))


def cost_threshold(false_alarm: float, miss: float) -> float:
    """The calibrated probability from which saying yes is the cheaper mistake: false_alarm / (false_alarm + miss).

    Example:
        A missed promise costs five false alarms:
        >>> round(cost_threshold(false_alarm=1, miss=5), 6)
        0.166667
    """
    _in_range("costs", (false_alarm, miss), min(false_alarm, miss) >= 0 and false_alarm + miss > 0, "not negative, not both 0")
    return false_alarm / (false_alarm + miss)


def conformal_rank(n: int, alpha: float) -> int:
    """Which of n calibration scores, counted from the smallest as 1, bounds a set that misses with chance alpha.

    k = ceil((n + 1)(1 - alpha)), in exact decimals. k = n + 1: n is too small for this alpha, and every label belongs in
    the set.

    Source: Vovk et al. 2005; Angelopoulos and Bates 2021 (2107.07511) section 1.
    Example:
        >>> [conformal_rank(n, 0.1) for n in (8, 9, 19, 99, 100)]
        [9, 9, 18, 90, 91]
    """
    _in_range("alpha", alpha, 0 < alpha < 1, "between 0 and 1")
    return math.ceil((n + 1) * (1 - Fraction(str(alpha))))


def conformal_sets(targets: ArrayLike, probabilities: ArrayLike, new: ArrayLike, alpha: float = 0.1) -> BoolArray:
    """Which labels belong to each new example's set, (M, C): the true one is inside with chance at least 1 - alpha.

    The chance is over examples like the calibration ones as a whole; it breaks for another party, year or language. A set
    may be empty: nothing fits.

    Args:
        targets: (N,) of the calibration split, which chose nothing else.
        probabilities: (N, C) of the calibration split.
        new: (M, C) probabilities of the examples to answer.
        alpha: the chance of a miss.
    Source: Sadinle et al. 2019 (LAC): score 1 - p_target.
    """
    p, fresh = check_probabilities(probabilities), check_probabilities(new, "new")
    y = check_targets(targets, p.shape[1], len(p))
    _in_range("new", fresh.shape, fresh.shape[1] == p.shape[1], f"as wide as the {p.shape[1]} calibrated labels")
    rank = conformal_rank(len(y), alpha)
    if rank > len(y):
        return np.ones(fresh.shape, dtype=np.bool_)
    limit = np.sort(1.0 - p[np.arange(len(y)), y])[rank - 1]
    inside: BoolArray = 1.0 - fresh <= limit
    return inside


def _cumulative_errors(confidence: ArrayLike, correct: ArrayLike) -> FloatArray:
    """The errors among the i surest examples, i = 1..N, those of a tie spread evenly over it."""
    c, a = check_confidence(confidence, correct)
    _, tie, sizes = np.unique(-c, return_inverse=True, return_counts=True)
    wrong = np.bincount(tie[~a], minlength=len(sizes))
    before = np.repeat(np.cumsum(wrong) - wrong, sizes)
    place = np.arange(1, len(c) + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # A product before the division: at the end of each tie the count is a whole number again, exactly.
    errors: FloatArray = before + np.repeat(wrong, sizes) * place / np.repeat(sizes, sizes)
    return errors


def _in_range(where: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise DataError(Problem(where, f"{value} is not possible", f"Give a value {wanted}"))
