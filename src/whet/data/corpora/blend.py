"""Several corpora to one data set: counted in a first pass, drawn and shuffled in a second, in the memory of one part of it."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.data.corpora.card import Part
from whet.data.corpora.export import Export, qualified
from whet.data.corpora.format import Item
from whet.data.corpora.reading import Reading, Source, survey
from whet.data.corpora.report import Survey
from whet.data.corpora.shares import Mixing, rows_of_each
from whet.data.provenance import Tally, Use, terms_of
from whet.errors import DataError, Problem
from whet.example import Example
from whet.progress import Progress

BUCKET_ROWS = 50_000
MAX_BUCKETS = 200  # files that are open at a time


@dataclass(frozen=True, slots=True)
class _Counted:
    """What a first pass over a source found."""

    source: Source
    tally: Tally
    survey: Survey

    @property
    def size(self) -> int:
        """How many examples it has."""
        return self.tally.rows.total()


def mix(sources: Sequence[Source], mixing: Mixing, export: Export, use: Use, progress: Progress) -> tuple[Survey, list[Part]]:
    """What became of all records of some sources, and how much of each was drawn into the export, where it stands shuffled.

    The same sources, mixing and seed give the same rows in the same order. Ids and groups begin with the source's name.

    Raises:
        DataError: rows do not allow the use; a source is too small, or changes while it is read.
    """
    counted = [_count(source, progress) for source in sources]
    everything = Tally()
    for found in counted:
        everything.merge(found.tally)
    if refused := everything.refused(use):
        raise DataError(*refused)
    wanted = rows_of_each({found.source.name: found.size for found in counted}, mixing)
    parts = []
    with ExitStack() as stack:
        shuffle = _Shuffle(sum(wanted.values()), mixing.seed, export.data.parent, stack)
        for found in counted:
            name, drawn = found.source.name, Tally()
            for example in _draw(found, wanted[name], mixing.seed, progress):
                drawn.add(example)
                shuffle.add(qualified(example, name))
            parts.append(Part(name, wanted[name], found.size, terms_of(drawn)))
        progress.start(f"writing {export.data.name}")
        for example in shuffle.examples():
            export.add(example)
    reports = tuple(report for found in counted for report in found.survey.reports)
    return Survey(reports, tuple(problem for found in counted for problem in found.survey.left_aside)), parts


def _count(source: Source, progress: Progress) -> _Counted:
    tally = Tally()

    def take(item: Item) -> None:
        for example in item.examples:
            tally.add(example)

    return _Counted(source, tally, survey(source.read(), take, progress))


def _draw(found: _Counted, wanted: int, seed: int, progress: Progress) -> Iterator[Example]:
    """`wanted` of the examples of a source, each with the same chance, in their order.

    Source: Knuth, The Art of Computer Programming, volume 2, section 3.4.2, algorithm S.
    """
    source, size = found.source, found.size
    chance = random.Random(hashlib.blake2b(f"{seed}/draw/{source.name}".encode()).digest())
    seen = taken = 0
    progress.start(f"drawing {wanted:,} rows from {source.name}")
    readings = (reading for reading in source.read() if isinstance(reading, Reading))
    for example in (example for reading in readings for item in reading.items for example in item.examples):
        if chance.random() * (size - seen) < wanted - taken:
            taken += 1
            yield example
        seen += 1
    if seen != size:
        what = f"it had {size:,} examples when it was counted, and {seen:,} when it was drawn from"
        raise DataError(Problem(source.name, what, "Mix again when nobody writes to it"))


class _Shuffle:
    """Examples in the order of a hash of their id: in memory if they are few, else sorted bucket by bucket on disk."""

    def __init__(self, rows: int, seed: int, folder: Path, stack: ExitStack) -> None:
        self._seed, self._waiting = seed, list[tuple[int, Example]]()
        self._buckets: list[Any] = []
        if rows > BUCKET_ROWS:
            folder.mkdir(parents=True, exist_ok=True)
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".mix-", dir=folder)))
            count = min(MAX_BUCKETS, -(-rows // BUCKET_ROWS))
            self._buckets = [stack.enter_context((place / str(n)).open("w+", encoding="utf-8")) for n in range(count)]

    def add(self, example: Example) -> None:
        """Takes one."""
        key = int.from_bytes(hashlib.blake2b(f"{self._seed}\n{example.id}".encode(), digest_size=8).digest(), "big")
        if self._buckets:
            self._buckets[key * len(self._buckets) >> 64].write(json.dumps([key, example.to_json()]) + "\n")
        else:
            self._waiting.append((key, example))

    def examples(self) -> Iterator[Example]:
        """All that were taken."""
        yield from (example for _, example in sorted(self._waiting, key=_place))
        for bucket in self._buckets:
            bucket.seek(0)
            for _, record in sorted(map(json.loads, bucket), key=_place_on_disk):
                yield Example.from_json(record)


def _place(entry: tuple[int, Example]) -> tuple[int, str]:
    return entry[0], entry[1].id


def _place_on_disk(entry: list[Any]) -> tuple[int, str]:
    return entry[0], entry[1]["id"]
