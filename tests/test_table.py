"""The records of a table."""

from __future__ import annotations

import pytest

from whet.data.table import MAX_CELL_CHARS, Row, Table, bad_row, cell_fault, header_problems


def test_what_was_read_is_what_is_there() -> None:
    table = Table("t.csv", ("a", "b"), (Row(2, 2, ("x", None)), Row(4, 5, ("", "y"))), (bad_row("t.csv", 3, 3, "wrong"),))
    assert table.read == 3
    assert table.column("b") == [None, "y"]
    with pytest.raises(ValueError):
        table.column("c")


def test_a_bad_row_names_its_line_only_where_that_is_another_number() -> None:
    assert bad_row("t.csv", 3, 3, "wrong").detail == "wrong"
    assert bad_row("t.csv", 3, 7, "wrong").detail == "line 7: wrong"
    assert len(bad_row("t.csv", 3, 7, "wrong", "x" * 10_000).text) == 200


def test_cells_that_cannot_be_used() -> None:
    columns = ("text", "label")
    assert cell_fault(("fine \U0001f600 é", None), columns) is None
    assert cell_fault(("", "x" * MAX_CELL_CHARS), columns) is None
    assert (
        cell_fault(("", "x" * (MAX_CELL_CHARS + 1)), columns)
        == "1,048,577 characters in column 'label', and a cell may hold 1,048,576"
    )
    assert cell_fault(("\x00", ""), columns) == "a NUL byte in column 'text'"
    assert cell_fault(("", "\udfff"), columns) == "half a surrogate pair in column 'label': no such character exists"


def test_every_name_that_stands_twice_is_told() -> None:
    assert header_problems("t.csv", ("a", "b", "c")) == []
    assert [p.what for p in header_problems("t.csv", ("a", "b", "a", "b", "a"))] == [
        "the column name 'a' stands 3 times (columns 1, 3, 5)",
        "the column name 'b' stands 2 times (columns 2, 4)",
    ]
