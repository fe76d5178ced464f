"""From scores to probabilities: hand-computed values, edges and properties."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.calibration import (
    HIGHEST,
    LOWEST,
    Calibration,
    contextual,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    label_mass,
    log_softmax,
    platt_targets,
    softmax,
)
from whet.measure.inputs import FloatArray, IntArray
from whet.measure.metrics import nll

# Log-probabilities of the tokens of three labels after one prompt.
TOKENS = {"yes": [-1.2], "no": [-1.5], "not a promise": [-1.9, -0.2, -0.1]}
UNCONDITIONAL = {"yes": -2.0, "no": -1.6, "not a promise": -6.0}


def overconfident(n: int, seed: int = 0) -> tuple[IntArray, FloatArray]:
    """Targets drawn from softmax(z), and scores 3 z: the right temperature is 3."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, size=(n, 3))
    p = softmax(z)
    return np.array([rng.choice(3, p=row) for row in p]), 3 * z


def test_the_sum_rule_by_hand_and_what_other_rules_would_say() -> None:
    total = np.array([[sum(t) for t in TOKENS.values()]])
    assert total.round(6).tolist() == [[-1.2, -1.5, -2.2]]
    assert softmax(total)[0] == pytest.approx([0.4742, 0.3513, 0.1745], abs=5e-5)
    per_token = [[sum(t) / len(t) for t in TOKENS.values()]]
    assert softmax(per_token)[0] == pytest.approx([0.2998, 0.2221, 0.4781], abs=5e-5)
    pmi = total - list(UNCONDITIONAL.values())
    assert softmax(pmi)[0] == pytest.approx([0.0463, 0.0230, 0.9307], abs=5e-5)
    assert label_mass(total) == pytest.approx([math.exp(-1.2) + math.exp(-1.5) + math.exp(-2.2)])


def test_softmax_of_far_apart_scores_stays_a_distribution() -> None:
    p = softmax([[0.0, -5000.0], [-1e6, -1e6], [3.0, 3.0]], 0.05)
    assert p.tolist() == [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]
    assert log_softmax([[0.0, -5000.0]]).tolist() == [[0.0, -5000.0]]
    scores = np.random.default_rng(0).normal(size=(20, 4))
    assert softmax(scores + 100) == pytest.approx(softmax(scores))
    assert np.exp(log_softmax(scores)) == pytest.approx(softmax(scores))


def test_temperature_by_hand() -> None:
    fit = fit_temperature([0, 0, 0, 1], [[2.0, 0.0]] * 4, ["yes", "no"], "abc")
    assert fit.temperature == pytest.approx(2 / math.log(3), abs=1e-6) == pytest.approx(1.820478, abs=1e-6)
    assert fit.nll_before == pytest.approx(0.626928, abs=1e-6)
    assert fit.nll_after == pytest.approx(0.562335, abs=1e-6)
    assert fit.ece_before == pytest.approx(0.130797, abs=1e-6)
    assert fit.ece_after == pytest.approx(0, abs=1e-6)
    assert (fit.at_bound, fit.n, fit.labels, fit.split_sha256) == (False, 4, ("yes", "no"), "abc")


@pytest.mark.parametrize("gap", [2.0, 40.0, 400.0])
def test_all_right_runs_into_the_lower_bound(gap: float) -> None:
    """Even where 40 nats leave nothing of 1 - p: the cost must not round to 0 before the bound is reached."""
    fit = fit_temperature([0, 1], [[gap, 0.0], [0.0, gap]], ["a", "b"])
    assert (fit.temperature, fit.at_bound) == (LOWEST, True)
    assert fit.nll_after < fit.nll_before


def test_worse_than_chance_runs_into_the_upper_bound() -> None:
    fit = fit_temperature([0, 1, 1, 1], [[2.0, 0.0]] * 4, ["a", "b"])
    assert (fit.temperature, fit.at_bound) == (HIGHEST, True)


def test_scores_that_say_nothing_are_left_alone() -> None:
    fit = fit_temperature([0, 1, 1], [[-1.0, -1.0]] * 3, ["a", "b"])
    assert (fit.temperature, fit.at_bound) == (1.0, False)
    assert fit.nll_after == fit.nll_before == pytest.approx(math.log(2))


def test_the_temperature_that_made_the_scores_is_found_and_is_the_lowest() -> None:
    y, scores = overconfident(3000)
    fit = fit_temperature(y, scores, ["a", "b", "c"])
    assert fit.temperature == pytest.approx(3, rel=0.08)
    assert fit.ece_after < 0.03 < 0.1 < fit.ece_before
    assert fit.nll_before == pytest.approx(nll(y, softmax(scores)))
    assert fit.nll_after == pytest.approx(nll(y, softmax(scores, fit.temperature)))
    for other in np.exp(np.linspace(math.log(LOWEST), math.log(HIGHEST), 200)):
        assert nll(y, softmax(scores, other)) >= fit.nll_after - 1e-12


def test_temperature_keeps_the_answer_and_does_not_care_for_order() -> None:
    y, scores = overconfident(200, seed=1)
    for temperature in (LOWEST, 0.3, 1.0, 4.0, HIGHEST):
        assert (softmax(scores, temperature).argmax(axis=1) == scores.argmax(axis=1)).all()
    rows, columns = np.random.default_rng(0).permutation(200), np.array([2, 0, 1])
    fit = fit_temperature(y, scores, ["a", "b", "c"])
    moved = fit_temperature(np.argsort(columns)[y[rows]], scores[rows][:, columns], ["c", "a", "b"])
    assert moved.temperature == pytest.approx(fit.temperature, rel=1e-5)
    calibrated = fit.apply(scores, ["a", "b", "c"])
    assert calibrated[:, columns] == pytest.approx(moved.apply(scores[:, columns], ["c", "a", "b"]), abs=1e-5)


def test_a_calibration_is_not_applied_to_other_labels() -> None:
    fit = fit_temperature([0, 0, 1], [[2.0, 0.0]] * 3, ["yes", "no"])
    assert fit.apply([[2.0, 0.0]], ["yes", "no"])[0, 0] == pytest.approx(2 / 3, abs=1e-6)
    for labels in (["no", "yes"], ["yes", "no", "maybe"]):
        with pytest.raises(DataError, match="calibration: fitted for labels"):
            fit.apply([[2.0, 0.0]], labels)


def test_the_record_is_the_contract() -> None:
    fit = fit_temperature([0, 0, 1], [[2.0, 0.0]] * 3, ["yes", "no"], "abc")
    record = json.loads(json.dumps(fit.to_json(), allow_nan=False))
    promised = "method temperature at_bound n labels split_sha256 nll_before nll_after ece_before ece_after"
    assert set(record) == set(promised.split())
    assert record["method"] == "temperature"
    assert Calibration.from_json(record) == fit


def test_platt_targets_by_hand() -> None:
    assert platt_targets([1] * 7 + [0] * 3) == pytest.approx((0.888889, 0.2), abs=1e-6)


def test_platt_finds_its_sigmoid_and_refuses_a_falling_one() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=5000)
    right = rng.random(5000) < 1 / (1 + np.exp(-(2 * score - 1)))
    fit = fit_platt(score, right)
    assert (fit.slope, fit.intercept) == pytest.approx((2, -1), abs=0.15)
    assert fit.apply([0.5]) == pytest.approx([0.5], abs=0.03)
    assert fit.apply([-1e4, 1e4]).tolist() == [0.0, 1.0]
    with pytest.raises(DataError, match="ranks wrong answers above right ones"):
        fit_platt(-score, right)


def test_platt_of_a_perfect_split_is_not_certain() -> None:
    fit = fit_platt([-1.0] * 3 + [1.0] * 7, [0] * 3 + [1] * 7)
    assert fit.apply([-1.0, 1.0]) == pytest.approx([0.2, 8 / 9], abs=1e-4)


def test_isotonic_by_hand() -> None:
    fit = fit_isotonic([1, 2, 3, 4, 5, 6], [1, 0, 1, 0, 1, 1])
    assert fit.apply([1, 2, 3, 4]).tolist() == [0.5] * 4
    assert fit.apply([5, 6]) == pytest.approx([1 - 1 / 12] * 2)  # 1, clipped to 1 - 1/(2n)
    assert fit.apply([-10, 10]) == pytest.approx([0.5, 1 - 1 / 12])
    assert fit_isotonic([1, 2], [0, 1]).apply([1, 2]) == pytest.approx([0.25, 0.75])
    assert not fit.has_enough
    assert fit_isotonic(np.arange(1000), np.arange(1000) > 500).has_enough


def test_isotonic_gives_equal_scores_their_share() -> None:
    assert fit_isotonic([1, 1, 1, 1, 2, 2], [1, 0, 0, 0, 1, 0]).apply([1, 2]) == pytest.approx([0.25, 0.5])


def test_contextual_by_hand_flips_the_answer() -> None:
    fair = contextual([[0.6, 0.4]], [[0.7, 0.3]])
    assert fair[0] == pytest.approx([0.391304, 0.608696], abs=1e-6)
    assert fair[0, 1] / fair[0, 0] == pytest.approx(1.333333 / 0.857143, rel=1e-5)
    assert contextual([[0.6, 0.4]], [[0.9, 0.1], [0.5, 0.5]]) == pytest.approx(fair)  # their mean is what counts


def test_contextual_edges() -> None:
    p = np.random.default_rng(0).dirichlet([1.0, 1.0, 1.0], size=10)
    assert contextual(p, [[1 / 3] * 3]) == pytest.approx(p)
    assert contextual([[0.5, 0.5]], [[1.0, 0.0]]).sum() == pytest.approx(1)  # a leaning of 0 is clamped
    with pytest.raises(DataError, match="content_free: 2 labels beside 3"):
        contextual(p, [[0.5, 0.5]])


def test_all_right_does_not_become_certain() -> None:
    """At the low end of the range the probabilities stay as they are; elsewhere the fit stands."""
    scores = np.log(np.tile([0.8, 0.2], (20, 1)))
    fitted = fit_temperature(np.zeros(20, int), scores, ["a", "b"])
    assert fitted.at_bound and fitted.temperature < 0.06
    careful = fitted.cautious()
    assert careful.temperature == 1 and careful.at_bound and careful.nll_after == careful.nll_before
    np.testing.assert_allclose(careful.apply(scores, ["a", "b"])[0], [0.8, 0.2])
    honest = fit_temperature(np.repeat([0, 1], [15, 5]), scores, ["a", "b"])
    assert not honest.at_bound and honest.cautious() == honest
