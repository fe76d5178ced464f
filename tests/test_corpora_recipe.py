"""A corpus as the data of a recipe, and how a conversation is written into a prompt."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from whet import stages
from whet.data import dataset
from whet.data.corpora.format import Record
from whet.data.corpora.rows import read_rows_of
from whet.data.corpora.turns import to_item
from whet.engine.reader import Reader, read_passages
from whet.errors import DataError, RecipeError
from whet.example import Example, Message, Origin, Task
from whet.progress import Silent
from whet.prompts import plain
from whet.recipe import parse


def turns(*texts: str) -> list[dict[str, str]]:
    """Messages of user and assistant in turn."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def write_chats(path: Path, chats: list[list[dict[str, str]]]) -> None:
    """A file of conversations."""
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats), "utf-8")


def recipe_of(path: Path, tiny_base: Path, **data: Any) -> Any:
    """The values of a recipe for a chat corpus."""
    return {
        "name": "chat", "task": {"kind": "generate"}, "data": {"path": str(path), "format": "auto", **data},
        "model": {"base": str(tiny_base)}, "train": {"max_length": 200, "too_long": "drop"},
    }  # fmt: skip


def test_what_was_mended_is_no_row_of_its_own(shared: Path, tiny_base: Path) -> None:
    """Of 5,000 records 6 have no answer, one holds two, and 58 were mended."""
    recipe = parse(recipe_of(shared / "data/alpaca/alpaca_5000.json", tiny_base))
    rows, made = read_rows_of(recipe.data.path, recipe.data, recipe.task)
    assert (rows, len(made.examples), len(made.drops)) == (5001, 4995, 65)


def test_a_recipe_trains_on_a_corpus(shared: Path, tiny_base: Path) -> None:
    recipe = parse(recipe_of(shared / "data/sharegpt/vicuna_dummy_conversation.json", tiny_base))
    made = stages.check(recipe)
    assert made.read >= 1000 and sum(map(len, made.splits.values())) > 100
    assert any("read as sharegpt; 500 records gave 1,000 examples" in note for note in made.notes)
    groups = [{example.group for example in split} for split in made.splits.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert any(example.history for example in made.splits["train"])


def test_a_run_knows_the_files_of_a_corpus_by_their_hashes(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"any"))
    recipe = parse(recipe_of(tmp_path / "corpus", tiny_base))
    (tmp_path / "corpus").mkdir()
    (tmp_path / "a.jsonl.gz").rename(tmp_path / "corpus" / "a.jsonl.gz")
    before = dataset.hashes(recipe)
    write_chats(tmp_path / "corpus" / "b.jsonl", [turns("Hi", "Ho")])
    after = dataset.hashes(recipe)
    assert before.keys() == after.keys() == {str(tmp_path / "corpus")}
    assert before != after and all(found["sha256"] and found["bytes"] for found in (*before.values(), *after.values()))


def test_a_conversation_too_long_loses_its_oldest_turns(tmp_path: Path, tiny_base: Path) -> None:
    chats = [turns(*(f"Line {n} of chat {c}, said at some length." for n in range(12))) for c in range(20)]
    write_chats(tmp_path / "chat.jsonl", chats)
    values = recipe_of(tmp_path / "chat.jsonl", tiny_base)
    values["train"] = {"max_length": 64, "too_long": "truncate"}
    made = stages.check(parse(values))
    cut = [drop for drop in made.drops if drop.reason == "truncated"]
    assert cut and all("oldest turns before it were cut" in drop.detail for drop in cut)
    assert all(example.instruction and example.target for split in made.splits.values() for example in split)


def test_labels_of_a_corpus_are_checked(tmp_path: Path, tiny_base: Path) -> None:
    chats = [turns(f"Is {n} even?", ("yes", "no", "Yes.")[n % 3]) for n in range(60)]
    write_chats(tmp_path / "chat.jsonl", chats)
    values = recipe_of(tmp_path / "chat.jsonl", tiny_base, label_names={"Yes.": "yes"})
    values["task"] = {"kind": "classify", "labels": ["yes", "no"]}
    assert stages.check(parse(values)).labels == ("yes", "no")
    values["data"].pop("label_names")
    with pytest.raises(DataError, match=r"'Yes\."):
        stages.check(parse(values))


def test_a_corpus_has_no_columns_to_name(tmp_path: Path, tiny_base: Path) -> None:
    values = recipe_of(tmp_path / "chat.jsonl", tiny_base, input="a", group="b")
    with pytest.raises(RecipeError, match="input, group: these describe a table"):
        parse(values)
    with pytest.raises(RecipeError, match='kind = "text" learns none'):
        parse({**recipe_of(tmp_path, tiny_base), "task": {"kind": "text"}})


def test_a_history_stands_before_the_question_so_that_each_turn_is_a_prefix_of_the_next() -> None:
    record = Record(Origin("f", 1), None)
    said = [Message("system", "Be kind."), *(Message(("user", "assistant")[n % 2], f"turn {n}") for n in range(6))]
    first, second, third = to_item(record, said).examples
    task = Task(kind="generate")
    assert plain.ask(task, first) == "Be kind.\n\nturn 0\n\nAnswer:"
    for before, after in ((first, second), (second, third)):
        assert plain.ask(task, after).startswith(plain.ask(task, before) + plain.completion(before.target))
    assert Example.from_json(json.loads(json.dumps(third.to_json()))) == third


def test_demonstrations_bring_their_own_history() -> None:
    said = [Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d")]
    first, second = to_item(Record(Origin("f", 1), None), said).examples
    asked = to_item(Record(Origin("f", 2), None), [Message("user", "e"), Message("assistant", "f")]).examples[0]
    shown = plain.ask(Task(kind="generate"), asked, [first, second])
    assert shown == "a\n\nAnswer: b\n\na\n\nAnswer: b\n\nc\n\nAnswer: d\n\ne\n\nAnswer:"


def test_a_document_brings_no_instruction_of_its_own(tmp_path: Path, tiny_base: Path) -> None:
    recipe = parse(recipe_of(tmp_path / "chat.jsonl", tiny_base))
    reader = cast(Reader, SimpleNamespace(template=None, task=recipe.task))
    with pytest.raises(DataError, match="each row brought its own instruction"):
        read_passages(reader, ["A text."], recipe, None, Silent())
    told = parse({**recipe_of(tmp_path / "chat.jsonl", tiny_base), "task": {"kind": "generate", "instruction": "Sum up."}})
    assert read_passages(cast(Reader, SimpleNamespace(template=None, task=told.task)), [], told, None, Silent()) == []
