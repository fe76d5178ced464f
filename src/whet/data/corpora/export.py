"""Examples of corpora written out as a data set of their own, with its card: where it goes, and what is counted on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from whet.data.audit.language import language_of
from whet.data.corpora.card import Facts, Part, render
from whet.data.corpora.format import Item
from whet.data.corpora.forms import Form
from whet.data.corpora.reading import Source, survey
from whet.data.corpora.report import Report, Survey
from whet.data.corpora.sources import CARD
from whet.data.corpora.write import SUFFIXES, Write, open_writer, refuse_existing
from whet.data.provenance import Tally, terms_of
from whet.errors import DataError, Problem
from whet.example import Example
from whet.progress import Progress
from whet.run import write_atomically

IN_FOLDER = "train.parquet"
LOOKED_AT = 200  # rows of each source, for their language
LOOKED_AT_CHARS = 500  # of what is read and of what is answered


@dataclass
class Export:
    """A data set being written: `data` is its file, `card` the page beside it."""

    data: Path
    card: Path
    form: Form
    write: Write
    tally: Tally = field(default_factory=Tally)
    languages: Counter[str] = field(default_factory=Counter)
    _looked_at: Counter[str] = field(default_factory=Counter)

    def add(self, example: Example) -> None:
        """Writes one Example, and counts it."""
        self.write(example)
        self.tally.add(example)
        source = example.origin.source
        if self._looked_at[source] < LOOKED_AT:
            self._looked_at[source] += 1
            self.languages[language_of(f"{example.text[-LOOKED_AT_CHARS:]}\n{example.target[:LOOKED_AT_CHARS]}")] += 1

    def to_json(self) -> dict[str, Any]:
        """What was written, as plain JSON values."""
        terms = terms_of(self.tally)
        return {"data": str(self.data), "card": str(self.card), "form": self.form, "rows": terms.rows, "terms": terms.to_json()}

    def write_card(self, how: str, command: str, parts: Sequence[Part], reports: Sequence[Report]) -> None:
        """Writes the card of what was written.

        Args:
            how: a sentence on how it was made.
            command: that made it.
            parts: the sources.
            reports: what became of the records of each file.
        """
        name = (self.data.parent if self.card.name == CARD else self.card).stem
        facts = Facts(
            name, self.data.name, self.form, how, command, terms_of(self.tally), self.languages, parts, reports
        )  # fmt: skip
        write_atomically(self.card, render(facts).encode())


def qualified(example: Example, name: str) -> Example:
    """The Example with a name before its id and group, so that those of two sources are never the same."""
    group = None if example.group is None else f"{name}/{example.group}"
    return replace(example, id=f"{name}/{example.id}", group=group)


def read_out(sources: Sequence[Source], export: Export, progress: Progress) -> tuple[Survey, list[Part]]:
    """What became of all records of some sources, and how much of each is in the export: every Example is written to it."""
    surveys, parts = [], []
    for source in sources:
        tally = Tally()

        def take(item: Item, name: str = source.name, tally: Tally = tally) -> None:
            for example in item.examples:
                tally.add(example)
                export.add(qualified(example, name) if len(sources) > 1 else example)

        surveys.append(survey(source.read(), take, progress))
        parts.append(Part(source.name, tally.rows.total(), tally.rows.total(), terms_of(tally)))
    reports = tuple(report for found in surveys for report in found.reports)
    return Survey(reports, tuple(problem for found in surveys for problem in found.left_aside)), parts


@contextmanager
def open_export(out: Path, form: Form) -> Iterator[Export]:
    """An Export to a file (its card beside it) or to a folder, new or empty (laid out as the Hub has it).

    Raises:
        DataError: there is something already; or it cannot be written.
    """
    ending = next((suffix for suffix in SUFFIXES if out.name.endswith(suffix)), None)
    if ending:
        data, page = out, out.with_name(f"{out.name.removesuffix(ending)}.md")
        refuse_existing(page)
    elif out.suffix:
        do = f"End the name in {', '.join(SUFFIXES)}, or name a folder"
        raise DataError(Problem(str(out), "whet does not know what kind of file this should become", do))
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise DataError(Problem(str(out), "there is something in it already", "Name a folder that is new or empty"))
    else:
        data, page = out / IN_FOLDER, out / CARD
    with open_writer(data, form) as write:
        yield Export(data, page, form, write)
