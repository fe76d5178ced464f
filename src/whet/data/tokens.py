"""Text to token ids, without torch: prompt ids, then completion ids, then the end token. Never a string search.

The mask is decided where the ids are made: everything of the completion, its end token included, carries loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from whet.data import bases
from whet.data.word_counts import WordCounts, is_by_words
from whet.errors import DataError, ModelError, Problem
from whet.example import Drop, Example, Task
from whet.prompts import asking
from whet.sections import Model

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json")


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as ids: `prompt` carries no loss, `completion` (with its end token) does."""

    id: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


class Tokens:
    """A model's tokenizer, read from its tokenizer.json: ids, the end and padding ids, the longest input."""

    def __init__(self, folder: Path, base: str) -> None:
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            do = "Name a model that has one (a fast tokenizer)"
            raise ModelError(Problem(f"[model] base {base}", "it has no tokenizer.json", do))
        self.folder, self.base = folder, base
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        tokenizer_config, config, generation = (_json(folder / name) for name in TOKENIZER_FILES[1:])
        self.end = self._special("eos_token", tokenizer_config, generation.get("eos_token_id", config.get("eos_token_id")))
        padding = self._tokenizer.token_to_id(_content(tokenizer_config.get("pad_token")) or "")
        self.padding: int = self.end if padding is None else padding
        lengths = [config.get("max_position_embeddings"), config.get("n_positions")]
        self.max_length: int | None = min((n for n in lengths if isinstance(n, int)), default=None)

    def _special(self, name: str, tokenizer_config: dict[str, Any], fallback: Any) -> int:
        found = self._tokenizer.token_to_id(_content(tokenizer_config.get(name)) or "")
        if found is None:
            found = fallback[0] if isinstance(fallback, list) and fallback else fallback
        if not isinstance(found, int):
            raise ModelError(Problem(f"[model] base {self.base}", f"it names no {name}", "Set it in tokenizer_config.json"))
        return found

    def prompt(self, text: str) -> tuple[int, ...]:
        """The ids of a prompt, with what the tokenizer puts in front of every text."""
        return tuple(self._tokenizer.encode(text).ids)

    def completion(self, text: str) -> tuple[int, ...]:
        """The ids of a completion and the end token."""
        return (*self._tokenizer.encode(text, add_special_tokens=False).ids, self.end)

    def count(self, prompt: str, completion: str) -> int:
        """How many ids a prompt and a completion have, the end token among them: as many as `prompt` and `completion` give."""
        if self._counts is None:
            return len(self.prompt(prompt)) + len(self.completion(completion))
        return self._around + self._counts.count(prompt) + self._counts.count(completion) + 1

    @cached_property
    def _counts(self) -> WordCounts | None:
        """The counts of words; None where texts must be read whole."""
        return WordCounts(self._tokenizer) if is_by_words(_json(self.folder / "tokenizer.json")) else None

    @cached_property
    def _around(self) -> int:
        """How many ids are put around every text."""
        return len(self._tokenizer.encode("").ids)

    def unread(self, text: str) -> int:
        """How many characters of a text its first id stands for, which is given and not predicted: 0 where it is a token
        that the tokenizer puts in front of every text."""
        return int(self._tokenizer.encode(text).offsets[0][1])

    def longest(self, max_length: int | None) -> int | None:
        """The most tokens of an example: what the model can take, or `max_length` if that is less."""
        return min((n for n in (max_length, self.max_length) if n), default=None)

    def at_most(self, prompt: str, completion: str) -> int | None:
        """As many ids as a prompt and a completion can have at most, known without reading them; None where it is not known.

        Byte-level BPE makes no more ids of a text than it has bytes, so that what is short need not be read.
        """
        if self._most_in_front is None:
            return None
        return self._bytes(prompt) + self._bytes(completion) + self._most_in_front + 1

    def _bytes(self, text: str) -> int:
        """As many bytes as a text has at most once the tokenizer has normalized it; ASCII stays as it is."""
        return len(text) if text.isascii() else self._growth * len(text.encode("utf-8", "surrogatepass"))

    @cached_property
    def _growth(self) -> int:
        """How many times as many bytes of UTF-8 normalization can make of a text.

        Source: the Unicode Consortium's normalization FAQ, "What are the maximum expansion factors": 3 for NFC, 11 for NFKC.
        """
        return {"NFC": 3, "NFKC": 11}.get((_json(self.folder / "tokenizer.json").get("normalizer") or {}).get("type", ""), 1)

    @cached_property
    def _most_in_front(self) -> int | None:
        """How many ids are put around every text, of byte-level BPE of known growth; None of another tokenizer."""
        found = _json(self.folder / "tokenizer.json")
        before = found.get("pre_tokenizer") or {}
        parts = before.get("pretokenizers", [before])
        is_split = all(part.get("type") in ("Split", "Digits", "ByteLevel") for part in parts)
        # A blank that is put before a text is put before each of its parts.
        is_by_bytes = any(part.get("type") == "ByteLevel" and not part.get("add_prefix_space") for part in parts)
        is_kept = (found.get("normalizer") or {}).get("type", "NFC") in ("NFC", "NFKC")
        is_known = is_split and is_by_bytes and is_kept and found["model"]["type"] == "BPE"
        return self._around if is_known else None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self._tokenizer.decode(list(ids)))

    def piece(self, token: int) -> str:
        """One token as it can be read: its own text, or its name where it has none."""
        text = str(self._tokenizer.decode([token], skip_special_tokens=False))
        return text if text else str(self._tokenizer.id_to_token(token))


def load(base: str) -> Tokens:
    """The tokenizer of a base model: the embedded one, that of a local folder, a finished run or a Hub id.

    Raises:
        ModelError: if it cannot be had, with what to do without a network.
    """
    return Tokens(bases.find(Model(base=base), TOKENIZER_FILES).folder, base)


def encode_all(examples: Sequence[Example], task: Task, tokens: Tokens, max_length: int | None) -> list[Encoded]:
    """The rows that a model learns from: one an example, and for each plain text its windows.

    Args:
        max_length: the recipe's; windows are as long as it and the model allow.
    """
    rows: list[Encoded] = []
    for example in examples:
        rows += [encode(example, task, tokens)] if example.target else windows(example, tokens, max_length)
    return rows


def encode(example: Example, task: Task, tokens: Tokens) -> Encoded:
    """The ids of one example: those of its prompt, then those of its completion and the end token."""
    return Encoded(example.id, tokens.prompt(asking.ask(task, example)), tokens.completion(asking.completion(example)))


def fits(example: Example, task: Task, tokens: Tokens, max_length: int | None) -> bool:
    """Is an example no longer than so many tokens?"""
    if max_length is None:
        return True
    prompt, completion = asking.ask(task, example), asking.completion(example)
    most = tokens.at_most(prompt, completion)
    return (most is not None and most <= max_length) or tokens.count(prompt, completion) <= max_length


def length(example: Example, task: Task, tokens: Tokens) -> int:
    """How many ids an example has: `len(encode(...))`, counted and not made."""
    return tokens.count(asking.ask(task, example), asking.completion(example))


def windows(example: Example, tokens: Tokens, max_length: int | None) -> list[Encoded]:
    """A plain text and its end token as rows that fit into the model; all but the first id of a row carries loss.

    A row begins with the last id of the row before it, so that every token of the text but the first is learned exactly once;
    the last row may be short.
    """
    ids = (*tokens.prompt(example.text), tokens.end)
    size = tokens.longest(max_length) or len(ids)
    starts = range(0, len(ids) - 1, size - 1)
    return [Encoded(f"{example.id}:{n}", ids[s : s + 1], ids[s + 1 : s + size]) for n, s in enumerate(starts, 1)]


def fit(
    examples: Sequence[Example], task: Task, tokens: Tokens, max_length: int, too_long: Literal["error", "drop", "truncate"]
) -> tuple[list[Example], list[Drop]]:
    """The examples that fit into `max_length` tokens, and one Drop for each that was dropped or cut.

    `truncate` leaves out the oldest turns of a conversation, then cuts the end of the longest input, and never the
    instruction or the answer.

    Raises:
        DataError: under `error`, naming the longest; or where instruction and answer alone are too long.
    """
    kept, drops, over = [], [], []
    for example in examples:
        if fits(example, task, tokens, max_length):
            kept.append(example)
            continue
        n = length(example, task, tokens)
        if too_long == "truncate":
            cut = _cut(example, task, tokens, max_length)
            lost = len(example.text) - len(cut.text)
            turns = len(example.history) - len(cut.history)
            where = f"the {turns} oldest turns before it" if turns else f"the last {lost} characters of its input"
            detail = f"{n} tokens; {where} were cut"
            drops.append(Drop(example.origin, "truncated", detail, example.text))
            kept.append(cut)
        else:
            over.append((n, example))
    if over and too_long == "error":
        longest, example = max(over, key=lambda pair: pair[0])
        what = f"{len(over)} examples are longer than {max_length} tokens; this one has {longest}"
        do = 'Raise [train] max_length, or set [train] too_long to "truncate" or "drop"'
        raise DataError(Problem(str(example.origin), what, do))
    drops += [Drop(e.origin, "too_long", f"{n} tokens, more than {max_length}", e.text, e.target) for n, e in over]
    return kept, drops


def _cut(example: Example, task: Task, tokens: Tokens, max_length: int) -> Example:
    """The example without as many of its oldest turns as need be, or with just enough of its longest input cut off; bisection
    over characters."""
    while example.history and length(example, task, tokens) > max_length:
        example = replace(example, history=example.history[1:])
    if length(example, task, tokens) <= max_length:
        return example
    name = max(example.inputs, key=lambda key: len(example.inputs[key]))
    text = example.inputs[name]

    def shortened(chars: int) -> Example:
        return replace(example, inputs={**example.inputs, name: text[:chars]})

    # A template makes nothing of a text that is empty: of that, the first letter stays.
    least = 0 if example.template is None else len(text) - len(text.lstrip()) + 1
    if length(shortened(least), task, tokens) + (not least) > max_length:
        what = f"instruction and answer alone need more than {max_length} tokens"
        do = 'Raise [train] max_length, or set too_long = "drop"; an answer is never cut'
        raise DataError(Problem(str(example.origin), what, do))
    low, high = least, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if length(shortened(middle), task, tokens) <= max_length else (low, middle)
    return shortened(low)


def _json(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return value


def _content(token: Any) -> str | None:
    """A special token's text: tokenizer_config.json holds a string or an object."""
    return token.get("content") if isinstance(token, dict) else token
