"""The records of a table as it was read: text cells, row numbers a person can find again, and what was set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from whet.errors import DataError, Problem
from whet.example import Drop, Example, Origin

BAD_ROW = "bad_row"
MAX_CELL_CHARS = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One record. A cell is text exactly as the file has it, or None where a format says "no value" (JSON null).

    `number` is where a person finds it: in CSV and TSV the row a spreadsheet shows (the header is row 1), in JSONL the
    line, elsewhere the record counted from 1. `line` is the physical line it begins on (= `number` where there are none).
    """

    number: int
    line: int
    cells: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A file as it was read: `read == len(rows) + len(drops)`; blank lines are no rows. `notes` are sentences for a person."""

    source: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    drops: tuple[Drop, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def read(self) -> int:
        """How many rows the file holds, the unusable ones included."""
        return len(self.rows) + len(self.drops)

    def column(self, name: str) -> list[str | None]:
        """The cells of one column, in row order."""
        index = self.columns.index(name)
        return [row.cells[index] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Scan:
    """A table that was read once to see what it is, and whose rows are had again, one after another, whenever they are wanted.

    Attributes:
        source: as in a Table, and so are `columns` and `notes`.
        read: how many rows it holds, the unusable ones included.
        records: its rows and, in their places, the Drops of those that are unusable.
    """

    source: str
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    read: int
    records: Callable[[], Iterable[Row | Drop]]

    def table(self) -> Table:
        """The whole table."""
        return _table_of(self, list(self.records()), self.notes)

    def tables(self, rows: int) -> Iterator[Table]:
        """The table in pieces of so many rows, each without the notes.

        Raises:
            DataError: the file has become another since it was read first.
        """
        records, read = iter(self.records()), 0
        while piece := list(islice(records, rows)):
            read += len(piece)
            yield _table_of(self, piece)
        if read != self.read:
            what = f"it held {self.read:,} rows, and {read:,} when it was read again"
            raise DataError(Problem(self.source, what, "Leave the file alone while it is read, and run the command again"))


def _table_of(scan: Scan, records: list[Row | Drop], notes: tuple[str, ...] = ()) -> Table:
    rows = tuple(record for record in records if isinstance(record, Row))
    drops = tuple(record for record in records if isinstance(record, Drop))
    return Table(scan.source, scan.columns, rows, drops, notes)


class Sifted(NamedTuple):
    """What a stage of the data room kept, what it dropped and why, and what a person should know."""

    examples: list[Example]
    drops: list[Drop]
    notes: list[str]


def bad_row(source: str, row: int, line: int, detail: str, text: str = "") -> Drop:
    """The Drop of a row that cannot be used; the detail names the physical line where that is not the row's number."""
    place = detail if line == row else f"line {line}: {detail}"
    return Drop(Origin(source, row), BAD_ROW, place, text[:200])


def cell_fault(cells: tuple[str | None, ...], columns: tuple[str, ...]) -> str | None:
    """What makes one of the cells unusable, or None: a NUL, half of a surrogate pair, or more text than a cell may hold.

    Example:
        >>> cell_fault(("fine", "bro\\x00ken"), ("text", "label"))
        "a NUL byte in column 'label'"
    """
    for cell, column in zip(cells, columns, strict=True):
        if cell is None:
            continue
        if "\x00" in cell:
            return f"a NUL byte in column {column!r}"
        if len(cell) > MAX_CELL_CHARS:
            return f"{len(cell):,} characters in column {column!r}, and a cell may hold {MAX_CELL_CHARS:,}"
        if not cell.isascii():
            try:
                cell.encode()
            except UnicodeEncodeError:
                return f"half a surrogate pair in column {column!r}: no such character exists"
    return None


def header_problems(source: str, names: tuple[str, ...]) -> list[Problem]:
    """One Problem for every column name that stands more than once.

    Example:
        >>> print(*header_problems("t.csv", ("text", "label", "label")))
        t.csv, row 1: the column name 'label' stands 2 times (columns 2, 3). Give each column its own name.
    """
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names, 1):
        places.setdefault(name, []).append(position)
    return [
        Problem(
            f"{source}, row 1",
            f"the column name {name!r} stands {len(at)} times (columns {', '.join(map(str, at))})",
            "Give each column its own name",
        )
        for name, at in places.items()
        if len(at) > 1
    ]
