"""What columns are for: right on real tables, said in sentences, and a recipe that loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.data.guess import guess_columns, guess_file, recipe_text
from whet.data.read import read_rows
from whet.errors import DataError
from whet.recipe import load

# (inputs, target, group, kind) of real tables.
REAL = {
    "promises/mimac_pledges_en_a.tsv": (("text",), "binary_pledge", "file", "classify"),
    "promises/mimac_pledges_sv_a.tsv": (("text",), "binary_pledge", "file", "classify"),
    "promises/pledge_multi_annotator_50.tsv": (("text",), "gold", None, "classify"),
    "promises/promiseeval_en_first200.json": (("data",), "promise_status", "URL", "classify"),
    "promises/canada_2021_mandate_commitments_a.csv": (("Commitment",), "Reporting Lead", None, "classify"),
    "classification/banking77_train.csv": (("text",), "category", None, "classify"),
    "classification/sms.tsv": (("column_2",), "column_1", None, "classify"),
    "e2e/devset.csv": (("mr",), "ref", None, "generate"),
    "alpaca/alpaca_5000.json": (("instruction", "input"), "output", None, "generate"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables(name: str, shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / name
    guess = guess_file(path)
    assert (guess.input, guess.target, guess.group, guess.kind) == REAL[name]
    assert all(sentence.endswith(".") for sentence in guess.why) and len(guess.why) >= 2
    recipe = tmp_path / "mine.toml"
    recipe.write_text(recipe_text("mine", path, guess), "utf-8")
    loaded = load(recipe)
    assert (loaded.data.input, loaded.data.target, loaded.data.group) == REAL[name][:3]
    assert loaded.task.labels == guess.labels and loaded.data.header == guess.header


def test_a_table_without_names_says_so(shared: Path) -> None:
    guess = guess_file(shared / "data/classification/sms.tsv")
    assert not guess.header and guess.labels == ("ham", "spam")
    assert "Decide the label of the text. Reply with ham or spam." in recipe_text("spam", Path("sms.tsv"), guess)
    assert "header = false" in guess.why[0] and any("check this one" in sentence for sentence in guess.why)


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_clashing_labels_are_left_for_a_person(tmp_path: Path) -> None:
    rows = "".join(f"We will build number {i}.,{'True' if i % 2 else 'true' if i % 3 else 'False'}\n" for i in range(30))
    guess = guess_file(written(tmp_path, "sentence,label\n" + rows))
    assert guess.labels == ()
    assert any(s.startswith("Labels left out until this is settled: 'True' (15 rows") for s in guess.why)
    assert "labels =" not in recipe_text("x", tmp_path / "table.csv", guess).split("[task]")[1]


def test_a_group_must_be_named_like_one(tmp_path: Path) -> None:
    rows = "".join(f"{i // 5},{i // 5},Sentence number {i} of the talk.,{i % 2}\n" for i in range(40))
    assert guess_file(written(tmp_path, "chapter_no,speech_id,text,label\n" + rows)).group == "speech_id"
    assert guess_file(written(tmp_path, "a,b,text,label\n" + rows)).group is None


@pytest.mark.parametrize(
    "text", ["text\nWe will.\nNo.\n", "id,text\n1,One thing.\n2,Another.\n3,A third.\n", "text,label\na,x\nb,x\n"]
)
def test_a_table_without_an_answer_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Write the recipe by hand"):
        guess_file(written(tmp_path, text))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stands 2 times"):
        guess_file(written(tmp_path, "text,text\na,b\n"))


def test_strange_names_survive_the_recipe(tmp_path: Path) -> None:
    rows = "".join(f'"text {i} of ""many"" words",{"yes" if i % 2 else "no"}\n' for i in range(20))
    path = written(tmp_path, '"the ""text""\nin two lines","la=bel # 1"\n' + rows)
    guess = guess_columns(read_rows(path))
    recipe = tmp_path / "mine.toml"
    recipe.write_text(recipe_text("mine", path, guess), "utf-8")
    assert load(recipe).data.input == ('the "text"\nin two lines',) and load(recipe).data.target == "la=bel # 1"
