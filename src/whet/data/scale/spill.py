"""Records and texts on disk, so that memory does not grow with their number."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

PARTS = 64
WAITING_BYTES = 2**22
Records = NDArray[np.uint64]  # (n, W): n records of W numbers


class Buckets:
    """Records of W numbers, written in any order and read back sorted, a part at a time.

    The first number must be spread evenly (a hash), because its highest bits say which part a record belongs to. What waits is
    written as one piece, ordered by its parts, so that a part is read from as many places as there are pieces.
    """

    def __init__(self, path: Path, width: int, parts: int = PARTS) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)
        self.width, self._path, self._parts = width, path, parts
        self._shift = np.uint64(64 - (parts - 1).bit_length())
        self._waiting: list[Records] = []
        self._waiting_bytes = self._written_bytes = 0
        self._bounds: list[NDArray[np.int64]] = []  # of each piece, where its parts begin, and where the last one ends

    def add(self, *columns: NDArray[np.generic]) -> None:
        """Writes n records: W columns of n numbers."""
        self._waiting.append(np.stack([column.astype(np.uint64, copy=False) for column in columns], axis=1))
        self._waiting_bytes += self._waiting[-1].nbytes
        if self._waiting_bytes >= WAITING_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Writes what waits."""
        if not self._waiting:
            return
        records, self._waiting, self._waiting_bytes = np.concatenate(self._waiting), [], 0
        part = (records[:, 0] >> self._shift).astype(np.uint16)  # numpy sorts numbers so small by their digits
        order = np.argsort(part, kind="stable")
        starts = np.searchsorted(part[order], np.arange(self._parts + 1))
        with self._path.open("ab") as file:
            file.write(records[order].tobytes())
        self._bounds.append(starts * 8 * self.width + self._written_bytes)
        self._written_bytes += records.nbytes

    def sorted(self) -> Iterator[Records]:
        """All records in ascending order, in parts; equal first numbers stand in one part."""
        self._flush()
        with self._path.open("rb", buffering=0) as file:
            for part in range(self._parts):
                places = [(int(bounds[part]), int(bounds[part + 1])) for bounds in self._bounds]
                found = b"".join(os.pread(file.fileno(), end - start, start) for start, end in places if start < end)
                if found:
                    yield _sorted(np.frombuffer(found, dtype=np.uint64).reshape(-1, self.width))


def _sorted(records: Records) -> Records:
    """The records in ascending order: by their first numbers, most of which are unlike; then those that are alike."""
    records = records[np.argsort(records[:, 0])]
    is_same = records[1:, 0] == records[:-1, 0]
    tied = np.flatnonzero(np.concatenate((is_same, [False])) | np.concatenate(([False], is_same)))
    alike = records[tied]
    records[tied] = alike[np.lexsort(alike.T[::-1])]
    return records


class Texts:
    """Texts in one file, a line each, written one after another and read back in order or by their number.

    A text may hold no line feed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends = path.with_name(f"{path.name}.ends")
        self._writers: tuple[BinaryIO, BinaryIO] | None = (path.open("wb"), self._ends.open("wb"))
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


class Column:
    """One number a row, on disk, read back in order or by row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: BinaryIO | None = path.open("wb")
        self._handle: int | None = None

    def add(self, values: NDArray[np.generic]) -> None:
        """Writes the numbers of the next rows."""
        if self._writer is not None:
            self._writer.write(values.astype(np.uint64).tobytes())

    def blocks(self, rows: int = 2**16) -> Iterator[Records]:
        """All numbers, so many at a time."""
        self._open()
        with self._path.open("rb") as file:
            while len(block := np.fromfile(file, np.uint64, rows)):
                yield block

    def __getitem__(self, row: int) -> int:
        return int.from_bytes(os.pread(self._open(), 8, 8 * row), sys.byteorder)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._open())
        self._handle = None

    def _open(self) -> int:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._handle is None:
            self._handle = os.open(self._path, os.O_RDONLY)
        return self._handle


def groups_of(records: Records, width: int = 1) -> Iterator[Records]:
    """The runs of two or more sorted records that are equal in their first `width` numbers."""
    if len(records) < 2:
        return
    is_same = (records[1:, :width] == records[:-1, :width]).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_same, [False])).astype(np.int8)))
    yield from (records[start : end + 1] for start, end in edges.reshape(-1, 2))
