"""Documents to passages: sentences with their exact places, so that a mark can be put where it belongs.

Our own splitter, because offsets must be exact and headings and lists must count. Measured once on 32 presidential
speeches: 7,687 passages where syntok 1.4.4 finds 7,690 sentences; 37 boundaries differ (20 of them semicolons, which syntok
splits at, and 10 salutations on a line of their own, which it does not end), in a seventh of the time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from whet.data.encoding import read_text, text_encoding
from whet.errors import DataError, Problem

SUFFIXES = (".txt", ".md")
_OTHER_DOCUMENTS = (".html", ".htm", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub")

# Never the last word of a sentence.
_TITLES = frozenset(
    "mr mrs ms mx dr prof sen rep reps sens gov gen col lt sgt capt cmdr adm maj hon rev fr msgr messrs mme mlle st mt ft pres "
    "vs v cf e.g i.e viz approx ca".split()
)
# Not the last word where a number follows.
_BEFORE_NUMBERS = frozenset(
    "no nos n\u00b0 n\u00ba \u2116 art arts sec secs fig figs p pp ch chap vol vols pt para cl q "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
# May end a sentence; does if the next word looks like the beginning of one.
_EITHER = frozenset("jr sr inc ltd co corp bros dept etc al est ave blvd rd a.m p.m ph.d m.d b.a m.a d.c".split())
_STARTERS = frozenset(
    "a an the this that these those there here it its i we you he she they my our your his her their who what when where "
    "why how if in on at for from with by to of as and but or so yet not no nor let all each every some many most both one now "
    "then today tonight tomorrow yesterday after before during since under while because although however therefore meanwhile "
    "only even first second third finally do does did is are was were will would can could should shall may must have has "
    "had".split()
)
_FULL_STOPS = "\u3002\uff01\uff1f\u0964"  # Chinese, Japanese, Hindi: a sentence ends there, with or without a space behind it
_END = re.compile(rf"""(?:[.!?\u2026]+(?:[ ]\.+)*|[{_FULL_STOPS}])["'\u201d\u2019)\]\u00bb]*""")
_OPENERS = "\"'\u201c\u2018([\u00ab\u2014\u2013- \t\r\n*_"
_BULLET = re.compile(
    r"[ \t]*(?:[-*+\u2022\u2023\u25e6\u25aa\u00b7\u2013\u2014]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)]|#{1,6}|>)[ \t]+"
)
_NUMBERING = re.compile(r"[ \t]*\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,4})\.$")
_RULE = re.compile(r"[ \t]*[-=_*~]{3,}[ \t]*$")


class Passage(NamedTuple):
    """One sentence, heading or list entry: `document.text[start:end] == text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A text, what it is called (its file's name, after its folder's where that was named), and its passages with words."""

    name: str
    text: str
    passages: tuple[Passage, ...]


def read_documents(paths: Sequence[Path], *, encoding: str | None = None) -> list[Document]:
    """The documents in .txt and .md files, and in folders of them, cut into passages.

    Raises:
        DataError: with every path that is missing, of another kind, or not text.
    """
    return [
        Document(name, text, tuple(p for p in passages(text) if any(map(str.isalnum, p.text))))
        for name, text in read_texts(paths, encoding=encoding).items()
    ]


def read_texts(paths: Sequence[Path], *, encoding: str | None = None) -> dict[str, str]:
    """The texts in .txt and .md files, and in folders of them (and the folders inside, sorted by name), by their names.

    A text is decoded strictly; nothing in it is changed but a byte-order mark, which is not part of it. In a folder, files
    that are no documents (images, tables) are passed over; a document in another format is an error.

    Raises:
        DataError: with every path that is missing, of another kind, or not text.
    """
    files, problems = _find(paths)
    is_taken = Counter(files.values())
    texts = {}
    for file, name in files.items():
        try:
            texts[name if is_taken[name] == 1 else file.as_posix()] = _read(file, encoding)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(*problems)
    return texts


def text_files(path: Path) -> list[Path]:
    """The text files that a path names: itself, or those in the folder; [] where it is neither."""
    return list(_find([path])[0])


def _find(paths: Sequence[Path]) -> tuple[dict[Path, str], list[Problem]]:
    """Each text file with what it is called (its folder's name comes first where that was named), and what is in the way."""
    problems: list[Problem] = []
    files: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(f for f in path.rglob("*") if f.is_file() and not _is_hidden(f.relative_to(path)))
            found = {f: f.relative_to(path.parent).as_posix() for f in inside if f.suffix.lower() in SUFFIXES}
            others = [_refused(f) for f in inside if f.suffix.lower() in _OTHER_DOCUMENTS]
            if not found and not others:
                others = [Problem(str(path), "no .txt or .md file in this folder", "Save the documents as plain text (UTF-8)")]
            problems += others
            files |= found
        elif not path.exists():
            problems.append(Problem(str(path), "there is no such file or folder", "Check the path"))
        elif path.suffix.lower() not in SUFFIXES:
            problems.append(_refused(path))
        else:
            files[path] = path.name
    return files, problems


def passages(text: str) -> list[Passage]:
    """The sentences of a text, in order. Every character that is not white space is in exactly one of them.

    Headings, list entries and blank lines are boundaries; a line break inside a paragraph is not, where the paragraph is
    wrapped (the next word would not have fitted on the line).

    Example:
        >>> [p.text for p in passages("Thank you, Mr. Lee. We cut 2.5% in the U.S. budget! \\n\\n- No. 10 agreed")]
        ['Thank you, Mr. Lee.', 'We cut 2.5% in the U.S. budget!', '- No. 10 agreed']
    """
    found = []
    for begin, stop in _paragraphs(text):
        start = begin
        for end in [*_sentence_ends(text, begin, stop), stop]:
            piece = text[start:end]
            if stripped := piece.strip():
                first = start + len(piece) - len(piece.lstrip())
                found.append(Passage(first, first + len(stripped), stripped))
            start = end
    return found


def _read(path: Path, encoding: str | None) -> str:
    remedy = "convert it to UTF-8 (iconv -f {} -t UTF-8)"
    text = read_text(path, text_encoding(path, encoding, remedy), remedy=remedy)
    if "\0" in text:
        raise DataError(Problem(path.name, "it holds NUL bytes: this is no plain text", "Save it as plain text in UTF-8"))
    return text


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _refused(path: Path) -> Problem:
    """Why a file is not read as a document, and what its owner can do."""
    suffix = path.suffix.lower()
    if suffix in (".html", ".htm"):
        do = "Save the page as text: its menus and scripts would be read as sentences"
    elif suffix in (".csv", ".tsv", ".jsonl", ".json", ".parquet"):
        do = "A table is read by a recipe ([data] path); of documents, save each as .txt"
    else:
        do = "Save it as .txt or .md, in UTF-8"
    return Problem(path.name, f"whet reads documents as plain text (.txt, .md), not {suffix or 'a file without a suffix'}", do)


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """The stretches of text that no sentence crosses."""
    block: list[tuple[int, int]] = []
    for match in re.finditer(r"[^\r\n\f\u2028\u2029]+", text):
        line, start, end = match[0], *match.span()
        gap = text[block[-1][1] : start] if block else ""
        if not line.strip() or _RULE.match(line) or len(re.findall(r"\r\n|[\r\n\f\u2028\u2029]", gap)) > 1:
            yield from _unwrapped(text, block)
            block = []
        if _RULE.match(line):
            yield start, end
        elif line.strip():
            block.append((start, end))
    yield from _unwrapped(text, block)


def _unwrapped(text: str, block: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The paragraphs of a block of successive lines: wrapped lines joined, headings and list entries apart."""
    if not block:
        return
    lines = [text[start:end].rstrip() for start, end in block]
    width = max(map(len, lines))
    # A wrapped line is full: the next word would have made it longer than the longest. Most lines of a wrapped block are.
    is_full = [len(line) + 1 + len(after.split(maxsplit=1)[0]) > width - 3 for line, after in pairwise(lines)]
    is_wrapped = 2 * sum(is_full) > len(is_full)
    begin = block[0][0]
    for place, full in enumerate(is_full):
        if not (is_wrapped and full) or _BULLET.match(lines[place + 1]) or lines[place].lstrip().startswith("#"):
            yield begin, block[place][1]
            begin = block[place + 1][0]
    yield begin, block[-1][1]


def _sentence_ends(text: str, begin: int, stop: int) -> Iterator[int]:
    """The places inside a paragraph where one sentence ends and another begins."""
    for match in _END.finditer(text, begin, stop):
        end = match.end()
        if end == stop:
            return
        if match[0][0] in _FULL_STOPS or (text[end].isspace() and _is_end(text, begin, match, stop)):
            yield end


def _is_end(text: str, begin: int, match: re.Match[str], stop: int) -> bool:
    """Whether a stop with white space behind it ends a sentence."""
    rest = text[match.end() : min(stop, match.end() + 60)].lstrip(_OPENERS)
    if not rest or rest[0].islower():
        return not rest
    before = text[begin : match.start()]
    if match[0][0] != "." or match[0].startswith(".."):
        return True
    if _NUMBERING.match(before + "."):
        return False
    word = re.search(r"[^\s(\[\"'\u201c\u2018\u2014/-]*$", before)
    token = word[0].casefold() if word else ""
    if token in _TITLES:
        return False
    if token in _BEFORE_NUMBERS and rest[0].isdigit():
        return False
    next_word = re.match(r"[^\W\d_]+", rest)
    starts = next_word is not None and next_word[0].casefold() in _STARTERS
    if token in _EITHER or re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", token):
        return starts
    if len(token) == 1 and token.isalpha() and word is not None and word[0].isupper():
        # An initial (John F. Kennedy), unless it is the pronoun or an enumeration's end before a new sentence.
        return starts and not _is_initial(before[: len(before) - 1])
    return True


def _is_initial(before: str) -> bool:
    """Whether the word before a single capital letter is a name: capitalised, or another initial."""
    words = before.split()
    return bool(words) and words[-1][0].isupper() and words[-1].casefold() not in _STARTERS
