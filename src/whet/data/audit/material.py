"""What an audit looks at: the rows as they were read, before anything is cleaned away, each with the split that it is in."""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from whet.data import dataset
from whet.data import tokens as tokenizers
from whet.data.audit.finding import Case, Place, place_of
from whet.data.corpora.reading import Reading, read_corpus
from whet.data.guess import guess_file, recipe_text
from whet.data.near import near_duplicates, normal_form
from whet.data.read import read_rows
from whet.errors import DataError, ModelError, Problem
from whet.example import Drop, Example, Kind, Task
from whet.recipe import Recipe, anchored, override, parse
from whet.run import Run

SPLITS = {"path": "train", "validation_path": "validation", "test_path": "test"}


@dataclass(frozen=True)
class Material:
    """N rows, the split of each ("" where nothing is split yet), and what is needed to judge them.

    `lengths` are tokens of prompt and answer, row by row, and `longest` is what the model can take; both are None where the
    tokenizer cannot be had, and `skipped` says why.
    """

    title: str
    kind: Kind
    examples: Sequence[Example]
    splits: Sequence[str]
    drops: Sequence[Drop] = ()
    threshold: float = 0.8
    lengths: Sequence[int] | None = None
    longest: int | None = None
    skipped: tuple[str, ...] = ()

    def place(self, row: int, text: str | None = None) -> Place:
        """The Place of a row."""
        return place_of(self.examples[row], self.splits[row], text)

    def case(self, why: str, *rows: int, similarity: float | None = None) -> Case:
        """The Case of some rows."""
        return Case(why, tuple(map(self.place, rows)), similarity)

    def name(self, row: int) -> str:
        """What a row is called in a sentence: without its file, where there is only one."""
        place = self.place(row)
        return str(place) if len(self.sources) > 1 else str(place).removeprefix(f"{place.source}, ")

    @cached_property
    def sources(self) -> frozenset[str]:
        """The files that the rows come from."""
        return frozenset(example.origin.source for example in self.examples)

    @property
    def is_split(self) -> bool:
        """Whether the rows are in more than one split."""
        return len(set(self.splits)) > 1

    @cached_property
    def by_form(self) -> dict[str, list[int]]:
        """The rows by the normal form of their text: rows with one are the same text twice."""
        found: dict[str, list[int]] = defaultdict(list)
        for row, example in enumerate(self.examples):
            found[normal_form(example.text)].append(row)
        return dict(found)

    @cached_property
    def near_forms(self) -> list[tuple[str, str, float]]:
        """The normal forms that are nearly the same, two by two, and their similarity, from `threshold` on."""
        forms = list(self.by_form)
        return [(forms[p.first], forms[p.second], p.similarity) for p in near_duplicates(forms, self.threshold)]

    @cached_property
    def near_rows(self) -> list[tuple[int, int, float]]:
        """Rows of nearly the same text, two by two, and their similarity. Each row of a repeated text counts."""
        pairs = ((self.by_form[one], self.by_form[other], similarity) for one, other, similarity in self.near_forms)
        return [(a, b, similarity) for ones, others, similarity in pairs for a in ones for b in others]

    @cached_property
    def by_label(self) -> dict[str, list[int]]:
        """The rows by their answer, the most frequent answer first."""
        found: dict[str, list[int]] = defaultdict(list)
        for row, example in enumerate(self.examples):
            found[example.target].append(row)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    def sizes(self) -> dict[str, int]:
        """How many rows each split has, the largest first."""
        return dict(Counter(self.splits).most_common())


def from_recipe(recipe: Recipe, split_column: str | None = None) -> Material:
    """The Material of a recipe: all its rows that can be used, duplicates, contradictions and leaks among them.

    Args:
        recipe: whose files are read. Files of their own for validation or test are those splits.
        split_column: a column of `path` that says which split a row is in, where the table's authors split it.

    Raises:
        DataError: the data cannot be read, or there is no such column.
    """
    parts, labels = dataset.read_uncleaned(recipe)
    kept = [(example, SPLITS[key]) for key, (_, part) in parts.items() for example in part.examples]
    examples, splits = [e for e, _ in kept], [split if len(parts) > 1 else "" for _, split in kept]
    if split_column is not None:
        own = _split_cells(recipe, split_column)
        splits = [
            own.get(e.origin.row, "") if split in ("", "train") else split for e, split in zip(examples, splits, strict=True)
        ]
    drops = [drop for _, part in parts.values() for drop in part.drops]
    return _measured(Material(recipe.name, recipe.task.kind, examples, splits, drops, recipe.data.near_duplicate_threshold),
                     recipe, recipe.task.model_copy(update={"labels": labels}))  # fmt: skip


def from_run(run: Run) -> Material:
    """The Material of a run folder: its splits as it learns from them, and what was dropped on the way."""
    recipe = run.recipe
    kept = [(example, split) for split in SPLITS.values() for example in run.examples(split)]
    return _measured(Material(recipe.name, recipe.task.kind, [e for e, _ in kept], [s for _, s in kept],
                              threshold=recipe.data.near_duplicate_threshold), recipe, run.task)  # fmt: skip


def _measured(material: Material, recipe: Recipe, task: Task) -> Material:
    """The Material with the tokens of every row counted, where the tokenizer can be had."""
    if recipe.task.kind == "text":
        return material
    try:
        tokens = tokenizers.load(recipe.model.base)
    except ModelError as error:
        why = f"lengths in tokens, and what would be cut: {error.problems[0].where}: {error.problems[0].what}"
        return replace(material, skipped=(why,))
    lengths = [len(tokenizers.encode(example, task, tokens)) for example in material.examples]
    return replace(material, lengths=lengths, longest=tokens.longest(recipe.train.max_length))


def _split_cells(recipe: Recipe, column: str) -> Mapping[int, str]:
    """The cells of one column of the recipe's table, by row number."""
    data = recipe.data
    table = read_rows(dataset.location(data.path), encoding=data.encoding, delimiter=data.delimiter, header=data.header)
    if column not in table.columns:
        what = f"there is no column {column!r} that could say the split"
        raise DataError(Problem(table.source, what, f"Its columns are {', '.join(table.columns)}"))
    at = table.columns.index(column)
    return {row.number: row.cells[at] or "" for row in table.rows}


def recipe_of(path: Path, overrides: Sequence[str] = ()) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe that `whet new` would write for a bare table, and why; of a corpus, the one that reads it as what it is.

    Args:
        path: a table, or a corpus (a file, a zip or a folder).
        overrides: `key=value`, as after --set.

    Raises:
        UserError: it is neither, or an override is wrong.
    """
    try:
        guessed = guess_file(path)
        values, why = (
            tomllib.loads(recipe_text(re.sub(r"\W+", "-", path.stem).strip("-") or "table", path, guessed)),
            guessed.why,
        )
    except DataError as error:
        if not is_corpus(path):
            raise error from None
        values = {"name": "corpus", "task": {"kind": "generate"}, "data": {"path": str(path), "format": "auto"}}
        why = ("It is read as a public corpus.",)
    override(values, overrides)
    return anchored(parse(values, where=path.name), Path()), why


def is_corpus(path: Path) -> bool:
    """Whether a file, or one in a folder, is a public corpus."""
    try:
        return any(isinstance(reading, Reading) for reading in read_corpus(path))
    except DataError:
        return False
