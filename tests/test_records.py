"""Records with named fields: every value is the text that was written."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from whet.data.columnar import table_from_arrow
from whet.data.records import read_json, read_json_lines
from whet.errors import DataError


def test_values_become_the_text_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": 0.10, "b": 1E+2, "c": 12345678901234567890, "d": "0.10", "e": false, "f": {"x": [1]}}\n')
    table = read_json_lines(file, source="t.jsonl")
    assert dict(zip(table.columns, table.rows[0].cells, strict=True)) == {
        "a": "0.10",
        "b": "1E+2",
        "c": "12345678901234567890",
        "d": "0.10",
        "e": "false",
        "f": '{"x": [1]}',
    }


def test_columns_are_all_keys_in_order_of_appearance_and_an_absent_key_is_no_value(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"b": "1"}\n{"a": "2", "b": ""}\n{"c": null}\n')
    table = read_json_lines(file, source="t.jsonl")
    assert table.columns == ("b", "a", "c")
    assert [row.cells for row in table.rows] == [("1", None, None), ("", "2", None), (None, None, None)]


def test_a_line_too_long_is_set_aside_and_the_next_is_read(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": "x"}\n{"a": "' + "y" * 5_000_000 + '"}\n{"a": "z"}\n')
    table = read_json_lines(file, source="t.jsonl")
    assert [row.cells for row in table.rows] == [("x",), ("z",)]
    assert table.drops[0].origin.row == 2 and "a line of more than" in table.drops[0].detail


def test_an_array_on_one_long_line_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps([{"a": f"{i} {'x' * 1000}"} for i in range(6000)]))
    assert len(read_json(file, source="t.json").rows) == 6000


def test_an_array_counts_from_one(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps([{"a": "x"}, "odd", {"a": "y"}]))
    table = read_json(file, source="t.json")
    assert [row.number for row in table.rows] == [1, 3]
    assert (table.drops[0].origin.row, table.drops[0].detail) == (2, "a str in the list, and no object with named fields")


@pytest.mark.parametrize("content", ["7", '"text"', "{}", '{"a": [1, 2]}', "[]", "[1]", ""])
def test_json_that_is_no_table(content: str, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(content)
    with pytest.raises(DataError):
        read_json(file, source="t.json")


def test_arrow_columns_of_one_name_are_refused() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
    with pytest.raises(DataError, match="'a' stands 2 times"):
        table_from_arrow(batch.schema, [batch], "t.parquet")


def test_dates_and_decimals_read_as_people_write_them() -> None:
    import datetime
    import decimal

    columns = {
        "day": [datetime.date(2026, 11, 23)],
        "when": [datetime.datetime(2026, 11, 23, 6, 30)],
        "sum": [decimal.Decimal("1.50")],
    }
    batch = pa.RecordBatch.from_pydict(columns)
    assert table_from_arrow(batch.schema, [batch], "t").rows[0].cells == ("2026-11-23", "2026-11-23 06:30:00", "1.50")
