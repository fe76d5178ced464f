"""Is a text new? ROUGE-L against every text before it, exactly as Self-Instruct decides, without comparing with every one.

ROUGE-L F1 of two texts of a and b tokens with a longest common subsequence of c tokens is 2c / (a + b), and c is at most the
number of tokens that they share. So F1 above t needs more than t (a + b) / 2 shared tokens. An inverted index counts how many
of its rarest tokens the new text shares with each text before it; only the few that can have enough are compared. Nothing is
missed and nothing is hashed. (Jaccard similarity of t needs t (a + b) / (1 + t) shared grams, and is found the same way.)
"""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from rapidfuzz.distance import LCSseq

from whet.data.near import GRAM, normal_form

LOOKED_UP = 0.5  # list entries that are counted for each kept text: more cost time themselves, fewer leave more to compare
_GAPS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Match:
    """The text before it that a text is most like: its place (in the order of adding), and how like."""

    place: int
    score: float


def rouge_tokens(text: str) -> list[str]:
    """The tokens that ROUGE counts: runs of a-z and 0-9 of the lower-cased text.

    Source: the default tokenizer of Google's `rouge_score`, without its stemmer, as Self-Instruct uses it.

    Example:
        >>> rouge_tokens("Don't panic: it's 42!")
        ['don', 't', 'panic', 'it', 's', '42']
    """
    return _GAPS.sub(" ", text.lower()).split()


class Novelty:
    """Texts that were kept, and whether a new one is like one of them. Grows text by text; deterministic.

    A text without a-z and 0-9 (in another script, or only signs) has no ROUGE tokens; it is like no other, as in `rouge_score`.

    Args:
        threshold: a text is like another if their ROUGE-L F1 is more than this.

    Example:
        >>> kept = Novelty(0.7)
        >>> kept.add("Write a short poem about the sea.")
        0
        >>> kept.nearest("Write a short poem about the open sea.")
        Match(place=0, score=0.93...)
        >>> kept.nearest("Translate this sentence into Welsh.") is None
        True
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self.threshold = threshold
        self._ids: dict[str, int] = {}
        self._texts: list[array[int]] = []
        self._index = _Index()

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> int:
        """Keeps a text; returns its place."""
        tokens = array("l", [self._ids.setdefault(token, len(self._ids)) for token in rouge_tokens(text)])
        self._texts.append(tokens)
        self._index.add(_counted(tokens), len(tokens))
        return len(self._texts) - 1

    def nearest(self, text: str, apart_from: Collection[int] = ()) -> Match | None:
        """The kept text with the highest ROUGE-L F1, if that is above the threshold; the earliest of equals.

        Args:
            text: any text.
            apart_from: places that do not count.
        """
        # A token that no kept text holds is shared with none: any number of its own will do.
        unknown = iter(range(len(self._ids), 2**62))
        tokens = [self._ids[token] if token in self._ids else next(unknown) for token in rouge_tokens(text)]
        size, best = len(tokens), None
        if not size or self.threshold >= 1:
            return None
        for place in self._index.likely(_counted(tokens), self.threshold / 2):
            if place in apart_from:
                continue
            other = self._texts[place]
            floor = max(self.threshold, best.score if best else 0.0)
            common = LCSseq.similarity(tokens, other, score_cutoff=_above(floor * (size + len(other)) / 2))
            score = f_measure(common, size, len(other))
            if score > floor:
                best = Match(place, score)
        return best


class NearTwins:
    """Texts that were kept, and whether a new one nearly repeats one of them: exact Jaccard similarity of character 5-grams.

    Args:
        threshold: in (0, 1]; a text is a twin of another from this similarity on.

    Example:
        >>> kept = NearTwins(0.7)
        >>> kept.add("We will build 40,000 homes by 2027, on public land.")
        0
        >>> kept.nearest("We will build 40,000 homes by 2028, on public land!")
        Match(place=0, score=0.7...)
    """

    def __init__(self, threshold: float = 0.8) -> None:
        self.threshold = threshold
        self._ids: dict[str, int] = {}
        self._grams: list[frozenset[int]] = []
        self._index = _Index()

    def __len__(self) -> int:
        return len(self._grams)

    def add(self, text: str) -> int:
        """Keeps a text; returns its place."""
        grams = frozenset(self._ids.setdefault(gram, len(self._ids)) for gram in _grams(text))
        self._grams.append(grams)
        self._index.add(((gram, 0) for gram in grams), len(grams))
        return len(self._grams) - 1

    def nearest(self, text: str, apart_from: Collection[int] = ()) -> Match | None:
        """The kept text of the highest similarity, if that is the threshold or more; the earliest of equals."""
        unknown = iter(range(len(self._ids), 2**62))
        mine = {self._ids[gram] if gram in self._ids else next(unknown) for gram in _grams(text)}
        best, size, t = None, len(mine), self.threshold
        for place in self._index.likely(((gram, 0) for gram in mine), t / (1 + t)):
            other = self._grams[place]
            shared = len(mine & other)
            score = shared / (size + len(other) - shared)
            if place not in apart_from and score >= t - 1e-12 and (best is None or score > best.score):
                best = Match(place, score)
        return best


def _above(bound: float) -> int:
    """The smallest count that is above a bound; one that equals it but for rounding counts as above."""
    return math.floor(bound - 1e-9) + 1


def f_measure(common: int, one: int, other: int) -> float:
    """ROUGE-L F1, rounded as `rouge_score` rounds it: precision and recall first, so that 0.7 is 0.7 on both sides."""
    if not common:
        return 0.0
    precision, recall = common / one, common / other
    return 2 * precision * recall / (precision + recall)


class _Index:
    """Which kept texts hold an item (a token's n-th occurrence, a gram), and how many items each has."""

    def __init__(self) -> None:
        self._holders: dict[tuple[int, int], array[int]] = {}
        self._sizes = array("l")

    def add(self, items: Iterable[tuple[int, int]], size: int) -> None:
        place = len(self._sizes)
        self._sizes.append(size)
        for item in items:
            self._holders.setdefault(item, array("l")).append(place)

    def likely(self, items: Iterable[tuple[int, int]], share: float) -> Sequence[int]:
        """Places, ascending, of every text that shares `share` of all items of both, and of a few others.

        A text that shares s of the L items of the new one shares at least s - (L - m) of any m of them. The m rarest are looked
        up: at least so many that this says something, and more while their lists are short.
        """
        nothing: array[int] = array("l")
        lists = sorted((self._holders.get(item, nothing) for item in items), key=len)
        size = len(lists)
        fewest = math.ceil(share * size / (1 - share) - 1e-9)  # of the shortest text that could be like it
        reach = list(accumulate(map(len, lists)))
        looked_up = max(size - fewest + 1, bisect_right(reach, LOOKED_UP * len(self._sizes)))
        rarest = [np.frombuffer(held, dtype=np.int64) for held in lists[:looked_up] if held]
        hits = np.bincount(np.concatenate(rarest)) if rarest else np.zeros(0, dtype=np.int64)
        del rarest  # an array that lends its memory cannot grow
        others = size - looked_up
        places = np.flatnonzero(hits >= max(1, fewest - others))
        sizes = np.frombuffer(self._sizes, dtype=np.int64)[places]
        needed = share * (size + sizes) - 1e-9
        chosen: list[int] = places[(hits[places] + others >= needed) & (sizes >= needed) & (size >= needed)].tolist()
        del sizes
        return chosen


def _counted(tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Each token with the number of times that it stood before, so that texts share items as often as both have them."""
    seen: Counter[int] = Counter()
    counted = []
    for token in tokens:
        counted.append((token, seen[token]))
        seen[token] += 1
    return counted


def _grams(text: str) -> set[str]:
    """The character 5-grams of a text's normal form; a shorter one is its own only gram."""
    form = normal_form(text)
    return {form[i : i + GRAM] for i in range(max(1, len(form) - GRAM + 1))}
