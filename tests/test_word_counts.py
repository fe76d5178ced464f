"""Ids counted word by word: as many as the tokenizer makes of the whole text, or not at all."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from whet.data import word_counts
from whet.data.read import read_rows
from whet.data.word_counts import WordCounts, is_by_words

PIECES = [
    " ", " ", " ", "  ", "\n", "\n ", " \n", "\t", "\r\n", "a", "we", "We'll", "don't", "homes", "1", "2027", "40,000", "...",
    "-", "(", "é", "e\u0301", "\u0301", "ß", "我们", "\xa0", "\u2028", "\x1c", "\x85", "\u200b", "\U0001f44d", "\u0661",
    "<|endoftext|>", "<|end", "|>", "'s", "a,", "b.", "[NEW]", "_", "ﬁ",
]  # fmt: skip


def whetstone() -> dict[str, Any]:
    content = (resources.files("whet.base") / "whetstone/tokenizer.json").read_text("utf-8")
    made: dict[str, Any] = json.loads(content)
    return made


def trained(parts: list[pre_tokenizers.PreTokenizer], *, nfc: bool = False) -> dict[str, Any]:
    """A small tokenizer that learned its merges from words as they come, so that blanks stand in many of its tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    draw = random.Random(4)
    texts = ["".join(draw.choices(PIECES, k=60)) for _ in range(300)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken("[NEW]"), AddedToken("  ")])
    made: dict[str, Any] = json.loads(tokenizer.to_str())
    return made


def by_pattern(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


SPELLED = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
KNOWN: dict[str, Callable[[], dict[str, Any]]] = {
    "whetstone": whetstone,
    "gpt2": lambda: trained([GPT2]),
    "smollm": lambda: trained([pre_tokenizers.Digits(individual_digits=True), GPT2]),
    "digits": lambda: trained([by_pattern(r"\p{N}"), GPT2], nfc=True),
    "llama": lambda: trained([by_pattern(word_counts._WORDS_OF_LLAMA), SPELLED]),
    "qwen": lambda: trained([by_pattern(word_counts._WORDS_OF_QWEN), SPELLED], nfc=True),
}


def texts(shared: Path) -> Iterator[str]:
    draw = random.Random(9)
    yield from ("".join(draw.choices(PIECES, k=draw.randint(0, 12))) for _ in range(8000))
    yield from read_rows(shared / "data/promises/mimac_pledges_sv_a.tsv").column("text")[:500]  # type: ignore[misc]
    for row in json.loads(sorted((shared / "data/alpaca").glob("*.json"))[0].read_text("utf-8"))[:1500]:
        yield from (str(value) for value in row.values())


@pytest.mark.parametrize("name", KNOWN)
def test_as_many_ids_as_the_whole_text_has(shared: Path, name: str) -> None:
    content = KNOWN[name]()
    assert is_by_words(content)
    tokenizer = Tokenizer.from_str(json.dumps(content))
    counts = WordCounts(tokenizer)
    every = [text for text in texts(shared) if text is not None]
    assert len(every) > 10_000
    whole = [len(ids) for ids in tokenizer.encode_batch_fast(every, add_special_tokens=False)]
    assert [counts.count(text) for text in every] == whole


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("normalizer", {"type": "NFKC"}), ("normalizer", {"type": "Lowercase"}), ("pre_tokenizer", None),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}),
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": r"\s+"}, "behavior": "Isolated", "invert": False}),
        ("pre_tokenizer", {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": False}),
        ("added_tokens", [{"content": "of the", "lstrip": False, "rstrip": False, "single_word": False}]),
        ("added_tokens", [{"content": "end|>", "lstrip": False, "rstrip": False, "single_word": False}]),
        ("added_tokens", [{"content": "<s>", "lstrip": False, "rstrip": True, "single_word": False}]),
        ("model", {"type": "Unigram"}), ("model", {"type": "BPE", "dropout": 0.1}),
    ],
)  # fmt: skip
def test_what_is_not_known_to_be_by_words(key: str, value: Any) -> None:
    assert not is_by_words({**whetstone(), key: value})


def test_no_more_words_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_counts, "MOST_WORDS", 3)
    tokenizer = Tokenizer.from_str(json.dumps(whetstone()))
    counts, text = WordCounts(tokenizer), "we will build more homes and " + "o" * 50
    assert counts.count(text) == counts.count(text) == len(tokenizer.encode(text, add_special_tokens=False))
    assert len(counts._behind_blank) <= 3 and not any(len(word) > 32 for word in counts._behind_blank)
