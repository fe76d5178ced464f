"""Every file of the horror set is read right, its bad rows set aside, or it is refused with its place; none is changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from whet.data.read import FORMATS, read_rows, scan_rows, table_from_dataset
from whet.data.table import Table
from whet.errors import DataError

Cells = tuple[str | None, ...]


@dataclass(frozen=True)
class Horror:
    """A file and what must become of it: these rows and so many drops, or a refusal; and words that must be said."""

    name: str
    content: bytes
    rows: tuple[Cells, ...] | None
    drops: tuple[int, ...] = ()
    said: tuple[str, ...] = ()
    suffix: str = ".csv"
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True


def refused(name: str, content: bytes, *said: str, suffix: str = ".csv", encoding: str | None = None) -> Horror:
    return Horror(name, content, None, said=said, suffix=suffix, encoding=encoding)


GOOD = (("We will build.", "True"), ("Perhaps.", "False"))
GOOD_TEXT = "text,label\nWe will build.,True\nPerhaps.,False\n"
CAFE = (("café – Zoë", "True"), ("no", "False"))
CAFE_TEXT = "text,label\ncafé – Zoë,True\nno,False\n"

HORRORS = (
    # What other readers turn into something else.
    Horror(
        "missing words",
        b"text,label\na,None\nb,NA\nc,null\nd,n/a\ne,nan\n",
        (("a", "None"), ("b", "NA"), ("c", "null"), ("d", "n/a"), ("e", "nan")),
    ),
    Horror("numbers", b"id,text\n007,a\n1.0,b\n1e5,c\n,d\n", (("007", "a"), ("1.0", "b"), ("1e5", "c"), ("", "d"))),
    Horror("spaces kept", b"text,label\n a ,True \n", ((" a ", "True "),)),
    Horror("a cell of commas only", b"text,label\n,\na,True\n", (("", ""), ("a", "True"))),
    # Rows that are too long or too short.
    Horror(
        "first row too long", b"a,b\n1,2,3\n4,5\n6,7\n", (("4", "5"), ("6", "7")), (2,), ("3 cells where the header has 2",)
    ),
    Horror("later row too long", b"a,b\n1,2\n3,4,5\n", (("1", "2"),), (3,), ("a comma in it must stand in quotes",)),
    Horror("row too short", b"a,b\n1,2\n3\n4,5\n", (("1", "2"), ("4", "5")), (3,), ("1 cell where the header has 2",)),
    refused("rows all one too long", b"a,b\n1,x,y\n2,x,y\n", "one cell more than there are column names"),
    refused("most rows ragged", b"a,b\n1,2\n1,2,3\n1\n1,2,3,4\n", "3 of 4 rows cannot be used", "row 3: 3 cells"),
    # Byte-order marks.
    Horror("UTF-8 mark", b"\xef\xbb\xbf" + GOOD_TEXT.encode(), GOOD),
    Horror(
        "mark in the middle",
        GOOD_TEXT.encode() + b"\xef\xbb\xbftext,label\nYes.,True\n",
        (*GOOD, ("Yes.", "True")),
        (4,),
        ("column names once more",),
    ),
    Horror("mark before data", GOOD_TEXT.encode() + b"\xef\xbb\xbfYes.,True\n", GOOD, (4,), ("byte-order mark in the middle",)),
    Horror("header again", GOOD_TEXT.encode() * 2, (*GOOD, *GOOD), (4,), ("column names once more",)),
    # Line ends.
    Horror("old Macintosh", GOOD_TEXT.replace("\n", "\r").encode(), GOOD),
    Horror("Windows", GOOD_TEXT.replace("\n", "\r\n").encode(), GOOD),
    Horror(
        "mixed ends", b"a,b\r\n1,2\n3,4\r5,6\r\n", (("1", "2"), ("3", "4"), ("5", "6")), (), ("CR 1 times (first on line 3)",)
    ),
    Horror(
        "stray CR in a cell", b"a,b\none\rtwo,2\n3,4\n5,6\n", (("two", "2"), ("3", "4"), ("5", "6")), (2,), ("1 cell where",)
    ),
    Horror("other separators stay", "a,b\none\u2028two\x0b\x85,2\n".encode(), (("one\u2028two\x0b\x85", "2"),)),
    Horror("no last line end", b"a,b\n1,2", (("1", "2"),)),
    Horror("blank lines", b"\na,b\n\n1,2\n   \n3,4\n\n", (("1", "2"), ("3", "4")), (), ("4 blank lines skipped",)),
    # Quotes.
    Horror("quotes over lines", b'a,b\n"one\ntwo\r\nthree",2\n3,4\n', (("one\ntwo\r\nthree", "2"), ("3", "4"))),
    Horror("doubled quotes", b'a,b\n"say ""no""",2\n', (('say "no"', "2"),)),
    Horror("quote inside a bare cell", b'a,b\n5" pipe,2\n', (('5" pipe', "2"),)),
    Horror(
        "junk after a closing quote",
        b'a,b\n"x"y,2\n3,4\n5,6\n',
        (("3", "4"), ("5", "6")),
        (2,),
        ("text after a closing quote",),
    ),
    refused("unclosed quote", b'a,b\n1,2\n"open,4\n5,6\n7,8\n', "row 3 (line 3)", "never closed"),
    refused("quote broken lines later", b'a,b\n1,"x\ny, z\nu" v,3\n', "row 2 (line 2)", "on line 4"),
    refused("junk, then an open quote", b'a,b\n"x"y,"c\nd",e\n3,4\n', "row 2 (line 2)"),
    # Cells and lines beyond measure.
    Horror("a cell over the csv module's limit", b"a,b\n" + b"x" * 200_000 + b",2\n", (("x" * 200_000, "2"),)),
    Horror(
        "a cell over 1 MiB", b"a,b\n" + b"x" * (2**20 + 1) + b",2\n3,4\n5,6\n", (("3", "4"), ("5", "6")), (2,), ("1,048,576",)
    ),
    refused("a quoted cell that never ends", b'a,b\n1,"' + (b"word " * 200 + b"\n") * 1100, "row 2 (line 2)", "still open"),
    refused("a line of 5 MB", b"a,b\n" + b"x," * 2_500_000, "line 2", "no table"),
    # Encodings.
    Horror("UTF-16 LE", b"\xff\xfe" + CAFE_TEXT.encode("utf-16-le"), CAFE),
    Horror("UTF-16 BE", b"\xfe\xff" + CAFE_TEXT.encode("utf-16-be"), CAFE),
    refused("UTF-16 without mark", CAFE_TEXT.encode("utf-16-le"), "UTF-16", 'encoding = "utf-16-le"'),
    Horror("UTF-16 without mark, declared", CAFE_TEXT.encode("utf-16-be"), CAFE, encoding="utf-16-be"),
    refused("UTF-16 cut in half", b"\xff\xfe" + CAFE_TEXT.encode("utf-16-le")[:-1], "byte"),
    refused(
        "UTF-16, half a surrogate pair",
        b"\xff\xfe" + "a,b\n1,".encode("utf-16-le") + b"\x3d\xd8\n\0",
        "row 2 (line 2), byte 14",
    ),
    refused(
        "cp1252", CAFE_TEXT.encode("cp1252"), "row 2 (line 2), byte 14", "0xe9", '"café – Zoë,True"', 'encoding = "cp1252"'
    ),
    Horror("cp1252, declared", CAFE_TEXT.encode("cp1252"), CAFE, encoding="cp1252"),
    refused("two encodings", CAFE_TEXT.encode() + "ça,True\n".encode("cp1252"), "row 4 (line 4)", "two encodings"),
    refused("declared wrongly", CAFE_TEXT.encode(), "valid UTF-8", "'é' would become 'Ã©'", encoding="cp1252"),
    refused(
        "declared against the mark", b"\xff\xfe" + CAFE_TEXT.encode("utf-16-le"), "byte-order mark of utf-16", encoding="utf-8"
    ),
    refused("no such encoding", GOOD_TEXT.encode(), "cp1252", encoding="cp12522"),
    refused("a surrogate in UTF-8", b"a,b\nx\xed\xa0\x80,2\n", "row 2 (line 2), byte 5"),
    # NUL.
    Horror("NUL", b"a,b\n1\x00xyz,2\n3,4\n5,6\n", (("3", "4"), ("5", "6")), (2,), ("NUL byte in column 'a'",)),
    # Headers.
    refused("duplicate header", b"text,label,label\na,b,c\n", "'label' stands 2 times (columns 2, 3)"),
    refused("duplicate but for space", b"text,label, label\na,b,c\n", "'label' stands 2 times"),
    refused("only a header", b"text,label\n", "no row"),
    refused("empty", b"", "empty"),
    refused("only a mark", b"\xef\xbb\xbf", "empty"),
    refused("no header", b"ham,hello\nspam,win\nham,hi\nham,yo\nspam,now\n", "2 other rows hold 'ham'", "header = false"),
    Horror("no header, said so", b"ham,hello\nspam,win\n", (("ham", "hello"), ("spam", "win")), header=False),
    # Delimiters.
    Horror(
        "semicolons",
        b"text;label\nSoon, or later;True\nNo, no, no;False\n",
        (("Soon, or later", "True"), ("No, no, no", "False")),
        said=("a semicolon separates its cells",),
    ),
    Horror("tabs in .csv", b"text\tlabel\na, b\tTrue\n", (("a, b", "True"),), said=("a tab separates",)),
    Horror("bars", b"text|label\na, b|True\n", (("a, b", "True"),), said=("a bar separates",)),
    Horror("forced", b"text;label,x\na;b,c\n", (("a", "b,c"),), delimiter=";"),
    Horror("one column", b"text\nWe will.\nNo.\n", (("We will.",), ("No.",))),
    # TSV has two customs for quotes.
    Horror(
        "TSV, quoted",
        b'a\tb\n"x\ty"\t1\n"say ""no"""\t2\n',
        (("x\ty", "1"), ('say "no"', "2")),
        said=("as in CSV",),
        suffix=".tsv",
    ),
    Horror(
        "TSV, plain quotes",
        b'a\tb\n"Yes" he said\t1\nno\t2\n',
        (('"Yes" he said', "1"), ("no", "2")),
        said=("plain characters",),
        suffix=".tsv",
    ),
    Horror(
        "TSV, a lone quote", b'a\tb\n"Yes\t1\nno\t2\n', (('"Yes', "1"), ("no", "2")), said=("plain characters",), suffix=".tsv"
    ),
    Horror(
        "TSV, quotes that would join rows",
        b'a\tb\n1\t"Yes\n2\tno"\n',
        (("1", '"Yes'), ("2", 'no"')),
        said=("plain",),
        suffix=".tsv",
    ),
    # JSONL and JSON.
    Horror(
        "JSONL",
        b'{"a": "007", "b": null}\n\n{"a": 7, "b": ""}\n{"a": true, "b": 0.10}\n{"b": [1, "x"]}\n',
        (("007", None), ("7", ""), ("true", "0.10"), (None, '[1, "x"]')),
        suffix=".jsonl",
    ),
    Horror(
        "JSONL, broken lines",
        b'{"a": "x"}\n{"a": "\\d"}\n[1]\n{"a": "y"}\n{"a": "z"}\n',
        (("x",), ("y",), ("z",)),
        (2, 3),
        ("Invalid \\escape", "no object with named fields"),
        suffix=".jsonl",
    ),
    Horror(
        "JSONL, a key twice", b'{"a": "x"}\n{"a": "y", "a": "z"}\n', (("x",),), (2,), ("'a' stands twice",), suffix=".jsonl"
    ),
    Horror(
        "JSONL, lone surrogate", b'{"a": "x"}\n{"a": "\\ud83d"}\n', (("x",),), (2,), ("half a surrogate pair",), suffix=".jsonl"
    ),
    Horror("JSONL, NUL", b'{"a": "x"}\n{"a": "\\u0000"}\n', (("x",),), (2,), ("NUL byte",), suffix=".jsonl"),
    Horror(
        "JSONL, nested beyond measure", b'{"a": "x"}\n' + b"[" * 100_000 + b"\n", (("x",),), (2,), ("nested",), suffix=".jsonl"
    ),
    Horror("JSONL, mark and CR LF", b'\xef\xbb\xbf{"a": "x"}\r\n{"a": "y"}\r\n', (("x",), ("y",)), suffix=".jsonl"),
    Horror(
        "JSON",
        b'[{"a": "x", "b": NaN}, {"a": -0.50, "b": 1e3}, 7]',
        (("x", None), ("-0.50", "1e3")),
        (3,),
        ("a int in",),
        suffix=".json",
    ),
    Horror("JSON in an object", b'{"about": "x", "rows": [{"a": "y"}]}', (("y",),), said=("the list 'rows'",), suffix=".json"),
    Horror("JSON that is JSONL", b'{"a": "x"}\n{"a": "y"}\n', (("x",), ("y",)), said=("read as JSONL",), suffix=".json"),
    refused("JSON, two lists", b'{"p": [{"a": 1}], "q": [{"a": 2}]}', "2 lists of objects ('p', 'q')", suffix=".json"),
    refused("JSON, cut", b'[{"a": "x"}, {"a"', "no valid JSON", suffix=".json"),
    refused("JSON, cp1252", '[{"a": "é"}]'.encode("cp1252"), "byte 8", "cp1252", suffix=".json"),
    refused("JSONL, all bad", b"hello\nworld\n", "2 of 2 rows", suffix=".jsonl"),
    refused("Parquet that is none", b"PAR1 and no more", "cannot be read as parquet", suffix=".parquet"),
    refused("Arrow that is none", b"no arrow", "cannot be read as arrow", suffix=".arrow"),
    refused("packed", b"\x1f\x8b\x08", "Unpack it first", suffix=".csv.gz"),
    refused("a spreadsheet", b"PK\x03\x04", "no .xlsx tables", suffix=".xlsx"),
)


def test_the_horror_set_is_large_enough() -> None:
    names = [h.name for h in HORRORS]
    assert len(names) == len(set(names)) == 79
    assert {h.suffix for h in HORRORS} >= {".csv", ".tsv", ".jsonl", ".json", ".parquet", ".arrow"}


def read_alike(file: Path, **how: Any) -> Table:
    """The table of a file, which is the same (or refused in the same words) where it is read twice and never held."""
    try:
        scan = scan_rows(file, **how)
    except DataError as error:
        with pytest.raises(DataError) as caught:
            read_rows(file, **how)
        assert str(caught.value) == str(error)
        raise
    table, pieces = read_rows(file, **how), list(scan.tables(7))
    assert (scan.source, scan.columns, scan.read, scan.notes) == (table.source, table.columns, table.read, table.notes)
    assert tuple(row for piece in pieces for row in piece.rows) == table.rows
    assert tuple(drop for piece in pieces for drop in piece.drops) == table.drops
    assert [piece.read for piece in pieces[:-1]] == [7] * (len(pieces) - 1)
    return table


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n", "utf-8")
    scan = scan_rows(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(DataError, match="it held 2 rows, and 1 when it was read again"):
        list(scan.tables(10))


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_scan_holds_no_rows(name: str, tmp_path: Path) -> None:
    """Four times the rows, as much memory."""
    import tracemalloc

    peaks = []
    for rows in (2_000, 8_000):
        lines = (f"{i},{'word ' * 40}" if name == "t.csv" else f'{{"i": {i}, "said": "{"word " * 40}"}}' for i in range(rows))
        (tmp_path / name).write_text("i,said\n" * (name == "t.csv") + "\n".join(lines) + "\n", "utf-8")
        tracemalloc.start()
        assert sum(len(piece.rows) for piece in scan_rows(tmp_path / name).tables(100)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize("horror", HORRORS, ids=lambda h: h.name)
def test_horror(horror: Horror, tmp_path: Path) -> None:
    file = tmp_path / f"horror{horror.suffix}"
    file.write_bytes(horror.content)

    def read() -> tuple[list[Cells], list[int], str]:
        table = read_alike(file, encoding=horror.encoding, delimiter=horror.delimiter, header=horror.header)
        assert table.read == len(table.rows) + len(table.drops)
        assert all(drop.reason == "bad_row" and drop.origin.source == file.name for drop in table.drops)
        said = "\n".join([*table.notes, *(drop.detail for drop in table.drops)])
        return [row.cells for row in table.rows], [drop.origin.row for drop in table.drops], said

    if horror.rows is None:
        with pytest.raises(DataError) as caught:
            read()
        assert all(p.where.startswith(file.name) and p.what and p.do for p in caught.value.problems)
        said = str(caught.value)
    else:
        rows, drops, said = read()
        assert rows == list(horror.rows)
        assert drops == list(horror.drops)
    for words in horror.said:
        assert words in said


def test_row_numbers_are_those_of_a_spreadsheet_and_lines_those_of_an_editor(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text('text,label\n"one\ntwo",1\n\nthree,2\nfour\nfive,3\n')
    table = read_rows(file)
    assert [(row.number, row.line) for row in table.rows] == [(2, 2), (4, 5), (6, 7)]
    assert (table.drops[0].origin.row, table.drops[0].detail[:7]) == (5, "line 6:")


def test_reading_leaves_the_csv_limit_as_it_was(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    file = tmp_path / "t.csv"
    file.write_text(GOOD_TEXT)
    read_rows(file)
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_columnar_files(suffix: str, tmp_path: Path) -> None:
    from pyarrow import feather, parquet

    table = pa.table(
        {
            "text": ["café", None, "", "None"],
            "n": pa.array([7, None, 0, -1], pa.int64()),
            "x": pa.array([1.0, float("nan"), None, 0.5]),
            "yes": [True, False, None, True],
            "kind": pa.array(["a", "b", "a", None]).dictionary_encode(),
            "list": [["a", "b"], [], None, ["é"]],
            "image": [b"\x00", b"", None, b"x"],
        }
    )
    file = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        parquet.write_table(table, file)
    else:
        feather.write_feather(table, str(file))
    read = read_alike(file)
    assert read.columns == ("text", "n", "x", "yes", "kind", "list")
    assert [row.cells for row in read.rows] == [
        ("café", "7", "1.0", "true", "a", '["a", "b"]'),
        (None, None, None, "false", "b", "[]"),
        ("", "0", None, None, "a", None),
        ("None", "-1", "0.5", "true", None, '["é"]'),
    ]
    assert read.notes == (f"t{suffix}: the column 'image' holds bytes, not text, and is left out.",)


def test_an_arrow_stream_is_read_too(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"]})
    file = tmp_path / "t.arrow"
    with pa.ipc.new_stream(str(file), table.schema) as stream:
        stream.write_table(table)
    assert [row.cells for row in read_rows(file).rows] == [("a",), ("b",)]


def test_a_dataset_of_the_library_keeps_its_class_names() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    made = datasets.Dataset.from_dict({"text": ["good", "bad", "?"], "label": [1, 0, -1]}, features=features)
    table = table_from_dataset(made, "someone/reviews")
    assert [row.cells for row in table.rows] == [("good", "pos"), ("bad", "neg"), ("?", None)]
    assert table.notes == ("someone/reviews: the numbers of column 'label' are read as the names of its classes.",)


def test_a_hub_id_without_network_is_answered_in_one_sentence_with_the_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("datasets.config")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError) as caught:
        read_rows("nobody-at-all/no-such-data-set")
    assert len(caught.value.problems) == 1
    assert "could be had from the Hub" in str(caught.value) and "save it as JSONL or Parquet" in str(caught.value)
    assert not config.HF_HUB_OFFLINE, "the library's setting is put back"


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "speeches.csv").write_text(GOOD_TEXT)
    for path, words in (
        (tmp_path / "speech.csv", "Did you mean speeches.csv"),
        (tmp_path / "no" / "speeches.csv", "there is no folder"),
        (tmp_path, "this is a folder"),
        ("data/speeches.csv", "there is no folder data"),
    ):
        with pytest.raises(DataError, match=words):
            read_rows(path)


REAL = {
    "promises/mimac_pledges_en_a.tsv": (4119, 11, 0, "as in CSV, around cells (4,119 rows fit so; as plain characters 4,112)"),
    "promises/mimac_pledges_sv_a.tsv": (2150, 11, 0, "as in CSV"),
    "promises/pledge_multi_annotator_50.tsv": (50, 19, 0, ""),
    "promises/canada_2021_mandate_commitments_a.csv": (380, 4, 0, ""),
    "promises/uk_labour_promises.csv": (18, 12, 0, ""),
    "promises/promiseeval_en_first200.json": (200, 7, 0, ""),
    "promises/trumptracker_status.json": (174, 9, 0, "the list 'promises'"),
    "promises/canada_2025_platform_promises.json": (303, 6, 0, "the list 'promises'"),
    "classification/banking77_train.csv": (10003, 2, 0, ""),
    "classification/banking77_test.csv": (3080, 2, 0, ""),
    "speeches/uk_covid_speeches.csv": (493, 10, 0, ""),
    "e2e/devset.csv": (4672, 2, 0, ""),
    "flan/flan_collection_info.csv": (1945, 5, 0, ""),
    "guanaco/guanaco-llama2-1k.parquet": (1000, 1, 0, ""),
    "alpaca/alpaca_5000.json": (5000, 3, 0, ""),
    "instructwild_v2/user_2.jsonl": (246, 1, 2, ""),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, shared: Path) -> None:
    rows, columns, drops, note = REAL[name]
    table = read_alike(shared / "data" / name)
    assert (len(table.rows), len(table.columns), len(table.drops)) == (rows, columns, drops)
    assert note in "\n".join(table.notes) and (note or not table.notes)


def test_real_dirt_is_located(shared: Path) -> None:
    assert [d.origin.row for d in read_rows(shared / "data/instructwild_v2/user_2.jsonl").drops] == [134, 168]


def test_real_cells_over_lines(shared: Path) -> None:
    table = read_rows(shared / "data/speeches/uk_covid_speeches.csv")
    first, second = (row.cells[table.columns.index("text")] for row in table.rows[:2])
    assert first is not None and first.startswith("I thank the Secretary of State for an advance copy") and "\n" in first
    assert second and table.rows[1].line > 3 and table.rows[1].number == 3


def test_a_real_table_without_column_names(shared: Path) -> None:
    path = shared / "data/classification/sms.tsv"
    with pytest.raises(DataError, match=r"4,826 other rows hold 'ham' in the same column. .*header = false"):
        read_rows(path)
    table = read_rows(path, header=False)
    assert table.columns == ("column_1", "column_2") and len(table.rows) == 5574 and not table.drops
    assert (table.rows[0].number, table.rows[0].cells[0]) == (1, "ham")
    assert "quotes are read as plain characters of the text (5,574 rows fit so; as in CSV none)" in table.notes[0]
    assert sum('"' in (cell or "") for cell in table.column("column_2")) > 50


def test_real_files_of_other_kinds_are_refused(shared: Path) -> None:
    for name in ("classification/TREC.test.all", "classification/FinancialPhraseBank-v1.0.zip"):
        with pytest.raises(DataError) as caught:
            read_rows(shared / "data" / name)
        assert "Unpack it first" in str(caught.value) or all(suffix in str(caught.value) for suffix in FORMATS)


def test_json_lines_and_json_say_the_same(tmp_path: Path) -> None:
    records = [{"text": "a\nb", "n": 1, "label": None}, {"text": "é", "n": 2.50, "label": "x"}]
    (tmp_path / "t.json").write_text(json.dumps(records))
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(r) for r in records))
    assert [r.cells for r in read_rows(tmp_path / "t.json").rows] == [r.cells for r in read_rows(tmp_path / "t.jsonl").rows]
