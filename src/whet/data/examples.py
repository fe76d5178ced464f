"""A Table to Examples: which column is what, and which rows have nothing to learn from."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from whet.data.labels import Cell, count_cells, find_labels, unknown_labels
from whet.data.table import Row, Sifted, Table
from whet.errors import DataError, Problem
from whet.example import Drop, Example, Kind, Origin

EMPTY_INPUT = "empty_input"
EMPTY_TARGET = "empty_target"
EMPTY_INSTRUCTION = "empty_instruction"


def to_examples(
    table: Table,
    *,
    input: Sequence[str],
    target: str | None,
    group: str | None = None,
    instruction: str | None = None,
    fallback: str = "",
    labels: Sequence[str] = (),
    label_names: Mapping[str, str] | None = None,
    kind: Kind = "classify",
) -> Sifted:
    """The Examples of a table, all rows that became none (those the table had set aside included), and its notes.

    So `table.read == len(examples) + len(drops)`. An Example's id is the file's stem and the row's number, and stays the
    same when other rows come or go below it.

    Args:
        input: the columns that the model reads, in this order.
        target: the column that it must answer; its cells are taken letter for letter. None for plain text.
        group: a column whose rows belong together; an empty cell is a group of its own.
        instruction: a column of instructions; a row that has its own may have nothing else to read.
        fallback: the task's instruction, for rows whose instruction is empty.
        labels: what a `classify` target may be. Empty: the texts that the column holds, if they are 50 or fewer.
        label_names: what a cell of the target column is called as a label.

    Raises:
        DataError: a column is missing, or cells of the target column are no labels: all of them at once, grouped by the
            label that they look like.
    """
    named = [*input, *(name for name in (target, group, instruction) if name is not None)]
    _require(table, named)
    drops = list(table.drops)
    notes = list(table.notes)
    at = {name: table.columns.index(name) for name in named}
    examples = []
    for row in table.rows:

        def cell(name: str | None, row: Row = row) -> str:
            return (row.cells[at[name]] or "") if name is not None else ""

        own = cell(instruction) if has_content(cell(instruction)) else None
        made = Example(
            id=f"{PurePath(table.source).stem}-{row.number}",
            inputs={name: cell(name) for name in input},
            target=cell(target),
            group=cell(group) or None,
            origin=Origin(table.source, row.number),
            instruction=own,
        )
        reason, detail = _why_unusable(made, target is not None, instruction is not None and not fallback)
        if reason:
            where = {EMPTY_INPUT: input, EMPTY_TARGET: [target or ""], EMPTY_INSTRUCTION: [instruction or ""]}[reason]
            text = made.target if reason == EMPTY_INPUT else made.text[:200]
            drops.append(Drop(made.origin, reason, f"{detail} {_columns(where)}", text))
        else:
            examples.append(made)
    if kind == "classify":
        names = label_names or {}
        examples = [replace(e, target=names.get(e.target, e.target)) for e in examples]
        notes += check_labels(f"{table.source}, column {target!r}", [(e.origin.row, e.target) for e in examples], labels)
    notes += loner_notes(table.source, sum(example.group is None for example in examples), group)
    return Sifted(examples, sorted(drops, key=lambda drop: drop.origin.row), notes)


def loner_notes(source: str, loners: int, group: str | None) -> list[str]:
    """The note that so many rows name no group, where rows have one."""
    if group is None or not loners:
        return []
    return [f"{source}: {loners:,} rows name no group in column {group!r}; each is a group of its own."]


def _why_unusable(example: Example, needs_target: bool, needs_instruction: bool) -> tuple[str, str]:
    """The reason why there is nothing to learn from an Example, and the beginning of a sentence; both empty if there is."""
    if needs_instruction and not example.instruction:
        return EMPTY_INSTRUCTION, "[task] has no instruction to stand in for the one that is missing in"
    if not example.instruction and not any(map(has_content, example.inputs.values())):
        return EMPTY_INPUT, "nothing to read in"
    if needs_target and not has_content(example.target):
        return EMPTY_TARGET, "nothing to answer in"
    return "", ""


def has_content(text: str) -> bool:
    """Whether a text holds anything to read: a character that is neither space nor control nor invisible.

    Example:
        >>> has_content("\\u200b \\n"), has_content("\U0001f44d")
        (False, True)
    """
    return text[:1].isalnum() or any(not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf") for c in text)


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


def check_labels(where: str, answers: Sequence[tuple[int, str]], labels: Sequence[str]) -> list[str]:
    """Notes on answers that should be labels.

    Args:
        where: the answers stand.
        answers: row and text of each.
        labels: what they may be. Empty: the texts that occur, if they are 50 or fewer.

    Raises:
        DataError: some are no labels: all of them at once, grouped by the label that they look like.
    """
    return check_cells(where, count_cells(answers), labels)


def check_cells(where: str, cells: Sequence[Cell], labels: Sequence[str]) -> list[str]:
    """What `check_labels` says of answers that are counted."""
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
