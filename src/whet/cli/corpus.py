"""What each verb below `whet corpus` does: call the corpora, print what they return."""

from __future__ import annotations

import builtins
import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from rich.console import Group

from whet.cli.progress import console, showing
from whet.errors import DataError, Problem
from whet.run import command_line
from whet.views import corpora as views

if TYPE_CHECKING:
    from whet.data.corpora.format import Options
    from whet.data.corpora.reading import Source
    from whet.data.corpora.report import Survey


def list(args: Namespace) -> int:
    """Lists the catalogue."""
    from whet.data.corpora.catalogue import corpora

    records = [corpus.to_json() for corpus in corpora()]
    return _tell(args, {"corpora": records}, views.catalogue_table(records))


def info(args: Namespace) -> int:
    """Says what is known of one corpus."""
    from whet.data.corpora.catalogue import find_corpus

    record = find_corpus(args.corpus).to_json()
    return _tell(args, record, views.corpus_facts(record))


def read(args: Namespace) -> int:
    """Reads corpora and says what became of every record; 1 where a file lost more of them than it may."""
    from whet.data.corpora import export as exporting
    from whet.data.corpora.reading import survey

    sources = _sources(args)
    with showing() as progress:
        if not args.output:
            readings = chain.from_iterable(source.read() for source in sources)
            done = survey(readings, lambda item: None, progress)
            done.require_heeded(_options(args))
        else:
            with exporting.open_export(args.output, args.form) as export:
                done, parts = exporting.read_out(sources, export, progress)
                done.require_heeded(_options(args))
            export.write_card("Read, and written in one form; nothing was drawn.", command_line(), parts, done.reports)
    found = done.to_json()
    drawn = [views.reading_table(found["files"], found["left_aside"])]
    if args.output:
        found |= {"written": export.to_json()}
        drawn.append(views.written(found["written"]))
    _tell(args, found, Group(*drawn))
    return _say_lost(done, args.max_lost)


def mix(args: Namespace) -> int:
    """Draws from corpora into one data set; 1 where a file lost more of its records than it may."""
    from whet.data.corpora import blend
    from whet.data.corpora import export as exporting
    from whet.data.corpora.shares import Mixing, parse_shares

    if not args.output:
        raise DataError(Problem("whet corpus mix", "it has no place to write to", "Name one, as in -o mix.parquet"))
    mixing = Mixing(args.cap, args.temperature, parse_shares(args.shares), args.rows, args.seed)
    with showing() as progress, exporting.open_export(args.output, args.form) as export:
        done, parts = blend.mix(_sources(args), mixing, export, args.use, progress)
        done.require_heeded(_options(args))
    export.write_card(f"Mixed {mixing.describe()}.", command_line(), parts, done.reports)
    records = [part.to_json() for part in parts]
    notes = [f"{report.file}: {note}" for report in done.reports for note in report.notes]
    for note in notes:
        console(sys.stderr).print(note, markup=False)
    found = {"sources": records, "seed": mixing.seed, "written": export.to_json(), "reasons": done.to_json()["reasons"],
             "notes": notes}  # fmt: skip
    _tell(args, found, Group(views.parts_table(records), views.written(found["written"])))
    return _say_lost(done, args.max_lost)


def _options(args: Namespace) -> Options:
    """What was asked of formats that offer a choice."""
    from whet.data.corpora.format import Options

    return Options(paths=args.paths, languages=tuple(args.languages), unreviewed=args.unreviewed)


def _sources(args: Namespace) -> builtins.list[Source]:
    """The sources that were named, each with the way to read it."""
    from whet.data.corpora.reading import Source, read_corpus
    from whet.data.corpora.sources import parse_sources
    from whet.data.provenance import Stated

    asked = {"format": args.format, "options": _options(args), "stated": Stated(args.licence, args.maker), "split": args.split}
    return [Source(named.name, partial(read_corpus, named, **asked)) for named in parse_sources(args.sources)]


def _say_lost(done: Survey, most: float) -> int:
    """The exit code: 1 where a file lost more than this share of its records, or as a whole, which is said."""
    for problem in done.damaged:
        console(sys.stderr).print(f"{problem.where}: lost; {problem.what}", markup=False)
    for report in (lossy := done.lossy(most)):
        lost = f"{report.lost:.1%} of its records gave no example, and --max-lost is {most:.1%}"
        if report.is_cut_off:
            lost = "it was cut off, and nobody knows how much is lost"
        console(sys.stderr).print(f"{report.file}: {lost}", markup=False)
    return 1 if lossy or done.damaged else 0


def _tell(args: Namespace, data: Mapping[str, Any], drawn: Any) -> int:
    if args.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(drawn)
    return 0
