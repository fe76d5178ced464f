"""Can the confidences be believed? Bins, calibration errors, the floor that chance alone reaches, a test.

Everywhere: confidence (N,) is the probability of the chosen label, correct (N,) says whether the choice was right.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from whet.measure.inputs import BoolArray, FloatArray, IntArray, check_confidence, check_probabilities, check_targets

BINS = 15
SIMULATIONS = 1000
_CELLS = 4_000_000  # draws held at once by the noise floor: 32 MB


@dataclass(frozen=True, slots=True)
class Bin:
    """The examples whose confidence lies in (low, high]: how many, how sure on average, how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float

    def to_json(self) -> dict[str, float | int]:
        """The record as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The calibration error that a perfectly calibrated model shows at this n, with these confidences."""

    mean: float
    p95: float


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS, *, equal_mass: bool = False) -> tuple[Bin, ...]:
    """The bins of a reliability diagram that hold at least one example, from low to high.

    Args:
        confidence: (N,).
        correct: (N,).
        bins: how many of equal width, or about how many of equal mass.
        equal_mass: cut so that bins hold about the same number of examples instead.
    """
    c, a = check_confidence(confidence, correct)
    edges = _mass_edges(c, bins) if equal_mass else _width_edges(bins)
    counts, confidences, hits = _bin_sums(c, a, edges)
    lows = np.concatenate([[0.0], edges[:-1]])
    return tuple(
        Bin(float(lows[b]), float(edges[b]), int(counts[b]), float(confidences[b] / counts[b]), float(hits[b] / counts[b]))
        for b in np.flatnonzero(counts)
    )


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS, *, equal_mass: bool = False) -> float:
    """The expected calibration error: the gap between confidence and accuracy in a bin, averaged over examples.

    Bins of equal width are right-closed, ((b-1)/B, b/B], the first closed at 0 too. Bins of equal mass never cut through
    equal confidences, so that the order of the examples does not matter. Read it beside `noise_floor`: a bare ECE is never 0.

    Args:
        confidence: (N,).
        correct: (N,).
        bins: B. One bin gives |mean confidence - accuracy|.
        equal_mass: bins with the same number of examples rather than of the same width.
    Source: Naeini et al. 2015 and Guo et al. 2017 (1706.04599) eq. 3; equal mass with ties together as in Kumar et al.
        2019 (p-lambda/verified_calibration).
    Example:
        >>> round(ece([0.95, 0.95, 0.55, 0.55], [1, 1, 0, 1], bins=10), 6)
        0.05
    """
    c, a = check_confidence(confidence, correct)
    return _ece(c, a, _mass_edges(c, bins) if equal_mass else _width_edges(bins))


def mce(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """The maximum calibration error: the largest gap of any bin (of equal width) that holds an example."""
    return max(abs(b.accuracy - b.confidence) for b in reliability(confidence, correct, bins))


def rmsce(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """The root of the squared gap between confidence and accuracy in a bin (of equal width), averaged over examples."""
    found = reliability(confidence, correct, bins)
    return math.sqrt(sum(b.n * (b.accuracy - b.confidence) ** 2 for b in found) / sum(b.n for b in found))


def classwise_ece(targets: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> FloatArray:
    """The expected calibration error of each label's own probability, (C,): of "how often is it k when p_k says so".

    Source: Nixon et al. 2019 (1904.01685), the mean over labels being their static calibration error.
    """
    p = check_probabilities(probabilities)
    y = check_targets(targets, p.shape[1], len(p))
    edges = _width_edges(bins)
    return np.array([_ece(np.minimum(p[:, k], 1.0), y == k, edges) for k in range(p.shape[1])])


def noise_floor(
    confidence: ArrayLike, bins: int = BINS, *, seed: int, simulations: int = SIMULATIONS, equal_mass: bool = False
) -> NoiseFloor:
    """The ECE to expect when every confidence is exactly right: mean and 95th percentile over simulated outcomes.

    An ECE below `p95` is no evidence of miscalibration at this n.

    Args:
        confidence: (N,), the confidences whose ECE is being judged.
        bins: as for that ECE.
        seed: of the simulated outcomes.
        simulations: how many times all N outcomes are drawn, each right with probability confidence.
        equal_mass: as for that ECE.
    Source: ours: consistency resampling (Bröcker and Smith 2007) summed up in one number.
    """
    c, _ = check_confidence(confidence, np.zeros(len(np.atleast_1d(confidence))))
    c = np.sort(c)
    edges = _mass_edges(c, bins) if equal_mass else _width_edges(bins)
    index = np.searchsorted(edges, c, side="left")
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    expected = np.add.reduceat(c, starts)
    rng = np.random.default_rng(seed)
    errors = []
    for rows in np.array_split(np.arange(simulations), max(1, math.ceil(simulations * len(c) / _CELLS))):
        right = rng.random((len(rows), len(c))) < c
        hits = np.add.reduceat(right, starts, axis=1, dtype=np.int64)
        errors.append(np.abs(hits - expected).sum(axis=1) / len(c))
    drawn = np.concatenate(errors)
    return NoiseFloor(float(drawn.mean()), float(np.percentile(drawn, 95)))


def spiegelhalter_p(confidence: ArrayLike, correct: ArrayLike) -> float | None:
    """The two-sided p-value of "these confidences are calibrated"; None where the test is blind (all are 0, 1/2 or 1).

    ECE says how large the gap is, this says whether it can be chance. Certain and wrong is impossible: 0.

    Source: Spiegelhalter 1986: z = sum (a - c)(1 - 2c) / sqrt(sum (1 - 2c)^2 c (1 - c)).
    """
    c, a = check_confidence(confidence, correct)
    tilt = 1.0 - 2.0 * c
    surplus = float(((a - c) * tilt).sum())
    variance = float((tilt**2 * c * (1.0 - c)).sum())
    if variance == 0.0:
        return None if surplus == 0.0 else 0.0
    return math.erfc(abs(surplus) / math.sqrt(2.0 * variance))


def _width_edges(bins: int) -> FloatArray:
    # b / B is the float nearest to the edge, as a confidence read from decimals is the float nearest to its value: so
    # 3/10 falls in the bin that ends at 3/10. ceil(c * B) and linspace both round twice and put some such values one bin off.
    return np.arange(1, bins + 1) / bins


def _mass_edges(c: FloatArray, bins: int) -> FloatArray:
    ordered = np.sort(c)
    last = np.ceil(np.arange(1, bins + 1) * len(c) / bins).astype(np.int64) - 1
    edges: FloatArray = np.unique(ordered[np.maximum(last, 0)])
    return edges


def _bin_sums(c: FloatArray, a: BoolArray, edges: FloatArray) -> tuple[IntArray, FloatArray, IntArray]:
    index = np.searchsorted(edges, c, side="left")  # the first edge that is not below c: bins closed on the right
    size = len(edges)
    counts: IntArray = np.bincount(index, minlength=size)
    hits: IntArray = np.bincount(index[a], minlength=size)
    return counts, np.asarray(np.bincount(index, c, minlength=size), dtype=np.float64), hits


def _ece(c: FloatArray, a: BoolArray, edges: FloatArray) -> float:
    _, confidences, hits = _bin_sums(c, a, edges)
    return float(np.abs(hits - confidences).sum() / len(c))
