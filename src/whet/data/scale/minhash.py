"""MinHash: texts to small signatures that agree where the texts do, and signatures to the keys under which twins meet.

Two texts whose sets of character 5-grams have the Jaccard similarity s agree in each of the 100 numbers of a signature with
probability s; so in one of 20 bands of 5 with probability 1 - (1 - s^5)^20: 0.9996 at 0.8, 0.97 at 0.7, 0.05 at 0.3. Whoever
meets is compared exactly afterwards, so that only what does not meet can be missed, and nothing is found that is not there.

Source: Broder 1997, "On the resemblance and containment of documents"; bands: Leskovec, Rajaraman and Ullman, chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from whet.data.near import GRAM

BANDS, ROWS = 20, 5
BLOCK_CHARS = 2**17  # of texts hashed at once, so that the work stays in the processor's cache: measured
Keys = NDArray[np.uint64]
Hashes = NDArray[np.uint32]


def band_keys(forms: Sequence[str]) -> Keys:
    """(N, 20): the keys of N texts. Texts that are nearly the same share one or more, each in its own column.

    Args:
        forms: normal forms (`near.normal_form`).

    Example:
        >>> one, other, apart = band_keys(["webuildmorehomesnow", "webuildmorehomestoday", "lowerthetax"])
        >>> bool((one == other).any()), bool((one == apart).any())
        (True, False)
    """
    keys = np.empty((len(forms), BANDS), dtype=np.uint64)
    for start, block in _blocks(forms):
        keys[start : start + len(block)] = _banded(signatures(block))
    return keys


def signatures(forms: Sequence[str]) -> Hashes:
    """(N, 100): of each text and hash function the smallest hash of its 5-grams."""
    hashes, starts = _gram_hashes(forms)
    found, hashed = np.empty((len(_MULTIPLIERS), len(forms)), dtype=np.uint32), np.empty_like(hashes)
    for i, multiplier in enumerate(_MULTIPLIERS):
        np.multiply(hashes, multiplier, out=hashed)
        np.minimum.reduceat(hashed, starts, out=found[i])
    return found.T


def _gram_hashes(forms: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """A hash for every 5-gram of every text, and where each text's begin. A shorter text is padded to one gram."""
    padded = [form if len(form) >= GRAM else form.ljust(GRAM, "\0") for form in forms]
    joined = "".join(padded)
    if joined.isascii():
        codes = np.frombuffer(joined.encode("ascii"), dtype=np.uint8).astype(np.uint64)
    else:
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    grams = codes[: len(codes) - GRAM + 1] * _FACTORS[0]
    for place in range(1, GRAM):
        grams += codes[place : len(codes) - GRAM + 1 + place] * _FACTORS[place]
    lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
    ends = np.cumsum(lengths)
    is_inside = np.ones(len(grams), dtype=bool)
    for back in range(1, GRAM):  # a gram that begins in the last 4 characters of a text would end in the next
        is_inside[ends[:-1] - back] = False
    starts = np.concatenate(([0], np.cumsum(lengths - GRAM + 1)[:-1]))
    return (_mixed(grams[is_inside]) >> np.uint64(32)).astype(np.uint32), starts


def _banded(found: Hashes) -> Keys:
    """The keys of signatures: each band's five numbers and its place, mixed into one."""
    bands = found.reshape(len(found), BANDS, ROWS).astype(np.uint64)
    keys: Keys = _mixed((bands * _FACTORS).sum(axis=2, dtype=np.uint64) + np.arange(BANDS, dtype=np.uint64) * _GOLDEN)
    return keys


def _mixed(values: Keys) -> Keys:
    """Every bit of a number spread over all of them (the end of splitmix64: Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _blocks(forms: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """The texts in blocks of so many characters, each with the place of its first."""
    start = size = 0
    for place, form in enumerate(forms, 1):
        size += max(GRAM, len(form))
        if size >= BLOCK_CHARS or place == len(forms):
            yield start, forms[start:place]
            start, size = place, 0


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STREAM = _mixed(np.arange(1, BANDS * ROWS + GRAM + 1, dtype=np.uint64) * _GOLDEN)  # splitmix64 from 0
_FACTORS: Keys = _STREAM[:GRAM] | np.uint64(1)
# Odd, so that each makes another order of all 2^32 hashes; the hashes are mixed already, and so need no more than that.
_MULTIPLIERS: Hashes = (_STREAM[GRAM:] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
