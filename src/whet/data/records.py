"""JSONL and JSON: records with named fields, every value as the text it was written as."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whet.data.encoding import count_line_ends, read_lines, read_text, text_encoding
from whet.data.table import Row, Scan, Table, bad_row, cell_fault
from whet.errors import DataError, Problem
from whet.example import Drop

MAX_JSON_BYTES = 2**30
WRONG_FILE = "Check that it is the right file"
SHOWN_DROPS = 3
Found = tuple[int, Mapping[str, Any]] | Drop  # a record and its number; or why there is none


class _Decimal(float):
    """A JSON number with a point or an exponent, remembering how it was written: 0.10 is not 0.1 when it is a label."""

    text: str

    def __new__(cls, text: str) -> _Decimal:
        number = super().__new__(cls, text)
        number.text = text
        return number


def read_json_lines(path: Path, *, source: str, encoding: str | None = None) -> Table:
    """The table in a JSONL file (see `scan_json_lines`)."""
    return scan_json_lines(path, source=source, encoding=encoding, keep=True).table()


def scan_json_lines(
    path: Path, *, source: str, encoding: str | None = None, keep: bool = False, notes: Sequence[str] = ()
) -> Scan:
    """The table in a JSONL file: one object a line, the columns in order of first appearance. A row's number is its line.

    A line that is no JSON object becomes a Drop. A key that a row does not have, `null` and `NaN` are no value.

    Args:
        keep: whether its rows are kept in memory; else they are read again when they are wanted.
        notes: what is to be said of it besides.

    Raises:
        DataError: the file is not text, or holds no usable row.
    """
    codec = text_encoding(path, encoding)

    def records() -> Iterator[Found]:
        for line in read_lines(path, codec, lambda before: count_line_ends(before) + 1):
            number = line.number
            if line.is_cut:
                yield bad_row(source, number, number, f"a line of more than {len(line.text):,} characters", line.text)
            elif line.text.strip():
                try:
                    record = _loads(line.text)
                    if not isinstance(record, dict):
                        raise ValueError("it is JSON, but no object with named fields")
                except (ValueError, RecursionError) as error:
                    yield bad_row(source, number, number, json_fault(error), line.text.strip())
                else:
                    yield number, record

    return scan_records(source, records, keep, notes)


def read_json(path: Path, *, source: str, encoding: str | None = None) -> Table:
    """The table in a JSON file (see `scan_json`)."""
    return scan_json(path, source=source, encoding=encoding, keep=True).table()


def scan_json(path: Path, *, source: str, encoding: str | None = None, keep: bool = False) -> Scan:
    """The table in a JSON file: an array of objects, or an object in which exactly one field is such an array.

    What it holds stays in memory in any case; what `scan_json_lines` reads, of a file that is JSONL by another name, need not.

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
            del text
            said = [f"{source}: read as JSONL, one object a line."]
            return scan_json_lines(path, source=source, encoding=encoding, keep=keep, notes=said)
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
    values: list[Any] = content

    def records() -> Iterator[Found]:
        for number, value in enumerate(values, 1):
            what = f"a {type(value).__name__} in the list, and no object with named fields"
            yield (number, value) if isinstance(value, dict) else bad_row(source, number, number, what)

    return scan_records(source, records, keep, notes)


def scan_records(source: str, records: Callable[[], Iterable[Found]], keep: bool, notes: Iterable[str] = ()) -> Scan:
    """The Scan of numbered records and of Drops between them, unusable cells set aside.

    Args:
        records: from the first one on, each time that it is called.
        keep: whether they are kept in memory, as texts; else they are asked for again when they are wanted.

    Raises:
        DataError: there is none, or most are unusable.
    """
    if keep:
        kept = [found if isinstance(found, Drop) else (found[0], _as_texts(found[1])) for found in records()]
    columns: dict[str, None] = {}
    rows, no_records, faulty = 0, _Drops(), _Drops()
    for found in kept if keep else records():
        if isinstance(found, Drop):
            no_records.add(found)
            continue
        # Columns that come later say nothing of this row, so that its fault is the same now as when all are known.
        columns |= dict.fromkeys(found[1])
        judged = _judged(source, found, tuple(columns), is_text=keep)
        if isinstance(judged, Drop):
            faulty.add(judged)
        else:
            rows += 1
    drops, names = no_records.count + faulty.count, tuple(columns)
    if not rows and not drops:
        raise DataError(Problem(source, "it holds no row", WRONG_FILE))
    if drops > rows:
        first = [*no_records.first, *faulty.first][:SHOWN_DROPS]
        shown = "; ".join(f"row {drop.origin.row}: {drop.detail}" for drop in first)
        raise DataError(Problem(source, f"{drops:,} of {drops + rows:,} rows cannot be used ({shown})", WRONG_FILE))

    def again() -> Iterator[Row | Drop]:
        for found in kept if keep else records():
            yield found if isinstance(found, Drop) else _judged(source, found, names, is_text=keep)

    return Scan(source, names, tuple(notes), rows + drops, again)


class _Drops:
    """How many Drops there are, and the first of them."""

    def __init__(self) -> None:
        self.count, self.first = 0, list[Drop]()

    def add(self, drop: Drop) -> None:
        """Counts one."""
        self.count += 1
        if len(self.first) < SHOWN_DROPS:
            self.first.append(drop)


def _judged(source: str, found: tuple[int, Mapping[str, Any]], columns: tuple[str, ...], *, is_text: bool) -> Row | Drop:
    """A row, or the reason why it is none."""
    number, record = found
    cells = tuple(map((record if is_text else _as_texts(record)).get, columns))
    fault = cell_fault(cells, columns)
    # The cells may be what cannot be shown; the row's number is enough to find it.
    return Row(number, number, cells) if fault is None else bad_row(source, number, number, fault)


def _as_texts(record: Mapping[str, Any]) -> dict[str, str | None]:
    return {key: _as_text(value) for key, value in record.items()}


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
