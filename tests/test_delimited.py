"""CSV and TSV, property-wise: what a writer wrote comes back, and damage is always found."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

from whet.data.delimited import NoHeaderError, read_delimited
from whet.data.table import Table
from whet.errors import DataError

ALPHABET = ["a", "é", "🏠", ",", ";", "\t", "|", '"', '""', "'", "\n", "\r\n", " ", "=", "007", "\\", "None", "\u2028", ""]


def read(folder: Path, text: str, name: str = "t.csv") -> Table:
    path = folder / name
    path.write_bytes(text.encode())
    return read_delimited(path, source=name)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_what_a_writer_wrote_comes_back(delimiter: str, suffix: str, tmp_path: Path) -> None:
    draw = random.Random(delimiter + suffix)
    for _ in range(15):
        width = draw.randint(2, 5)
        rows = [["".join(draw.choices(ALPHABET, k=draw.randint(0, 6))) for _ in range(width)] for _ in range(12)]
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=draw.choice(["\n", "\r\n"]))
        writer.writerows([[f"column {i}" for i in range(width)], *rows])
        table = read(tmp_path, out.getvalue(), f"t.{suffix}")
        assert [list(row.cells) for row in table.rows] == rows
        assert not table.drops


def test_a_quote_taken_away_or_put_in_never_changes_another_row(tmp_path: Path) -> None:
    """Whatever one character more or less does to a file: rows that are still read are rows that were written."""
    draw = random.Random(3)
    rows = [[f"row {i}", 'say "no", or\nnot' if i % 3 else "plain", str(i)] for i in range(12)]
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["a", "b", "c"], *rows])
    text = out.getvalue()
    written = {tuple(row) for row in rows}
    refused = dropped = changed = 0
    for _ in range(120):
        place = draw.randrange(12, len(text))
        damaged = (
            text[:place] + '"' + text[place:] if draw.random() < 0.5 or text[place] != '"' else text[:place] + text[place + 1 :]
        )
        try:
            table = read(tmp_path, damaged)
        except DataError:
            refused += 1
            continue
        dropped += len(table.drops)
        changed += sum(row.cells not in written for row in table.rows) > 1
        assert table.read >= len(rows) - 1
    assert changed == 0
    assert refused > 40 and dropped > 0


def test_every_row_is_counted_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    draw = random.Random(5)
    for _ in range(20):
        kinds = [draw.choice(["good", "good", "good", "long", "short", "nul", "junk"]) for _ in range(30)]
        lines = {"good": "x,y", "long": "x,y,z", "short": "x", "nul": "x\0,y", "junk": '"x"y,z'}
        if kinds.count("good") < 15:
            continue
        table = read(tmp_path, "a,b\n" + "\n".join(lines[k] for k in kinds) + "\n")
        assert [row.number - 2 for row in table.rows] == [i for i, k in enumerate(kinds) if k == "good"]
        assert [drop.origin.row - 2 for drop in table.drops] == [i for i, k in enumerate(kinds) if k != "good"]


def test_an_unnamed_column_gets_a_name_by_its_place(tmp_path: Path) -> None:
    assert read(tmp_path, "text,,label,\na,b,c,d\n").columns == ("text", "column_2", "label", "column_4")


def test_a_header_that_recurs_once_is_a_header(tmp_path: Path) -> None:
    assert len(read(tmp_path, "label,text\nlabel,one\nother,two\n").rows) == 2
    with pytest.raises(NoHeaderError):
        read(tmp_path, "spam,one\nspam,two\nham,three\nspam,four\n")


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_a_delimiter_that_cannot_be_one(delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="Write one character"):
        read_delimited(tmp_path / "t.csv", source="t.csv", delimiter=delimiter)


def test_a_file_of_ten_thousand_columns(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(10_000))
    table = read(tmp_path, f"{names}\n{','.join('1' * 10_000)}\n")
    assert len(table.columns) == 10_000 and len(table.rows) == 1
