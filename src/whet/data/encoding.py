"""Bytes to lines of text, strictly: a byte-order mark or the recipe says the encoding, else it is UTF-8. Nothing is guessed."""

from __future__ import annotations

import codecs
import difflib
import encodings.aliases
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from whet.errors import DataError, Problem

MAX_LINE_CHARS = 4 * 2**20
BLOCK_BYTES = 2**20
IN_RECIPE = 'write encoding = "{}" under [data]'
# UTF-32 first: its little-endian mark begins with the UTF-16 one.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Line(NamedTuple):
    """One physical line with its line end. `is_cut`: it was longer than a line may be and only its beginning is here."""

    number: int
    text: str
    is_cut: bool


def text_encoding(path: Path, declared: str | None = None, remedy: str = IN_RECIPE) -> str:
    """The codec that reads a file: its byte-order mark's, else the declared one, else UTF-8.

    Args:
        remedy: what to do about a file in another encoding, `{}` standing for it.

    Raises:
        DataError: the declared name is no text encoding or contradicts the bytes; or UTF-16 without a mark.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    mark = next((codec for bom, codec in _MARKS if head.startswith(bom)), None)
    if head.startswith(b"PK\x03\x04"):
        what = "this is a packed archive or a spreadsheet program's own file, whatever its name says"
        raise DataError(Problem(path.name, what, "Save the sheet as CSV (UTF-8), or unpack the archive"))
    if declared is None:
        if mark is None:
            _refuse_bare_utf16(path, head, remedy)
        return mark or "utf-8"
    try:
        name = codecs.lookup(declared).name
        "a".encode(name)
    except LookupError:
        near = difflib.get_close_matches(declared.lower(), {n.replace("_", "-") for n in encodings.aliases.aliases}, 3)
        hint = f"Did you mean {' or '.join(repr(n) for n in near)}" if near else 'Write "utf-8", "cp1252" or "utf-16"'
        raise DataError(Problem(path.name, f"encoding = {declared!r} is not a text encoding Python knows", hint)) from None
    if mark is None:
        if not name.startswith("utf"):
            _refuse_if_utf8(path, declared)
        return name
    if not name.startswith(mark.removesuffix("-sig")):
        marked = mark.removesuffix("-sig")
        what = f"the recipe says encoding = {declared!r}, but the file begins with the byte-order mark of {marked}"
        raise DataError(Problem(path.name, what, "Remove `encoding` under [data]: the mark is enough"))
    return mark


def read_lines(path: Path, codec: str, row_at: Callable[[str], int] | None, remedy: str = IN_RECIPE) -> Iterator[Line]:
    """The physical lines of a file, decoded strictly and with their line ends (LF, CR LF or CR) kept.

    Args:
        row_at: the number of the row that follows a given beginning of the file; asked only to place an error. None: the
            file has lines only.
        remedy: what to do about a file in another encoding, `{}` standing for it.

    Raises:
        DataError: bytes that are not text in this encoding, with row, line, byte offset and how cp1252 would read them.
    """
    number = 0
    try:
        with path.open(encoding=codec, errors="strict", newline="") as file:
            while text := file.readline(MAX_LINE_CHARS):
                number += 1
                is_cut = len(text) == MAX_LINE_CHARS and not text.endswith(("\n", "\r"))
                if is_cut:
                    while (rest := file.readline(MAX_LINE_CHARS)) and not rest.endswith(("\n", "\r")):
                        pass
                yield Line(number, text, is_cut)
    except UnicodeError:
        raise _undecodable(path, codec, row_at, remedy) from None


def read_text(path: Path, codec: str, row_at: Callable[[str], int] | None = None, remedy: str = IN_RECIPE) -> str:
    """The whole text of a file, decoded strictly, line ends and all. Arguments and errors are those of `read_lines`."""
    try:
        with path.open(encoding=codec, errors="strict", newline="") as file:
            return file.read()
    except UnicodeError:
        raise _undecodable(path, codec, row_at, remedy) from None


def count_line_ends(text: str) -> int:
    """How many lines end in a text.

    Example:
        >>> count_line_ends("a\\r\\nb\\rc\\n")
        3
    """
    return len(re.findall(r"\r\n|\r|\n", text))


def _refuse_bare_utf16(path: Path, head: bytes, remedy: str) -> None:
    """Raise for text of two bytes a character without a mark: as UTF-8 every second character would be a NUL."""
    pairs = len(head) // 2
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if pairs >= 4 and head[start::2].count(0) > 0.6 * pairs and head[1 - start :: 2].count(0) < 0.1 * pairs:
            what = "every second byte is a NUL: this looks like UTF-16 without a byte-order mark"
            raise DataError(Problem(path.name, what, f"Save the file as UTF-8, or {remedy.format(name)}"))


def _refuse_if_utf8(path: Path, declared: str) -> None:
    """Raise if a file declared as a one-byte encoding is valid UTF-8 beyond ASCII: text in cp1252 is that by no accident."""
    decoder, character = codecs.getincrementaldecoder("utf-8")(), ""
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                text = decoder.decode(block)
                if not character and not text.isascii():
                    character = next(c for c in text if not c.isascii())
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return
    if not character:
        return
    as_declared = character.encode().decode(declared, "replace")
    what = f"the recipe says encoding = {declared!r}, but every byte is valid UTF-8; {character!r} would become {as_declared!r}"
    raise DataError(Problem(path.name, what, "Remove `encoding` under [data]"))


def _undecodable(path: Path, codec: str, row_at: Callable[[str], int] | None, remedy: str) -> DataError:
    """The error that says where a file stops being text, and what it may be instead."""
    data = path.read_bytes()
    try:
        data.decode(codec)
    except UnicodeDecodeError as error:
        # utf-8-sig counts from behind the mark.
        offset = error.start + len(data) - len(error.object)
        before = error.object[: error.start].decode(codec)
    except UnicodeError as error:
        return DataError(Problem(path.name, f"it is not {codec} text ({error})", "Save it again as UTF-8"))
    else:
        return DataError(Problem(path.name, f"it changed while it was read as {codec}", "Run the command again"))
    line = f"line {count_line_ends(before) + 1}"
    where = f"{path.name}, row {row_at(before)} ({line}), byte {offset}" if row_at else f"{path.name}, {line}, byte {offset}"
    what = f"the byte 0x{data[offset]:02x} is not {'UTF-8' if codec.startswith('utf-8') else codec} text"
    if not codec.startswith("utf-8"):
        return DataError(Problem(where, what, "Save the file again as UTF-8, or write the right `encoding` under [data]"))
    bad, good = _count_foreign_lines(data)
    if good:
        what += f"; {_lines(bad)} not UTF-8 while {_lines(good)} with other than ASCII characters: two encodings in one file"
        return DataError(Problem(where, what, "Convert the pieces to UTF-8 before joining them"))
    preview = _preview(data, offset)
    if preview is None:
        return DataError(Problem(where, what, "Save the file again as UTF-8, or write its `encoding` under [data]"))
    return DataError(Problem(where, what, f'Read as cp1252 it says: "{preview}". If that is right, {remedy.format("cp1252")}'))


def _lines(count: int) -> str:
    return "1 line is" if count == 1 else f"{count:,} lines are"


def _count_foreign_lines(data: bytes) -> tuple[int, int]:
    """How many lines beyond ASCII are not UTF-8, and how many are."""
    bad = good = 0
    for line in data.removeprefix(codecs.BOM_UTF8).split(b"\n"):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            bad += 1
    return bad, good


def _preview(data: bytes, offset: int) -> str | None:
    """The words around a byte, read as cp1252; None where cp1252 has no such character either."""
    begin = max(data.rfind(b"\n", 0, offset) + 1, offset - 40)
    end = data.find(b"\n", offset)
    piece = data[begin : min(len(data) if end < 0 else end, offset + 40)]
    try:
        return piece.decode("cp1252").strip()
    except UnicodeDecodeError:
        return None
