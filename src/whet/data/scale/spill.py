"""Records and texts on disk, so that memory does not grow with their number."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

PARTS = 64
Records = NDArray[np.uint64]  # (n, W): n records of W numbers


class Buckets:
    """Records of W numbers, written in any order and read back sorted, a part at a time.

    The first number must be spread evenly (a hash), because its highest bits say which part a record is written to.
    """

    def __init__(self, folder: Path, width: int, parts: int = PARTS) -> None:
        folder.mkdir(parents=True)
        self.width, self._shift = width, np.uint64(64 - (parts - 1).bit_length())
        self._paths = [folder / f"{part:03d}" for part in range(parts)]
        self._files: list[BinaryIO] = [path.open("wb", buffering=2**14) for path in self._paths]

    def add(self, *columns: NDArray[np.generic]) -> None:
        """Writes n records: W columns of n numbers."""
        records = np.stack([column.astype(np.uint64, copy=False) for column in columns], axis=1)
        part = records[:, 0] >> self._shift
        order = np.argsort(part, kind="stable")
        bounds = np.searchsorted(part[order], np.arange(len(self._files) + 1))
        sorted_records = records[order]
        for file, (start, end) in zip(self._files, pairwise(bounds), strict=True):
            if start < end:
                file.write(sorted_records[start:end].tobytes())

    def sorted(self) -> Iterator[Records]:
        """All records in ascending order, in parts; equal first numbers stand in one part. Nothing can be added afterwards."""
        for file in self._files:
            file.close()
        for path in self._paths:
            records = np.fromfile(path, dtype=np.uint64).reshape(-1, self.width)
            if len(records):
                yield records[np.lexsort(records.T[::-1])]


class Texts:
    """Texts in one file, a line each, written one after another and read back in order or by their number.

    A text may hold no line feed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends = path.with_name(f"{path.name}.ends")
        self._writers: tuple[BinaryIO, BinaryIO] | None = (path.open("wb", buffering=2**18), self._ends.open("wb", buffering=2**16))
        self._size = 0
        self._handles: tuple[int, int] | None = None

    def add(self, texts: Sequence[bytes]) -> None:
        """Writes texts."""
        if self._writers is None or not texts:
            return
        ends = np.cumsum([len(text) + 1 for text in texts]) + self._size
        self._size = int(ends[-1])
        self._writers[0].write(b"\n".join(texts) + b"\n")
        self._writers[1].write(ends.astype(np.uint64).tobytes())

    def __iter__(self) -> Iterator[bytes]:
        self._finish()
        with self.path.open("rb", buffering=2**18) as file:
            yield from (line[:-1] for line in file)

    def __getitem__(self, number: int) -> bytes:
        data, ends = self._finish()
        found = os.pread(ends, 16, 8 * (number - 1)) if number else bytes(8) + os.pread(ends, 8, 0)
        start, end = map(int, np.frombuffer(found, np.uint64))
        return os.pread(data, end - start - 1, start)

    def close(self) -> None:
        """Lets go of the files."""
        for handle in self._finish():
            os.close(handle)
        self._handles = None

    def _finish(self) -> tuple[int, int]:
        """The open files, all written."""
        if self._writers is not None:
            for writer in self._writers:
                writer.close()
            self._writers = None
        if self._handles is None:
            self._handles = os.open(self.path, os.O_RDONLY), os.open(self._ends, os.O_RDONLY)
        return self._handles


def groups_of(records: Records, width: int = 1) -> Iterator[Records]:
    """The runs of two or more sorted records that are equal in their first `width` numbers."""
    if len(records) < 2:
        return
    is_same = (records[1:, :width] == records[:-1, :width]).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_same, [False])).astype(np.int8)))
    yield from (records[start : end + 1] for start, end in edges.reshape(-1, 2))
