"""From scores to probabilities that mean what they say. One number fitted on validation, never on train or test.

Scores are what a language model gives a label: the log-probability summed over all its tokens and the terminator. A sum
normalised by length is not a probability and does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whet.errors import DataError, Problem
from whet.measure.inputs import (
    BoolArray,
    FloatArray,
    IntArray,
    check_confidence,
    check_floats,
    check_labels,
    check_probabilities,
    check_scores,
    check_targets,
)
from whet.measure.reliability import ece

LOWEST, HIGHEST = 0.05, 20.0
ISOTONIC_ENOUGH = 1000  # below, a step function learns the noise (Niculescu-Mizil and Caruana 2005)


def log_softmax(scores: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """The log-probability of each label among the labels, (N, C): scores / temperature, normalised."""
    return _log_softmax(check_scores(scores), temperature)


def softmax(scores: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """The probability of each label among the labels, (N, C), rows summing to 1.

    Example:
        >>> softmax([[-1.2, -1.5, -2.2]]).round(4).tolist()
        [[0.4742, 0.3513, 0.1745]]
    """
    probabilities: FloatArray = np.exp(log_softmax(scores, temperature))
    return probabilities


def label_mass(scores: ArrayLike) -> FloatArray:
    """How much of the model's probability falls on any of the labels, (N,). Low: it would rather say something else."""
    mass: FloatArray = np.exp(check_scores(scores)).sum(axis=1)
    return mass


@dataclass(frozen=True, slots=True)
class Calibration:
    """The fitted map from score to probability, with before/after figures on the split it was fitted on.

    `at_bound`: the temperature ran into the end of its range, as it does when every answer of the split is right (low end)
    or when fewer than half are (high end): then it says little about confidence.
    """

    temperature: float
    at_bound: bool
    n: int
    labels: tuple[str, ...]
    split_sha256: str
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    method: str = "temperature"

    def apply(self, scores: ArrayLike, labels: Sequence[str]) -> FloatArray:
        """The calibrated probabilities, (N, C). The most probable label is the same as before.

        Raises:
            DataError: if `labels` are not those of the fit, in their order.
        """
        if tuple(labels) != self.labels:
            what = f"fitted for labels {list(self.labels)}, asked about {list(labels)}"
            raise DataError(Problem("calibration", what, "Fit it again on the validation split of this task"))
        return softmax(scores, self.temperature)

    def cautious(self) -> Calibration:
        """This calibration, or temperature 1 where the fit ran into the low end of its range.

        There every answer of the split was right, and the fit would turn any doubt into certainty: on 88 text messages, all
        answered right, it took T = 0.05, and the NLL of 176 test messages was 0.270 instead of 0.050. `at_bound` stays set.
        """
        if not self.at_bound or self.temperature > 1:
            return self
        return replace(self, temperature=1.0, nll_after=self.nll_before, ece_after=self.ece_before)

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values: calibration.json."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Calibration:
        """The Calibration that `to_json` wrote."""
        return cls(**{**record, "labels": tuple(record["labels"])})


def fit_temperature(targets: ArrayLike, scores: ArrayLike, labels: Sequence[str], split_sha256: str = "") -> Calibration:
    """The temperature between 0.05 and 20 with the lowest NLL on these examples.

    NLL is convex in 1/T, so that a bounded search of ln T cannot end in a wrong valley. The ends of the range are weighed
    too, and 1 stays unless something is strictly better: scores that say nothing are left alone.

    Args:
        targets: (N,) label positions of the validation split.
        scores: (N, C) label log-probabilities of the same rows.
        labels: the C labels, kept so that the fit is not applied to others.
        split_sha256: which split this was, kept for the record.
    Source: Guo et al. 2017 (1706.04599) section 4.2.
    Example:
        Always (2, 0), three of four right: T = 2 / ln 3.
        >>> fit = fit_temperature([0, 0, 0, 1], [[2.0, 0.0]] * 4, ["yes", "no"])
        >>> round(fit.temperature, 6), round(fit.nll_before, 6), round(fit.nll_after, 6)
        (1.820478, 0.626928, 0.562335)
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    s = check_scores(scores)
    y = check_targets(targets, s.shape[1], len(s))
    bounds = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    found = minimize_scalar(
        lambda log_t: _nll(y, s, float(np.exp(log_t))), bounds=bounds, method="bounded", options={"xatol": 1e-9, "maxiter": 500}
    )
    temperature = min((1.0, LOWEST, HIGHEST, float(np.exp(found.x))), key=lambda t: _nll(y, s, t))  # a tie: the first
    return Calibration(
        temperature=temperature,
        at_bound=temperature in (LOWEST, HIGHEST),
        n=len(y),
        labels=check_labels(labels, s.shape[1]),
        split_sha256=split_sha256,
        nll_before=_nll(y, s, 1.0),
        nll_after=_nll(y, s, temperature),
        ece_before=_ece(y, s, 1.0),
        ece_after=_ece(y, s, temperature),
    )


@dataclass(frozen=True, slots=True)
class Platt:
    """P(right) = 1 / (1 + exp(-(slope * score + intercept)))."""

    slope: float
    intercept: float

    def apply(self, score: ArrayLike) -> FloatArray:
        """The probabilities, (N,)."""
        return _sigmoid(self.slope * check_floats(score, "score", dimensions=1) + self.intercept)


def platt_targets(correct: ArrayLike) -> tuple[float, float]:
    """What Platt fits right and wrong to, so that a perfect split does not ask for certainty: (N+ + 1)/(N+ + 2), 1/(N- + 2).

    Example:
        >>> [round(target, 6) for target in platt_targets([1] * 7 + [0] * 3)]
        [0.888889, 0.2]
    """
    _, a = check_confidence(np.zeros(np.shape(correct)), correct)
    n_right, n_wrong = int(a.sum()), int((~a).sum())
    return (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2)


def fit_platt(score: ArrayLike, correct: ArrayLike) -> Platt:
    """The sigmoid of one score that fits best. Two parameters: wants a hundred examples or more.

    Args:
        score: (N,), any real number that grows with the chance of being right (a logit, a log-odds).
        correct: (N,) booleans.
    Raises:
        DataError: if the slope comes out negative: then the score ranks right below wrong, and no calibration mends that.
    Source: Platt 1999, with his targets.
    """
    from scipy.optimize import minimize

    s = check_floats(score, "score", dimensions=1)
    _, a = check_confidence(np.zeros(len(s)), correct)
    target = np.where(a, *platt_targets(a))

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        z = parameters[0] * s + parameters[1]
        surplus = _sigmoid(z) - target
        return float((np.logaddexp(0.0, z) - target * z).sum()), np.array([surplus @ s, surplus.sum()])

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    if slope < 0:
        what = f"the score ranks wrong answers above right ones (slope {slope:.4g})"
        raise DataError(Problem("platt", what, "Check that the score is of the chosen label and no labels are swapped"))
    return Platt(float(slope), float(intercept))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """P(right) as a rising line through `probability` at `score`, kept away from 0 and 1.

    `has_enough` is False below 1,000 examples: then it has learnt much of the noise.
    """

    score: tuple[float, ...]
    probability: tuple[float, ...]
    has_enough: bool

    def apply(self, score: ArrayLike) -> FloatArray:
        """The probabilities, (N,), level outside the range of the fit."""
        wanted = check_floats(score, "score", dimensions=1)
        probabilities: FloatArray = np.interp(wanted, self.score, self.probability)
        return probabilities


def fit_isotonic(score: ArrayLike, correct: ArrayLike) -> Isotonic:
    """The rising step function that fits best, clipped to [1/(2n), 1 - 1/(2n)]: a bare 0 or 1 costs infinite NLL once wrong.

    Source: Zadrozny and Elkan 2002, by pool-adjacent-violators.
    """
    from sklearn.isotonic import isotonic_regression  # type: ignore[import-untyped]

    s = check_floats(score, "score", dimensions=1)
    _, a = check_confidence(np.zeros(len(s)), correct)
    where, tie, sizes = np.unique(s, return_inverse=True, return_counts=True)
    share = np.bincount(tie[a], minlength=len(sizes)) / sizes
    fitted = isotonic_regression(share, sample_weight=sizes.astype(np.float64))
    edge = 1 / (2 * len(s))
    return Isotonic(tuple(where.tolist()), tuple(np.clip(fitted, edge, 1 - edge).tolist()), len(s) >= ISOTONIC_ENOUGH)


def contextual(probabilities: ArrayLike, content_free: ArrayLike, smallest: float = 1e-6) -> FloatArray:
    """The probabilities with the model's leaning taken out: divided by what it says of empty inputs, normalised, (N, C).

    After fine-tuning expect next to no change: it is a check, not a feature.

    Args:
        probabilities: (N, C).
        content_free: (M, C), probabilities of inputs that say nothing ("N/A", the empty text), of which the mean counts.
        smallest: what a leaning of 0 is taken for.
    Source: Zhao et al. 2021 (2102.09690) section 5, W = diag(p_cf)^-1, b = 0.
    Example:
        >>> contextual([[0.6, 0.4]], [[0.7, 0.3]]).round(6).tolist()
        [[0.391304, 0.608696]]
    """
    p, empty = check_probabilities(probabilities), check_probabilities(content_free, "content_free")
    if p.shape[1] != empty.shape[1]:
        what = f"{empty.shape[1]} labels beside {p.shape[1]}"
        raise DataError(Problem("content_free", what, "Score the same labels for the empty inputs"))
    weighed = p / np.maximum(empty.mean(axis=0), smallest)
    fair: FloatArray = weighed / weighed.sum(axis=1, keepdims=True)
    return fair


def _log_softmax(scores: FloatArray, temperature: float) -> FloatArray:
    z = scores / temperature
    z = z - z.max(axis=1, keepdims=True)
    logs: FloatArray = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return logs


def _nll(targets: IntArray, scores: FloatArray, temperature: float) -> float:
    # The others weighed against the target, not log_softmax: a target that is ahead by more than 37 nats would cost exactly
    # 0 there, and a search among zeros finds nothing.
    rows = np.arange(len(targets))
    lead = (scores - scores[rows, targets][:, None]) / temperature
    lead[rows, targets] = -np.inf
    return float(np.logaddexp(0.0, np.logaddexp.reduce(lead, axis=1)).mean())


def _ece(targets: IntArray, scores: FloatArray, temperature: float) -> float:
    p = np.exp(_log_softmax(scores, temperature))
    right: BoolArray = p.argmax(axis=1) == targets
    return ece(p.max(axis=1), right)


def _sigmoid(z: FloatArray) -> FloatArray:
    probabilities: FloatArray = np.exp(-np.logaddexp(0.0, -z))
    return probabilities
