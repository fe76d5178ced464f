"""A recipe's `[data]` section to a Dataset: read, made into Examples, cleaned, fitted into the model, split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from whet.data import bases, templated
from whet.data import tokens as tokenizers
from whet.data.clean import clean
from whet.data.corpora.rows import read_rows_of
from whet.data.corpora.streams import corpus_files
from whet.data.documents import text_files
from whet.data.examples import to_examples
from whet.data.extra import add_extra
from whet.data.mix import draw, read_mix, wanted_rows
from whet.data.plain_text import read_plain_text
from whet.data.provenance import Tally, state_rows, terms_of
from whet.data.read import scan_rows
from whet.data.split import split
from whet.data.table import Scan, Sifted, Table
from whet.errors import DataError
from whet.example import Drop, Example, Kind, Task, Template
from whet.recipe import EMBEDDED_DATA, Recipe
from whet.run import Run, file_hash


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples in three splits, all that was dropped and why, and what a person should know."""

    read: int
    labels: tuple[str, ...]
    splits: Mapping[str, tuple[Example, ...]]
    drops: tuple[Drop, ...]
    notes: tuple[str, ...]
    templates: tuple[Template, ...] = ()  # with which the examples are asked, first the one that stands for all; none: plainly
    mixed: int = 0  # how many of train are instruction rows that were mixed into plain text

    def tally(self) -> Tally:
        """Whose rows these are."""
        return Tally(example for examples in self.splits.values() for example in examples)

    def summary(self) -> dict[str, Any]:
        """The manifest's part `dataset`: counts of rows read, kept and dropped by reason; of labels and groups by split."""
        return {
            "read": self.read,
            "kept": sum(map(len, self.splits.values())),
            "dropped": dict(Counter(d.reason for d in self.drops)),
            "labels": list(self.labels),
            "splits": {name: _split_summary(examples, self.labels) for name, examples in self.splits.items()},
            "notes": list(self.notes),
            "terms": terms_of(self.tally()).to_json(),
            **({"templates": len(self.templates)} if self.templates else {}),
            **({"mixed": self.mixed} if self.mixed else {}),
        }


@dataclass(frozen=True, slots=True)
class _Part:
    """What one file gave."""

    read: int
    sifted: Sifted


def build(recipe: Recipe, tokens: tokenizers.Tokens) -> Dataset:
    """The Dataset of a recipe.

    Raises:
        DataError: the data cannot be read, hold unknown labels, cannot be split, an example is too long, or rows do not allow
            the use that `use` names.
    """
    parts, labels = read(recipe)
    task, wording = recipe.task.model_copy(update={"labels": labels}), templated.open_wording(recipe, labels)
    worded = {name: templated.dress(part.sifted, wording) if wording else part.sifted for name, part in parts.items()}
    fitted = {name: _fit(sifted, task, recipe, tokens) for name, sifted in worded.items()}
    splits = split(
        fitted["path"].examples,
        seed=recipe.derive_seed("split"),
        validation=fitted["validation_path"].examples if "validation_path" in fitted else recipe.data.validation_fraction,
        test=fitted["test_path"].examples if "test_path" in fitted else recipe.data.test_fraction,
        labels=labels,
        threshold=recipe.data.near_duplicate_threshold,
    )
    extra = _extra(recipe, labels, wording) if recipe.data.extra_path else _Part(0, Sifted([], [], []))
    if extra.read:
        more = _fit(extra.sifted, task, recipe, tokens)
        is_classify, threshold = recipe.task.kind == "classify", recipe.data.near_duplicate_threshold
        splits = add_extra(splits, more.examples, threshold, is_classify=is_classify)
        fitted["extra_path"] = more
    train, dealt = splits.train, list[str]()
    if wording:
        longest = tokens.longest(recipe.train.max_length)
        fits = partial(tokenizers.fits, task=task, tokens=tokens, max_length=longest)
        train, dealt = templated.deal_out(train, wording, recipe.derive_seed("templates"), fits)
    mixed = _mixed(train, task, recipe, tokens) if recipe.data.mix_path else _Part(0, Sifted([], [], []))
    made_splits: dict[str, tuple[Example, ...]] = {**dict(splits.items()), "train": (*train, *mixed.sifted.examples)}
    asked = (e.template for examples in made_splits.values() for e in examples if e.template)
    made = Dataset(
        read=sum(part.read for part in parts.values()) + extra.read + mixed.read,
        labels=labels,
        splits=made_splits,
        drops=(*(d for f in fitted.values() for d in f.drops), *splits.drops, *mixed.sifted.drops),
        notes=(*(n for f in fitted.values() for n in f.notes), *splits.notes, *dealt, *mixed.sifted.notes),
        templates=templated.used(asked, wording) if wording else (),
        mixed=len(mixed.sifted.examples),
    )
    if refused := made.tally().refused(recipe.data.use):
        raise DataError(*refused)
    return made


def read(recipe: Recipe) -> tuple[dict[str, _Part], tuple[str, ...]]:
    """What each file of the recipe gave once cleaned, by the key that names it; and the labels (see `read_uncleaned`)."""
    found, labels = read_uncleaned(recipe)
    parts = {}
    for key, (rows, made) in found.items():
        cleaned = clean(made.examples, kind=recipe.task.kind)
        parts[key] = _Part(rows, Sifted(cleaned.examples, [*made.drops, *cleaned.drops], [*made.notes, *cleaned.notes]))
    return parts, labels


def read_uncleaned(recipe: Recipe) -> tuple[dict[str, tuple[int, Sifted]], tuple[str, ...]]:
    """How many rows each file of the recipe has and the Examples that they became, by the key that names it; and the labels.

    Where the recipe names no labels, those of `path` are the labels of all.
    """
    labels: tuple[str, ...] = recipe.task.labels
    found = {}
    for key, name in paths(recipe).items():
        if recipe.data.format:
            rows, made = read_rows_of(name, recipe.data, recipe.task.model_copy(update={"labels": labels}))
        elif recipe.task.kind == "text":
            rows, made = read_plain_text(location(name), recipe.data)
        else:
            rows, made = _read_table(recipe, name, labels)
        if recipe.task.kind == "classify" and not labels:
            labels = tuple(sorted({e.target for e in made.examples}))
        found[key] = rows, made
    return found, labels


def _read_table(recipe: Recipe, name: str, labels: tuple[str, ...], *, says_whose: bool = False) -> tuple[int, Sifted]:
    """How many rows a table has, and the Examples that they became.

    Args:
        recipe: names its columns.
        name: of the file.
        labels: what they may be.
        says_whose: whether columns `licence` and `maker`, where it has them, count before what the recipe states.
    """
    table = open_table(recipe, name, keep=True).table()
    return table.read, table_examples(recipe, table, labels, says_whose=says_whose)


def open_table(recipe: Recipe, name: str, *, keep: bool = False) -> Scan:
    """A table of the recipe, read as the recipe says.

    Args:
        keep: whether its rows stay in memory; else they are read again when they are wanted.
    """
    data, place = recipe.data, location(name)
    return scan_rows(place, encoding=data.encoding, delimiter=data.delimiter, header=data.header, split=data.split, keep=keep)


def table_examples(
    recipe: Recipe, table: Table, labels: tuple[str, ...], *, says_whose: bool = False, kind: Kind | None = None
) -> Sifted:
    """The Examples of a table, or of some of its rows (see `_read_table`).

    Args:
        kind: whose rows are checked; left out, the recipe's. As `generate`, answers are not looked at.
    """
    data, task = recipe.data, recipe.task
    made = to_examples(
        table, input=data.input, target=data.target, group=data.group, instruction=data.instruction, fallback=task.instruction,
        labels=labels, label_names=data.label_names, kind=kind or task.kind,
    )  # fmt: skip
    stated = {"licence": data.licence, "maker": data.maker}
    licence, maker = (key if says_whose and key in table.columns else given for key, given in stated.items())
    return made._replace(examples=state_rows(made.examples, table, licence, maker))


def _extra(recipe: Recipe, labels: tuple[str, ...], wording: templated.Wording | None) -> _Part:
    """The rows of all `extra_path` files together, cleaned, and put into words if rows are."""
    read, found = 0, Sifted([], [], [])
    for number, name in enumerate(recipe.data.extra_path, 1):
        rows, made = _read_table(recipe, name, labels, says_whose=True)
        read += rows
        named = [replace(e, id=f"extra{number}:{e.id}") for e in made.examples]  # files of one name have rows of one name
        found = Sifted([*found.examples, *named], [*found.drops, *made.drops], [*found.notes, *made.notes])
    cleaned = clean(found.examples, kind=recipe.task.kind)
    found = Sifted(cleaned.examples, [*found.drops, *cleaned.drops], [*found.notes, *cleaned.notes])
    return _Part(read, templated.dress(found, wording) if wording else found)


def _mixed(train: tuple[Example, ...], task: Task, recipe: Recipe, tokens: tokenizers.Tokens) -> _Part:
    """The instruction rows that are mixed into the training texts, as many as `mix_fraction` says."""
    data, length = recipe.data, recipe.train.max_length
    rows, found = read_mix(location(data.mix_path or ""), data, task.instruction)
    longest = tokens.longest(length)
    # Whatever too_long says of the text: of a table with rows to choose from, those that fit are chosen.
    kept, dropped = tokenizers.fit(found.examples, task, tokens, longest, "drop") if longest else (found.examples, [])
    windows = len(tokenizers.encode_all(train, task, tokens, length))
    wanted = wanted_rows(windows, data.mix_fraction)
    drawn, undrawn = draw(kept, wanted, recipe.derive_seed("mix"))
    share = len(drawn) / (windows + len(drawn))
    note = f"train: {windows:,} windows of text, and {len(drawn):,} instruction rows mixed in ({share:.1%})."
    if len(drawn) < wanted:
        note += f" mix_fraction asks for {wanted:,}, and the table has no more."
    return _Part(rows, Sifted(drawn, [*found.drops, *dropped, *undrawn], [*found.notes, note]))


def paths(recipe: Recipe) -> dict[str, str]:
    """The data files of a recipe that are split, by key: `path`, and `validation_path` and `test_path` where they are given."""
    named = {key: getattr(recipe.data, key) for key in ("path", "validation_path", "test_path")}
    return {key: name for key, name in named.items() if name is not None}


def hashes(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of all that a run begins with, by its name in the recipe: each data file (of a folder, over the files
    that are read; a Hub id has none), and the earlier run that is its base."""

    def fingerprint(place: Path) -> dict[str, Any]:
        if place.is_dir():
            files = corpus_files(place) if recipe.data.format else text_files(place)
            named = "".join(f"{file.relative_to(place).as_posix()}\n{file_hash(file)}\n" for file in files)
            return {"sha256": hashlib.sha256(named.encode()).hexdigest(), "bytes": sum(f.stat().st_size for f in files)}
        return {"sha256": file_hash(place), "bytes": place.stat().st_size} if place.is_file() else {"sha256": None}

    names = [*paths(recipe).values(), *recipe.data.extra_path, *([recipe.data.mix_path] if recipe.data.mix_path else [])]
    found = {name: fingerprint(Path(location(name))) for name in names}
    if recipe.data.templates and Path(recipe.data.templates).is_file():
        found[recipe.data.templates] = fingerprint(Path(recipe.data.templates))
    earlier = bases.run_at(recipe.model.base)
    return found if earlier is None else {**found, recipe.model.base: {"sha256": _result_hash(earlier)}}


def _result_hash(run: Run) -> str:
    """SHA-256 over the weights that a run made and what they were made from."""
    files = sorted([*run.path.glob("model/*.safetensors"), *run.path.glob("adapter/*.safetensors")])
    made = [file_hash(file) for file in files]
    return hashlib.sha256(" ".join([run.manifest.get("base", {}).get("sha256", ""), *made]).encode()).hexdigest()


def location(name: str) -> str:
    """Where a data path of a recipe really is."""
    if name.startswith(EMBEDDED_DATA):
        return str(resources.files("whet.base") / name.removeprefix(EMBEDDED_DATA))
    return name


def _fit(sifted: Sifted, task: Task, recipe: Recipe, tokens: tokenizers.Tokens) -> Sifted:
    """The examples that fit into the model, the others dropped or cut; plain text always fits, in windows."""
    longest = tokens.longest(recipe.train.max_length)
    if longest is None or not any(e.target for e in sifted.examples):
        return sifted
    kept, drops = tokenizers.fit(sifted.examples, task, tokens, longest, recipe.train.too_long)
    return Sifted(kept, [*sifted.drops, *drops], sifted.notes)


def _split_summary(examples: tuple[Example, ...], labels: tuple[str, ...]) -> dict[str, Any]:
    counts = Counter(e.target for e in examples)
    groups = {e.group for e in examples if e.group is not None}
    return {"n": len(examples), "labels": {label: counts[label] for label in labels}, "groups": len(groups) or None}
