"""A Table to Examples: which column is what, and which rows have nothing to learn from."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Literal

from whet.data.labels import count_cells, find_labels, unknown_labels
from whet.data.table import Row, Sifted, Table
from whet.errors import DataError, Problem
from whet.example import Drop, Example, Origin

EMPTY_INPUT = "empty_input"
EMPTY_TARGET = "empty_target"


def to_examples(
    table: Table,
    *,
    input: Sequence[str],
    target: str,
    group: str | None = None,
    labels: Sequence[str] = (),
    label_names: Mapping[str, str] | None = None,
    kind: Literal["classify", "generate"] = "classify",
) -> Sifted:
    """The Examples of a table, all rows that became none (those the table had set aside included), and its notes.

    So `table.read == len(examples) + len(drops)`. An Example's id is the file's stem and the row's number, and stays the
    same when other rows come or go below it.

    Args:
        input: the columns that the model reads, in this order.
        target: the column that it must answer; its cells are taken letter for letter.
        group: a column whose rows belong together; an empty cell is a group of its own.
        labels: what a `classify` target may be. Empty: the texts that the column holds, if they are 50 or fewer.
        label_names: what a cell of the target column is called as a label.

    Raises:
        DataError: a column is missing, or cells of the target column are no labels: all of them at once, grouped by the
            label that they look like.
    """
    _require(table, [*input, target, *([group] if group is not None else [])])
    drops = list(table.drops)
    notes = list(table.notes)
    at = {name: table.columns.index(name) for name in (*input, target, *([group] if group is not None else []))}
    kept: list[tuple[Row, str]] = []
    for row in table.rows:
        texts = [row.cells[at[name]] or "" for name in input]
        answer = row.cells[at[target]]
        origin = Origin(table.source, row.number)
        if not any(map(has_content, texts)):
            drops.append(Drop(origin, EMPTY_INPUT, f"nothing to read in {_columns(input)}", answer or ""))
        elif answer is None or not has_content(answer):
            drops.append(Drop(origin, EMPTY_TARGET, f"nothing to answer in {_columns([target])}", "\n".join(texts)[:200]))
        else:
            kept.append((row, answer))
    names = label_names if label_names and kind == "classify" else {}
    answers = [(row.number, names.get(answer, answer)) for row, answer in kept]
    if kind == "classify":
        notes += _check_labels(f"{table.source}, column {target!r}", answers, labels)
    stem = PurePath(table.source).stem
    examples = [
        Example(
            id=f"{stem}-{row.number}",
            inputs={name: row.cells[at[name]] or "" for name in input},
            target=answer,
            group=(row.cells[at[group]] or None) if group is not None else None,
            origin=Origin(table.source, row.number),
        )
        for (row, _), (_, answer) in zip(kept, answers, strict=True)
    ]
    loners = sum(example.group is None for example in examples) if group is not None else 0
    if loners:
        notes.append(f"{table.source}: {loners:,} rows name no group in column {group!r}; each is a group of its own.")
    return Sifted(examples, sorted(drops, key=lambda drop: drop.origin.row), notes)


def has_content(text: str) -> bool:
    """Whether a text holds anything to read: a character that is neither space nor control nor invisible.

    Example:
        >>> has_content("\\u200b \\n"), has_content("\U0001f44d")
        (False, True)
    """
    return any(not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf") for c in text)


def _require(table: Table, names: Sequence[str]) -> None:
    """Raise one error with every column that the recipe names and the table does not have."""
    problems = []
    for name in dict.fromkeys(names):
        if name not in table.columns:
            near = difflib.get_close_matches(name.casefold(), [c.casefold() for c in table.columns], 1)
            meant = next((c for c in table.columns if near and c.casefold() == near[0]), None)
            do = f"Did you mean {meant!r}" if meant else f"Its columns are {', '.join(c[:40] for c in table.columns[:30])}"
            problems.append(Problem(table.source, f"there is no column {name!r}", do))
    if problems:
        raise DataError(*problems)


def _check_labels(where: str, answers: Sequence[tuple[int, str]], labels: Sequence[str]) -> list[str]:
    """Notes on the labels of a column; raises where its cells are no labels."""
    cells = count_cells(answers)
    if not labels:
        _, problems, notes = find_labels(where, cells)
    else:
        known = set(labels)
        problems, notes = unknown_labels(where, [cell for cell in cells if cell.value not in known], labels), []
        present = {cell.value for cell in cells}
        notes += [f"{where}: no row has the label {label!r}." for label in labels if label not in present]
    if problems:
        raise DataError(*problems)
    return notes


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"
