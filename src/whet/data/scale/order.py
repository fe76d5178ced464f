"""The order in which templates are dealt over training rows, and that in which worked examples are chosen, sorted on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whet.data.scale.spill import PARTS, Buckets, Records
from whet.data.templated import Wording
from whet.prompts.deal import short_count

MOST_PARTS = 4096
Mask = NDArray[np.bool_]


class DealOrder:
    """Rows by the label that templates are dealt by, then by a hash; a record is: key, hash (two numbers), row, and with worked
    examples a second hash (two numbers) and the characters that are read.

    Args:
        folder: new; to keep them in.
        wording: the templates.
    """

    def __init__(self, folder: Path, wording: Wording) -> None:
        self._folder, self._bits = folder, max(0, len(wording.answers) - 1).bit_length()
        self._shots = wording.shares.shots if wording.shares.few_shot else 0
        self._rows = Buckets(folder / "rows", 7 if self._shots else 4, min(MOST_PARTS, PARTS << self._bits))

    def add(self, ranks: Records, places: Records, rows: Records) -> None:
        """Takes n rows: the (n,) place of the label of each, and what `rows.Done.deal` says of it."""
        key = places[:, 0] >> np.uint64(self._bits)
        if self._bits:
            key |= ranks << np.uint64(64 - self._bits)
        self._rows.add(key, *places.T[:2], rows, *places.T[2:])

    def rows(self, wanted: Mask) -> Iterator[NDArray[np.uint64]]:
        """The rows that a mask wants, some at a time."""
        return (records[:, 3] for records in self._sorted(wanted))

    def shown(self, wanted: Mask) -> Iterator[int]:
        """The rows among which worked examples are chosen, in that order: of those that a mask wants the shorter half."""
        counts: Counter[int] = Counter()
        for records in self._sorted(wanted):
            counts.update(dict(zip(*(values.tolist() for values in np.unique(records[:, 6], return_counts=True)), strict=True)))
        left, longest = short_count(counts.total(), self._shots), max(counts, default=0) + 1
        for characters, rows in sorted(counts.items()):
            if rows > left:
                longest = characters
                break
            left -= rows
        # Which of those that are just as long as the limit are in the shorter half, the first hash says.
        at_limit, chosen = Buckets(self._folder / "at_limit", 5), Buckets(self._folder / "shown", 3)
        for records in self._sorted(wanted):
            below, at = records[records[:, 6] < longest], records[records[:, 6] == longest]
            chosen.add(*below.T[[4, 5, 3]])
            at_limit.add(*at.T[1:6])
        for records in at_limit.sorted():
            chosen.add(*records[:left].T[[3, 4, 2]])
            left -= min(left, len(records))
        for records in chosen.sorted():
            yield from records[:, 2].tolist()

    def _sorted(self, wanted: Mask) -> Iterator[Records]:
        return (records[wanted[records[:, 3]]] for records in self._rows.sorted())
