"""JSONL, JSON, Parquet, Arrow and Hub data sets: records with named fields, every value as the text it was written as."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet.data.encoding import count_line_ends, read_lines, read_text, text_encoding
from whet.data.table import Row, Table, bad_row, cell_fault, header_problems
from whet.errors import DataError, Problem
from whet.example import Drop

if TYPE_CHECKING:
    import pyarrow as pa

MAX_JSON_BYTES = 2**30
WRONG_FILE = "Check that it is the right file"


class _Decimal(float):
    """A JSON number with a point or an exponent, remembering how it was written: 0.10 is not 0.1 when it is a label."""

    text: str

    def __new__(cls, text: str) -> _Decimal:
        number = super().__new__(cls, text)
        number.text = text
        return number


def read_json_lines(path: Path, *, source: str, encoding: str | None = None) -> Table:
    """The table in a JSONL file: one object a line, the columns in order of first appearance. A row's number is its line.

    A line that is no JSON object becomes a Drop. A key that a row does not have, `null` and `NaN` are no value.

    Raises:
        DataError: the file is not text, or holds no usable row.
    """
    codec = text_encoding(path, encoding)
    records: list[tuple[int, Mapping[str, Any]]] = []
    drops: list[Drop] = []
    for line in read_lines(path, codec, lambda before: count_line_ends(before) + 1):
        if line.is_cut:
            drops.append(
                bad_row(source, line.number, line.number, f"a line of more than {len(line.text):,} characters", line.text)
            )
        elif line.text.strip():
            try:
                record = _loads(line.text)
                if not isinstance(record, dict):
                    raise ValueError("it is JSON, but no object with named fields")
                records.append((line.number, record))
            except (ValueError, RecursionError) as error:
                drops.append(bad_row(source, line.number, line.number, json_fault(error), line.text.strip()))
    return _table(source, records, drops)


def read_json(path: Path, *, source: str, encoding: str | None = None) -> Table:
    """The table in a JSON file: an array of objects, or an object in which exactly one field is such an array.

    Raises:
        DataError: the file is not text, not JSON, or not of this form.
    """
    codec = text_encoding(path, encoding)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise DataError(Problem(source, "it is larger than 1 GiB", "Save it as JSONL, which is read line by line"))
    text = read_text(path, codec)
    try:
        content = _loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" in text[: error.pos + 1]:
            table = read_json_lines(path, source=source, encoding=encoding)
            return Table(
                source, table.columns, table.rows, table.drops, (*table.notes, f"{source}: read as JSONL, one object a line.")
            )
        raise DataError(Problem(source, json_fault(error), "Mend the file, or save it again")) from None
    except (ValueError, RecursionError) as error:
        raise DataError(Problem(source, json_fault(error), "Mend the file, or save it again")) from None
    notes = []
    if isinstance(content, dict):
        lists = {
            key: value for key, value in content.items() if isinstance(value, list) and any(isinstance(v, dict) for v in value)
        }
        if len(lists) != 1:
            found = f"{len(lists)} lists of objects ({', '.join(map(repr, lists))})" if lists else "no list of objects"
            raise DataError(
                Problem(source, f"an object with {found}, where one was expected", "Save the list you mean as JSON or JSONL")
            )
        key, content = next(iter(lists.items()))
        notes.append(f"{source}: its rows are the list {key!r}.")
    if not isinstance(content, list):
        raise DataError(Problem(source, "it is JSON, but neither a list of objects nor an object with one", WRONG_FILE))
    records = [(n, value) for n, value in enumerate(content, 1) if isinstance(value, dict)]
    others = [(n, value) for n, value in enumerate(content, 1) if not isinstance(value, dict)]
    drops = [
        bad_row(source, n, n, f"a {type(value).__name__} in the list, and no object with named fields") for n, value in others
    ]
    return _table(source, records, drops, notes)


def read_columnar(path: Path, *, source: str) -> Table:
    """The table in a Parquet or Arrow (Feather, IPC file or stream) file; rows are counted from 1.

    Raises:
        DataError: the file is damaged or not of its kind.
    """
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet

    try:
        if path.suffix.lower() == ".parquet":
            with pyarrow.parquet.ParquetFile(path) as file:
                return table_from_arrow(file.schema_arrow, file.iter_batches(), source)
        with pa.memory_map(str(path)) as mapped:
            try:
                table = pyarrow.ipc.open_file(mapped).read_all()
            except pa.ArrowInvalid:
                mapped.seek(0)
                table = pyarrow.ipc.open_stream(mapped).read_all()
            return table_from_arrow(table.schema, table.to_batches(), source)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(Problem(source, f"it cannot be read as {path.suffix[1:]}: {reason}", "Write the file again")) from error


def table_from_arrow(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], source: str, names: Mapping[str, list[str]] | None = None
) -> Table:
    """The table in a stream of Arrow batches. Columns of bytes (images, sound) are left out, with a note.

    Args:
        names: for a column of class numbers, what the classes are called.
    """
    import pyarrow as pa

    if problems := header_problems(source, tuple(schema.names)):
        raise DataError(*problems)
    is_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    columns = [f.name for f in schema if not any(test(f.type) for test in is_bytes)]
    notes = [
        f"{source}: the column {name!r} holds bytes, not text, and is left out." for name in schema.names if name not in columns
    ]
    notes += [f"{source}: the numbers of column {name!r} are read as the names of its classes." for name in names or {}]

    def records() -> Iterator[tuple[int, Mapping[str, Any]]]:
        number = 0
        for batch in batches:
            values = [batch.column(name).to_pylist() for name in columns]
            for cells in zip(*values, strict=True):
                number += 1
                yield number, {c: _class_name(v, (names or {}).get(c)) for c, v in zip(columns, cells, strict=True)}

    return _table(source, records(), [], notes)


def _class_name(value: Any, names: list[str] | None) -> Any:
    """The name of a class number; a number outside the list (-1 is "no label") is no value."""
    if names is None:
        return value
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _table(
    source: str, records: Iterable[tuple[int, Mapping[str, Any]]], drops: list[Drop], notes: Iterable[str] = ()
) -> Table:
    """The Table of numbered records, unusable cells set aside."""
    texts = [(number, {key: _as_text(value) for key, value in record.items()}) for number, record in records]
    columns = tuple(dict.fromkeys(key for _, record in texts for key in record))
    rows = []
    for number, record in texts:
        cells = tuple(record.get(name) for name in columns)
        fault = cell_fault(cells, columns)
        if fault is None:
            rows.append(Row(number, number, cells))
        else:
            # The cells may be what cannot be shown; the row's number is enough to find it.
            drops.append(bad_row(source, number, number, fault))
    if not rows and not drops:
        raise DataError(Problem(source, "it holds no row", WRONG_FILE))
    if len(drops) > len(rows):
        shown = "; ".join(f"row {drop.origin.row}: {drop.detail}" for drop in drops[:3])
        raise DataError(
            Problem(source, f"{len(drops):,} of {len(drops) + len(rows):,} rows cannot be used ({shown})", WRONG_FILE)
        )
    return Table(source, columns, tuple(rows), tuple(sorted(drops, key=lambda drop: drop.origin.row)), tuple(notes))


def _as_text(value: Any) -> str | None:
    """A value as text: strings as they are, numbers as written, true and false as in JSON, lists and objects as JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Decimal):
        return value.text
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _loads(text: str) -> Any:
    """The JSON value in a text; a key that stands twice in an object is an error, because one of its values would be lost."""
    return json.loads(text, parse_float=_Decimal, object_pairs_hook=only_once)


def only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of some keys and values.

    Raises:
        ValueError: a key stands twice, with two values: one of them would be lost.

    Example:
        >>> only_once([("a", 1), ("a", 1)])
        {'a': 1}
    """
    record = dict(pairs)
    if len(record) < len(pairs) and (twice := [key for key, value in pairs if record[key] != value]):
        raise ValueError(f"the key {twice[0]!r} stands twice, with two values")
    return record


def json_fault(error: Exception) -> str:
    """What is wrong with a piece of JSON, in a phrase."""
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        return f"no valid JSON ({error.msg} at {place})"
    if isinstance(error, RecursionError):
        return "JSON nested too deeply"
    return str(error)
