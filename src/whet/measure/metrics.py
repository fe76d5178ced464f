"""What a classifier got right, and what its probabilities are worth: one record for one split.

The answer of a row is its most probable label, the lowest position where several are equal; such ties are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whet.errors import DataError, Problem
from whet.measure.inputs import (
    FloatArray,
    IntArray,
    check_confidence,
    check_floats,
    check_labels,
    check_probabilities,
    check_targets,
)
from whet.measure.intervals import Statistic
from whet.measure.reliability import BINS, classwise_ece, ece, noise_floor, spiegelhalter_p
from whet.measure.selective import aurc

# scikit-learn's log_loss cuts here too: a true label that was given 0 costs 36.04 nats, so that the mean stays a number.
SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """One label: None where a figure is 0/0 (never predicted: precision; not in the split: recall; neither: F1)."""

    precision: float | None
    recall: float | None
    f1: float | None
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """The record as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Metrics:
    """A classifier on one split. `confusion` has a row per true label and a column per answer.

    `brier` is the sum over labels, 0 to 2 (always the uniform answer: 1 - 1/C). `ece` has 15 bins of equal width; compare it
    with `ece_floor`, the mean of a perfectly calibrated model at this n, and its 95th percentile. `ties` counts rows with
    several most probable labels, `clipped` rows whose true label got less than 2.2e-16, each counted as 36.04 nats.
    """

    n: int
    labels: tuple[str, ...]
    accuracy: float
    macro_f1: float
    per_label: Mapping[str, LabelMetrics]
    confusion: tuple[tuple[int, ...], ...]
    nll: float
    brier: float
    ece: float
    ece_floor: float
    ece_floor_p95: float
    ece_equal_mass: float
    classwise_ece: float
    spiegelhalter_p: float | None
    aurc: float
    ties: int
    clipped: int

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, keys as in evaluation.json."""
        per_label = {label: found.to_json() for label, found in self.per_label.items()}
        lists = {"labels": list(self.labels), "confusion": [list(row) for row in self.confusion]}
        rest = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**rest, **lists, "per_label": per_label}

    def to_short_json(self) -> dict[str, Any]:
        """The figures in which two models are compared, as plain JSON values."""
        return {name: getattr(self, name) for name in ("n", "accuracy", "macro_f1", "nll", "brier", "ece", "ece_floor")}


def measure(targets: ArrayLike, probabilities: ArrayLike, labels: Sequence[str], *, bins: int = BINS, seed: int = 0) -> Metrics:
    """The metrics of these probabilities against these targets.

    Args:
        targets: (N,) label positions.
        probabilities: (N, C) over the labels.
        labels: the C labels in the order of the columns.
        bins: of every calibration error.
        seed: of the noise floor's simulated outcomes.
    Raises:
        DataError: naming the rows that are no probabilities, or the labels that do not fit.
    Example:
        >>> found = measure([0, 0, 2, 1], [[.7, .2, .1], [.4, .5, .1], [.2, .3, .5], [.6, .3, .1]], ["a", "b", "c"])
        >>> found.accuracy, round(found.brier, 6), round(found.nll, 6)
        (0.5, 0.5, 0.792521)
    """
    p = check_probabilities(probabilities)
    y = check_targets(targets, p.shape[1], len(p))
    names = check_labels(labels, p.shape[1])
    answers = p.argmax(axis=1)
    confidence, correct = p.max(axis=1), answers == y
    confusion = confusion_matrix(y, answers, len(names))
    floor = noise_floor(confidence, bins, seed=seed)
    return Metrics(
        n=len(y),
        labels=names,
        accuracy=float(correct.mean()),
        macro_f1=macro_f1(confusion),
        per_label={label: _label_metrics(confusion, k) for k, label in enumerate(names)},
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        nll=float(_row_nll(y, p).mean()),
        brier=float(_row_brier(y, p).mean()),
        ece=ece(confidence, correct, bins),
        ece_floor=floor.mean,
        ece_floor_p95=floor.p95,
        ece_equal_mass=ece(confidence, correct, bins, equal_mass=True),
        classwise_ece=float(classwise_ece(y, p, bins).mean()),
        spiegelhalter_p=spiegelhalter_p(confidence, correct),
        aurc=aurc(confidence, correct),
        ties=int(((p == confidence[:, None]).sum(axis=1) > 1).sum()),
        clipped=int((p[np.arange(len(y)), y] < SMALLEST).sum()),
    )


def statistics(targets: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> dict[str, Statistic]:
    """Accuracy, macro F1, NLL, Brier and ECE as functions of rows, for `intervals.bootstrap` and `compare.paired_difference`.

    What does not depend on the rows drawn is computed once. The interval of an ECE leans high, because a draw with repeats is
    noisier than the split itself (by 0.02 for a calibrated model at n = 300): read it beside the floor.
    """
    p = check_probabilities(probabilities)
    y = check_targets(targets, p.shape[1], len(p))
    answers, confidence, n_labels = p.argmax(axis=1), p.max(axis=1), p.shape[1]
    correct, nlls, briers = answers == y, _row_nll(y, p), _row_brier(y, p)
    return {
        "accuracy": lambda rows: float(correct[rows].mean()),
        "macro_f1": lambda rows: macro_f1(confusion_matrix(y[rows], answers[rows], n_labels)),
        "nll": lambda rows: float(nlls[rows].mean()),
        "brier": lambda rows: float(briers[rows].mean()),
        "ece": lambda rows: ece(confidence[rows], correct[rows], bins),
    }


def confusion_matrix(targets: IntArray, answers: IntArray, n_labels: int) -> IntArray:
    """How often each label (row) was answered by each label (column), (C, C)."""
    return np.bincount(targets * n_labels + answers, minlength=n_labels * n_labels).reshape(n_labels, n_labels)


def macro_f1(confusion: IntArray) -> float:
    """The mean F1 of the labels that occur, in truth or as an answer.

    F1 = 2 TP / (2 TP + FP + FN) is 0/0 for a label that occurs in neither: counting it as 0 would punish, and as 1 reward, a
    small test split. A label that is only answered counts, with F1 = 0: it was wrong each time.
    """
    hits, occurs = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    return float((2 * hits[occurs > 0] / occurs[occurs > 0]).mean())


def nll(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """The mean of -ln p of the true label, in nats; p below 2.2e-16 counts as that. The uniform answer costs ln C."""
    p = check_probabilities(probabilities)
    return float(_row_nll(check_targets(targets, p.shape[1], len(p)), p).mean())


def brier(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """The mean over examples of the sum over labels of (p - [label is true])^2: 0 best, 2 certain and wrong.

    Source: Brier 1950, his original form; scikit-learn's `brier_score_loss` for two labels is half of it.
    """
    p = check_probabilities(probabilities)
    return float(_row_brier(check_targets(targets, p.shape[1], len(p)), p).mean())


@dataclass(frozen=True, slots=True)
class Threshold:
    """Say yes from this score on: the F1 that gives."""

    threshold: float
    f1: float


def f1_by_threshold(is_positive: ArrayLike, scores: ArrayLike) -> tuple[Threshold, ...]:
    """The F1 of "positive if score >= t" for each different score t, from the highest down.

    Choose on validation, report on test; `max(..., key=lambda t: t.f1)` takes the highest of equals.

    Args:
        is_positive: (N,) booleans, at least one of them true.
        scores: (N,).
    """
    s = check_floats(scores, "scores", dimensions=1)
    _, a = check_confidence(np.zeros(len(s)), is_positive)
    if not a.any():
        raise DataError(Problem("is_positive", "no example is positive, so F1 is 0/0", "Give a split that holds positives"))
    order = np.argsort(-s, kind="stable")
    hits, said = np.cumsum(a[order]), np.arange(1, len(s) + 1)
    last = np.flatnonzero(np.diff(s[order], append=-np.inf))  # the last of each run of equal scores
    return tuple(Threshold(float(s[order][i]), float(2 * hits[i] / (said[i] + a.sum()))) for i in last)


def _label_metrics(confusion: IntArray, k: int) -> LabelMetrics:
    hits, n, said = int(confusion[k, k]), int(confusion[k].sum()), int(confusion[:, k].sum())
    return LabelMetrics(_share(hits, said), _share(hits, n), _share(2 * hits, n + said), n)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _row_nll(targets: IntArray, probabilities: FloatArray) -> FloatArray:
    of_truth = probabilities[np.arange(len(targets)), targets]
    cost: FloatArray = -np.log(np.maximum(of_truth, SMALLEST))
    return cost


def _row_brier(targets: IntArray, probabilities: FloatArray) -> FloatArray:
    gap = probabilities.copy()
    gap[np.arange(len(targets)), targets] -= 1.0
    squares: FloatArray = (gap**2).sum(axis=1)
    return squares
