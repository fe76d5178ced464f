"""The run folder: refused when recipe or data changed, one writer at a time, files whole or absent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from engine_parts import recipe

from whet.errors import RunError
from whet.run import Run, replace_folder, write_atomically

HASHES = {"table.csv": {"sha256": "aa", "bytes": 3}}


@pytest.fixture
def begun(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", recipe(tmp_path / "t.csv", "whetstone"), HASHES, "whet run tiny.toml")


def test_the_same_recipe_and_data_open_it_again(begun: Run) -> None:
    again = Run.create(begun.path, recipe(begun.path.parent / "t.csv", "whetstone"), HASHES, "another command")
    assert again.manifest["command"] == "whet run tiny.toml"
    assert Run.open(begun.path).recipe == begun.recipe


def test_a_changed_recipe_is_refused_key_by_key(begun: Run) -> None:
    train = {"learning_rate": 9e-9, "num_train_epochs": 5}
    changed = recipe(begun.path.parent / "t.csv", "whetstone", train=train, lora={"r": 4})
    with pytest.raises(RunError) as caught:
        Run.create(begun.path, changed, HASHES, "")
    text = str(caught.value)
    assert "train.learning_rate: this run was begun with 0.001, the recipe now says 9e-09" in text
    assert "train.num_train_epochs" in text and "lora" in text and "train.weight_decay" not in text


def test_changed_data_are_refused_by_name(begun: Run) -> None:
    with pytest.raises(RunError, match=r"table\.csv: the data changed"):
        Run.create(begun.path, begun.recipe, {"table.csv": {"sha256": "bb"}}, "")


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty and holds no run"):
        Run.create(tmp_path, recipe(tmp_path / "t.csv", "whetstone"), HASHES, "")
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_no_run_here(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run here"):
        Run.open(tmp_path)


def test_missing_and_damaged_parts_say_what_to_do(begun: Run) -> None:
    with pytest.raises(RunError, match=r"Run `whet evaluate` first"):
        begun.read_json("evaluation.json")
    (begun.path / "evaluation.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        begun.read_json("evaluation.json")
    with pytest.raises(RunError, match=r"`whet prepare`"):
        begun.examples("train")


def hold(path: Path, ready: Event) -> None:
    with Run(path).lock():
        ready.set()
        time.sleep(60)


def test_the_second_process_refuses_and_a_killed_one_lets_go(begun: Run) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(begun.path, ready))
    holder.start()
    try:
        assert ready.wait(30)
        with pytest.raises(RunError, match=f"process {holder.pid} is working on this run"), begun.lock():
            pass
    finally:
        os.kill(holder.pid or 0, signal.SIGKILL)
        holder.join()
    with begun.lock():
        assert (begun.path / "run.lock").read_text() == f"process {os.getpid()}"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_atomically(file, b"old")
    with pytest.raises(TypeError):
        write_atomically(file, "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"


def test_replacing_a_folder(tmp_path: Path) -> None:
    for name, text in (("final", "old"), ("beside", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(text)
    replace_folder(tmp_path / "beside", tmp_path / "final")
    assert (tmp_path / "final" / "a").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


def test_lines_may_hold_any_character_and_a_cut_last_line_is_none(begun: Run) -> None:
    texts = ["one\u2028still one\x85", "a lone \ud800 surrogate", "plain"]
    begun.write_lines("dropped.jsonl", ({"text": t} for t in texts))
    with (begun.path / "dropped.jsonl").open("a") as file:
        file.write('{"text": "cut sh')
    assert [r["text"] for r in begun.read_lines("dropped.jsonl")] == texts
