"""One record for one split, against hand-computed values and scikit-learn."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.inputs import FloatArray, IntArray
from whet.measure.metrics import (
    Threshold,
    brier,
    confusion_matrix,
    f1_by_threshold,
    macro_f1,
    measure,
    nll,
    statistics,
)

THREE_LABELS = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]
THREE_TARGETS = [0, 0, 2, 1]


@pytest.fixture(scope="module")
def people(shared: Path) -> tuple[IntArray, FloatArray]:
    """50 sentences: the gold label, and as probabilities the shares of up to ten annotators who said (No Pledge, Pledge)."""
    with (shared / "data/promises/pledge_multi_annotator_50.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    votes = [[row[name] for name in row if name.startswith("human") and row[name] in ("Pledge", "No Pledge")] for row in rows]
    share = np.array([said.count("Pledge") / len(said) for said in votes])
    assert len(rows) == 50
    return np.array([int(row["gold"]) for row in rows]), np.stack([1 - share, share], axis=1)


def test_hand_computed_values_of_three_labels() -> None:
    assert brier(THREE_TARGETS, THREE_LABELS) == pytest.approx(0.50)
    for row, by_hand in enumerate([0.14, 0.62, 0.38, 0.86]):
        assert brier(THREE_TARGETS[row : row + 1], THREE_LABELS[row : row + 1]) == pytest.approx(by_hand)
    assert nll(THREE_TARGETS, THREE_LABELS) == pytest.approx(0.792521, abs=1e-6)
    found = measure(THREE_TARGETS, THREE_LABELS, ["a", "b", "c"], bins=10)
    assert found.accuracy == 0.5
    assert found.ece == pytest.approx(0.225)
    assert found.classwise_ece == pytest.approx(0.30)
    assert found.confusion == ((1, 1, 0), (1, 0, 0), (0, 0, 1))
    assert found.macro_f1 == pytest.approx((1 / 2 + 0 + 1) / 3)


def test_hand_computed_values_of_ten_answers_judged_right_or_wrong() -> None:
    """The top-label figures of ten items are those of a two-label problem, "was it right"."""
    c = np.array([0.95, 0.95, 0.85, 0.85, 0.75, 0.75, 0.65, 0.65, 0.55, 0.55])
    correct = np.array([1, 1, 1, 0, 1, 1, 0, 1, 0, 1])
    p = np.stack([1 - c, c], axis=1)
    assert nll(correct, p) == pytest.approx(0.561454, abs=1e-6)
    assert brier(correct, p) == pytest.approx(2 * 0.1925)  # the sum over two labels is twice the top-label (c - a)^2


@pytest.mark.parametrize("n_labels", [2, 3, 77])
def test_anchors(n_labels: int) -> None:
    uniform = np.full((n_labels, n_labels), 1 / n_labels)
    everything = np.arange(n_labels)
    assert brier(everything, uniform) == pytest.approx(1 - 1 / n_labels)
    assert nll(everything, uniform) == pytest.approx(math.log(n_labels))
    assert brier(everything, np.roll(np.eye(n_labels), 1, axis=1)) == 2  # certain and wrong
    assert brier(everything, np.eye(n_labels)) == nll(everything, np.eye(n_labels)) == 0


def test_agrees_with_scikit_learn_on_what_people_said(people: tuple[IntArray, FloatArray]) -> None:
    from sklearn.metrics import (  # type: ignore[import-untyped]
        brier_score_loss,
        confusion_matrix,
        log_loss,
        precision_recall_fscore_support,
    )

    y, p = people
    found = measure(y, p, ["No Pledge", "Pledge"])
    answers = p.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(y, answers)
    assert found.confusion == tuple(map(tuple, confusion_matrix(y, answers).tolist()))
    for k, label in enumerate(found.labels):
        one = found.per_label[label]
        assert (one.precision, one.recall, one.f1) == pytest.approx((precision[k], recall[k], f1[k]))
        assert one.n == support[k] == 25
    assert found.macro_f1 == pytest.approx(f1.mean())
    assert found.brier == pytest.approx(2 * brier_score_loss(y, p[:, 1]))
    assert found.nll == pytest.approx(log_loss(y, p))
    assert found.ties == int((p[:, 0] == p[:, 1]).sum())


def test_a_tie_goes_to_the_lowest_label_and_is_counted() -> None:
    found = measure([1, 0, 1], [[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]], ["a", "b"])
    assert found.ties == 2
    assert found.confusion == ((1, 0), (1, 1))
    assert measure([0], [[0.2, 0.4, 0.4]], ["a", "b", "c"]).confusion == ((0, 1, 0), (0, 0, 0), (0, 0, 0))


def test_a_label_that_occurs_nowhere_is_left_out_of_macro_f1_and_one_only_answered_is_not() -> None:
    absent = measure([0, 1], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]], ["a", "b", "c"])
    assert absent.macro_f1 == 1
    assert absent.per_label["c"].to_json() == {"precision": None, "recall": None, "f1": None, "n": 0}
    answered = measure([0, 1], [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], ["a", "b", "c"])
    assert answered.macro_f1 == pytest.approx(1 / 3)
    assert answered.per_label["c"].to_json() == {"precision": 0.0, "recall": None, "f1": 0.0, "n": 0}
    assert answered.per_label["b"].to_json() == {"precision": None, "recall": 0.0, "f1": 0.0, "n": 1}


def test_zero_for_the_truth_is_counted_and_costs_what_scikit_learn_says() -> None:
    found = measure([1, 0], [[1.0, 0.0], [0.5, 0.5]], ["a", "b"])
    assert found.clipped == 1
    assert found.nll == pytest.approx((-math.log(2**-52) + math.log(2)) / 2)


def test_the_record_is_the_contract() -> None:
    record = measure(THREE_TARGETS, THREE_LABELS, ["a", "b", "c"]).to_json()
    promised = "n labels accuracy macro_f1 per_label confusion nll brier aurc ties"
    of_calibration = "ece ece_floor ece_floor_p95 ece_equal_mass classwise_ece"
    assert {*promised.split(), *of_calibration.split()} <= record.keys()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert list(record["per_label"]["a"]) == ["precision", "recall", "f1", "n"]
    short = measure(THREE_TARGETS, THREE_LABELS, ["a", "b", "c"]).to_short_json()
    assert short == {key: record[key] for key in ("n", "accuracy", "macro_f1", "nll", "brier", "ece", "ece_floor")}


def test_the_order_of_rows_changes_nothing(people: tuple[IntArray, FloatArray]) -> None:
    y, p = people
    order = np.random.default_rng(0).permutation(50)
    one, other = measure(y, p, ["no", "yes"]).to_json(), measure(y[order], p[order], ["no", "yes"]).to_json()
    assert one.pop("per_label") == other.pop("per_label")
    assert one.pop("confusion") == other.pop("confusion")
    assert one.pop("labels") == other.pop("labels")
    assert one == pytest.approx(other, abs=1e-12)


def test_the_order_of_labels_only_moves_labels() -> None:
    rng = np.random.default_rng(1)
    p, y = rng.dirichlet([1.0] * 4, size=80), rng.integers(4, size=80)
    names = np.array(["a", "b", "c", "d"])
    order = np.array([2, 0, 3, 1])
    one = measure(y, p, names.tolist())
    other = measure(np.argsort(order)[y], p[:, order], names[order].tolist())
    assert dict(one.per_label) == dict(other.per_label)
    assert np.array_equal(np.array(one.confusion)[np.ix_(order, order)], other.confusion)
    figures = ("accuracy", "macro_f1", "nll", "brier", "ece", "ece_floor", "ece_equal_mass", "classwise_ece", "aurc", "ties")
    assert [getattr(one, name) for name in figures] == pytest.approx([getattr(other, name) for name in figures], abs=1e-12)


def test_statistics_of_all_rows_are_the_metrics_and_of_some_rows_those_of_these(people: tuple[IntArray, FloatArray]) -> None:
    y, p = people
    rows = np.array([3, 3, 3, 7, 12, 49])
    for chosen in (np.arange(50), rows):
        found = measure(y[chosen], p[chosen], ["no", "yes"]).to_json()
        values = {name: statistic(chosen) for name, statistic in statistics(y, p).items()}
        assert set(values) == {"accuracy", "macro_f1", "nll", "brier", "ece"}
        assert values == pytest.approx({name: found[name] for name in values}, abs=1e-12)


def test_confusion_has_truth_in_rows() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert macro_f1(matrix) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_f1_by_threshold_by_hand() -> None:
    found = f1_by_threshold([1, 1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.4, 0.3])
    assert [t.threshold for t in found] == [0.9, 0.8, 0.7, 0.6, 0.4, 0.3]
    assert [t.f1 for t in found] == pytest.approx([0.5, 0.8, 0.6667, 0.8571, 0.75, 0.6667], abs=5e-5)
    assert max(found, key=lambda t: t.f1).threshold == 0.6


def test_f1_by_threshold_never_cuts_through_equal_scores() -> None:
    assert f1_by_threshold([0, 1, 1], [0.5, 0.5, 0.2]) == (Threshold(0.5, 0.5), Threshold(0.2, 0.8))
    with pytest.raises(DataError, match="no example is positive"):
        f1_by_threshold([0, 0], [0.5, 0.2])


@pytest.mark.parametrize(
    ("targets", "labels", "said"),
    [
        ([0, 0, 2], ["a", "b", "c"], "targets: 3 rows beside 4 rows of predictions"),
        ([0, 0, 2, 3], ["a", "b", "c"], "targets, row 3: there is no label 3 among 3"),
        ([0, 0, 2, 1], ["a", "b"], "labels: 2 labels for 3 columns"),
        ([0, 0, 2, 1], ["a", "b", "b"], "labels: 'b' stands twice"),
    ],
)
def test_what_does_not_fit_is_refused(targets: list[int], labels: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        measure(targets, THREE_LABELS, labels)
