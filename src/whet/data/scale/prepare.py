"""`whet prepare` for corpora that do not fit into memory: what `dataset.build` decides, decided over files.

Rows are read once and described (`rows.work`), in as many processes as there are; their descriptions are sorted on disk. From
them follows what repeats, which split each row goes to and what leaks; then the rows are written down. The dataset is the
same byte for byte however many processes there are. `dataset.build` makes the same, but that it misses no leak at all.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from whet.data import dataset
from whet.data.corpora.rows import items_of
from whet.data.provenance import terms_of
from whet.data.scale.repeats import drop_misfits, drop_repeats
from whet.data.scale.rows import Batch
from whet.data.scale.splitting import SIDE, count_groups, drop_leaks, split
from whet.data.scale.store import Fate, Store, drop_line
from whet.data.scale.workers import Map
from whet.data.split import NAMES, size_problems
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
    if not recipe.data.format:
        what = "only public corpora ([data] format) are read as a stream, and this is a table"
        problems.append(Problem("[data] path", what, f"{do}, or write the table as a corpus with `whet corpus read`"))
    if recipe.task.kind != "generate":
        problems.append(Problem("[task] kind", f'only kind = "generate" is prepared as a stream, not "{recipe.task.kind}"', do))
    if recipe.data.extra_path:
        problems.append(Problem("[data] extra_path", "its rows are held against all others at once", do))
    if recipe.data.templates is not None:
        problems.append(Problem("[data] templates", "they are dealt out over all rows at once", do))
    return problems


def prepare(recipe: Recipe, folder: Path, mapped: Map, progress: Progress) -> Prepared:
    """The dataset of a recipe, made in this folder.

    Args:
        recipe: of a corpus and kind `generate` (see `unsupported`).
        folder: empty or new; holds the result and everything in between.
        mapped: who computes.
        progress: is told of every batch.

    Raises:
        DataError: the data cannot be read or split, a row is too long, or rows do not allow the use that `use` names.
    """
    with Store(folder) as store:
        notes = _read(recipe, store, mapped, progress)
        progress.start("looking for repeats")
        for told, twins in zip(notes, drop_repeats(store, len(notes)), strict=True):
            told += twins
        drop_misfits(store, recipe)
        progress.start("splitting")
        split(store, recipe)
        progress.start("looking for leaks between splits")
        leaks = drop_leaks(store, recipe.data.near_duplicate_threshold)
        progress.start("writing")
        return _write(store, recipe, [*(note for told in notes for note in told), *leaks])


def _read(recipe: Recipe, store: Store, mapped: Map, progress: Progress) -> list[list[str]]:
    """Reads and describes all rows; returns the notes of each file."""
    keys = list(dataset.paths(recipe))
    notes: list[list[str]] = [[] for _ in keys]
    progress.start("reading, counting tokens, comparing")
    for done in mapped(recipe, _batches(recipe, store.folder, notes)):
        store.add(done)
        progress.advance(len(done.lines), f"{store.rows:,} rows")
    store.settle([SIDE[PART_SPLIT[key]] for key in keys])
    return notes


def _batches(recipe: Recipe, folder: Path, notes: list[list[str]]) -> Iterator[Batch]:
    """The rows of all files; what is set aside on the way is written to `read-<file>`."""
    for number, name in enumerate(dataset.paths(recipe).values()):
        waiting: list[Example] = []
        with (folder / f"read-{number}").open("wb") as drops:
            for item in items_of(name, recipe.data, notes[number]):
                waiting += item.examples
                drops.writelines(map(drop_line, item.drops))
                while len(waiting) >= BATCH_ROWS:
                    yield Batch(number, waiting[:BATCH_ROWS])
                    waiting = waiting[BATCH_ROWS:]
        if waiting:
            yield Batch(number, waiting)


def _write(store: Store, recipe: Recipe, notes: list[str]) -> Prepared:
    """The files of the splits and of what was dropped, and the summary.

    Raises:
        DataError: a split is empty, or rows do not allow the use.
    """
    kept = {name: store.kept & (store.sides == SIDE[name]) for name in NAMES}
    sizes = {name: int(mask.sum()) for name, mask in kept.items()}
    first = next(iter(np.flatnonzero(store.kept)), None)
    source = "data" if first is None else store.example(int(first)).origin.source
    tally = store.tally(*kept.values())
    if problems := size_problems(source, sizes) or tally.refused(recipe.data.use):
        raise DataError(*problems)
    files = {f"dataset/{name}.jsonl": store.folder / f"{name}.jsonl" for name in NAMES}
    for mask, path in zip(kept.values(), files.values(), strict=True):
        with path.open("wb") as file:
            file.writelines(line + b"\n" for line, is_mine in zip(store.lines, mask, strict=True) if is_mine)
    files["dropped.jsonl"], groups = _write_dropped(store, len(dataset.paths(recipe))), count_groups(store)
    with files["dropped.jsonl"].open("rb") as file:
        dropped = Counter(json.loads(line)["reason"] for line in file)
    empty: dict[str, int] = {}
    splits = {name: {"n": n, "labels": empty, "groups": groups[SIDE[name]] or None} for name, n in sizes.items()}
    return Prepared(files, {
        "read": store.rows + _lines_in(store.folder.glob("read-*")), "kept": sum(sizes.values()), "dropped": dict(dropped),
        "labels": [], "splits": splits,
        "notes": notes, "terms": terms_of(tally).to_json(),
    })  # fmt: skip


def _write_dropped(store: Store, parts: int) -> Path:
    """The file of all that was dropped or cut: file by file what could not be read, repeats, misfits; then leaks."""
    path = store.folder / "dropped.jsonl"
    with path.open("wb") as file:
        for number in range(parts):
            _append(file, store.folder / f"read-{number}")
            _append(file, store.folder / f"repeats-{number}")
            part = store.part(number)
            mine = (row for row, _, _ in store.misfits if row in part and store.fates[row] != Fate.REPEAT)
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
