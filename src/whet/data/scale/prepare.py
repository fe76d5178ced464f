"""`whet prepare` for corpora that do not fit into memory: what `dataset.build` decides, decided over files.

Rows are read once and described (`rows.work`), in as many processes as there are; their descriptions are sorted on disk. From
them follows what repeats, which split each row goes to and what leaks; then the rows are written down. The dataset is the
same byte for byte however many processes there are. `dataset.build` makes the same, but that it misses no leak at all.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from whet.data import dataset
from whet.data.corpora.format import REPAIRS
from whet.data.provenance import terms_of
from whet.data.scale.reading import Source
from whet.data.scale.repeats import drop_misfits, drop_repeats
from whet.data.scale.rows import Batch
from whet.data.scale.splitting import SIDE, count_groups, drop_leaks, split
from whet.data.scale.store import Fate, Store, drop_line
from whet.data.scale.workers import Map
from whet.data.split import NAMES, label_notes, split_problems
from whet.errors import DataError, Problem
from whet.example import Example
from whet.progress import Progress
from whet.recipe import Recipe

BATCH_ROWS = 1024
PART_SPLIT = {"path": "train", "validation_path": "validation", "test_path": "test"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset on disk: the files of its splits and of what was dropped, and the manifest's part `dataset`."""

    files: dict[str, Path]
    summary: dict[str, Any]


def unsupported(recipe: Recipe) -> list[Problem]:
    """Why a recipe's data cannot be prepared as a stream; empty where they can."""
    do = "Leave --processes and --ray out"
    problems = []
    if recipe.task.kind == "text":
        problems.append(Problem("[task] kind", "plain text is read document by document, and not as a stream of rows", do))
    if recipe.data.extra_path:
        problems.append(Problem("[data] extra_path", "its rows are held against all others at once", do))
    if recipe.data.templates is not None:
        problems.append(Problem("[data] templates", "they are dealt out in turn, over all training rows at once", do))
    return problems


def prepare(recipe: Recipe, folder: Path, mapped: Map, progress: Progress) -> Prepared:
    """The dataset of a recipe, made in this folder.

    Args:
        recipe: of a table or a corpus, with answers (see `unsupported`).
        folder: empty or new; holds the result and everything in between.
        mapped: who computes.
        progress: is told of every batch.

    Raises:
        DataError: the data cannot be read or split, a row is too long, or rows do not allow the use that `use` names.
    """
    with Store(folder) as store:
        sources = [Source(recipe, name) for name in dataset.paths(recipe).values()]
        _read(recipe, store, sources, mapped, progress)
        notes = [source.notes for source in sources]
        progress.start("looking for repeats")
        for told, twins in zip(notes, drop_repeats(store, len(notes)), strict=True):
            told += twins
        drop_misfits(store, recipe)
        progress.start("splitting")
        split(store, recipe)
        progress.start("looking for leaks between splits")
        leaks = drop_leaks(store, recipe.data.near_duplicate_threshold)
        progress.start("writing")
        labels = _labels(recipe, sources) if recipe.task.kind == "classify" else ()
        return _write(store, recipe, labels, [*(note for told in notes for note in told), *leaks])


def _read(recipe: Recipe, store: Store, sources: Sequence[Source], mapped: Map, progress: Progress) -> None:
    """Reads and describes all rows."""
    progress.start("reading, counting tokens, comparing")
    for done in mapped(recipe, _batches(recipe, store.folder, sources)):
        store.add(done)
        progress.advance(len(done.lines), f"{store.rows:,} rows")
    store.settle([SIDE[PART_SPLIT[key]] for key in dataset.paths(recipe)])


def _batches(recipe: Recipe, folder: Path, sources: Sequence[Source]) -> Iterator[Batch]:
    """The rows of all files; what is set aside on the way is written to `read-<file>`."""
    for number, source in enumerate(sources):
        waiting: list[Example] = []
        with (folder / f"read-{number}").open("wb") as drops:
            for sifted in source.rows(_labels(recipe, sources)):
                waiting += sifted.examples
                drops.writelines(map(drop_line, sifted.drops))
                while len(waiting) >= BATCH_ROWS:
                    yield Batch(number, waiting[:BATCH_ROWS])
                    waiting = waiting[BATCH_ROWS:]
        if waiting:
            yield Batch(number, waiting)


def _labels(recipe: Recipe, sources: Sequence[Source]) -> tuple[str, ...]:
    """The labels of the task: where the recipe names none, those of `path`, once it has been read."""
    return recipe.task.labels or sources[0].answers


def _write(store: Store, recipe: Recipe, labels: Sequence[str], notes: list[str]) -> Prepared:
    """The files of the splits and of what was dropped, and the summary.

    Raises:
        DataError: a split is empty, or rows do not allow the use.
    """
    kept = {name: store.kept & (store.sides == SIDE[name]) for name in NAMES}
    sizes = {name: int(mask.sum()) for name, mask in kept.items()}
    first = next(iter(np.flatnonzero(store.kept)), None)
    source = "data" if first is None else store.example(int(first)).origin.source
    tally, counts = store.tally(*kept.values()), {name: store.count_labels(mask) for name, mask in kept.items()}
    if problems := split_problems(source, sizes, counts["train"], labels) or tally.refused(recipe.data.use):
        raise DataError(*problems)
    files = {f"dataset/{name}.jsonl": store.folder / f"{name}.jsonl" for name in NAMES}
    for mask, path in zip(kept.values(), files.values(), strict=True):
        with path.open("wb") as file:
            file.writelines(line + b"\n" for line, is_mine in zip(store.lines, mask, strict=True) if is_mine)
    files["dropped.jsonl"], groups = _write_dropped(store, len(dataset.paths(recipe))), count_groups(store)
    with files["dropped.jsonl"].open("rb") as file:
        dropped = Counter(json.loads(line)["reason"] for line in file)
    repairs = sum(dropped[reason] for reason in REPAIRS)  # what was mended is listed beside what was dropped, and still here
    splits = {
        name: {"n": n, "labels": {label: counts[name][label] for label in labels}, "groups": groups[SIDE[name]] or None}
        for name, n in sizes.items()
    }
    held = label_notes({name: counts[name] for name in NAMES[1:]}, labels)
    return Prepared(files, {
        "read": store.rows + _lines_in(store.folder.glob("read-*")) - repairs, "kept": sum(sizes.values()),
        "dropped": dict(dropped), "labels": list(labels), "splits": splits,
        "notes": [*notes, *held], "terms": terms_of(tally).to_json(),
    })  # fmt: skip


def _write_dropped(store: Store, parts: int) -> Path:
    """The file of all that was dropped or cut: file by file what could not be read, repeats, misfits; then leaks."""
    path = store.folder / "dropped.jsonl"
    with path.open("wb") as file:
        for number in range(parts):
            _append(file, store.folder / f"read-{number}")
            _append(file, store.folder / f"repeats-{number}")
            part = store.part(number)
            mine = (row for row, _, _ in store.misfits if row in part and store.fates[row] not in (Fate.REPEAT, Fate.CONFLICT))
            file.writelines(store.misfit_line(row) + b"\n" for row in mine)
        for name in ("validation", "train"):
            _append(file, store.folder / f"leaks-{name}")
    return path


def _append(file: BinaryIO, path: Path) -> None:
    with path.open("rb") as source:
        shutil.copyfileobj(source, file)


def _lines_in(paths: Iterable[Path]) -> int:
    """How many lines some files have."""
    found = 0
    for path in paths:
        with path.open("rb") as file:
            found += sum(1 for _ in file)
    return found
