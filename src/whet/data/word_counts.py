"""How many ids a text becomes, word by word: most words of a corpus were met before, and their ids are counted once.

The ids of a text are those of its words one after another, if the tokenizer cuts every text before a blank that follows
another character and behind the last of some letters, and looks at each side of a cut alone. Which tokenizers do is read from
tokenizer.json; of others nothing is known here, and their texts are read whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_WORDS, MOST_CHARS = 2**17, 32  # of those that are remembered, some 15 MB: longer ones seldom come again
# Between words stands a single blank; a blank behind other space may be cut off from it or not.
_WIDE_GAP, _CUT = re.compile(r"\s "), re.compile(r"(?<=\S) ")
_LETTERS = re.compile(r"[A-Za-z]+(?=[!-@\[-`{-~])")  # ASCII on both sides: normalization joins nothing there
# What these patterns find holds a blank only as its first character, and behind letters nothing else.
_WORDS_OF_LLAMA, _WORDS_OF_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in (r"\p{N}{1,3}", r"\p{N}")
)
_CUTS_WORDS = frozenset({_WORDS_OF_LLAMA, _WORDS_OF_QWEN})
_CUTS_DIGITS = frozenset({r"\p{N}", r"\p{N}{1,3}", r"\d", r"[0-9]"})


class WordCounts:
    """The numbers of ids of texts.

    Args:
        tokenizer: one that `is_by_words`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._at_start = _Counts(tokenizer, "")
        self._behind_blank = _Counts(tokenizer, " ", self._at_start)

    def count(self, text: str) -> int:
        """How many ids a text becomes, without what is put around every text."""
        words = _CUT.split(text) if _WIDE_GAP.search(text) else text.split(" ")
        return self._at_start[words[0]] + sum(map(self._behind_blank.__getitem__, islice(words, 1, None)))


class _Counts(dict[str, int]):
    """The number of ids of each word behind a certain text; filled as words are met.

    Args:
        tokenizer: it makes the ids.
        before: the text.
        tails: the numbers of what follows the letters of a word; left out, these themselves.
    """

    def __init__(self, tokenizer: Tokenizer, before: str, tails: _Counts | None = None) -> None:
        self._tokenizer, self._before, self._tails = tokenizer, before, self if tails is None else tails

    def __missing__(self, word: str) -> int:
        if letters := _LETTERS.match(word):  # of "homes," and "homes." the word is counted once
            end = letters.end()
            count = self[word[:end]] + self._tails[word[end:]]
        else:
            count = len(self._tokenizer.encode(self._before + word, add_special_tokens=False))
        if len(word) <= MOST_CHARS:
            if len(self) >= MOST_WORDS:
                self.clear()
            self[word] = count
        return count


def is_by_words(tokenizer: Mapping[str, Any]) -> bool:
    """Whether the ids of a text are those of its words one after another, whatever the text.

    Args:
        tokenizer: the content of tokenizer.json.
    """
    model, before = tokenizer["model"], tokenizer.get("pre_tokenizer") or {}
    parts = before.get("pretokenizers", [before])
    return (
        model["type"] == "BPE"
        and not model.get("dropout")
        # NFC joins nothing with a blank before it; NFKC makes blanks of other characters.
        and (tokenizer.get("normalizer") or {"type": "NFC"})["type"] == "NFC"
        and all(map(_is_known, parts))
        and any(map(_cuts_words, parts))
        and all(map(_is_within_words, tokenizer.get("added_tokens") or ()))
    )


def _is_known(part: Mapping[str, Any]) -> bool:
    """Whether a pre-tokenizer looks at each side of a cut alone."""
    return part.get("type") == "Digits" or _cuts_words(part) or _pattern(part) in _CUTS_DIGITS or _only_spells_bytes(part)


def _cuts_words(part: Mapping[str, Any]) -> bool:
    """Whether a pre-tokenizer cuts before every blank that follows another character, and behind letters."""
    is_bytes = part.get("type") == "ByteLevel" and not part.get("add_prefix_space")
    return (is_bytes and bool(part.get("use_regex", True))) or _pattern(part) in _CUTS_WORDS


def _only_spells_bytes(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "ByteLevel" and not part.get("add_prefix_space") and not part.get("use_regex", True)


def _pattern(part: Mapping[str, Any]) -> str | None:
    """The expression whose finds stand apart, of a pre-tokenizer that has one."""
    is_plain = part.get("type") == "Split" and part.get("behavior") == "Isolated" and not part.get("invert")
    return part["pattern"].get("Regex") if is_plain else None


def _is_within_words(token: Mapping[str, Any]) -> bool:
    """Whether an added token never lies across a cut, or takes note of what is behind it."""
    heeds_neighbours = token.get("lstrip") or token.get("rstrip") or token.get("single_word")
    return not (heeds_neighbours or _CUT.search(token["content"]) or _LETTERS.match(token["content"]))
