"""A corpus as the data of a recipe: its Examples, what was dropped or mended on the way, and in which formats it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from whet.data.corpora.format import Item
from whet.data.corpora.reading import Reading, read_corpus
from whet.data.corpora.sources import has_splits
from whet.data.examples import check_labels
from whet.data.provenance import Stated
from whet.data.table import Sifted
from whet.example import Drop, Example, Task
from whet.sections import Data

AUTO = "auto"


def read_rows_of(source: str, data: Data, task: Task) -> tuple[int, Sifted]:
    """How many rows a corpus has (answers and what had none), and the Examples that they became.

    Args:
        source: a file, a zip, a folder, a name in the catalogue or a Hub id.
        data: says the format, and what an answer is called as a label.
        task: says which labels there are, of a `classify` task.

    Raises:
        DataError: it cannot be read, or answers of a `classify` task are no labels.
    """
    rows, examples = 0, list[Example]()
    times: Counter[str] = Counter()

    def named(example: Example) -> Example:
        """Two files that whet wrote may hold the same example, under the same id."""
        times[example.id] += 1
        return example if times[example.id] == 1 else replace(example, id=f"{example.id}~{times[example.id]}")

    drops: list[Drop] = []
    notes: list[str] = []
    for item in items_of(source, data, notes):
        rows += item.rows
        examples += map(named, item.examples)
        drops += item.drops
    if task.kind == "classify":
        examples = [replace(e, target=data.label_names.get(e.target, e.target)) for e in examples]
        notes += check_labels(f"{source}, answers", [(e.origin.row, e.target) for e in examples], task.labels)
    return rows, Sifted(examples, drops, notes)


def items_of(source: str, data: Data, notes: list[str]) -> Iterator[Item]:
    """The Items of a corpus, one after another, whatever files it is made of.

    Args:
        source: a file, a zip, a folder, a name in the catalogue or a Hub id.
        data: says the format.
        notes: is told of every file, once it has been read.
    """
    format_ = None if data.format == AUTO else data.format
    stated, split = Stated(data.licence, data.maker), _split_of(Path(source), data.split)
    for reading in read_corpus(source, format=format_, stated=stated, split=split):
        if isinstance(reading, Reading):
            yield from reading.items
            notes += [_note(reading), *(f"{reading.report.file}: {note}" for note in reading.report.notes)]
        else:
            notes.append(f"{reading.where}: left aside; {reading.what}.")


def _split_of(path: Path, split: str) -> str | None:
    """Which split is read: always one of a data set on the Hub; of files, where they have splits or one was asked for."""
    has_some = not path.exists() or has_splits(path)
    return split if has_some or split != Data.model_fields["split"].default else None


def _note(reading: Reading) -> str:
    report = reading.report
    kept = f"{report.read:,} records gave {report.examples:,} examples"
    return f"{report.file}: read as {reading.format.name}; {kept}, {report.repaired:,} repaired, {report.skipped:,} skipped."
