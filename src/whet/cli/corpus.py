"""What each verb below `whet corpus` does: call the corpora, print what they return."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from itertools import chain
from typing import Any

from whet.cli.progress import console, showing
from whet.views import corpora as views


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
    from whet.data.corpora.format import Options
    from whet.data.corpora.reading import read_corpus, survey

    options = Options(paths=args.paths, languages=tuple(args.languages), unreviewed=args.unreviewed)
    readings = chain.from_iterable(read_corpus(source, format=args.format, options=options) for source in args.sources)
    with showing() as progress:
        done = survey(readings, lambda item: None, progress)
    found = done.to_json()
    _tell(args, found, views.reading_table(found["files"], found["left_aside"]))
    for report in (lossy := done.lossy(args.max_lost)):
        lost = f"{report.lost:.1%} of its records gave no example, and --max-lost is {args.max_lost:.1%}"
        console(sys.stderr).print(f"{report.file}: {lost}", markup=False)
    return 1 if lossy else 0


def _tell(args: Namespace, data: Mapping[str, Any], drawn: Any) -> int:
    if args.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(drawn)
    return 0
