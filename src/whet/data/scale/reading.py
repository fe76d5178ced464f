"""The rows of a recipe's files, some at a time: of a corpus as they are read, of a table as they are made into Examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from whet.data import dataset
from whet.data.corpora.rows import items_of
from whet.data.examples import check_cells, loner_notes
from whet.data.labels import Cell
from whet.data.table import Sifted
from whet.example import Example
from whet.recipe import Recipe

CHUNK_ROWS = 1024
SHOWN_ROWS = 3


@dataclass
class Source:
    """One file of a recipe: its rows, read once; then what a person should know of it, and its answers.

    Attributes:
        recipe: the recipe.
        name: of the file, as the recipe says it.
        notes: filled while the rows are read.
    """

    recipe: Recipe
    name: str
    notes: list[str] = field(default_factory=list)
    _answers: dict[str, Cell] = field(default_factory=dict)

    def rows(self, labels: tuple[str, ...]) -> Iterator[Sifted]:
        """The rows, some at a time, with what was set aside among them.

        Args:
            labels: of a `classify` task, what answers may be. Empty: those that the file holds.

        Raises:
            DataError: the file cannot be read; or, behind its last row, answers are no labels.
        """
        yield from self._of_corpus(labels) if self.recipe.data.format else self._of_table(labels)

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers of a `classify` task that were read, sorted."""
        return tuple(sorted(self._answers))

    def _of_corpus(self, labels: tuple[str, ...]) -> Iterator[Sifted]:
        items = items_of(self.name, self.recipe.data, self.notes)
        while some := list(islice(items, CHUNK_ROWS)):
            examples = [example for item in some for example in item.examples]
            yield Sifted(self._labelled(examples), [drop for item in some for drop in item.drops], [])
        self.notes += self._label_notes(f"{self.name}, answers", labels)

    def _of_table(self, labels: tuple[str, ...]) -> Iterator[Sifted]:
        table, loners = dataset.open_table(self.recipe, self.name), 0
        for piece in table.tables(CHUNK_ROWS):
            made = dataset.table_examples(self.recipe, piece, (), kind="generate")
            loners += sum(example.group is None for example in made.examples)
            yield made._replace(examples=self._labelled(made.examples))
        self.notes += [*table.notes, *self._label_notes(f"{table.source}, column {self.recipe.data.target!r}", labels)]
        self.notes += loner_notes(table.source, loners, self.recipe.data.group)

    def _labelled(self, examples: list[Example]) -> list[Example]:
        """The rows with their labels called as the recipe calls them, and counted."""
        if self.recipe.task.kind != "classify":
            return examples
        names = self.recipe.data.label_names
        examples = [replace(e, target=names[e.target]) if e.target in names else e for e in examples]
        for example in examples:
            known = self._answers.get(example.target, Cell(example.target, 0, ()))
            rows = known.rows if known.count >= SHOWN_ROWS else (*known.rows, example.origin.row)
            self._answers[example.target] = Cell(example.target, known.count + 1, rows)
        return examples

    def _label_notes(self, where: str, labels: tuple[str, ...]) -> list[str]:
        if self.recipe.task.kind != "classify":
            return []
        cells = sorted(self._answers.values(), key=lambda cell: (-cell.count, cell.value))
        return check_cells(where, cells, labels)
