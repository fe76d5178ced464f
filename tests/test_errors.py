"""Errors: where + what + do, several at once, picklable, each with its exit code."""

from __future__ import annotations

import pickle

import pytest

from whet.errors import DataError, Interrupted, ModelError, Problem, RecipeError, RunError, UserError, WhetError


@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("Mend it", "t.csv, row 2: a cell is bad. Mend it."),
        ("Mend it.", "t.csv, row 2: a cell is bad. Mend it."),
        ("Did you mean `x`?", "t.csv, row 2: a cell is bad. Did you mean `x`?"),
        ("", "t.csv, row 2: a cell is bad."),
    ],
)
def test_a_problem_is_a_sentence(do: str, said: str) -> None:
    assert str(Problem("t.csv, row 2", "a cell is bad", do)) == said


def test_all_problems_are_said() -> None:
    error = DataError(Problem("a", "b", "C"), Problem("d", "e", "F"))
    assert str(error) == "a: b. C.\nd: e. F." and len(error.problems) == 2
    assert str(DataError.at("a", "b", "C")) == "a: b. C."


@pytest.mark.parametrize(
    ("kind", "code"),
    [(WhetError, 3), (UserError, 2), (RecipeError, 2), (DataError, 2), (ModelError, 2), (RunError, 2), (Interrupted, 130)],
)
def test_exit_codes_and_pickling(kind: type[WhetError], code: int) -> None:
    error = kind(Problem("a", "b", "C"))
    again = pickle.loads(pickle.dumps(error))  # between our own processes
    assert (type(again), again.problems, again.exit_code) == (kind, error.problems, code)
