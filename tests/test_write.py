"""Predictions on disk: whole, harmless to a spreadsheet, and the same when read again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from whet.data.read import read_rows
from whet.data.write import harmless, write_predictions
from whet.errors import DataError
from whet.example import Prediction

ATTACKS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    '=HYPERLINK("x","y")',
    "-2+3+cmd|' /C calc'!A0",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
]


def prediction(text: str, number: int = 1, probability: float | None = 0.75) -> Prediction:
    scores = {"True": 0.75, "False": 0.25} if probability is not None else {}
    return Prediction(f"talk.txt:{number}", text, "True", probability, scores, "talk.txt", 10, 10 + len(text))


def test_csv_comes_back_cell_by_cell(tmp_path: Path) -> None:
    texts = ["We will build.", 'He said "no", twice.', "two\nlines", "é 🏠", "None", "007"]
    path = tmp_path / "out.csv"
    write_predictions(path, [prediction(t, i) for i, t in enumerate(texts)])
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    assert rows[0] == ["document", "start", "end", "text", "label", "probability", "True", "False"]
    assert rows[1] == ["talk.txt", "10", "24", "We will build.", "True", "0.75", "0.75", "0.25"]
    assert [row[3] for row in rows[1:]] == texts
    assert read_rows(path).column("text") == texts


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_cell_is_a_formula(attack: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    hostile = Prediction("1", attack, attack, 0.5, {attack: 0.5, "label": 0.25, "document": 0.25}, attack, 0, 1)
    write_predictions(path, [hostile])
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert f"'{attack}" in cells and "score document" in cells
    live = [
        cell
        for cell in cells
        if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    ]
    assert live == []


def test_a_harmless_cell_stays_as_it_is() -> None:
    for text in ("We will = win", "a-b", "", "'quoted'", " =1", "1-2"):
        assert harmless(text) == text


def test_jsonl_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    made = [prediction(text, i) for i, text in enumerate([*ATTACKS, "line\u2028separator", "é"])]
    write_predictions(path, iter(made))
    lines = path.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [p.to_json() for p in made]


def test_an_answer_without_a_probability(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_predictions(path, [prediction("x", probability=None)])
    assert path.read_text("utf-8").splitlines() == ["document,start,end,text,label,probability", "talk.txt,10,11,x,True,"]


def test_no_predictions_make_a_file_with_its_header(tmp_path: Path) -> None:
    write_predictions(tmp_path / "out.csv", [])
    assert (tmp_path / "out.csv").read_bytes() == b"document,start,end,text,label,probability\r\n"


def test_another_format_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    asked = iter([prediction("x")])
    with pytest.raises(DataError, match=r"End the name in .csv or .jsonl"):
        write_predictions(tmp_path / "out.xlsx", asked)
    assert next(asked).text == "x"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def breaks() -> object:
        yield prediction("x")
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError):
        write_predictions(path, breaks())  # type: ignore[arg-type]
    assert path.read_text() == "old" and [f.name for f in tmp_path.iterdir()] == ["out.csv"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="it cannot be written"):
        write_predictions(tmp_path / "file" / "out.csv", [prediction("x")])
