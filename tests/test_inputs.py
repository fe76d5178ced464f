"""Arrays checked at the door: what is refused, and that the row is named."""

from __future__ import annotations

import re

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.inputs import (
    ROWS_NAMED,
    check_confidence,
    check_labels,
    check_probabilities,
    check_scores,
    check_targets,
)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[0.5, 0.5], [np.nan, 1.0]], "probabilities, row 1: nan is not a finite number"),
        ([[0.5, 0.5], [0.5, 0.5], [np.inf, 0.0]], "probabilities, row 2: inf is not a finite number"),
        ([[0.5, 0.5], [1.2, -0.2]], "probabilities, row 1: probability -0.2 is negative"),
        ([[0.5, 0.4], [0.5, 0.5]], "probabilities, row 0: the probabilities sum to 0.9, not 1"),
        ([[-1.2, -1.5], [0.5, 0.5]], "probabilities, row 0: probability -1.5 is negative"),
        ([], "probabilities: shape (0,) where (N examples, C labels), N at least 1, is needed"),
        (np.zeros((0, 2)), "probabilities: shape (0, 2) where"),
        ([0.5, 0.5], "probabilities: shape (2,) where"),
        ([[0.5, 0.5], [1.0]], "probabilities: not an array of numbers"),
        ([["yes", "no"]], "probabilities: not an array of numbers"),
    ],
)
def test_what_is_no_probability_is_refused_with_its_row(rows: list[list[float]], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        check_probabilities(rows)


def test_all_bad_rows_are_said_at_once_and_a_flood_is_counted() -> None:
    with pytest.raises(DataError) as two_kinds:
        check_probabilities([[0.5, 0.4], [1.2, -0.2], [0.5, 0.5], [0.1, 0.1]])
    assert [problem.where for problem in two_kinds.value.problems] == [f"probabilities, row {row}" for row in (1, 0, 3)]
    with pytest.raises(DataError) as flood:
        check_probabilities(np.full((1000, 2), 0.4))
    assert len(flood.value.problems) == ROWS_NAMED + 1
    assert "990 more rows like row 9" in str(flood.value)


def test_rounded_and_float32_probabilities_pass() -> None:
    assert check_probabilities(np.full((3, 77), round(1 / 77, 6))).dtype == np.float64
    assert check_probabilities(np.array([[0.1, 0.2, 0.7]], dtype=np.float32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([0, 1, -1], "targets, row 2: there is no label -1 among 2"),
        ([0, 2, 1], "targets, row 1: there is no label 2 among 2"),
        ([0.0, 1.0], "targets: float64 of shape (2,) where integers"),
        (["yes", "no"], "where integers of shape (N,), N at least 1, are needed"),
        (np.zeros(0, dtype=np.int64), "targets: int64 of shape (0,)"),
        ([[0, 1]], "targets: int64 of shape (1, 2)"),
    ],
)
def test_what_is_no_target_is_refused_with_its_row(targets: list[int], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        check_targets(targets, 2)


def test_targets_may_be_booleans_and_must_be_as_many_as_predictions() -> None:
    assert check_targets([True, False], 2, 2).tolist() == [1, 0]
    with pytest.raises(DataError, match="targets: 3 rows beside 2 rows of predictions"):
        check_targets([0, 1, 1], 2, 2)


@pytest.mark.parametrize(
    ("confidence", "correct", "said"),
    [
        ([0.9, 1.1], [1, 0], "confidence, row 1: 1.1 is no probability"),
        ([0.9, 0.8], [1, 0.5], "correct, row 1: 0.5 is not 0 or 1"),
        ([0.9, 0.8], [1], "correct: 1 rows beside 2 confidences"),
        ([], [], "confidence: shape (0,)"),
    ],
)
def test_what_is_no_confidence_is_refused(confidence: list[float], correct: list[float], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        check_confidence(confidence, correct)


def test_a_confidence_rounded_above_one_counts_as_one() -> None:
    confidence, _ = check_confidence([1.0000001], [True])
    assert confidence.tolist() == [1.0]


def test_labels_are_as_many_as_columns_and_different() -> None:
    assert check_labels(["yes", "no"], 2) == ("yes", "no")
    with pytest.raises(DataError, match="labels: 'no' stands twice"):
        check_labels(["no", "yes", "no"], 3)
    with pytest.raises(DataError, match="labels: 2 labels for 3 columns"):
        check_labels(["no", "yes"], 3)


def test_scores_must_be_finite() -> None:
    with pytest.raises(DataError, match="scores, row 1: -inf is not a finite number"):
        check_scores([[-1.0, -2.0], [-1.0, -np.inf]])
