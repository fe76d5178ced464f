"""A file, an archive or a folder to streams of records: gzip, zstd, zip, Parquet; JSON lists, JSON lines, lines of text.

What a file is, is read from its first bytes and not from its name. Nothing is unpacked to disk, and of a file no more is in
memory than the record that is being read.
"""

from __future__ import annotations

import codecs
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from whet.data.corpora.format import Record
from whet.data.corpora.json_stream import BadJson, read_values
from whet.data.records import json_fault, only_once
from whet.data.table import BAD_ROW, bad_row
from whet.errors import Problem
from whet.example import Drop, Origin

CUT_OFF = "cut_off"
HEAD_BYTES = 2**16
_JSON = (b"{", b"[")  # how a record, or a list of them, begins
_loads = json.JSONDecoder(object_pairs_hook=only_once).decode
MAX_LINE_BYTES = 2**28
PARQUET_BATCH_ROWS = 1024
PACKED_BYTES = 2**10  # unpacked at a time: a little may unpack to a lot
# What unpacking raises where a packed file is damaged or ends too early.
DAMAGES = (EOFError, zlib.error, zipfile.BadZipFile, zstandard.ZstdError)
_GZIP, _ZSTD, _ZIP, _EMPTY_ZIP, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"PK\x05\x06", b"PAR1"
# Each begins to unpack one member of a gzip file, or one frame of a zstd file.
_UNPACKERS: Mapping[bytes, Callable[[], Any]] = {
    _GZIP: lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    _ZSTD: lambda: zstandard.ZstdDecompressor().decompressobj(),
}
_OTHER_MARKS = {
    codecs.BOM_UTF16_LE: "UTF-16 text", codecs.BOM_UTF16_BE: "UTF-16 text", b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz", b"7z\xbc\xaf": "a 7-Zip archive", b"%PDF": "a PDF", b"ARROW1": "an Arrow file",
    _ZIP: "a zip in another archive",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stream:
    """The records of one file, in order; a Drop stands for each that could not be parsed. `is_text`: they are lines."""

    name: str
    is_text: bool
    records: Iterator[Record | Drop]


class Damaged(Problem):
    """A file that is there and cannot be unpacked, or of which no record can be read: it is lost, and not left aside."""


def open_streams(path: Path, files: Iterable[Path | Problem] | None = None) -> Iterator[Stream | Problem]:
    """A Stream for each file under a path: the file itself, the members of a zip, the files of a folder by name (or those
    `files` that are given).

    A Problem stands for each file that can be no corpus: empty, or of a kind that whet does not read. A Stream is read to its
    end, or left, before the next is taken.
    """
    for file in corpus_files(path) if files is None else files:
        if isinstance(file, Problem):
            yield file
            continue
        yield from _streams(path.name if file == path else file.relative_to(path).as_posix(), file)


def corpus_files(path: Path) -> list[Path]:
    """The files under a path, sorted; hidden ones are left out. Of a file: itself."""
    if path.is_file():
        return [path]
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]


def _streams(name: str, path: Path) -> Iterator[Stream | Problem]:
    """The Stream of a file, or those of its members."""
    try:
        with path.open("rb") as file:
            mark = file.read(4)
    except OSError as error:
        yield Damaged(name, f"it cannot be opened: {error.strerror}", "Check its permissions, or fetch it again")
        return
    if mark == _ZIP:
        try:
            yield from _members(name, path)
        except (zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: it wants a password
            yield Damaged(name, f"it cannot be unpacked: {error}", "Unpack it first, or fetch it again")
    elif mark == _EMPTY_ZIP:
        yield _empty(name)
    else:
        with io.BufferedReader(path.open("rb", buffering=0), HEAD_BYTES) as opened:
            yield _stream(name, opened)


def _members(name: str, path: Path) -> Iterator[Stream | Problem]:
    """The Streams of the members of a zip."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir() and not member.filename.startswith("__MACOSX/"):
                with archive.open(member) as packed:
                    yield _stream(f"{name}/{member.filename}", io.BufferedReader(cast(Any, packed), HEAD_BYTES))


def _stream(name: str, file: io.BufferedReader[Any]) -> Stream | Problem:
    """The Stream of an open file, unpacked where it is packed."""
    try:
        head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
    except DAMAGES as error:
        return Damaged(name, f"it cannot be unpacked: {error}", "Fetch the file again")
    for mark, unpacker in _UNPACKERS.items():
        if head.startswith(mark):
            return _stream(name, io.BufferedReader(_Unpacked(file, unpacker), HEAD_BYTES))
    if head.startswith(_PARQUET):
        return Stream(name, False, _parquet(name, cast(BinaryIO, file)))
    if kind := next((what for mark, what in _OTHER_MARKS.items() if head.startswith(mark)), None):
        return Problem(name, f"this is {kind}, which is not read here", "Unpack it, or save it as JSONL (UTF-8)")
    begins = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not begins:
        return _empty(name)
    if b"\0" in head and begins[:1] not in _JSON:  # in JSON it spoils one record
        return Problem(name, "this is no text: it holds NUL bytes", "Check that it is the right file")
    return _text_stream(name, file, begins)


def _empty(name: str) -> Problem:
    return Problem(name, "it is empty", "Nothing is to be read; check that it is the right file")


class _Unpacked(io.RawIOBase):
    """What a gzip or zstd file unpacks to, piece after piece, to the last byte before it was cut off.

    The libraries' own readers lose what they unpacked last before that, or take a zstd file that was cut off for whole.
    """

    def __init__(self, file: io.BufferedReader[Any], unpacker: Callable[[], Any]) -> None:
        self._file, self._packed, self._unpacked = file, b"", memoryview(b"")
        self._unpacker = unpacker
        self._piece: Any = None  # a member or a frame; None between two of them

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """How many bytes were put into the buffer; 0 at the end.

        Raises:
            one of DAMAGES: the file ends inside a piece, or is none from here on.
        """
        while not self._unpacked:
            self._packed = self._packed or self._file.read(PACKED_BYTES)
            if not self._packed:
                if self._piece is not None:
                    raise EOFError("the file ends too early")
                return 0
            if self._piece is None:
                self._packed = self._packed.lstrip(b"\0")  # files may be filled up with zeros behind the last piece
                if not self._packed:
                    continue
                self._piece = self._unpacker()
            self._unpacked = memoryview(self._piece.decompress(self._packed))
            self._packed = self._piece.unused_data
            if self._piece.eof:
                self._piece = None
        taken, self._unpacked = self._unpacked[: len(buffer)], self._unpacked[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _gather(file: io.BufferedReader[Any], size: int) -> bytes:
    """So many bytes of a file; fewer only at its end, or before damage, which the next call raises."""
    parts: list[bytes] = []
    while size > 0:
        try:
            part = file.read1(size)
        except DAMAGES:
            if parts:
                break
            raise
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _text_stream(name: str, file: io.BufferedReader[Any], head: bytes) -> Stream:
    """The Stream of a text that begins so: JSON lines, other JSON, or lines of text."""

    def until_damage(records: Iterator[Record | Drop]) -> Iterator[Record | Drop]:
        last = 0
        try:
            for record in records:
                last = record.origin.row
                yield record
        except DAMAGES as error:
            why = f"it cannot be unpacked any further, and nothing from here on was read: {error}"
            yield Drop(Origin(name, last + 1), CUT_OFF, why)

    first, line_end, rest = head.partition(b"\n")
    if first[:1] not in _JSON:
        return Stream(name, True, until_damage(_lines(name, file, lambda text: text)))
    is_named_lines = Path(name.removesuffix(".gz").removesuffix(".zst")).suffix in (".jsonl", ".ndjson")
    # The first line may be a bad one; but a record over several lines is none, whatever the name.
    later = is_named_lines and any(line[:1] == b"{" and _is_json(line) for line in rest.split(b"\n"))
    by_line = _is_json(first) and bool(rest.strip()) if first[:1] == b"[" else _is_json(first) or later
    records = _lines(name, file, _loads) if by_line and line_end else _values(name, file)
    return Stream(name, False, until_damage(records))


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(name: str, file: io.BufferedReader[Any], parse: Callable[[str], Any]) -> Iterator[Record | Drop]:
    """A Record for each line that is not blank; a Drop where it is no UTF-8, longer than a line may be, or not to be parsed."""
    number = 0
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield bad_row(name, number, number, f"a line of more than {MAX_LINE_BYTES:,} bytes")
        elif line.strip():
            try:
                content = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                yield Record(Origin(name, number), parse(content))
            except UnicodeDecodeError as error:
                fault = f"byte {error.start} of the line, 0x{line[error.start]:02x}, is not UTF-8"
                yield bad_row(name, number, number, fault, line.decode("utf-8", "replace"))
            except (ValueError, RecursionError) as error:
                yield bad_row(name, number, number, json_fault(error), content)


def _values(name: str, file: io.BufferedReader[Any]) -> Iterator[Record | Drop]:
    """A Record for each JSON value, a Drop where there is none."""
    for number, value in enumerate(read_values(partial(_gather, file)), 1):
        if isinstance(value, BadJson):
            yield Drop(Origin(name, number), CUT_OFF if value.is_end else BAD_ROW, value.why)
        else:
            yield Record(Origin(name, number), value)


def _parquet(name: str, file: BinaryIO) -> Iterator[Record | Drop]:
    """A Record for each row of a Parquet file, batch by batch; a Drop where it is damaged, or packed once more."""
    import pyarrow as pa
    import pyarrow.parquet

    number = 0
    try:
        file.seek(0)
        with closing(pyarrow.parquet.ParquetFile(file)) as table:
            rows = (row for batch in table.iter_batches(PARQUET_BATCH_ROWS) for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield Record(Origin(name, number), row)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        yield Drop(Origin(name, number + 1), CUT_OFF, f"from here on it cannot be read as Parquet: {reason}")
