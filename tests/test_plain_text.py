"""Text files and columns of texts to Examples without an answer; a long file is cut, and nothing of it is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whet.data import dataset
from whet.data.plain_text import cut_at_paragraphs, read_plain_text
from whet.errors import DataError
from whet.recipe import parse
from whet.sections import Data


def read(place: Path, **keys: object) -> tuple[int, list[tuple[str, str]], list[str], list[str]]:
    """(documents, (id, text) of each Example, reasons of those dropped, notes)."""
    count, made = read_plain_text(str(place), Data.model_validate({"path": str(place), **keys}))
    assert all(e.target == "" and e.instruction is None for e in made.examples)
    return count, [(e.id, e.text) for e in made.examples], [d.reason for d in made.drops], made.notes


def test_a_folder_of_files_is_a_document_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    (folder / "old").mkdir(parents=True)
    (folder / "b.txt").write_text("\ufeffSecond.\n", "utf-8")
    (folder / "old" / "a.md").write_text("First.\n\nAnd more. " * 900, "utf-8")
    (folder / "empty.txt").write_text(" \n", "utf-8")
    (folder / "table.csv").write_text("a,b\n", "utf-8")
    count, examples, dropped, notes = read(folder)
    assert count == 3 and dropped == ["empty_input"] and notes == []
    assert [e[0] for e in examples] == ["talks/b.txt", "talks/old/a.md"] and examples[0][1] == "Second."
    count, examples, _, notes = read(folder, document_characters=5000)
    assert len(examples) == 5 and examples[1][0] == "talks/old/a.md-1" and "3 files are cut into 6 documents" in notes[0]


def test_one_file_alone_is_cut_so_that_there_is_something_to_test_on(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("\n\n".join(f"Paragraph {n}. " + "It goes on. " * 40 for n in range(100)), "utf-8")
    count, examples, _, notes = read(tmp_path / "book.txt")
    assert count == len(examples) == 10 and "1 file is cut into 10 documents of about 5,000 characters" in notes[0]
    assert [e[0] for e in examples[:2]] == ["book.txt-1", "book.txt-2"]
    assert len(read(tmp_path / "book.txt", document_characters=1000)[1]) > 30


@pytest.mark.parametrize("gap", ["\n\n", "\r\n\r\n", "\n \t\n\n", "\n"])
def test_the_pieces_are_the_text_and_begin_with_paragraphs(gap: str) -> None:
    rng = np.random.default_rng(4)
    paragraphs = [f"<{n}>" + "word " * int(rng.integers(1, 60)) for n in range(200)]
    text = gap.join(paragraphs)
    pieces = cut_at_paragraphs(text, 500)
    assert "".join(pieces) == text and len(pieces) > 20
    assert all(piece.startswith("<") and len(piece) >= 500 for piece in pieces[:-1])
    assert max(map(len, pieces)) < 500 + max(map(len, paragraphs)) + 2 * len(gap)
    assert cut_at_paragraphs("one line without an end " * 99, 500) == ["one line without an end " * 99]
    assert cut_at_paragraphs("", 500) == [""]


def test_a_column_of_a_table_holds_documents_too(tmp_path: Path) -> None:
    (tmp_path / "talks.csv").write_text("speaker,text\nA,We met.\nB,\nA,They left.\n", "utf-8")
    count, examples, dropped, _ = read(tmp_path / "talks.csv", input="text", group="speaker")
    assert (count, dropped) == (3, ["empty_input"]) and [e[1] for e in examples] == ["We met.", "They left."]
    with pytest.raises(DataError, match=r"no column of it is named. Name the column of texts: input under"):
        read(tmp_path / "talks.csv")


def test_keys_of_tables_are_refused_with_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A text.", "utf-8")
    with pytest.raises(DataError, match=r"input and group under .* name columns, and text files have none"):
        read(tmp_path / "a.txt", input="text", group="speaker")
    with pytest.raises(DataError, match=r"no \.txt or \.md file"):
        (tmp_path / "void").mkdir()
        read(tmp_path / "void")


def test_the_hash_of_a_folder_is_that_of_its_texts(tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    (folder / "a.txt").write_text("One.", "utf-8")

    def hashed() -> str:
        recipe = parse({"name": "t", "task": {"kind": "text"}, "data": {"path": str(folder)}})
        return str(dataset.hashes(recipe)[str(folder)]["sha256"])

    first = hashed()
    (folder / "picture.png").write_bytes(b"\0")
    assert hashed() == first, "what is no text does not count"
    (folder / "a.txt").rename(folder / "b.txt")
    second = hashed()
    (folder / "b.txt").write_text("Two.", "utf-8")
    assert len({first, second, hashed()}) == 3
