"""CSV and TSV: every row is read as it stands, set aside with its place, or the file is refused; none is changed or lost.

A row that is wrong by itself (too many cells, a NUL, junk after a closing quote) becomes a Drop. Where a quote that opens
on one line breaks something on another, nobody can tell which lines are rows, and the file is refused.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from whet.data.encoding import Line, read_lines, text_encoding
from whet.data.table import MAX_CELL_CHARS, Row, Table, bad_row, cell_fault, header_problems
from whet.errors import DataError, Problem
from whet.example import Drop

NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
SAMPLE_LINES = 1000
BYTE_ORDER_MARK = "\ufeff"


class NoHeaderError(DataError):
    """The first row of a table is data, and column names were expected."""


@dataclass
class _Parse:
    """One reading of the file: its header, its rows, and all that went wrong."""

    columns: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    problem: Problem | None = None
    blank: int = 0
    bad_widths: Counter[int] = field(default_factory=Counter)

    @property
    def cost(self) -> tuple[bool, int, int]:
        """How bad a reading it is: refused is worse than bad rows, and these are worse than rows that vanished into others."""
        return self.problem is not None, len(self.drops), -len(self.rows)

    @property
    def fits(self) -> str:
        """How many rows it can use, for a person."""
        return "none" if self.problem else f"{len(self.rows):,}"


def read_delimited(
    path: Path, *, source: str, encoding: str | None = None, delimiter: str | None = None, header: bool = True
) -> Table:
    """The table in a CSV or TSV file; every cell stays the text it is.

    Args:
        delimiter: the separator; left out, the one of , ; tab | that gives every row as many cells as the header.
        header: whether the first row names the columns; otherwise they are `column_1`, `column_2`, ...

    Raises:
        DataError: the file is not text, empty, or so broken that its rows cannot be told apart.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise DataError(Problem(source, f"delimiter = {delimiter!r} does not do", 'Write one character, as in delimiter = ";"'))
    codec = text_encoding(path, encoding)
    usual = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","

    def lines() -> Iterator[Line]:
        return read_lines(path, codec, lambda before: _row_at(before, delimiter or usual))

    notes: list[str] = []
    chosen = delimiter or _sniff([line.text for line in islice(lines(), SAMPLE_LINES)], usual)
    if delimiter is None and chosen != usual:
        notes.append(f"{source}: {NAMES[chosen]} separates its cells, not {NAMES[usual]}.")
    feed = _Feed(lines(), source)
    parse = _parse(feed, source, chosen, header, is_quoted=True)
    if chosen == "\t" and (feed.has_quotes or parse.problem):
        # TSV has two customs: quotes as in CSV, or quotes that are plain characters. The file itself is the evidence.
        feed = _Feed(lines(), source)
        plain = _parse(feed, source, chosen, header, is_quoted=False)
        as_csv, as_text = "quotes are read as in CSV, around cells", "quotes are read as plain characters of the text"
        if parse.cost <= plain.cost:
            notes.append(f"{source}: {as_csv} ({parse.fits} rows fit so; as plain characters {plain.fits}).")
        else:
            notes.append(f"{source}: {as_text} ({plain.fits} rows fit so; as in CSV {parse.fits}).")
            parse = plain
    _refuse(parse, source, chosen, header)
    if parse.blank:
        notes.append(f"{source}: {parse.blank:,} blank line{'s' if parse.blank > 1 else ''} skipped.")
    notes += feed.notes()
    return Table(source, parse.columns, tuple(parse.rows), tuple(parse.drops), tuple(notes))


@contextmanager
def _cell_limit() -> Iterator[None]:
    """The csv module's limit on a cell, which is global, raised while a file is read."""
    before = csv.field_size_limit(MAX_CELL_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _parse(feed: _Feed, source: str, delimiter: str, header: bool, is_quoted: bool) -> _Parse:
    """One strict reading of the lines."""
    reader = csv.reader(feed, delimiter=delimiter, strict=True, quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE)
    parse, number = _Parse(), 0
    with _cell_limit():
        while parse.problem is None:
            first = feed.number + 1
            number += 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                # The rest of a line with an odd number of quotes may be the beginning of a cell that goes on below.
                if feed.number > first or (is_quoted and feed.text.count('"') % 2) or not parse.columns:
                    parse.problem = _broken_quote(source, number, first, feed.number, str(error))
                else:
                    parse.drops.append(bad_row(source, number, first, _explain(str(error)), feed.text.strip()))
                continue
            if cells is None:
                break
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                parse.blank += 1
            elif parse.columns:
                _file_away(parse, source, number, first, cells, delimiter)
            elif header:
                parse.columns = tuple(name.strip() or f"column_{i}" for i, name in enumerate(cells, 1))
            else:
                parse.columns = tuple(f"column_{i}" for i in range(1, len(cells) + 1))
                _file_away(parse, source, number, first, cells, delimiter)
    return parse


class _Feed:
    """The lines as the csv module wants them, remembering what they were like; one too long to be a row stops the reading."""

    def __init__(self, lines: Iterable[Line], source: str) -> None:
        self._lines, self._source = iter(lines), source
        self._ends: dict[str, list[int]] = {}
        self.number, self.text, self.has_quotes = 0, "", False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if line.is_cut:
            what = f"it goes on for more than {len(line.text):,} characters: this is no table of rows"
            raise DataError(Problem(f"{self._source}, line {line.number}", what, "Check that it is the right file"))
        self.number, self.text = line.number, line.text
        self.has_quotes = self.has_quotes or '"' in line.text
        ending = line.text[len(line.text.rstrip("\r\n")) :]
        if ending:
            self._ends.setdefault({"\r\n": "CR LF", "\r": "CR"}.get(ending, "LF"), []).append(line.number)
        return line.text

    def notes(self) -> list[str]:
        """A sentence if a lone CR is one of several kinds of line end: it may have been a leftover inside a cell."""
        if "CR" not in self._ends or len(self._ends) == 1:
            return []
        kinds = ", ".join(f"{end} {len(at):,} times (first on line {at[0]})" for end, at in sorted(self._ends.items()))
        return [f"{self._source}: its lines end in different ways, each taken as a line end: {kinds}."]


def _file_away(parse: _Parse, source: str, number: int, line: int, cells: list[str], delimiter: str) -> None:
    """Puts a row where it belongs: with the good ones, or aside with the reason."""
    columns = parse.columns
    if [cell.strip().removeprefix(BYTE_ORDER_MARK) for cell in cells] == list(columns):
        fault: str | None = "the line of column names once more: files were joined"
    elif cells[0].startswith(BYTE_ORDER_MARK):
        fault = "a byte-order mark in the middle of the file: files were joined here"
    elif len(cells) != len(columns):
        parse.bad_widths[len(cells)] += 1
        fault = f"{len(cells)} cell{'s' if len(cells) > 1 else ''} where the header has {len(columns)}"
        if len(cells) > len(columns):
            fault += f"; a cell with {NAMES.get(delimiter, repr(delimiter))} in it must stand in quotes"
    else:
        fault = cell_fault(tuple(cells), columns)
    if fault is None:
        parse.rows.append(Row(number, line, tuple(cells)))
    else:
        parse.drops.append(bad_row(source, number, line, fault, delimiter.join(cells)))


def _explain(error: str) -> str:
    """The csv module's words in ours."""
    if "expected after" in error:
        return 'text after a closing quote; a quote inside a cell is written twice ("")'
    if "field limit" in error:
        return f"a cell of more than {MAX_CELL_CHARS:,} characters"
    return error


def _broken_quote(source: str, row: int, first: int, last: int, error: str) -> Problem:
    """A quote opened on one line and went wrong on another: the rows between cannot be told apart."""
    if "unexpected end" in error:
        what = "a quote opens in this row and is never closed: it would swallow the rest of the file"
    elif "field limit" in error:
        what = f"a quote opens in this row and is still open {MAX_CELL_CHARS:,} characters later, on line {last}"
    else:
        what = f"a quote opens in this row, and on line {last} there is {_explain(error)}"
    return Problem(
        f"{source}, row {row} (line {first})", what, 'Close the quote, or write a quote that belongs to the text twice ("")'
    )


def _refuse(parse: _Parse, source: str, delimiter: str, header: bool) -> None:
    """Raise where the reading as a whole is no table to train on."""
    if parse.problem:
        raise DataError(parse.problem)
    if not parse.columns:
        raise DataError(Problem(source, "the file is empty", "Check that it is the right file"))
    if problems := header_problems(source, parse.columns):
        raise DataError(*problems)
    if not parse.rows and not parse.drops:
        raise DataError(Problem(source, "it holds column names but no row", "Check that it is the right file"))
    if len(parse.drops) > len(parse.rows):
        raise DataError(_mostly_bad(parse, source, delimiter))
    if header:
        _refuse_data_as_header(parse, source)


def _mostly_bad(parse: _Parse, source: str, delimiter: str) -> Problem:
    """Most rows do not fit: the file is not what the header says, and its few good rows are chance."""
    shown = "; ".join(f"row {drop.origin.row}: {drop.detail}" for drop in parse.drops[:3])
    what = f"{len(parse.drops):,} of {len(parse.drops) + len(parse.rows):,} rows cannot be used ({shown})"
    if not parse.rows and set(parse.bad_widths) == {len(parse.columns) + 1}:
        do = "Every row has one cell more than there are column names: name the first column too (R leaves it out)"
    else:
        apart = NAMES.get(delimiter, repr(delimiter))
        do = f"Cells were told apart by {apart}; write another `delimiter` under [data], or mend the file"
    return Problem(source, what, do)


def _refuse_data_as_header(parse: _Parse, source: str) -> None:
    """Raise if the "header" is an ordinary row: its cell is one of the few values that the column holds again and again."""
    for index, name in enumerate(parse.columns):
        again = sum(row.cells[index] == name for row in parse.rows)
        if again >= max(2, len(parse.rows) / 100):
            what = f"the first row looks like data, not column names: {again:,} other rows hold {name!r} in the same column"
            do = "Add a line of column names, or write header = false under [data]: the columns are then column_1, column_2 ..."
            raise NoHeaderError(Problem(f"{source}, row 1", what, do))


def _sniff(sample: list[str], usual: str) -> str:
    """The separator that gives the most rows as many cells as the first one, of at least two; the usual one wins ties.

    Example:
        >>> _sniff(["text;label\\n", "We will, soon, act;True\\n"], ",")
        ';'
    """
    best, best_share = usual, 0.0
    for delimiter in (usual, *(d for d in NAMES if d != usual)):
        widths: list[int] = []
        try:
            with _cell_limit():
                widths.extend(len(cells) for cells in csv.reader(sample, delimiter=delimiter) if cells)
        except csv.Error:
            pass
        if len(widths) > 1 and widths[0] > 1:
            share = widths.count(widths[0]) / len(widths)
            if share > best_share:
                best, best_share = delimiter, share
    return best


def _row_at(before: str, delimiter: str) -> int:
    """The number of the row in which a beginning of the file ends."""
    with _cell_limit():
        try:
            return sum(1 for _ in csv.reader(io.StringIO(before + "x", newline=""), delimiter=delimiter))
        except csv.Error:
            return 1
