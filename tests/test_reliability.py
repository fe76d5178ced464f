"""Bins, calibration errors and their noise floor, against hand-computed values."""

from __future__ import annotations

import csv
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from whet.measure.reliability import (
    Bin,
    classwise_ece,
    ece,
    mce,
    noise_floor,
    reliability,
    rmsce,
    spiegelhalter_p,
)

CONFIDENCE = [0.95, 0.95, 0.85, 0.85, 0.75, 0.75, 0.65, 0.65, 0.55, 0.55]
CORRECT = [1, 1, 1, 0, 1, 1, 0, 1, 0, 1]
THREE_LABELS = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]
THREE_TARGETS = [0, 0, 2, 1]


def test_hand_computed_errors_of_ten_items() -> None:
    assert ece(CONFIDENCE, CORRECT, 1) == pytest.approx(0.05)  # |mean confidence .75 - accuracy .70|
    assert ece(CONFIDENCE, CORRECT, 10) == pytest.approx(0.17)
    assert ece(CONFIDENCE, CORRECT) == ece(CONFIDENCE, CORRECT, 15) == pytest.approx(0.17)
    assert mce(CONFIDENCE, CORRECT, 10) == pytest.approx(0.35)
    assert rmsce(CONFIDENCE, CORRECT, 10) == pytest.approx(0.206155, abs=1e-6)
    assert ece(CONFIDENCE, CORRECT, 2, equal_mass=True) == pytest.approx(0.07)


def test_hand_computed_bins_of_ten_items() -> None:
    found = reliability(CONFIDENCE, CORRECT, 10)
    assert [b.n for b in found] == [2] * 5
    assert [(b.low, b.high) for b in found] == [(k / 10, (k + 1) / 10) for k in range(5, 10)]
    assert [abs(b.accuracy - b.confidence) for b in found] == pytest.approx([0.05, 0.15, 0.25, 0.35, 0.05])
    low, high = reliability(CONFIDENCE, CORRECT, 2, equal_mass=True)
    assert (low.n, high.n) == (6, 4)  # the two .75 stay together
    assert abs(low.accuracy - low.confidence) == pytest.approx(0.016667, abs=1e-6)
    assert abs(high.accuracy - high.confidence) == pytest.approx(0.15)
    assert low.to_json() == {"low": 0.0, "high": 0.75, "n": 6, "confidence": pytest.approx(0.65), "accuracy": 4 / 6}


def test_hand_computed_errors_of_three_labels() -> None:
    p = np.array(THREE_LABELS)
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == THREE_TARGETS
    assert ece(confidence, correct, 10) == pytest.approx(0.225)
    assert mce(confidence, correct, 10) == pytest.approx(0.6)
    assert classwise_ece(THREE_TARGETS, p, 10) == pytest.approx([0.425, 0.275, 0.2])
    assert classwise_ece(THREE_TARGETS, p, 10).mean() == pytest.approx(0.30)


@pytest.mark.parametrize("bins", [1, 2, 7, 10, 15, 20, 49, 100])
def test_bins_are_closed_on_the_right_for_every_decimal_and_every_edge(bins: int) -> None:
    for whole in (10, 100, bins):
        for part in range(whole + 1):
            (found,) = reliability([part / whole], [1], bins)
            index = max(0, math.ceil(Fraction(part, whole) * bins) - 1)
            assert found.high == (index + 1) / bins, f"{part}/{whole} in {bins} bins"
            assert found.low == index / bins


def test_the_float_after_an_edge_is_in_the_next_bin() -> None:
    assert [reliability([c], [1], 10)[0].high for c in (0.3, math.nextafter(0.3, 1))] == [0.3, 0.4]


def test_equal_mass_bins_hold_equally_many_and_do_not_depend_on_order() -> None:
    rng = np.random.default_rng(3)
    c, a = rng.random(100), rng.random(100) < 0.5
    assert [b.n for b in reliability(c, a, 10, equal_mass=True)] == [10] * 10
    tied = np.round(c, 1)
    order = rng.permutation(100)
    assert ece(tied, a, 7, equal_mass=True) == pytest.approx(ece(tied[order], a[order], 7, equal_mass=True), abs=1e-12)
    assert [b.n for b in reliability([0.2, 0.7], [0, 1], 15, equal_mass=True)] == [1, 1]
    assert len(reliability([0.5] * 9, [1] * 9, 3, equal_mass=True)) == 1


@pytest.mark.parametrize("equal_mass", [False, True])
def test_the_error_of_perfect_confidence_is_zero(equal_mass: bool) -> None:
    assert ece([1.0] * 8, [1] * 8, equal_mass=equal_mass) == 0
    assert ece([0.75] * 8, [1, 1, 1, 0] * 2, equal_mass=equal_mass) == 0
    assert ece([1.0] * 8, [0] * 8, equal_mass=equal_mass) == 1


def test_errors_are_ordered_and_one_bin_is_the_least_that_can_be_seen() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        c, a = rng.random(40), rng.random(40) < 0.6
        assert abs(c.mean() - a.mean()) <= ece(c, a) + 1e-12
        assert ece(c, a) <= rmsce(c, a) + 1e-12 <= mce(c, a) + 2e-12


@pytest.mark.parametrize(
    ("n", "width_mean", "width_p95", "mass_mean"),
    [
        (50, 0.101, 0.159, 0.142),
        (100, 0.071, 0.117, 0.102),
        (300, 0.040, 0.065, 0.057),
        (1000, 0.022, 0.036, 0.031),
        (5000, 0.010, 0.017, 0.014),
    ],
)
def test_noise_floor_of_a_calibrated_model(n: int, width_mean: float, width_p95: float, mass_mean: float) -> None:
    """The table of 400 simulations; small n is averaged over several sets of confidences, as they were drawn anew there."""
    rng = np.random.default_rng(0)
    floors = []
    for seed in range(max(2, 4000 // n)):
        c = rng.uniform(0.5, 1, n)
        width = noise_floor(c, 10, seed=seed, simulations=400)
        floors.append((width.mean, width.p95, noise_floor(c, 10, seed=seed, simulations=400, equal_mass=True).mean))
    mean, p95, mass = np.mean(floors, axis=0)
    assert mean == pytest.approx(width_mean, rel=0.03, abs=0.0005)
    assert p95 == pytest.approx(width_p95, rel=0.05, abs=0.0005)
    assert mass == pytest.approx(mass_mean, rel=0.03, abs=0.0005)


def test_noise_floor_is_the_mean_of_ece_over_drawn_outcomes() -> None:
    """Against the plain definition, one simulation at a time, and the same when memory forces it into parts."""
    c = np.random.default_rng(1).uniform(0.3, 1, 60)
    rng = np.random.default_rng(5)
    drawn = [ece(np.sort(c), rng.random(60) < np.sort(c), 15) for _ in range(200)]
    floor = noise_floor(c, 15, seed=5, simulations=200)
    assert floor.mean == pytest.approx(np.mean(drawn), abs=1e-12)
    assert floor.p95 == pytest.approx(np.percentile(drawn, 95), abs=1e-12)
    large = np.random.default_rng(1).uniform(0.5, 1, 30_000)
    assert noise_floor(large, seed=0, simulations=200).mean < 0.01
    assert noise_floor(c, seed=1) == noise_floor(c[::-1], seed=1) != noise_floor(c, seed=2)


def test_noise_floor_of_certainty_is_zero() -> None:
    assert noise_floor([1.0, 1.0, 0.0], seed=0).p95 == 0


def test_spiegelhalter_by_hand() -> None:
    # sum (a - c)(1 - 2c) = .25, sum (1 - 2c)^2 c (1 - c) = .34155, z = .427773
    assert spiegelhalter_p(CONFIDENCE, CORRECT) == pytest.approx(0.668817, abs=1e-6)
    assert spiegelhalter_p([0.5, 0.5], [1, 0]) is None
    assert spiegelhalter_p([1.0, 1.0], [1, 0]) == 0.0


def test_spiegelhalter_is_uniform_for_a_calibrated_model_and_small_for_another() -> None:
    rng = np.random.default_rng(2)
    c = rng.uniform(0.5, 1, 400)
    values = np.array([spiegelhalter_p(c, rng.random(400) < c) for _ in range(300)], dtype=float)
    assert values.mean() == pytest.approx(0.5, abs=0.06)
    assert (values < 0.05).mean() < 0.09
    p = spiegelhalter_p(c, rng.random(400) < c - 0.15)
    assert p is not None and p < 0.001


def test_ten_people_as_one_classifier(shared: Path) -> None:
    """50 sentences, ten annotators: the share that said 'Pledge' is a probability, and a coarse, honest one."""
    with (shared / "data/promises/pledge_multi_annotator_50.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 50
    votes = [[row[name] for name in row if name.startswith("human") and row[name] in ("Pledge", "No Pledge")] for row in rows]
    share = np.array([said.count("Pledge") / len(said) for said in votes])
    gold = np.array([int(row["gold"]) for row in rows])
    confidence, correct = np.maximum(share, 1 - share), (share > 0.5) == gold
    found = reliability(confidence, correct, 10)
    assert sum(b.n for b in found) == 50
    assert all(isinstance(b, Bin) and b.low < b.confidence <= b.high for b in found)
    gap = sum(b.n * abs(b.accuracy - b.confidence) for b in found) / 50
    assert ece(confidence, correct, 10) == pytest.approx(gap)
