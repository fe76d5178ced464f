"""How far a number could be off by the luck of the sample: Wilson for a share, the bootstrap for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from whet.errors import DataError, Problem
from whet.measure.inputs import IntArray

# A number computed from the rows (positions, with repeats) it is given.
Statistic = Callable[[IntArray], float]
Groups = Sequence[str | None]
LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    def to_json(self) -> list[float]:
        """The record as plain JSON values: [low, high]."""
        return [self.low, self.high]


def wilson(k: int, n: int) -> Interval:
    """The 95 % interval of a share, k of n: never outside [0, 1], sensible at 0 and n.

    Source: Wilson 1927.
    Example:
        >>> found = wilson(90, 100)
        >>> round(found.low, 4), round(found.high, 4)
        (0.8256, 0.9448)
    """
    if not 0 <= k <= n or n == 0:
        raise DataError(Problem("share", f"{k} of {n}", "Give a count k from 0 to n, n at least 1"))
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    # Exact at the ends, where rounding would leave 1e-18 or 0.9999999999999999.
    return Interval(0.0 if k == 0 else middle - half, 1.0 if k == n else middle + half)


def interval_unit(groups: Groups | None) -> Literal["item", "group"]:
    """What the bootstrap draws: "group" if examples share groups and there are two or more, else "item".

    With one group alone nothing is known of how groups differ: the interval is then of other items of that group only.
    """
    if groups is None or len(set(_units(groups))) in (1, len(groups)):
        return "item"
    return "group"


def bootstrap(
    statistics: Mapping[str, Statistic], n: int, groups: Groups | None = None, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """The 95 % interval of each statistic, by drawing the examples again with replacement (percentiles of the draws).

    All statistics see the same draws. Where several examples come from one document, whole documents are drawn, because
    the next document will differ more than the next sentence.

    Args:
        statistics: name to function of row positions (n-ish,), which may repeat.
        n: how many rows there are.
        groups: (n,) what each row belongs to; None for a row that stands alone. See `interval_unit`.
        seed: of the draws.
        resamples: how many draws.
    Raises:
        DataError: if there are no rows, or `groups` is not one per row.
    Source: Efron and Tibshirani 1993 chapter 13; by cluster, Field and Welsh 2007.
    """
    if n < 1 or (groups is not None and len(groups) != n):
        what = f"{n} rows, {'no' if groups is None else len(groups)} groups"
        raise DataError(Problem("bootstrap", what, "Give at least one row, and one group per row or none"))
    by_group = groups is not None and interval_unit(groups) == "group"
    draws = _draw_groups(groups or (), resamples, seed) if by_group else _draw_items(n, resamples, seed)
    values = np.array([[statistic(rows) for statistic in statistics.values()] for rows in draws])
    tail = 100 * (1 - LEVEL) / 2
    lows, highs = np.percentile(values, [tail, 100 - tail], axis=0)
    return {name: Interval(float(low), float(high)) for name, low, high in zip(statistics, lows, highs, strict=True)}


def _units(groups: Groups) -> list[str | int]:
    return [row if group is None else group for row, group in enumerate(groups)]


def _draw_items(n: int, resamples: int, seed: int) -> Iterator[IntArray]:
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield rng.integers(n, size=n)


def _draw_groups(groups: Groups, resamples: int, seed: int) -> Iterator[IntArray]:
    """Row positions of as many groups as there are, drawn with replacement, each whole."""
    numbers: dict[str | int, int] = {}
    unit = np.array([numbers.setdefault(name, len(numbers)) for name in _units(groups)])
    order = np.argsort(unit, kind="stable")
    sizes = np.bincount(unit)
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = rng.integers(len(sizes), size=len(sizes))
        lengths = sizes[drawn]
        offsets = np.repeat(starts[drawn] - (np.cumsum(lengths) - lengths), lengths)
        yield order[offsets + np.arange(lengths.sum())]
