"""Wilson and the bootstrap: hand-computed values, coverage, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whet.errors import DataError
from whet.measure.inputs import IntArray
from whet.measure.intervals import Interval, Statistic, bootstrap, interval_unit, wilson


def mean_of(values: NDArray[Any], plus: float = 0.0) -> Statistic:
    """The mean of the drawn values, as a function of rows."""
    return lambda rows: float(values[rows].mean()) + plus


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(90, 100, 0.8256, 0.9448), (0, 30, 0.0, 0.1135), (30, 30, 0.8865, 1.0), (5, 10, 0.2366, 0.7634)]
)
def test_wilson_by_hand(k: int, n: int, low: float, high: float) -> None:
    found = wilson(k, n)
    assert found.to_json() == pytest.approx([low, high], abs=5e-5)
    mirrored = wilson(n - k, n)
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(k: int, n: int) -> None:
    with pytest.raises(DataError, match=f"share: {k} of {n}"):
        wilson(k, n)


def test_bootstrap_of_a_share_is_as_wide_as_wilson_and_covers() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(150):
        right = rng.random(120) < 0.7
        found = bootstrap({"accuracy": mean_of(right)}, 120, seed=seed, resamples=300)["accuracy"]
        assert found.to_json() == pytest.approx(wilson(int(right.sum()), 120).to_json(), abs=0.035)
        inside += found.low <= 0.7 <= found.high
    assert inside / 150 > 0.88


def test_all_statistics_see_the_same_draws_and_a_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).normal(size=50)
    twice = bootstrap({"a": mean_of(values), "b": mean_of(values, plus=1)}, 50, seed=3)
    assert twice["b"].to_json() == pytest.approx([1 + twice["a"].low, 1 + twice["a"].high])
    assert bootstrap({"a": mean_of(values)}, 50, seed=3)["a"] == twice["a"]
    assert bootstrap({"a": mean_of(values)}, 50, seed=4)["a"] != twice["a"]


def test_whole_groups_are_drawn() -> None:
    groups = ["x", "y", "x", "z", "z", "z", None]
    seen: list[IntArray] = []

    def remember(rows: IntArray) -> float:
        seen.append(rows)
        return float(len(rows))

    bootstrap({"n": remember}, 7, groups, seed=0, resamples=200)
    assert len(seen) == 200
    sizes = {"x": [0, 2], "y": [1], "z": [3, 4, 5], "alone": [6]}
    for rows in seen:
        counts = np.bincount(rows, minlength=7)
        assert all(len(set(counts[members])) == 1 for members in sizes.values())
        assert sum(counts[members[0]] for members in sizes.values()) == 4  # as many groups as there are
    assert set(np.concatenate(seen).tolist()) == set(range(7))


def test_sentences_that_share_their_document_say_less() -> None:
    """20 documents of 10 equal sentences hold 20 facts, not 200."""
    values = np.repeat(np.random.default_rng(2).normal(size=20), 10)
    groups = [str(row // 10) for row in range(200)]
    item = bootstrap({"mean": mean_of(values)}, 200, seed=0)["mean"]
    group = bootstrap({"mean": mean_of(values)}, 200, groups, seed=0)["mean"]
    assert (group.high - group.low) / (item.high - item.low) == pytest.approx(np.sqrt(10), rel=0.2)


@pytest.mark.parametrize(
    ("groups", "unit"),
    [
        (None, "item"),
        (["a", "b", "c"], "item"),
        ([None, None], "item"),
        (["a", "a", "a"], "item"),
        (["a", "a", "b"], "group"),
        (["a", "a", None], "group"),
    ],
)
def test_the_unit_is_said(groups: list[str | None] | None, unit: str) -> None:
    assert interval_unit(groups) == unit


def test_one_group_alone_gives_the_interval_by_item() -> None:
    statistic = {"mean": mean_of(np.arange(6.0))}
    assert bootstrap(statistic, 6, ["a"] * 6, seed=0) == bootstrap(statistic, 6, seed=0)


def test_bootstrap_refuses_nothing_and_groups_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="bootstrap: 0 rows, no groups"):
        bootstrap({"n": len}, 0, seed=0)
    with pytest.raises(DataError, match="bootstrap: 3 rows, 2 groups"):
        bootstrap({"n": len}, 3, ["a", "b"], seed=0)


def test_one_row_has_an_interval_of_no_width() -> None:
    assert bootstrap({"n": lambda rows: 0.5}, 1, seed=0) == {"n": Interval(0.5, 0.5)}
