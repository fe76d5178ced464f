"""`whet synth` as a command: what it prints, what it exits with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Play, ScriptedServer
from synth_parts import faulty, maker, recipe

from whet.cli import main
from whet.errors import RecipeError
from whet.progress import Silent
from whet.synth.local import LocalModels
from whet.synth.opening import maker_name
from whet.synth.workshop import make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, base_url: str, **synth: Any) -> str:
    (folder / "mail.toml").write_text(recipe(base_url, **synth).dump(), "utf-8")
    return "mail.toml"


def test_it_makes_rows_and_says_where_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(maker) as server:
        file = write(folder, server.base_url, price_in=1.0, price_out=2.0)
        assert main(["synth", file, "--dry-run"]) == 0
        said = capsys.readouterr()
        assert "0 of 30 rows are there" in said.out and "Nothing was sent" in said.out and not server.bodies
        assert main(["synth", file, "--pilot"]) == 0
        said = capsys.readouterr()
        assert "The pilot is done" in said.out and "At this rate 30 rows take about" in said.out
        assert main(["synth", file]) == 0
    said = capsys.readouterr()
    assert "All rows are made. 30 of 30 rows." in said.out and "complaint  10        10" in said.out
    assert "χ² = 0.00 (2 df), p = 1.000" in said.out and "a row" in said.out
    assert '[data] path = "runs/mail-synth/accepted.jsonl"' in said.err
    assert len((folder / "runs/mail-synth/accepted.jsonl").read_text("utf-8").splitlines()) == 30


def test_it_prints_one_object_with_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(maker) as server:
        file = write(folder, server.base_url)
        assert main(["synth", file, "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows_wanted"] == 30
        assert main(["synth", file, "--json", "--out", "here"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "here/synth.json").read_text("utf-8"))


def test_too_few_rows_exit_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(faulty(lambda body, n: Play("No."))) as server:
        assert main(["synth", write(folder, server.base_url, patience=3)]) == 1
    said = capsys.readouterr().out
    assert "0 of 30 rows" in said and "no json" in said and "(patience)" in said


def test_what_the_user_must_change_exits_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", write(folder, "http://127.0.0.1:9/v1")]) == 2
    assert "Start the server" in capsys.readouterr().err
    for wrong, said in (
        ("synth.base_url=ftp://x", "http://"), ("synth.base_url=http://me:secret@host/v1", "no name or password"),
        ("synth.budget_cost=1", "needs price_in and price_out"), ("synth.weights=[1,2]", "one positive number for each"),
        ("synth.rowz=3", "Did you mean `rows`"), ("synth.max_words=0", "max_words"),
    ):  # fmt: skip
        assert main(["synth", "mail.toml", "--set", wrong]) == 2, wrong
        assert said in capsys.readouterr().err


def test_no_secret_of_an_address_is_said_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "http://127.0.0.1:9/v1")
    assert main(["synth", "mail.toml", "--set", "synth.base_url=http://me:hunter2@host/v1"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_commercial_use_refuses_makers_whose_terms_forbid_it(tmp_path: Path) -> None:
    for model, licence, said in (
        ("gpt-4", "MIT", "gpt-4"),
        ("open-model", None, "licence"),
        ("open-model", "CC BY-NC 4.0", "NC"),
    ):
        wanted = recipe(model=model, licence=licence)
        wanted = wanted.model_copy(update={"data": wanted.data.model_copy(update={"use": "commercial"})})
        with pytest.raises(RecipeError, match=said):
            make(wanted, tmp_path / "run", Silent(), LocalModels(lambda: [], lambda: pytest.fail("nothing is embedded")))
    assert not (tmp_path / "run").exists()


def test_a_folder_as_maker_is_named_without_its_place(tmp_path: Path) -> None:
    synth = recipe((), model=str(tmp_path)).synth
    assert synth is not None and maker_name(synth) == tmp_path.name
