"""One strict reading of CSV or TSV: each row as it stands, or the reason why it is none; and what is wrong with the whole."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from whet.data.encoding import Line
from whet.data.table import MAX_CELL_CHARS, Row, bad_row, cell_fault
from whet.errors import DataError, Problem
from whet.example import Drop

NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
BYTE_ORDER_MARK = "\ufeff"
ROWS_AT_ONCE = 1000
SHOWN_DROPS = 3


@dataclass(frozen=True, slots=True)
class Way:
    """One of the ways to read the file."""

    lines: Callable[[], Iterator[Line]]
    source: str
    delimiter: str
    header: bool
    is_quoted: bool


@dataclass
class Parse:
    """One strict reading of the file: its rows as they come, and what is known of all of them once it is over.

    Attributes:
        way: how it is read.
        kept: its rows, good and bad, where they are kept.
        again: in how many rows a column's name stands in that column.
    """

    way: Way
    columns: tuple[str, ...] = ()
    rows: int = 0
    drops: int = 0
    first_drops: list[Drop] = field(default_factory=list)
    kept: list[Row | Drop] = field(default_factory=list)
    problem: Problem | None = None
    blank: int = 0
    bad_widths: Counter[int] = field(default_factory=Counter)
    again: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.feed = _Feed(self.way.lines(), self.way.source)

    @property
    def cost(self) -> tuple[bool, int, int]:
        """How bad a reading it is: refused is worse than bad rows, and these are worse than rows that vanished into others."""
        return self.problem is not None, self.drops, -self.rows

    @property
    def fits(self) -> str:
        """How many rows it can use, for a person."""
        return "none" if self.problem else f"{self.rows:,}"

    def finish(self, *, keep: bool) -> Parse:
        """Itself, read to the end."""
        for record in self.records():
            if keep:
                self.kept.append(record)
        return self

    def records(self) -> Iterator[Row | Drop]:
        """The rows, good and bad, one after another; once."""
        walk = self._walk()
        while True:
            with cell_limit():  # for some rows at a time: between two of them, others may read
                some = list(islice(walk, ROWS_AT_ONCE))
            if not some:
                return
            yield from some

    def _walk(self) -> Iterator[Row | Drop]:
        way, feed, number = self.way, self.feed, 0
        reader = csv.reader(
            feed, delimiter=way.delimiter, strict=True, quoting=csv.QUOTE_MINIMAL if way.is_quoted else csv.QUOTE_NONE
        )
        while self.problem is None:
            first = feed.number + 1
            number += 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                # The rest of a line with an odd number of quotes may be the beginning of a cell that goes on below.
                if feed.number > first or (way.is_quoted and feed.text.count('"') % 2) or not self.columns:
                    self.problem = _broken_quote(way.source, number, first, feed.number, str(error))
                else:
                    yield self._counted(bad_row(way.source, number, first, _explain(str(error)), feed.text.strip()))
                continue
            if cells is None:
                break
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                self.blank += 1
            elif not self.columns and way.header:
                self.columns = tuple(name.strip() or f"column_{i}" for i, name in enumerate(cells, 1))
            else:
                self.columns = self.columns or tuple(f"column_{i}" for i in range(1, len(cells) + 1))
                yield self._counted(self._judged(number, first, cells))

    def _judged(self, number: int, line: int, cells: list[str]) -> Row | Drop:
        """A row, or the reason why it is none."""
        columns, delimiter = self.columns, self.way.delimiter
        if [cell.strip().removeprefix(BYTE_ORDER_MARK) for cell in cells] == list(columns):
            fault: str | None = "the line of column names once more: files were joined"
        elif cells[0].startswith(BYTE_ORDER_MARK):
            fault = "a byte-order mark in the middle of the file: files were joined here"
        elif len(cells) != len(columns):
            self.bad_widths[len(cells)] += 1
            fault = f"{len(cells)} cell{'s' if len(cells) > 1 else ''} where the header has {len(columns)}"
            if len(cells) > len(columns):
                fault += f"; a cell with {NAMES.get(delimiter, repr(delimiter))} in it must stand in quotes"
        else:
            fault = cell_fault(tuple(cells), columns)
        if fault is None:
            return Row(number, line, tuple(cells))
        return bad_row(self.way.source, number, line, fault, delimiter.join(cells))

    def _counted(self, record: Row | Drop) -> Row | Drop:
        if isinstance(record, Row):
            self.rows += 1
            if not self._names.isdisjoint(record.cells):
                self.again.update(i for i, name in enumerate(self.columns) if record.cells[i] == name)
        else:
            self.drops += 1
            if len(self.first_drops) < SHOWN_DROPS:
                self.first_drops.append(record)
        return record

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.columns)


@contextmanager
def cell_limit() -> Iterator[None]:
    """The csv module's limit on a cell, which is global, raised while a file is read."""
    before = csv.field_size_limit(MAX_CELL_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class _Feed:
    """The lines as the csv module wants them, remembering what they were like; one too long to be a row stops the reading."""

    def __init__(self, lines: Iterable[Line], source: str) -> None:
        self._lines, self._source = iter(lines), source
        self._ends: Counter[str] = Counter()
        self._first_ends: dict[str, int] = {}
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
            kind = {"\r\n": "CR LF", "\r": "CR"}.get(ending, "LF")
            self._ends[kind] += 1
            self._first_ends.setdefault(kind, line.number)
        return line.text

    def notes(self) -> list[str]:
        """A sentence if a lone CR is one of several kinds of line end: it may have been a leftover inside a cell."""
        if "CR" not in self._ends or len(self._ends) == 1:
            return []
        said = [f"{end} {times:,} times (first on line {self._first_ends[end]})" for end, times in sorted(self._ends.items())]
        return [f"{self._source}: its lines end in different ways, each taken as a line end: {', '.join(said)}."]


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
