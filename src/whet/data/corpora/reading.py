"""Corpus files to Examples as a stream."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from whet.data.corpora.catalogue import corpora
from whet.data.corpora.format import DEFAULT_OPTIONS, Format, Item, Options, Record, asked_for
from whet.data.corpora.hub import how_to_download, open_hub
from whet.data.corpora.registry import SNIFFED_RECORDS, find_format, no_format, recognise
from whet.data.corpora.report import Report, Survey
from whet.data.corpora.sources import Named, parse_source, split_files, state
from whet.data.corpora.streams import CUT_OFF, Damaged, Stream, open_streams
from whet.data.examples import EMPTY_INPUT, EMPTY_TARGET, has_content
from whet.data.provenance import Stated
from whet.data.read import HUB_ID
from whet.data.table import BAD_ROW, MAX_CELL_CHARS, cell_fault
from whet.errors import DataError, Problem
from whet.example import Drop, Example
from whet.progress import Progress

RECORDS_A_TICK = 1000
NAMES_OF_RECORDS = (".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".zst")
NOTHING_STATED = Stated()


@dataclass(frozen=True, slots=True)
class Reading:
    """One corpus file being read. The report is whole once `items` has been read to its end."""

    format: Format
    report: Report
    items: Iterator[Item]


@dataclass(frozen=True, slots=True)
class Source:
    """A source by its name, and how to read it: from the start whenever it is called."""

    name: str
    read: Callable[[], Iterable[Reading | Problem]]


def survey(readings: Iterable[Reading | Problem], take: Callable[[Item], None], progress: Progress) -> Survey:
    """The Survey of readings, each read to its end; every Item of theirs is handed to `take`."""
    reports, left_aside = [], []
    for reading in readings:
        if not isinstance(reading, Reading):
            left_aside.append(reading)
            continue
        progress.start(f"reading {reading.report.file} ({reading.format.name})")
        for number, item in enumerate(reading.items, 1):
            take(item)
            if number % RECORDS_A_TICK == 0:
                progress.advance(RECORDS_A_TICK, f"{number:,} records")
        reports.append(reading.report)
    return Survey(tuple(reports), tuple(left_aside))


def read_corpus(
    source: str | Path | Named,
    *,
    format: str | None = None,
    options: Options = DEFAULT_OPTIONS,
    stated: Stated = NOTHING_STATED,
    split: str | None = None,
) -> Iterator[Reading | Problem]:
    """A Reading for each corpus file of a source, and a Problem for each file that is none.

    A Reading is read to its end, or left, before the next is taken. Memory does not grow with the number of records.

    Args:
        source: a file, a zip, a folder; a name in the catalogue or the id of a data set on the Hub; `alpaca=FILE` for a copy
            of a corpus that the catalogue knows, whose licence and maker its rows then have.
        format: the name of the format; left out: recognised by the first records of each file.
        options: of formats that offer a choice; the report of a file in another format says that it has none.
        stated: licence and maker of rows that do not state their own.
        split: of a data set on the Hub (left out: train), or of the tasks of Super-NaturalInstructions (left out: all).

    Raises:
        DataError: the source or the format does not exist; or no file of the source is a corpus.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "chat.jsonl")
        ...     turns = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]'
        ...     _ = file.write_text(f'{{"messages": {turns}}}\\n[')
        ...     for reading in read_corpus(file):
        ...         [e.target for item in reading.items for e in item.examples]
        ...         reading.report.read, dict(reading.report.reasons)
        ['Ho']
        (2, {'bad_row': 1})
    """
    forced = find_format(format) if format is not None else None
    named = source if isinstance(source, Named) else parse_source(source)
    asked = _Asked(forced, options, state(named, stated))
    problems, found = [], 0
    for stream in _streams(named, split):
        opened = _open(stream, asked) if isinstance(stream, Stream) else stream
        if isinstance(opened, Reading):
            found += 1
        else:
            problems.append(opened)
        if isinstance(opened, Reading) or Path(named.place).is_dir():
            yield opened
    if not found:
        raise DataError(*problems[:10] or [Problem(named.place, "there is no file in this folder", "Check the path")])


class _Asked(NamedTuple):
    """How a source is to be read."""

    format: Format | None
    options: Options
    stated: Stated


def _streams(named: Named, split: str | None) -> Iterator[Stream | Problem]:
    """The streams of a source, wherever it is; a file of that name comes before a corpus of that name."""
    place, corpus = named.place, named.corpus
    path = Path(place)
    if path.exists():
        yield from open_streams(path, None if split is None else split_files(path, split))
    elif corpus and corpus.name == place:
        if not corpus.hub:
            raise DataError(how_to_download(corpus, "it is not on the Hub"))
        yield open_hub(corpus.hub[0], split or "train", corpus)
    elif HUB_ID.fullmatch(place) and not path.suffix:
        yield open_hub(place, split or "train")
    else:
        near = difflib.get_close_matches(place, [known.name for known in corpora()], 2, 0.6)
        do = f"Check the path, or did you mean the corpus {' or '.join(near)}?" if near else "Check the path"
        raise DataError(Problem(place, "there is no such file or folder", do))


def _open(stream: Stream, asked: _Asked) -> Reading | Problem:
    """The Reading of a stream, or the Problem that it is no corpus."""
    head = list(islice(stream.records, SNIFFED_RECORDS))
    values = [record.value for record in head if isinstance(record, Record)]
    if not values:
        drops = [drop for drop in head if isinstance(drop, Drop)]
        if not drops:
            return Problem(stream.name, "it holds no record", "Nothing is to be read; check that it is the right file")
        why = "; ".join(f"row {drop.origin.row}: {drop.detail}" for drop in drops[:3])
        is_lost = any(drop.reason == CUT_OFF for drop in drops) and stream.name.endswith(NAMES_OF_RECORDS)
        kind = Damaged if is_lost else Problem  # a text that begins with a bracket is no list that was cut off
        return kind(stream.name, f"no record of it can be read ({why})", "Check that it is the right file, and whole")
    format_ = asked.format or recognise(values, stream.is_text)
    if format_ is None:
        return no_format(stream.name, values, stream.is_text)
    if format_.lines != stream.is_text:
        kinds = ("lines of text", "JSON or Parquet records")
        seen, wanted = kinds if stream.is_text else kinds[::-1]
        what = f"it holds {seen}, and the format {format_.name} is made of {wanted}"
        return Problem(stream.name, what, "Name another format")
    unheeded = tuple(name for name in asked_for(asked.options) if name not in format_.takes)
    report = Report(stream.name, format_.name, unheeded=unheeded)
    return Reading(format_, report, _items(chain(head, stream.records), format_, asked, report))


def _items(records: Iterator[Record | Drop], format_: Format, asked: _Asked, report: Report) -> Iterator[Item]:
    """The Items of a file, sifted and counted; one for each record that could not be parsed, too, in the order of the file."""
    unparsed: list[Drop] = []

    def parsed() -> Iterator[Record]:
        for record in records:
            if isinstance(record, Record):
                yield record
            else:
                unparsed.append(record)

    def waiting() -> Iterator[Item]:
        while unparsed:
            drop = unparsed.pop(0)
            item = Item(drop.origin, drops=(drop,))
            report.add(item)
            yield item

    is_stated = asked.stated != NOTHING_STATED
    for item in format_.read(parsed(), asked.options):
        whole = _sifted(item)
        if is_stated:
            whole = replace(whole, examples=tuple(map(asked.stated.of, whole.examples)))
        if unparsed:
            yield from waiting()
        report.add(whole)
        yield whole
    yield from waiting()


def _sifted(item: Item) -> Item:
    """The Item without Examples that nothing can be learned from; a Drop stands for each."""
    faults = [_why_unusable(example) for example in item.examples]
    if not any(faults):
        return item
    good = tuple(example for example, fault in zip(item.examples, faults, strict=True) if fault is None)
    return replace(item, examples=good, drops=(*item.drops, *filter(None, faults)))


def _why_unusable(example: Example) -> Drop | None:
    """The Drop of an Example with nothing to read or to answer, or with a character that does not exist."""
    own, inputs = example.instruction or "", example.inputs
    if fault := _fault(own, example):
        return Drop(example.origin, BAD_ROW, fault)
    if not has_content(example.target):
        return Drop(example.origin, EMPTY_TARGET, "nothing to answer", example.text[:200])
    if not has_content(own) and not any(map(has_content, inputs.values())):
        return Drop(example.origin, EMPTY_INPUT, "nothing to read", example.target[:200])
    return None


def _fault(own: str, example: Example) -> str | None:
    """What makes one of an Example's texts unusable, or None. Most are seen at once to be usable, all together."""
    cells, history = (own, *example.inputs.values(), example.target), example.history
    together = "".join(cells)
    if not history and together.isascii() and "\0" not in together and len(together) <= MAX_CELL_CHARS:
        return None
    names = ("instruction", *example.inputs, "target", *("history" for _ in history))
    return cell_fault((*cells, *(message.text for message in history)), names)
