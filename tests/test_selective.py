"""What confidence is good for, against hand-computed values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.selective import (
    accuracy_at,
    augrc,
    aurc,
    auroc,
    conformal_rank,
    conformal_sets,
    cost_threshold,
    coverage_at,
    excess_aurc,
    risk_coverage,
)

CONFIDENCE = [0.95, 0.95, 0.85, 0.85, 0.75, 0.75, 0.65, 0.65, 0.55, 0.55]
CORRECT = [1, 1, 1, 0, 1, 1, 0, 1, 0, 1]


def test_hand_computed_values_of_ten_items() -> None:
    assert auroc(CONFIDENCE, CORRECT) == pytest.approx(14.5 / 21) == pytest.approx(0.690476, abs=1e-6)
    assert aurc(CONFIDENCE, CORRECT) == pytest.approx(0.182540, abs=1e-6)
    assert aurc(CONFIDENCE, CORRECT) - excess_aurc(CONFIDENCE, CORRECT) == pytest.approx(0.064722, abs=1e-6)  # the oracle
    assert excess_aurc(CONFIDENCE, CORRECT) == pytest.approx(0.117817, abs=1e-6)
    assert augrc(CONFIDENCE, CORRECT) == pytest.approx(0.125)
    assert accuracy_at(0.5, CONFIDENCE, CORRECT) == pytest.approx(0.80)


def test_the_largest_coverage_counts_because_risk_falls_again() -> None:
    coverage, risk = risk_coverage(CONFIDENCE, CORRECT)
    assert coverage.tolist() == [k / 10 for k in range(1, 11)]
    assert (risk[3], risk[4], risk[5]) == (0.25, 0.2, pytest.approx(1 / 6))
    assert coverage_at(0.2, CONFIDENCE, CORRECT) == 0.60
    assert coverage_at(0.0, [0.9, 0.8], [0, 1]) is None


def test_without_ties_the_area_is_the_mean_of_cumulative_risks() -> None:
    # Broken apart by less than a tie, the hand values for the best, worst and given order come out.
    for order, by_hand in [("best", 0.153175), ("worst", 0.211905), ("given", 0.178571)]:
        tilt = {"best": np.array(CORRECT), "worst": -np.array(CORRECT), "given": -np.arange(10) / 10}[order]
        assert aurc(np.array(CONFIDENCE) + 0.001 * tilt, CORRECT) == pytest.approx(by_hand, abs=1e-6)


def test_no_order_of_the_rows_changes_anything() -> None:
    rng = np.random.default_rng(0)
    c, a = np.round(rng.random(60), 1), rng.random(60) < 0.7
    for _ in range(10):
        order = rng.permutation(60)
        for score in (aurc, augrc, auroc, excess_aurc):
            assert score(c[order], a[order]) == pytest.approx(score(c, a), abs=1e-12)
        assert coverage_at(0.25, c[order], a[order]) == coverage_at(0.25, c, a)


def test_auroc_is_the_share_of_pairs() -> None:
    rng = np.random.default_rng(1)
    c, a = np.round(rng.random(40), 1), rng.random(40) < 0.5
    pairs = [(c[i] > c[j]) + (c[i] == c[j]) / 2 for i, j in itertools.product(np.flatnonzero(a), np.flatnonzero(~a))]
    assert auroc(c, a) == pytest.approx(np.mean(pairs))
    assert auroc([0.9, 0.8], [1, 1]) is None
    assert auroc([0.9, 0.8], [0, 0]) is None


def test_perfect_and_hopeless_ranking() -> None:
    assert aurc([0.9, 0.8, 0.7], [1, 1, 1]) == 0
    assert aurc([0.9, 0.8, 0.7], [0, 0, 0]) == 1
    assert excess_aurc([0.9, 0.8, 0.7], [1, 1, 0]) == pytest.approx(0)
    assert augrc([0.9, 0.8], [0, 0]) == pytest.approx(0.75)


def test_accuracy_at_takes_whole_items_in_exact_decimals() -> None:
    right = [1] * 3 + [0] * 27
    sure = np.linspace(1, 0.5, 30)
    assert accuracy_at(0.1, sure, right) == 1.0  # ceil(.1 * 30) is 3
    assert accuracy_at(0.11, sure, right) == pytest.approx(3 / 4)
    assert accuracy_at(1, sure, right) == pytest.approx(0.1)
    with pytest.raises(DataError, match="coverage: 0 is not possible"):
        accuracy_at(0, sure, right)


def test_cost_threshold() -> None:
    assert cost_threshold(false_alarm=1, miss=5) == pytest.approx(1 / 6)
    assert cost_threshold(false_alarm=2, miss=2) == 0.5
    for false_alarm, miss in [(0, 0), (-1, 2)]:
        with pytest.raises(DataError, match="costs"):
            cost_threshold(false_alarm, miss)


@pytest.mark.parametrize(
    ("n", "alpha", "k"), [(8, 0.1, 9), (9, 0.1, 9), (19, 0.1, 18), (99, 0.1, 90), (100, 0.1, 91), (19, 0.05, 19), (9, 0.3, 7)]
)
def test_conformal_rank(n: int, alpha: float, k: int) -> None:
    assert conformal_rank(n, alpha) == k


def test_conformal_sets_by_hand() -> None:
    p = np.array([[1 - k / 20, k / 20] for k in range(1, 10)])  # scores .05, .10, ... .45 of the true label 0
    new = np.array([[0.9, 0.1], [0.55, 0.45], [0.5, 0.5], [0.45, 0.55]])
    # n = 9, alpha = .1: the 9th smallest score, .45, so labels of at least .55 stay. alpha = .5: the 5th, .25.
    assert conformal_sets([0] * 9, p, new, 0.1).tolist() == [[True, False], [True, False], [False, False], [False, True]]
    assert conformal_sets([0] * 9, p, new, 0.5).tolist() == [[True, False], [False, False], [False, False], [False, False]]
    assert conformal_sets([0] * 8, p[:8], new, 0.1).all()  # k = 9 of 8: all labels


def test_conformal_sets_cover_as_promised() -> None:
    rng = np.random.default_rng(4)
    p = rng.dirichlet([1.0, 1.0, 1.0], size=4000)
    y = np.array([rng.choice(3, p=row) for row in p])
    inside = conformal_sets(y[:1000], p[:1000], p[1000:], 0.1)
    assert inside[np.arange(3000), y[1000:]].mean() == pytest.approx(0.9, abs=0.025)
    with pytest.raises(DataError, match="as wide as the 3 calibrated labels"):
        conformal_sets(y[:10], p[:10], [[0.5, 0.5]])
