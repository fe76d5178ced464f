"""Everything that is known of N rows, on disk. In memory stay one byte a row of what becomes of it, and one of its split."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whet.data.provenance import Kind, Tally
from whet.data.scale.near import Meetings
from whet.data.scale.order import DealOrder
from whet.data.scale.rows import Done, Misfit
from whet.data.scale.spill import Buckets, Column, Texts
from whet.data.split import SplitName
from whet.data.templated import NO_PROMPT, Wording
from whet.example import Drop, Example

Bytes = NDArray[np.uint8]


class Fate(IntEnum):
    """What becomes of a row."""

    KEPT = 0
    REPEAT = 1
    TOO_LONG = 2
    LEAK = 3
    CONFLICT = 4
    NO_PROMPT = 5


class Known(NamedTuple):
    """A row of which more is known than of others: its tokens, if it is too long; and what becomes of it, if it is not gone
    before for another reason: it is kept (cut), dropped as too long, or dropped because it makes no prompt."""

    row: int
    tokens: int
    fate: Fate


class Misfits:
    """The rows that are too long or make no prompt, in their order. On disk lie the Drop and the text of each."""

    def __init__(self, folder: Path) -> None:
        self._rows, self._tokens, self._fates = array("Q"), array("Q"), bytearray()
        self._drops, self._texts = Texts(folder / "misfits"), Texts(folder / "misfit_texts")

    def add(self, row: int, misfit: Misfit) -> None:
        """Takes the next one."""
        dropped = Fate.NO_PROMPT if misfit.drop.reason == NO_PROMPT else Fate.TOO_LONG
        self._rows.append(row)
        self._tokens.append(misfit.tokens)
        self._fates.append(Fate.KEPT if misfit.is_cut else dropped)
        self._drops.add([drop_line(misfit.drop).removesuffix(b"\n")])
        self._texts.add([json.dumps(misfit.text).encode()])

    def among(self, rows: range) -> Iterator[Known]:
        """Those between two rows."""
        for place in range(bisect_left(self._rows, rows.start), bisect_left(self._rows, rows.stop)):
            yield Known(self._rows[place], self._tokens[place], Fate(self._fates[place]))

    def line(self, row: int) -> bytes:
        """The Drop of one, as JSON."""
        return self._drops[bisect_left(self._rows, row)]

    def text(self, row: int) -> str | None:
        """What one reads as it was read; None for a row that is none."""
        place = bisect_left(self._rows, row)
        is_one = place < len(self._rows) and self._rows[place] == row
        return str(json.loads(self._texts[place])) if is_one else None

    def close(self) -> None:
        """Lets go of the files."""
        self._drops.close()
        self._texts.close()


class Store:
    """The rows of all files of a recipe, numbered from 0 in the order of the files.

    Args:
        folder: to keep them in.
        wording: the templates of the recipe, if it has any.
    """

    def __init__(self, folder: Path, wording: Wording | None = None) -> None:
        self.folder = folder
        self._asked = {wording.bound.asked.name: wording.bound.asked} if wording else {}
        self._fields_read = wording.fields_read if wording else ()
        self.rows = self.parts = 0  # how many, and of how many files
        self.fates, self.sides = np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.uint8)  # (N,) once all rows are there
        self.lines, self.forms = Texts(folder / "lines"), Texts(folder / "forms")
        self.meetings = Meetings(folder / "near")
        self.same, self.ids = Buckets(folder / "same", 3), Buckets(folder / "ids", 2)
        self.order, self.groups = Buckets(folder / "order", 4), Buckets(folder / "groups", 5)
        self.numbers, self.kinds, self.group_of = (Column(folder / name) for name in ("numbers", "kinds", "group_of"))
        self.label_of = Column(folder / "label_of")
        self._labels: dict[str, int] = {}
        self.names_a_group = False
        self.misfits, self.unnamed = Misfits(folder), array("Q")
        self.deal_order = DealOrder(folder / "deal", wording) if wording else None
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
            self.misfits.add(self.rows + misfit.place, misfit)
        if self.deal_order:
            self.deal_order.add(done.ranks, done.deal, rows)
            self.unnamed.extend(self.rows + place for place in done.unnamed)
        self.rows += n

    def example(self, row: int) -> Example:
        """A row, as it is written down; one of train with the template that stands for all."""
        return Example.from_json(json.loads(self.lines[row].decode("utf-8", "surrogatepass")), self._asked)

    def read_text(self, row: int) -> str:
        """What a row's text was before it was put into words, and cut."""
        text = self.misfits.text(row)
        if text is None:
            example = self.example(row)
            text = "\n".join(example.inputs[field] for field in self._fields_read) if self._asked else example.text
        return text

    def split_file(self, name: SplitName) -> Path:
        """Where the rows of a split are written to."""
        return self.folder / f"{name}.jsonl"

    def part(self, number: int) -> range:
        """The rows of a file."""
        ends = [*self._starts[1:], self.rows]
        return range(self._starts[number], ends[number]) if number < len(self._starts) else range(0)

    def part_of(self, row: int) -> int:
        """The file that a row comes from."""
        return bisect_right(self._starts, row) - 1

    def settle(self, part_sides: Sequence[int]) -> None:
        """All rows are there: every one is kept for now, on the side of its file."""
        self.parts = len(part_sides)
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
        for part in (self.lines, self.forms, self.misfits, self.numbers, self.kinds, self.group_of, self.label_of):
            part.close()


def drop_line(drop: Drop) -> bytes:
    """A Drop as a line of `dropped.jsonl`."""
    return (json.dumps(drop.to_json(), ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
