"""A recipe's `[data]` section to a Dataset: read, made into Examples, cleaned, fitted into the model, split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from whet.data import tokens as tokenizers
from whet.data.clean import clean
from whet.data.examples import to_examples
from whet.data.read import read_rows
from whet.data.split import split
from whet.data.table import Sifted
from whet.example import Drop, Example, Task
from whet.recipe import EMBEDDED_DATA, Recipe
from whet.run import file_hash


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples in three splits, all that was dropped and why, and what a person should know."""

    read: int
    labels: tuple[str, ...]
    splits: Mapping[str, tuple[Example, ...]]
    drops: tuple[Drop, ...]
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """The manifest's part `dataset`: counts of rows read, kept and dropped by reason; of labels and groups by split."""
        return {
            "read": self.read,
            "kept": sum(map(len, self.splits.values())),
            "dropped": dict(Counter(d.reason for d in self.drops)),
            "labels": list(self.labels),
            "splits": {name: _split_summary(examples, self.labels) for name, examples in self.splits.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class _Part:
    """What one file gave."""

    read: int
    sifted: Sifted


def build(recipe: Recipe, tokens: tokenizers.Tokens) -> Dataset:
    """The Dataset of a recipe.

    Raises:
        DataError: the data cannot be read, hold unknown labels, cannot be split, or an example is too long.
    """
    parts, labels = read(recipe)
    task = recipe.task.model_copy(update={"labels": labels})
    fitted = {name: _fit(part.sifted, task, recipe, tokens) for name, part in parts.items()}
    splits = split(
        fitted["path"].examples,
        seed=recipe.derive_seed("split"),
        validation=fitted["validation_path"].examples if "validation_path" in fitted else recipe.data.validation_fraction,
        test=fitted["test_path"].examples if "test_path" in fitted else recipe.data.test_fraction,
        labels=labels,
        threshold=recipe.data.near_duplicate_threshold,
    )
    return Dataset(
        read=sum(part.read for part in parts.values()),
        labels=labels,
        splits=dict(splits.items()),
        drops=(*(d for f in fitted.values() for d in f.drops), *splits.drops),
        notes=(*(n for f in fitted.values() for n in f.notes), *splits.notes),
    )


def read(recipe: Recipe) -> tuple[dict[str, _Part], tuple[str, ...]]:
    """What each file of the recipe gave once cleaned, by the key that names it; and the labels.

    Where the recipe names no labels, those of `path` are the labels of all.
    """
    labels: tuple[str, ...] = recipe.task.labels
    data, kind = recipe.data, recipe.task.kind
    parts = {}
    for key, name in paths(recipe).items():
        place = _location(name)
        table = read_rows(place, encoding=data.encoding, delimiter=data.delimiter, header=data.header, split=data.split)
        made = to_examples(
            table, input=data.input, target=data.target, group=data.group,
            labels=labels, label_names=data.label_names, kind=kind,
        )  # fmt: skip
        if kind == "classify" and not labels:
            labels = tuple(sorted({e.target for e in made.examples}))
        cleaned = clean(made.examples, kind=kind)
        parts[key] = _Part(table.read, Sifted(cleaned.examples, [*made.drops, *cleaned.drops], [*made.notes, *cleaned.notes]))
    return parts, labels


def paths(recipe: Recipe) -> dict[str, str]:
    """The data files of a recipe by key: `path`, and `validation_path` and `test_path` where they are given."""
    named = {key: getattr(recipe.data, key) for key in ("path", "validation_path", "test_path")}
    return {key: name for key, name in named.items() if name is not None}


def hashes(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of each data file, by its name in the recipe; a Hub id has none."""

    def fingerprint(file: Path) -> dict[str, Any]:
        return {"sha256": file_hash(file), "bytes": file.stat().st_size} if file.is_file() else {"sha256": None}

    return {name: fingerprint(Path(_location(name))) for name in paths(recipe).values()}


def _location(name: str) -> str:
    """Where a data path of a recipe really is."""
    if name.startswith(EMBEDDED_DATA):
        return str(resources.files("whet.base") / name.removeprefix(EMBEDDED_DATA))
    return name


def _fit(sifted: Sifted, task: Task, recipe: Recipe, tokens: tokenizers.Tokens) -> Sifted:
    limits = [n for n in (recipe.train.max_length, tokens.max_length) if n]
    if not limits:
        return sifted
    kept, drops = tokenizers.fit(sifted.examples, task, tokens, min(limits), recipe.train.too_long)
    return Sifted(kept, [*sifted.drops, *drops], sifted.notes)


def _split_summary(examples: tuple[Example, ...], labels: tuple[str, ...]) -> dict[str, Any]:
    counts = Counter(e.target for e in examples)
    groups = {e.group for e in examples if e.group is not None}
    return {"n": len(examples), "labels": {label: counts[label] for label in labels}, "groups": len(groups) or None}
