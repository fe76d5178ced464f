"""Tokens: prompt ids + completion ids, the end token trained, nothing cut in silence, the tokenizer the model's own."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from whet.data import tokens as tokenizers
from whet.errors import DataError, ModelError
from whet.example import Example, Origin, Task
from whet.prompts import plain

TASK = Task(instruction="Is it a promise?", labels=("no", "yes"))


def example(text: str, target: str = "yes", number: int = 1) -> Example:
    return Example(str(number), {"text": text}, target, None, Origin("t.csv", number))


@pytest.fixture(scope="module")
def whetstone() -> tokenizers.Tokens:
    return tokenizers.load("whetstone")


def test_the_ids_are_prompt_then_completion_then_end(whetstone: tokenizers.Tokens) -> None:
    text = "We will build 40,000 homes."
    encoded = tokenizers.encode(example(text), TASK, whetstone)
    assert whetstone.decode(encoded.prompt) == "Is it a promise?\n\nText: We will build 40,000 homes.\nAnswer:"
    assert whetstone.decode(encoded.completion) == " yes"
    assert encoded.completion[-1] == whetstone.end
    assert encoded.prompt == whetstone.prompt(plain.prompt(TASK, {"text": text})), "training prefix == prediction prompt"


def test_labels_of_one_set_differ_and_come_back(whetstone: tokenizers.Tokens) -> None:
    labels = ("True", "False", "not a promise", "no", "7", "été")
    ids = {label: whetstone.completion(plain.completion(label)) for label in labels}
    assert len(set(ids.values())) == 6
    assert all(plain.parse(whetstone.decode(i)) == label for label, i in ids.items())


def test_our_ids_are_the_models_own(shared: Path, whetstone: tokenizers.Tokens) -> None:
    """transformers and whet read the same tokenizer.json to the same ids."""
    from transformers import AutoTokenizer

    folders = [whetstone.folder, *sorted(p for p in (shared / "models").iterdir() if p.is_dir())]
    assert len(folders) == 4
    for folder in folders:
        ours, theirs = tokenizers.load(str(folder)), AutoTokenizer.from_pretrained(folder)
        for text in ("We will build 40,000 homes by 2027.", "once upon a time, there was a tax", "café"):
            assert list(ours.prompt(text)) == theirs(text).input_ids, folder.name
        assert ours.end == theirs.eos_token_id, folder.name


def test_too_long_is_refused_by_default(whetstone: tokenizers.Tokens) -> None:
    rows = [example("short"), example("long " * 100, number=2), example("longer " * 200, number=3)]
    with pytest.raises(DataError, match=r"t.csv, row 3: 2 examples are longer than 60 tokens"):
        tokenizers.fit(rows, TASK, whetstone, 60, "error")


def test_dropped_and_cut_rows_are_listed(whetstone: tokenizers.Tokens) -> None:
    rows = [example("short"), example("long " * 100, number=2)]
    kept, drops = tokenizers.fit(rows, TASK, whetstone, 60, "drop")
    assert [e.id for e in kept] == ["1"] and [(d.reason, d.origin.row) for d in drops] == [("too_long", 2)]
    kept, drops = tokenizers.fit(rows, TASK, whetstone, 60, "truncate")
    assert len(kept) == 2 and [d.reason for d in drops] == ["truncated"]
    cut = tokenizers.encode(kept[1], TASK, whetstone)
    assert 55 <= len(cut) <= 60
    text = whetstone.decode(cut.prompt)
    assert text.startswith("Is it a promise?\n\nText: long long") and text.endswith("\nAnswer:")
    assert whetstone.decode(cut.completion) == " yes", "the label is never cut"


def test_a_label_that_does_not_fit_is_an_error(whetstone: tokenizers.Tokens) -> None:
    with pytest.raises(DataError, match="an answer is never cut"):
        tokenizers.fit([example("x", target="very " * 80)], TASK, whetstone, 40, "truncate")


@pytest.mark.parametrize(
    "text", ["", "a", "1234567890", "We will build.\n\n  Now!", "<|endoftext|><|pad|>", "zzqx" * 50, "é 我们 \U0001f44d"]
)
def test_a_text_has_no_more_ids_than_are_foretold(whetstone: tokenizers.Tokens, text: str) -> None:
    most = whetstone.at_most(text, text)
    assert most is not None and most >= len(whetstone.prompt(text) + whetstone.completion(text))


def test_nothing_is_foretold_of_other_tokenizers(whetstone: tokenizers.Tokens, tmp_path: Path) -> None:
    """Whoever changes a text before reading it, or knows no bytes, may make more ids than there are characters."""
    for name in tokenizers.TOKENIZER_FILES:
        if (whetstone.folder / name).is_file():
            (tmp_path / name).write_bytes((whetstone.folder / name).read_bytes())
    found = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    for change in ({"normalizer": {"type": "Prepend", "prepend": "xxx"}}, {"pre_tokenizer": {"type": "Whitespace"}}):
        (tmp_path / "tokenizer.json").write_text(json.dumps({**found, **change}), "utf-8")
        assert tokenizers.Tokens(tmp_path, "changed").at_most("a", "b") is None


@pytest.mark.parametrize("length", [8, 9, 64, None])
def test_windows_learn_every_token_of_a_text_but_the_first_once(whetstone: tokenizers.Tokens, length: int | None) -> None:
    text = Example("talk", {"text": "We will build 40,000 homes by 2027. " * 30}, "", None, Origin("talk.txt", 1))
    rows = tokenizers.encode_all([text], TASK, whetstone, length)
    whole = (*whetstone.prompt(text.text), whetstone.end)
    assert sum((row.completion for row in rows), ()) == whole[1:] and rows[0].prompt == whole[:1]
    limit = length or 1024
    assert all(len(row) == limit for row in rows[:-1]) and 2 <= len(rows[-1]) <= limit
    assert all(after.prompt == before.completion[-1:] for before, after in pairwise(rows))
    assert [row.id for row in rows] == [f"talk:{n}" for n in range(1, len(rows) + 1)]


def test_what_the_first_id_gives_is_not_predicted(whetstone: tokenizers.Tokens, tmp_path: Path) -> None:
    assert whetstone.unread("We will build.") == 0, "the start token stands for no character"
    bare = json.loads((whetstone.folder / "tokenizer.json").read_text("utf-8"))
    bare["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(bare), "utf-8")
    for name in ("tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((whetstone.folder / name).read_bytes())
    without = tokenizers.load(str(tmp_path))
    assert without.unread("We will build.") == len("We") == len(without.decode(without.prompt("We will build.")[:1]))


def test_bases_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        tokenizers.load(str(tmp_path))
    with pytest.raises(ModelError, match="there is no such folder"):
        tokenizers.load("./nowhere")
    with pytest.raises(ModelError, match="neither a folder nor a Hub id"):
        tokenizers.load("no spaces please")
    (tmp_path / "tokenizer.json").write_bytes((tokenizers.load("whetstone").folder / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(ModelError, match="names no eos_token"):
        tokenizers.load(str(tmp_path))


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        tokenizers.load("someone/some-model")
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)
    assert "the Hub cannot be reached" in str(caught.value) and "embedded whetstone" in str(caught.value)
