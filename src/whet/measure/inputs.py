"""Arrays checked at the door. Rows and labels are counted from 0, as numpy counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whet.errors import DataError, Problem

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Six-digit decimals of 77 labels still pass; raw scores, or a softmax over another label set, do not.
SUM_TOLERANCE = 1e-4
ROWS_NAMED = 10


def check_probabilities(values: ArrayLike, where: str = "probabilities") -> FloatArray:
    """The probabilities as float64, (N, C): finite, not negative, every row summing to 1.

    Args:
        values: (N, C), one row an example, one column a label.
        where: what to call the array in an error.
    Raises:
        DataError: naming each bad row (the first ten of each kind).
    """
    array = check_floats(values, where, dimensions=2)
    negative = array.min(axis=1) < 0
    off = (np.abs(array.sum(axis=1) - 1.0) > SUM_TOLERANCE) & ~negative
    _refuse(
        *_rows(where, negative, lambda row: f"probability {array[row].min():.6g} is negative", "Give values from 0 to 1"),
        *_rows(
            where,
            off,
            lambda row: f"the probabilities sum to {array[row].sum():.6g}, not 1",
            "Turn scores into probabilities with whet.measure.calibration.softmax",
        ),
    )
    return array


def check_scores(values: ArrayLike, where: str = "scores") -> FloatArray:
    """The scores (log-probabilities) as float64, (N, C), all finite.

    Raises:
        DataError: naming each row that is not finite.
    """
    return check_floats(values, where, dimensions=2)


def check_targets(values: ArrayLike, n_labels: int, n: int | None = None, where: str = "targets") -> IntArray:
    """The targets as int64, (N,), each the position of a label.

    Args:
        values: (N,) integers (or booleans) from 0 to `n_labels` - 1.
        n_labels: how many labels there are.
        n: how many examples there must be, where that is known.
        where: what to call the array in an error.
    Raises:
        DataError: for another shape or type, and naming each row out of range. -1 is out of range: numpy would read it
            as the last label.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iub":
        what = f"{array.dtype} of shape {array.shape} where integers of shape (N,), N at least 1, are needed"
        _refuse(Problem(where, what, "Give the position of each example's label in `labels`"))
    if n is not None and array.size != n:
        _refuse(Problem(where, f"{array.size} rows beside {n} rows of predictions", "Give one target per prediction"))
    array = array.astype(np.int64)
    outside = (array < 0) | (array >= n_labels)
    do = f"Give a position from 0 to {n_labels - 1}"
    _refuse(*_rows(where, outside, lambda row: f"there is no label {array[row]} among {n_labels}", do))
    return array


def check_confidence(confidence: ArrayLike, correct: ArrayLike) -> tuple[FloatArray, BoolArray]:
    """The confidences as float64 and whether each was right as bool, both (N,).

    Args:
        confidence: (N,) from 0 to 1.
        correct: (N,) booleans, or 0 and 1.
    Raises:
        DataError: for other shapes, and naming each row out of range.
    """
    c = check_floats(confidence, "confidence", dimensions=1)
    a = check_floats(correct, "correct", dimensions=1)
    if len(c) != len(a):
        _refuse(Problem("correct", f"{len(a)} rows beside {len(c)} confidences", "Give one per example"))
    outside = (c < 0) | (c > 1 + SUM_TOLERANCE)
    _refuse(
        *_rows("confidence", outside, lambda row: f"{c[row]:.6g} is no probability", "Give values from 0 to 1"),
        *_rows("correct", (a != 0) & (a != 1), lambda row: f"{a[row]:.6g} is not 0 or 1", "Give True or False"),
    )
    return np.minimum(c, 1.0), a.astype(np.bool_)


def check_labels(labels: Sequence[str], n_labels: int) -> tuple[str, ...]:
    """The labels as a tuple, one per column, all different.

    Raises:
        DataError: for a wrong number of labels or a label that stands twice.
    """
    twice = sorted({label for label in labels if list(labels).count(label) > 1})
    if twice:
        _refuse(Problem("labels", f"{', '.join(map(repr, twice))} stands twice", "Name every label once"))
    if len(labels) != n_labels:
        what = f"{len(labels)} labels for {n_labels} columns of probabilities"
        _refuse(Problem("labels", what, "Give one label per column, in the order of the columns"))
    return tuple(labels)


def check_floats(values: ArrayLike, where: str, dimensions: int) -> FloatArray:
    """The values as float64 with `dimensions` axes, not empty, all finite.

    Raises:
        DataError: for another shape, for what is no number, and naming each row with NaN or infinity.
    """
    shape = "(N,)" if dimensions == 1 else "(N examples, C labels)"
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(Problem(where, f"not an array of numbers: {error}", f"Give numbers of shape {shape}")) from error
    if array.ndim != dimensions or array.size == 0:
        _refuse(Problem(where, f"shape {array.shape} where {shape}, N at least 1, is needed", "Give at least one example"))
    table = array.reshape(len(array), -1)
    bad = ~np.isfinite(table)
    do = "Find out where NaN or infinity came from; no average survives it"
    _refuse(*_rows(where, bad.sum(axis=1) > 0, lambda row: f"{table[row][bad[row]][0]} is not a finite number", do))
    return array


def _rows(where: str, bad: BoolArray, what: Callable[[int], str], do: str) -> list[Problem]:
    rows = np.flatnonzero(bad).tolist()
    problems = [Problem(f"{where}, row {row}", what(row), do) for row in rows[:ROWS_NAMED]]
    if len(rows) > ROWS_NAMED:
        problems.append(Problem(where, f"{len(rows) - ROWS_NAMED} more rows like row {rows[ROWS_NAMED - 1]}", do))
    return problems


def _refuse(*problems: Problem) -> None:
    if problems:
        raise DataError(*problems)
