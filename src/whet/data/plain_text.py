"""Plain text to Examples without an answer, for continued pre-training: files, folders of them, or a column of a table."""

from __future__ import annotations

import re
from pathlib import Path

from whet.data.documents import SUFFIXES, read_texts
from whet.data.examples import EMPTY_INPUT, has_content, to_examples
from whet.data.provenance import state_rows
from whet.data.read import read_rows
from whet.data.table import Sifted
from whet.errors import DataError, Problem
from whet.example import Drop, Example, Origin
from whet.sections import Data

# What a file is cut at when it is the only one: without, there would be one document, and none to validate and test on.
LONE_FILE_CHARACTERS = 5_000
_GAP = re.compile(r"(?:\r\n|\r|\n)(?:[ \t]*(?:\r\n|\r|\n))+")
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_plain_text(place: str, data: Data) -> tuple[int, Sifted]:
    """How many documents a path holds, and the Examples that they became: text files as they are or cut between paragraphs,
    or the rows of a table.

    Raises:
        DataError: it cannot be read; a table whose column is not named; text files with keys that only a table could have.
    """
    path = Path(place)
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return _read_files(path, data)
    if not data.input:
        what = "this is a table, and no column of it is named"
        raise DataError(Problem(path.name, what, "Name the column of texts: input under [data]"))
    table = read_rows(place, encoding=data.encoding, delimiter=data.delimiter, header=data.header, split=data.split)
    made = to_examples(table, input=data.input, target=None, group=data.group, kind="text")
    return table.read, made._replace(examples=state_rows(made.examples, table, data.licence, data.maker))


def cut_at_paragraphs(text: str, characters: int) -> list[str]:
    """The text in pieces of about so many characters, cut only between paragraphs (where it has none: between lines).

    The pieces joined are the text. One paragraph that is longer than a piece should be stays whole.

    Example:
        >>> cut_at_paragraphs("One.\\n\\nTwo.\\n\\nThree.", 8)
        ['One.\\n\\nTwo.\\n\\n', 'Three.']
    """
    gap = _GAP if _GAP.search(text) else _LINE_END
    pieces, begin = [], 0
    for match in gap.finditer(text):
        if match.end() - begin >= characters:
            pieces.append(text[begin : match.end()])
            begin = match.end()
    return [*pieces, text[begin:]] if begin < len(text) or not pieces else pieces


def _read_files(path: Path, data: Data) -> tuple[int, Sifted]:
    """How many documents the text files give, and the Examples that they became."""
    columns = {"input": data.input, "group": data.group}
    if named := [key for key, value in columns.items() if value]:
        what = f"{' and '.join(named)} under [data] name columns, and text files have none"
        raise DataError(Problem(path.name, what, "Leave them out, or give a table"))
    texts = read_texts([path], encoding=data.encoding)
    size = data.document_characters or (LONE_FILE_CHARACTERS if len(texts) == 1 else None)
    examples, drops = [], []
    for name, text in texts.items():
        pieces = cut_at_paragraphs(text, size) if size else [text]
        for number, piece in enumerate(pieces, 1):
            origin = Origin(name, number, data.licence, data.maker)
            if has_content(piece):
                id_ = f"{name}-{number}" if len(pieces) > 1 else name
                examples.append(Example(id_, {"text": piece.strip()}, "", None, origin))
            else:
                drops.append(Drop(origin, EMPTY_INPUT, "nothing to read in this document"))
    read = len(examples) + len(drops)
    files = f"{len(texts):,} file{'s are' if len(texts) > 1 else ' is'}"
    notes = [f"{path.name}: {files} cut into {read:,} documents of about {size:,} characters."] if size else []
    return read, Sifted(examples, drops, notes)
