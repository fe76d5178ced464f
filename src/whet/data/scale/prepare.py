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
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from whet.data import dataset
from whet.data.corpora.format import REPAIRS
from whet.data.provenance import Tally, terms_of
from whet.data.scale.dealing import Dealt, deal_out, drop_unasked
from whet.data.scale.order import Mask
from whet.data.scale.reading import Source
from whet.data.scale.repeats import drop_misfits, drop_repeats
from whet.data.scale.rows import Batch, work
from whet.data.scale.splitting import SIDE, count_groups, drop_leaks, split
from whet.data.scale.store import Fate, Store, drop_line
from whet.data.scale.workers import Map
from whet.data.split import NAMES, SplitName, label_notes, split_problems
from whet.data.templated import Wording, open_wording
from whet.errors import DataError, Problem
from whet.example import Example, Template
from whet.progress import Progress
from whet.recipe import Recipe

BATCH_ROWS = 1024
PART_SPLIT = {"path": "train", "validation_path": "validation", "test_path": "test"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset on disk: the files of its splits and of what was dropped, the manifest's part `dataset`, and the templates with
    which its examples are asked (none: plainly)."""

    files: dict[str, Path]
    summary: dict[str, Any]
    templates: tuple[Template, ...] = ()


def unsupported(recipe: Recipe) -> list[Problem]:
    """Why a recipe's data cannot be prepared as a stream; empty where they can."""
    do = "Leave --processes and --ray out"
    problems = []
    if recipe.task.kind == "text":
        problems.append(Problem("[task] kind", "plain text is read document by document, and not as a stream of rows", do))
    if recipe.data.extra_path:
        problems.append(Problem("[data] extra_path", "its rows are held against all others at once", do))
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
    sources = [Source(recipe, name) for name in dataset.paths(recipe).values()]
    wording = _open_wording(recipe, progress)
    with Store(folder, wording) as store:
        _read(recipe, store, sources, wording, mapped, progress)
        notes = [source.notes for source in sources]
        progress.start("looking for repeats")
        for told, twins in zip(notes, drop_repeats(store), strict=True):
            told += twins
        if wording:
            drop_unasked(store, wording)
        drop_misfits(store, recipe)
        progress.start("splitting")
        split(store, recipe)
        progress.start("looking for leaks between splits")
        leaks = drop_leaks(store, recipe.data.near_duplicate_threshold)
        labels = _labels(recipe, sources) if recipe.task.kind == "classify" else ()
        counted = _count(store, recipe, labels)
        progress.start("dealing templates, and writing" if wording else "writing")
        dealt = deal_out(store, recipe, wording, mapped, progress) if wording else None
        return _write(store, counted, labels, [*(note for told in notes for note in told), *leaks], dealt)


def _open_wording(recipe: Recipe, progress: Progress) -> Wording | None:
    """The templates of the recipe, if it has any. Which labels there are they must know before rows are put into words: where
    the recipe does not say, the rows of `path` are read once more for it.

    Raises:
        DataError: these cannot be read, or the templates do not fit.
    """
    labels = recipe.task.labels
    if recipe.data.templates and recipe.task.kind == "classify" and not labels:
        progress.start("reading labels")
        source = Source(recipe, recipe.data.path)
        for _ in source.rows(()):
            pass
        labels = source.answers
    return open_wording(recipe, labels)


def _read(
    recipe: Recipe, store: Store, sources: Sequence[Source], wording: Wording | None, mapped: Map, progress: Progress
) -> None:
    """Reads and describes all rows."""
    progress.start("reading, counting tokens, comparing")
    for done in mapped(partial(work, recipe, wording=wording), _batches(recipe, store.folder, sources)):
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


class _Counted(NamedTuple):
    """What is left in each split: which rows, how many of them, how many of each label; and whose they all are."""

    kept: dict[SplitName, Mask]
    sizes: dict[SplitName, int]
    labels: dict[SplitName, Counter[str]]
    tally: Tally


def _count(store: Store, recipe: Recipe, labels: Sequence[str]) -> _Counted:
    """What is left in each split.

    Raises:
        DataError: a split is empty, or rows do not allow the use.
    """
    kept = {name: store.kept & (store.sides == SIDE[name]) for name in NAMES}
    sizes = {name: int(mask.sum()) for name, mask in kept.items()}
    source = store.example(int(store.kept.argmax())).origin.source if any(sizes.values()) else "data"
    tally, counts = store.tally(*kept.values()), {name: store.count_labels(mask) for name, mask in kept.items()}
    if problems := split_problems(source, sizes, counts["train"], labels) or tally.refused(recipe.data.use):
        raise DataError(*problems)
    return _Counted(kept, sizes, counts, tally)


def _write(store: Store, counted: _Counted, labels: Sequence[str], notes: list[str], dealt: Dealt | None) -> Prepared:
    """The files of the splits (of train only where no templates were dealt) and of what was dropped, and the summary."""
    files = {f"dataset/{name}.jsonl": store.split_file(name) for name in NAMES}
    for name, mask in counted.kept.items():
        if dealt is None or name != "train":
            with store.split_file(name).open("wb") as file:
                file.writelines(line + b"\n" for line, is_mine in zip(store.lines, mask, strict=True) if is_mine)
    files["dropped.jsonl"], groups = _write_dropped(store), count_groups(store)
    with files["dropped.jsonl"].open("rb") as file:
        dropped = Counter(json.loads(line)["reason"] for line in file)
    repairs = sum(dropped[reason] for reason in REPAIRS)  # what was mended is listed beside what was dropped, and still here
    splits = {
        name: {"n": n, "labels": {label: counted.labels[name][label] for label in labels}, "groups": groups[SIDE[name]] or None}
        for name, n in counted.sizes.items()
    }
    held = label_notes({name: counted.labels[name] for name in NAMES[1:]}, labels)
    templates = dealt.templates if dealt else ()
    return Prepared(files, {
        "read": store.rows + _lines_in(store.folder.glob("read-*")) - repairs, "kept": sum(counted.sizes.values()),
        "dropped": dict(dropped), "labels": list(labels), "splits": splits,
        "notes": [*notes, *held, *(dealt.notes if dealt else ())], "terms": terms_of(counted.tally).to_json(),
        **({"templates": len(templates)} if templates else {}),
    }, templates)  # fmt: skip


def _write_dropped(store: Store) -> Path:
    """The file of all that was dropped or cut: file by file what could not be read, repeats, what makes no prompt, what is too
    long; then leaks."""
    path = store.folder / "dropped.jsonl"
    with path.open("wb") as file:
        for number in range(store.parts):
            _append(file, store.folder / f"read-{number}")
            _append(file, store.folder / f"repeats-{number}")
            for is_asked in (False, True):
                for row, _, fate in store.misfits.among(store.part(number)):
                    if (fate != Fate.NO_PROMPT) == is_asked and store.fates[row] not in (Fate.REPEAT, Fate.CONFLICT):
                        file.write(store.misfits.line(row) + b"\n")
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
