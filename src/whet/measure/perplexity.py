"""How well a model goes on with plain text: nats per token, perplexity, bits per character and per byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whet.errors import DataError, Problem
from whet.measure.inputs import FloatArray, IntArray
from whet.measure.intervals import Statistic


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much was predicted of each of N documents, (N,) each."""

    tokens: FloatArray
    characters: FloatArray
    bytes: FloatArray

    @classmethod
    def of(cls, sizes: Sequence[tuple[int, int, int]]) -> Sizes:
        """The Sizes of (tokens, characters, bytes) of each document.

        Raises:
            DataError: if there is no document, or one of which nothing is predicted.
        """
        table = np.array(sizes, dtype=np.float64).reshape(-1, 3)
        if not len(table) or (table <= 0).any():
            what = f"{len(table)} documents, of which {int((table <= 0).any(axis=1).sum())} hold nothing to predict"
            raise DataError(Problem("texts", what, "Give at least one document of two tokens"))
        return cls(*table.T)


@dataclass(frozen=True, slots=True)
class TextMetrics:
    """Plain text on one split: sums over its documents, divided once."""

    n: int
    tokens: int
    characters: int
    bytes: int
    nats_per_token: float
    perplexity: float
    bits_per_character: float
    bits_per_byte: float

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, keys as in evaluation.json."""
        return asdict(self)


def measure_text(nats: FloatArray, sizes: Sizes) -> TextMetrics:
    """The metrics of documents that cost these nats, (N,).

    Example:
        >>> found = measure_text(np.array([2.0, 4.0]), Sizes.of([(2, 10, 10), (1, 5, 6)]))
        >>> found.nats_per_token, round(found.perplexity, 3), round(found.bits_per_character, 4)
        (2.0, 7.389, 0.5771)
    """
    everything = np.arange(len(nats))
    tokens, characters, size_bytes = (int(part.sum()) for part in (sizes.tokens, sizes.characters, sizes.bytes))
    ratios = [statistic(everything) for statistic in text_statistics(nats, sizes).values()]
    return TextMetrics(len(nats), tokens, characters, size_bytes, *ratios)


def text_statistics(nats: FloatArray, sizes: Sizes) -> dict[str, Statistic]:
    """The metrics as functions of documents, for `intervals.bootstrap`: each a ratio of sums, so that long documents count
    for as much as they hold."""

    def per(units: FloatArray, scale: float = 1.0) -> Statistic:
        return lambda rows: float(nats[rows].sum() / units[rows].sum() * scale)

    by_token, bits = per(sizes.tokens), 1 / math.log(2)

    def perplexity(rows: IntArray) -> float:
        return math.exp(by_token(rows))

    return {
        "nats_per_token": by_token, "perplexity": perplexity,
        "bits_per_character": per(sizes.characters, bits), "bits_per_byte": per(sizes.bytes, bits),
    }  # fmt: skip
