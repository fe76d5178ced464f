"""Bytes to lines: which codec, which lines, and where the text stops."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from whet.data import encoding
from whet.data.encoding import MAX_LINE_CHARS, count_line_ends, read_lines, read_text, text_encoding
from whet.errors import DataError

TEXT = "Grüße – 40,000 homes\r\nby 2027 \u2028 é\n🏠 end"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "t.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_says_the_encoding(codec: str, tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.encode(codec))
    lines = list(read_lines(path, text_encoding(path), None))
    assert [line.text for line in lines] == ["Grüße – 40,000 homes\r\n", "by 2027 \u2028 é\n", "🏠 end"]
    assert [line.number for line in lines] == [1, 2, 3]


def test_declared_encodings(tmp_path: Path) -> None:
    western = written(tmp_path, "déjà vu".encode("latin-1"))
    assert text_encoding(western, "latin-1") == "iso8859-1"
    assert text_encoding(western, "Windows-1252") == "cp1252"
    marked = written(tmp_path, TEXT.encode("utf-8-sig"))
    assert text_encoding(marked, "utf8") == "utf-8-sig"
    assert text_encoding(written(tmp_path, TEXT.encode("utf-16")), "utf-16-le") == "utf-16"
    ascii_only = written(tmp_path, b"plain")
    assert text_encoding(ascii_only, "cp1252") == "cp1252"


@pytest.mark.parametrize("name", ["utf-88", "base64", "hex", ""])
def test_a_name_that_is_no_text_encoding(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a text encoding"):
        text_encoding(written(tmp_path, b"x"), name)


def test_the_first_bad_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    """Also behind the buffer that Python decodes at a time, and counted with the mark."""
    draw = random.Random(7)
    for _ in range(12):
        before = "".join(draw.choice("abcé\n–") for _ in range(draw.choice([0, 10, 8190, 20_000]))).encode()
        mark = draw.choice([b"", b"\xef\xbb\xbf"])
        path = written(tmp_path, mark + before + b"\x92 and more")
        with pytest.raises(DataError) as caught:
            list(read_lines(path, text_encoding(path), None))
        place = f"t.txt, line {before.count(10) + 1}, byte {len(mark) + len(before)}"
        assert caught.value.problems[0].where == place


def test_the_preview_is_what_cp1252_says(tmp_path: Path) -> None:
    path = written(tmp_path, "first\nWe’ll build “homes”\nlast".encode("cp1252"))
    with pytest.raises(
        DataError, match=r'line 2, byte 8: .* 0x92 is not UTF-8 text\. Read as cp1252 it says: "We’ll build “homes”"'
    ):
        list(read_lines(path, text_encoding(path), None))
    with pytest.raises(DataError, match=r"convert it \(cp1252\)"):
        list(read_lines(path, text_encoding(path), None, "convert it ({})"))


def test_no_preview_where_cp1252_has_no_such_character(tmp_path: Path) -> None:
    path = written(tmp_path, b"a\x81b")
    with pytest.raises(DataError) as caught:
        list(read_lines(path, text_encoding(path), None))
    assert "cp1252" not in str(caught.value)


def test_a_line_without_end_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path, b"x" * (MAX_LINE_CHARS * 2 + 5) + b"\nnext\n")
    first, second = read_lines(path, text_encoding(path), None)
    assert first.is_cut and len(first.text) == MAX_LINE_CHARS
    assert second == (2, "next\n", False)


def test_a_line_of_just_the_limit_is_not_cut(tmp_path: Path) -> None:
    path = written(tmp_path, b"x" * (MAX_LINE_CHARS - 1) + b"\nnext")
    assert [line.is_cut for line in read_lines(path, text_encoding(path), None)] == [False, False]


def test_a_whole_text_is_never_cut(tmp_path: Path) -> None:
    path = written(tmp_path, b"x" * (MAX_LINE_CHARS + 7) + b"\r\nnext")
    assert read_text(path, "utf-8") == path.read_bytes().decode()
    with pytest.raises(DataError, match=r"line 2, byte 2"):
        read_text(written(tmp_path, b"a\n\xff"), "utf-8")


def test_a_workbook_under_a_false_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="packed archive"):
        text_encoding(written(tmp_path, b"PK\x03\x04\x14\0"))


def test_line_ends_are_counted_as_editors_do() -> None:
    assert count_line_ends("a\nb\r\nc\rd") == 3
    assert count_line_ends("\n\r") == 2
    assert count_line_ends("a\u2028b\x0bc") == 0


@pytest.mark.parametrize("block_bytes", [1, 2, 2**20])
def test_utf8_that_is_called_otherwise_is_recognised_in_blocks(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is looked through in pieces, and a character may stand in two of them."""
    monkeypatch.setattr(encoding, "BLOCK_BYTES", block_bytes)
    with pytest.raises(DataError, match="every byte is valid UTF-8; 'ü' would become 'Ã¼'"):
        text_encoding(written(tmp_path, "Grüße".encode()), "cp1252")
    for content in (b"plain", "Grüße".encode("cp1252"), "Grüß".encode()[:-1]):
        assert text_encoding(written(tmp_path, content), "cp1252") == "cp1252"
