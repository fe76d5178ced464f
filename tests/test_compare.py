"""Two models on the same examples: hand-computed values, real annotators, paired differences."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.compare import compare, mcnemar, paired_difference
from whet.measure.metrics import statistics


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(2, 10, 0.03857), (10, 2, 0.03857), (0, 5, 0.0625), (0, 6, 0.03125), (5, 5, 1), (0, 0, 1), (1, 0, 1)],
)
def test_mcnemar_by_hand(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p, abs=5e-6)


def test_mcnemar_agrees_with_the_exact_binomial_test_and_holds_for_large_counts() -> None:
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    for wins, losses in [(3, 9), (40, 61), (500, 430), (2000, 2000)]:
        assert mcnemar(wins, losses) == pytest.approx(binomtest(wins, wins + losses).pvalue)
    assert mcnemar(3000, 2000) < 1e-40


def test_wins_losses_and_the_rows_that_got_worse() -> None:
    found = compare([0, 0, 1, 1, 2], now=[0, 1, 1, 0, 2], before=[1, 0, 1, 1, 2], labels=["a", "b", "c", "d"])
    assert (found.n, found.wins, found.losses, found.mcnemar_p) == (5, 1, 2, 1.0)
    assert found.regressions == (1, 3)
    assert found.recall_change == {"a": 0.0, "b": -0.5, "c": 0.0, "d": None}
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


def test_six_flips_one_way_are_the_fewest_that_show_a_regression() -> None:
    for flips, shown in [(5, False), (6, True)]:
        worse = compare([0] * 20, now=[1] * flips + [0] * (20 - flips), before=[0] * 20, labels=["a", "b"])
        assert worse.is_regression is shown
        assert worse.regressions == tuple(range(flips))
        better = compare([0] * 20, now=[0] * 20, before=[1] * flips + [0] * (20 - flips), labels=["a", "b"])
        assert not better.is_regression


def test_answers_must_be_of_the_same_examples() -> None:
    with pytest.raises(DataError, match="before: 2 rows beside 3 rows"):
        compare([0, 1, 1], [0, 1, 1], [0, 1], ["a", "b"])
    with pytest.raises(DataError, match="now, row 1: there is no label 2 among 2"):
        compare([0, 1], [0, 2], [0, 1], ["a", "b"])


def test_a_language_model_against_a_person(shared: Path) -> None:
    with (shared / "data/promises/pledge_multi_annotator_50.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["human_01"] in ("Pledge", "No Pledge")]
    gold = np.array([int(row["gold"]) for row in rows])
    model = np.array([row["llm_gpt-oss-120b"] == "Pledge" for row in rows])
    person = np.array([row["human_01"] == "Pledge" for row in rows])
    found = compare(gold, model, person, ["No Pledge", "Pledge"])
    assert found.n == len(rows) >= 45
    assert (found.wins - found.losses) / found.n == pytest.approx((model == gold).mean() - (person == gold).mean())
    assert all(model[row] != gold[row] == person[row] for row in found.regressions)
    assert len(found.regressions) == found.losses
    swapped = compare(gold, person, model, ["No Pledge", "Pledge"])
    assert (swapped.wins, swapped.losses, swapped.mcnemar_p) == (found.losses, found.wins, found.mcnemar_p)


def test_a_paired_difference_is_narrower_than_two_intervals_apart() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    strength = rng.normal(1, 1, size=300)  # easy and hard examples are so for both models
    p, q = (1 / (1 + np.exp(-strength - shift)) for shift in (0.4, 0.0))
    now, before = (np.where((y == 1)[:, None], np.stack([1 - r, r], axis=1), np.stack([r, 1 - r], axis=1)) for r in (p, q))
    found = paired_difference(statistics(y, now)["nll"], statistics(y, before)["nll"], 300, seed=1)
    assert found.value == pytest.approx(float((np.log(q) - np.log(p)).mean()))
    assert found.low < found.value < found.high < 0
    assert found.high - found.low < 0.05
    same = paired_difference(statistics(y, now)["macro_f1"], statistics(y, now)["macro_f1"], 300, seed=1)
    assert same.to_json() == {"value": 0.0, "low": 0.0, "high": 0.0}
