"""Rows that hold passages of a benchmark: runs of 13 words that stand in both, shown word for word.

False alarms are what makes such a check useless, so precision comes first: words that many passages of the benchmark share in
runs of 6 are its instructions, and 7 words of a run must be others; a passage of 8 to 12 words must stand whole in the row, a
shorter one must be the whole of a row's text.

Source: runs of 13 words as in Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whet.data.audit.finding import Case, Finding, counted, shortened
from whet.data.audit.material import Material, is_corpus
from whet.data.corpora.reading import Reading, read_corpus
from whet.data.documents import SUFFIXES, read_texts
from whet.data.near import normal_form
from whet.data.read import COLUMNAR, DELIMITED, read_rows
from whet.errors import DataError, Problem

RUN_WORDS = 13
FEWEST_WORDS = 8
FEWEST_OWN = 7  # different words of a run that are no wording: of 8 words one may stand twice
WORDING_WORDS = 6
WORDING_PASSAGES = 3  # a run in more passages than these, and than 1 % of them, is the benchmark's own wording
WORDING_SHARE = 0.01
MOST_OF_IT = 0.5

Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of a benchmark, and where it stands."""

    place: str
    text: str


@dataclass(frozen=True)
class _Index:
    """The runs of a benchmark's passages by their length, its short passages by normal form, and the words of each passage."""

    passages: Sequence[Passage]
    words: Sequence[Sequence[str]]
    runs: dict[int, dict[Run, list[int]]] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Match:
    """The longest run that a row shares with a passage: its words, and the share of the passage that they are."""

    passage: Passage
    words: Sequence[str]
    share: float


def contamination(material: Material, benchmarks: Sequence[Path]) -> Iterator[Finding]:
    """For each benchmark, the rows that hold its passages for the most part, and those that hold a run of one."""
    for path in benchmarks:
        index = _index(read_passages(path))
        whole: list[Case] = []
        partly: list[Case] = []
        for row, example in enumerate(material.examples):
            match = _longest(index, f"{example.text}\n{example.target}", normal_form(example.text))
            if match is not None:
                shared = (
                    f"{counted(len(match.words), 'word')} in a row stand in {match.passage.place} ({match.share:.0%} of it)"
                )
                case = material.case(f"{shared}: “{shortened(' '.join(match.words), 240)}”", row, similarity=match.share)
                (whole if match.share >= MOST_OF_IT else partly).append(case)
        total = f"of {len(material.examples):,} hold"
        if whole:
            what = f"{counted(len(whole), 'row')} {total} most of a passage of {path.name} ({len(index.passages):,} passages)"
            do = "Take them out before you measure on it, or do not measure on it"
            yield Finding("benchmark_leak", "error", what, do, tuple(whole))
        if partly:
            words = f"{RUN_WORDS} words or more in a row, and less than half, of a passage of {path.name}"
            do = "Read the words that are shared: quotations are harmless, questions are not"
            yield Finding("benchmark_overlap", "warning", f"{counted(len(partly), 'row')} {total} {words}", do, tuple(partly))


def read_passages(path: Path) -> list[Passage]:
    """The texts of a benchmark, each once: lines of a text file, cells of a table, questions and answers of a corpus.

    Raises:
        DataError: it is no such file, or holds no text.
    """
    found: dict[str, Passage] = {}
    for passage in _passages(path):
        found.setdefault(normal_form(passage.text), passage)
    if not found:
        raise DataError(Problem(str(path), "it holds no text to compare with", "Name a table, a corpus or a text file"))
    return list(found.values())


def _passages(path: Path) -> Iterator[Passage]:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        for name, text in read_texts([path]).items():
            yield from (Passage(f"{name}, line {n}", line) for n, line in enumerate(text.splitlines(), 1) if line.strip())
    elif suffix in (*DELIMITED, *COLUMNAR):
        yield from _cells(path)
    elif path.exists() and is_corpus(path):
        for reading in read_corpus(path):
            for item in reading.items if isinstance(reading, Reading) else ():
                for example in item.examples:
                    texts = (*example.inputs.values(), example.instruction, example.target)
                    yield from (Passage(str(example.origin), text) for text in texts if text)
    else:
        yield from _cells(path)


def _cells(path: Path) -> Iterator[Passage]:
    table = read_rows(path)
    for row in table.rows:
        yield from (Passage(f"{table.source}, row {row.number}", cell) for cell in row.cells if cell and cell.strip())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _index(passages: Sequence[Passage]) -> _Index:
    """The index of a benchmark: the runs of which enough words are not its own wording."""
    index = _Index(passages, [_words(passage.text) for passage in passages])
    wording = _wording(index.words)
    for number, words in enumerate(index.words):
        if len(words) < FEWEST_WORDS:
            index.short[normal_form(passages[number].text)] = number
            continue
        own = [True] * len(words)
        for i in range(len(words) - WORDING_WORDS + 1):
            if tuple(words[i : i + WORDING_WORDS]) in wording:
                own[i : i + WORDING_WORDS] = [False] * WORDING_WORDS
        size = min(RUN_WORDS, len(words))
        for i in range(len(words) - size + 1):
            run = words[i : i + size]
            if len({word for word, is_own in zip(run, own[i : i + size], strict=True) if is_own}) >= FEWEST_OWN:
                index.runs.setdefault(size, {}).setdefault(tuple(run), []).append(number)
    return index


def _wording(texts: Sequence[Sequence[str]]) -> set[Run]:
    """The runs of 6 words that so many passages share that they are the benchmark's instructions."""
    counts: Counter[Run] = Counter()
    for words in texts:
        counts.update({tuple(words[i : i + WORDING_WORDS]) for i in range(len(words) - WORDING_WORDS + 1)})
    most = max(WORDING_PASSAGES, WORDING_SHARE * len(texts))
    return {run for run, count in counts.items() if count > most}


def _longest(index: _Index, text: str, form: str) -> _Match | None:
    """The Match of a row with the passage of which it holds the largest share; the longer run among equals."""
    if form in index.short:
        number = index.short[form]
        return _Match(index.passages[number], index.words[number], 1.0)
    words, best = _words(text), None
    for size, runs in index.runs.items():
        open_runs: dict[int, int] = {}  # passage to where its present run begins
        for i in range(len(words) - size + 1):
            here = runs.get(tuple(words[i : i + size]), ())
            open_runs = {number: open_runs.get(number, i) for number in here}
            for number, begin in open_runs.items():
                shared = words[begin : i + size]
                match = _Match(index.passages[number], shared, min(1.0, len(shared) / len(index.words[number])))
                if best is None or (match.share, len(shared)) > (best.share, len(best.words)):
                    best = match
    return best
