"""Two models on the same examples: who was right where, whether it can be chance, what got worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whet.measure.inputs import IntArray, check_labels, check_targets
from whet.measure.intervals import Groups, Statistic, bootstrap

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model now against another one before, on the same n examples.

    `wins`: right now, wrong before; `losses`: the other way round, the rows of which are `regressions`. `recall_change` is
    by label, None for a label the split does not hold.
    """

    n: int
    wins: int
    losses: int
    mcnemar_p: float
    regressions: tuple[int, ...]
    recall_change: Mapping[str, float | None]

    @property
    def is_regression(self) -> bool:
        """True if it got worse by more than chance. Six losses and no win are the fewest that can show it."""
        return self.losses > self.wins and self.mcnemar_p < SIGNIFICANT

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {**asdict(self), "regressions": list(self.regressions), "recall_change": dict(self.recall_change)}


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure now minus the same figure before, with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The record as plain JSON values."""
        return asdict(self)


def compare(targets: ArrayLike, now: ArrayLike, before: ArrayLike, labels: Sequence[str]) -> Comparison:
    """The Comparison of two models' answers.

    Args:
        targets: (N,) label positions.
        now: (N,) label positions answered by the model in question.
        before: (N,) label positions answered by what it is compared with, of the same examples in the same order.
        labels: the labels.
    Example:
        >>> compare([0, 0, 1, 1], now=[0, 0, 1, 0], before=[1, 0, 1, 1], labels=["no", "yes"])
        Comparison(n=4, wins=1, losses=1, mcnemar_p=1.0, regressions=(3,), recall_change={'no': 0.5, 'yes': -0.5})
    """
    names = check_labels(labels, len(labels))
    y = check_targets(targets, len(names))
    is_right = check_targets(now, len(names), len(y), "now") == y
    was_right = check_targets(before, len(names), len(y), "before") == y
    gained = is_right.astype(np.int64) - was_right
    wins, losses = int((gained == 1).sum()), int((gained == -1).sum())
    recall_change = {label: float(gained[y == k].mean()) if (y == k).any() else None for k, label in enumerate(names)}
    rows = tuple(np.flatnonzero(gained == -1).tolist())
    return Comparison(len(y), wins, losses, mcnemar(wins, losses), rows, recall_change)


def mcnemar(wins: int, losses: int) -> float:
    """The exact two-sided p-value of so uneven a split of the examples on which just one of two models is right.

    Source: McNemar 1947 in its exact binomial form.
    Example:
        >>> [round(mcnemar(*pair), 5) for pair in [(2, 10), (0, 5), (0, 6), (5, 5)]]
        [0.03857, 0.0625, 0.03125, 1.0]
    """
    n, ways, tail = wins + losses, 1, 0
    for k in range(min(wins, losses) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << n))  # whole numbers until here, so that no n is too large


def paired_difference(now: Statistic, before: Statistic, n: int, groups: Groups | None = None, *, seed: int) -> Difference:
    """The difference of a figure between two models, with an interval from drawing the same examples for both.

    Args:
        now: the figure of the model in question as a function of rows, such as `metrics.statistics(...)["macro_f1"]`.
        before: the same figure of what it is compared with.
        n: how many examples.
        groups: (n,), if examples share documents.
        seed: of the draws.
    """

    def difference(rows: IntArray) -> float:
        return now(rows) - before(rows)

    interval = bootstrap({"difference": difference}, n, groups, seed=seed)["difference"]
    return Difference(difference(np.arange(n)), interval.low, interval.high)
