"""Texts that say the same: one normal form for exact twins, exact Jaccard similarity over character 5-grams for near ones.

The search is exact, so there is nothing to tune and nothing missed: two sets with Jaccard t or more share an element among
the rarest few of each (prefix filtering: Bayardo, Ma & Srikant 2007, "Scaling up all pairs similarity search", section 4).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GRAM = 5
SHARED_RARE = 8
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


_GAP = re.compile(r"(\d)[\W_]+(?=\d)")
_LOWER = bytes(range(256)).lower()
_NO_LETTERS = bytes(c for c in range(128) if not chr(c).isalnum())


class Pair(NamedTuple):
    """Two texts by their places, `first < second`, and their Jaccard similarity."""

    first: int
    second: int
    similarity: float


class Twin(NamedTuple):
    """The most similar text on the other side, by its place there."""

    place: int
    similarity: float


def normal_form(text: str) -> str:
    """A text without what makes no difference: NFKC, case folded, letters and digits only.

    What stands between two digits leaves a space: 1.5 is not 15. A text without letters and digits (only emoji, say) is its
    own normal form.

    Example:
        >>> normal_form("We'll build 1.5  MILLION homes!"), normal_form("\U0001f44d \U0001f44d")
        ('wellbuild1 5millionhomes', '\U0001f44d \U0001f44d')
    """
    if text.isascii():
        letters = text.encode("ascii").translate(_LOWER, _NO_LETTERS)
        if letters.isalpha():  # most texts: no digits, so no gap between two
            return letters.decode("ascii")
    folded = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
    kept = _GAP.sub("\\1\n", folded.replace("\n", " ")).translate(_KEPT)
    return kept if any(map(str.isalnum, kept)) else text


def near_duplicates(texts: Sequence[str], threshold: float = 0.8) -> list[Pair]:
    """All pairs of texts whose character 5-grams (of the normal form) have a Jaccard similarity of `threshold` or more.

    None is missed and none is false. A normal form shorter than 5 characters has itself as its only gram.

    Args:
        texts: N texts.
        threshold: in (0, 1].

    Example:
        >>> near_duplicates(["We will build 40,000 homes by 2027.", "no", "We will build 40,000 homes by 2028."], 0.7)
        [Pair(first=0, second=2, similarity=0.9...)]
    """
    grams = _grams(texts)
    found = _similar(grams, np.arange(len(texts)), np.arange(len(texts)), threshold)
    pairs = (
        Pair(int(c), probe, float(s)) for probe, places, sims in found for c, s in zip(places, sims, strict=True) if c < probe
    )
    return sorted(pairs)


def nearest_twins(texts: Sequence[str], others: Sequence[str], threshold: float = 0.8) -> dict[int, Twin]:
    """For the place of each text that has one, its most similar text among `others`, at `threshold` or more.

    Example:
        >>> nearest_twins(["Build more homes now!", "Lower the tax."], ["Cut waste.", "build more homes - now"])
        {0: Twin(place=1, similarity=1.0)}
    """
    grams = _grams([*texts, *others])
    probes, indexed = np.arange(len(texts)), np.arange(len(texts), len(texts) + len(others))
    twins = {}
    for probe, places, sims in _similar(grams, probes, indexed, threshold):
        best = int(np.argmax(sims))
        twins[probe] = Twin(int(places[best]) - len(texts), float(sims[best]))
    return twins


@dataclass(frozen=True, slots=True)
class _Grams:
    """The gram sets of N texts, one after another: text i has `ids[starts[i]:starts[i + 1]]`, ascending.

    A gram's id is its rank by rarity, so the first ids of a text are its rarest grams.
    """

    ids: Ints
    starts: Ints

    @property
    def sizes(self) -> Ints:
        """How many grams each text has."""
        return np.diff(self.starts)


def _grams(texts: Sequence[str]) -> _Grams:
    """The sets of character 5-grams of the texts' normal forms."""
    forms = [normal_form(text).ljust(GRAM, "\0") for text in texts]
    lengths = np.array([len(form) for form in forms], dtype=np.int64)
    codes = np.frombuffer("".join(forms).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    if not len(codes):
        return _Grams(codes, np.zeros(len(texts) + 1, dtype=np.int64))
    letters = _dense(codes)
    grams, alphabet = letters, int(letters.max()) + 1
    for place in range(1, GRAM):
        # Exact numbers, no hashing: renumbered where the next product would pass 2**62.
        if int(grams.max()) >= 2**62 // alphabet - 1:
            grams = _dense(grams)
        grams = grams[:-1] * alphabet + letters[place:]
    owner = np.repeat(np.arange(len(texts)), lengths)
    inside = owner[: len(grams)] == owner[GRAM - 1 :]
    dense = _dense(grams[inside])
    counts = np.bincount(dense)
    rank = np.empty_like(counts)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    keys, _ = _tally(owner[: len(grams)][inside] * len(counts) + rank[dense])
    owner, ids = np.divmod(keys, len(counts))
    return _Grams(ids, np.searchsorted(owner, np.arange(len(texts) + 1)))


def _similar(grams: _Grams, probes: Ints, indexed: Ints, threshold: float) -> Iterator[tuple[int, Ints, Floats]]:
    """For every probe with any: the indexed texts (itself left out) that are similar enough, and how similar."""
    sizes = grams.sizes
    # A pair at t shares s = ceil(t * size) grams of each, so k of the rarest size - s + k. (1e-9: 0.8 * 35 is no integer.)
    shares = np.ceil(threshold * sizes - 1e-9).astype(np.int64)
    needs = np.minimum(shares, SHARED_RARE)
    prefixes = sizes - shares + needs
    places, length = _ranges(grams.starts[indexed], prefixes[indexed]), prefixes[indexed]
    posted, owners = grams.ids[places], np.repeat(indexed, length)
    order = np.argsort(posted, kind="stable")
    posted, owners = posted[order], owners[order]
    heads = np.searchsorted(posted, np.arange(grams.ids.max(initial=0) + 2))
    is_mine = np.zeros(len(heads), dtype=bool)
    for probe in probes:
        mine = grams.ids[grams.starts[probe] : grams.starts[probe + 1]]
        rare = mine[: prefixes[probe]]
        candidates, hits = _tally(owners[_ranges(heads[rare], heads[rare + 1] - heads[rare])])
        fits = (hits >= np.minimum(needs[candidates], needs[probe])) & (candidates != probe)
        fits &= (sizes[candidates] >= threshold * len(mine)) & (sizes[candidates] * threshold <= len(mine))
        candidates = candidates[fits]
        if not len(candidates):
            continue
        is_mine[mine] = True
        is_shared = is_mine[grams.ids[_ranges(grams.starts[candidates], sizes[candidates])]]
        shared = np.add.reduceat(is_shared, np.cumsum(sizes[candidates]) - sizes[candidates], dtype=np.int64)
        is_mine[mine] = False
        similarity = shared / (len(mine) + sizes[candidates] - shared)
        if (good := similarity >= threshold - 1e-12).any():
            yield int(probe), candidates[good], similarity[good]


def _dense(values: Ints) -> Ints:
    """The values renumbered 0, 1, 2, ... in ascending order."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _tally(values: Ints) -> tuple[Ints, Ints]:
    """The distinct values, ascending, and how often each occurs."""
    if len(values) > 2000 and int(values.max()) < 20 * len(values):  # measured: counting beats sorting from about there on
        counts = np.bincount(values)
        places = np.flatnonzero(counts)
        return places, counts[places]
    ordered = np.sort(values)
    is_first = np.concatenate(([True], ordered[1:] != ordered[:-1])) if len(ordered) else np.zeros(0, dtype=bool)
    places = np.flatnonzero(is_first)
    return ordered[places], np.diff(places, append=len(ordered))


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """`[s, s + 1, ..., s + n - 1]` for every start s and length n, one after another."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def _is_mark(character: str) -> bool:
    """Whether it is a combining mark: a letter's part in most scripts. Variation selectors only choose a drawing."""
    return unicodedata.category(character)[0] == "M" and not "\ufe00" <= character <= "\ufe0f"


class _Kept(dict[int, str | None]):
    """What becomes of a character in a normal form, by its number: filled as characters are met."""

    def __missing__(self, number: int) -> str | None:
        character = chr(number)
        self[number] = character if character.isalnum() or _is_mark(character) else None
        return self[number]


_KEPT = _Kept({ord("\n"): " "})  # the line feeds are the gaps between digits
