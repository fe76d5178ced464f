"""CSV and TSV: every row is read as it stands, set aside with its place, or the file is refused; none is changed or lost.

A row that is wrong by itself (too many cells, a NUL, junk after a closing quote) becomes a Drop. Where a quote that opens
on one line breaks something on another, nobody can tell which lines are rows, and the file is refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from whet.data.encoding import Line, read_lines, text_encoding
from whet.data.strict_csv import NAMES, Parse, Way, cell_limit
from whet.data.table import Scan, Table, header_problems
from whet.errors import DataError, Problem

SAMPLE_LINES = 1000


class NoHeaderError(DataError):
    """The first row of a table is data, and column names were expected."""


def read_delimited(
    path: Path, *, source: str, encoding: str | None = None, delimiter: str | None = None, header: bool = True
) -> Table:
    """The table in a CSV or TSV file (see `scan_delimited`)."""
    return scan_delimited(path, source=source, encoding=encoding, delimiter=delimiter, header=header, keep=True).table()


def scan_delimited(
    path: Path,
    *,
    source: str,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    keep: bool = False,
) -> Scan:
    """The table in a CSV or TSV file; every cell stays the text it is.

    It is read to its end, because only there it is known how it is to be read: whether every quote that opens is closed, and
    which of two customs a TSV file keeps.

    Args:
        delimiter: the separator; left out, the one of , ; tab | that gives every row as many cells as the header.
        header: whether the first row names the columns; otherwise they are `column_1`, `column_2`, ...
        keep: whether its rows are kept in memory; else they are read again when they are wanted.

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
    parse = Parse(Way(lines, source, chosen, header, is_quoted=True)).finish(keep=keep)
    if chosen == "\t" and (parse.feed.has_quotes or parse.problem):
        # TSV has two customs: quotes as in CSV, or quotes that are plain characters. The file itself is the evidence.
        plain = Parse(Way(lines, source, chosen, header, is_quoted=False)).finish(keep=keep)
        as_csv, as_text = "quotes are read as in CSV, around cells", "quotes are read as plain characters of the text"
        if parse.cost <= plain.cost:
            notes.append(f"{source}: {as_csv} ({parse.fits} rows fit so; as plain characters {plain.fits}).")
        else:
            notes.append(f"{source}: {as_text} ({plain.fits} rows fit so; as in CSV {parse.fits}).")
            parse = plain
    _refuse(parse)
    if parse.blank:
        notes.append(f"{source}: {parse.blank:,} blank line{'s' if parse.blank > 1 else ''} skipped.")
    notes += parse.feed.notes()
    way, kept = parse.way, parse.kept
    again = (lambda: kept) if keep else (lambda: Parse(way).records())
    return Scan(source, parse.columns, tuple(notes), parse.rows + parse.drops, again)


def _refuse(parse: Parse) -> None:
    """Raise where the reading as a whole is no table to train on."""
    source = parse.way.source
    if parse.problem:
        raise DataError(parse.problem)
    if not parse.columns:
        raise DataError(Problem(source, "the file is empty", "Check that it is the right file"))
    if problems := header_problems(source, parse.columns):
        raise DataError(*problems)
    if not parse.rows and not parse.drops:
        raise DataError(Problem(source, "it holds column names but no row", "Check that it is the right file"))
    if parse.drops > parse.rows:
        raise DataError(_mostly_bad(parse))
    if parse.way.header:
        _refuse_data_as_header(parse)


def _mostly_bad(parse: Parse) -> Problem:
    """Most rows do not fit: the file is not what the header says, and its few good rows are chance."""
    shown = "; ".join(f"row {drop.origin.row}: {drop.detail}" for drop in parse.first_drops)
    what = f"{parse.drops:,} of {parse.drops + parse.rows:,} rows cannot be used ({shown})"
    if not parse.rows and set(parse.bad_widths) == {len(parse.columns) + 1}:
        do = "Every row has one cell more than there are column names: name the first column too (R leaves it out)"
    else:
        apart = NAMES.get(parse.way.delimiter, repr(parse.way.delimiter))
        do = f"Cells were told apart by {apart}; write another `delimiter` under [data], or mend the file"
    return Problem(parse.way.source, what, do)


def _refuse_data_as_header(parse: Parse) -> None:
    """Raise if the "header" is an ordinary row: its cell is one of the few values that the column holds again and again."""
    for index, name in enumerate(parse.columns):
        again = parse.again[index]
        if again >= max(2, parse.rows / 100):
            what = f"the first row looks like data, not column names: {again:,} other rows hold {name!r} in the same column"
            do = "Add a line of column names, or write header = false under [data]: the columns are then column_1, column_2 ..."
            raise NoHeaderError(Problem(f"{parse.way.source}, row 1", what, do))


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
            with cell_limit():
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
    with cell_limit():
        try:
            return sum(1 for _ in csv.reader(io.StringIO(before + "x", newline=""), delimiter=delimiter))
        except csv.Error:
            return 1
