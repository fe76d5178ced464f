"""Everything that is known of N rows, on disk. In memory stay one byte a row of what becomes of it, and one of its split."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.data.provenance import Kind, Tally
from whet.data.scale.near import Meetings
from whet.data.scale.rows import Done, Misfit
from whet.data.scale.spill import Buckets, Column, Texts
from whet.example import Drop, Example

Bytes = NDArray[np.uint8]


class Fate(IntEnum):
    """What becomes of a row."""

    KEPT = 0
    REPEAT = 1
    TOO_LONG = 2
    LEAK = 3
    CONFLICT = 4


class Store:
    """The rows of all files of a recipe, numbered from 0 in the order of the files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        self.fates, self.sides = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.uint8)  # (N,) once all rows are there
        self.lines, self.forms = Texts(folder / "lines"), Texts(folder / "forms")
        self.meetings = Meetings(folder / "near")
        self.same, self.ids = Buckets(folder / "same", 3), Buckets(folder / "ids", 2)
        self.order, self.groups = Buckets(folder / "order", 4), Buckets(folder / "groups", 5)
        self.numbers, self.kinds, self.group_of = (Column(folder / name) for name in ("numbers", "kinds", "group_of"))
        self.label_of = Column(folder / "label_of")
        self._labels: dict[str, int] = {}
        self.names_a_group = False
        self.misfits: list[tuple[int, int, bool]] = []  # row, tokens, is it cut
        self._misfit_drops = Texts(folder / "misfits")
        self._kinds: dict[Kind, int] = {}
        self._starts: list[int] = []  # of the files

    def add(self, done: Done) -> None:
        """Takes the rows of one batch; batches of a file come one after another."""
        n = len(done.lines)
        rows = np.arange(self.rows, self.rows + n, dtype=np.uint64)
        while len(self._starts) <= done.part:
            self._starts.append(self.rows)
        self.lines.add(done.lines)
        self.forms.add(done.forms)
        self.meetings.add(done.bands)
        self.same.add(done.same[:, 0], done.same[:, 1], rows)
        self.ids.add(done.ids, rows)
        labels = np.array([self._labels.setdefault(label, len(self._labels)) for label in done.labels], dtype=np.uint64)
        self.label_of.add(labels)
        self.order.add(done.order[:, 0], done.order[:, 1], rows, labels)
        self.groups.add(done.group[:, 0], done.group[:, 1], rows, done.names_group, labels)
        self.numbers.add(done.numbers)
        self.kinds.add(np.array([self._kinds.setdefault(kind, len(self._kinds)) for kind in done.kinds], dtype=np.uint64))
        self.group_of.add(np.where(done.names_group, done.group[:, 0], np.uint64(0)))
        self.names_a_group |= bool(done.names_group.any())
        for misfit in done.misfits:
            self._add_misfit(self.rows + misfit.place, misfit)
        self.rows += n

    def _add_misfit(self, row: int, misfit: Misfit) -> None:
        self.misfits.append((row, misfit.tokens, misfit.is_cut))
        self._misfit_drops.add([drop_line(misfit.drop).removesuffix(b"\n")])

    def misfit_line(self, row: int) -> bytes:
        """The Drop of a row that is too long, as JSON; empty for another row."""
        place = bisect_left(self.misfits, (row,))
        is_misfit = place < len(self.misfits) and self.misfits[place][0] == row
        return self._misfit_drops[place] if is_misfit else b""

    def misfit_drop(self, row: int) -> dict[str, Any] | None:
        """The Drop of a row that is too long, as JSON values; None for another row."""
        line = self.misfit_line(row).decode("utf-8", "surrogatepass")
        return json.loads(line) if line else None

    def example(self, row: int) -> Example:
        """A row, as it is written down."""
        return Example.from_json(json.loads(self.lines[row].decode("utf-8", "surrogatepass")))

    def read_text(self, row: int) -> str:
        """What a row's text was before it was cut, if it was."""
        drop = self.misfit_drop(row)
        return str(drop["text"]) if drop else self.example(row).text

    def part(self, number: int) -> range:
        """The rows of a file."""
        ends = [*self._starts[1:], self.rows]
        return range(self._starts[number], ends[number]) if number < len(self._starts) else range(0)

    def part_of(self, row: int) -> int:
        """The file that a row comes from."""
        return bisect_right(self._starts, row) - 1

    def settle(self, part_sides: Sequence[int]) -> None:
        """All rows are there: every one is kept for now, on the side of its file."""
        self.fates, self.sides = np.zeros(self.rows, dtype=np.uint8), np.zeros(self.rows, dtype=np.uint8)
        for number, side in enumerate(part_sides):
            part = self.part(number)
            self.sides[part.start : part.stop] = side

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(N,) the rows that stay."""
        found: NDArray[np.bool_] = self.fates == Fate.KEPT
        return found

    @property
    def labels(self) -> list[str]:
        """The labels by their numbers, in order of appearance; one empty text where the task has none."""
        return list(self._labels)

    def count_labels(self, wanted: NDArray[np.bool_]) -> Counter[str]:
        """How many of the rows that a mask wants have each label."""
        counts, start = np.zeros(len(self._labels), dtype=np.int64), 0
        for block in self.label_of.blocks():
            counts += np.bincount(block[wanted[start : start + len(block)]].astype(np.int64), minlength=len(counts))
            start += len(block)
        return Counter({label: int(n) for label, n in zip(self._labels, counts, strict=True) if n})

    def tally(self, *wanted: NDArray[np.bool_]) -> Tally:
        """Whose rows these are, counted in the order of the masks."""
        found, names = Tally(), list(self._kinds)
        for mask in wanted:
            start = 0
            for kinds, numbers in zip(self.kinds.blocks(), self.numbers.blocks(), strict=True):
                here = mask[start : start + len(kinds)]
                mine, rows = kinds[here], numbers[here]
                distinct, first = np.unique(mine, return_index=True)
                for kind in distinct[np.argsort(first)]:
                    found.add_rows(names[int(kind)], rows[mine == kind].tolist())
                start += len(kinds)
        return found

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        """Lets go of the files."""
        for part in (self.lines, self.forms, self._misfit_drops, self.numbers, self.kinds, self.group_of, self.label_of):
            part.close()


def drop_line(drop: Drop) -> bytes:
    """A Drop as a line of `dropped.jsonl`."""
    return (json.dumps(drop.to_json(), ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
