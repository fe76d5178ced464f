"""Rows that repeat an earlier one or contradict another, documents that are one twice, rows that are too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from whet.data import tokens as tokenizers
from whet.data.clean import conflict, conflict_notes, count_shared, is_verbatim, repeat, twin_group_notes
from whet.data.scale.near import Pairs
from whet.data.scale.rows import tokens_of
from whet.data.scale.spill import groups_of
from whet.data.scale.store import Fate, Store, drop_line
from whet.errors import DataError, Problem
from whet.recipe import Recipe


def drop_repeats(store: Store) -> list[list[str]]:
    """Marks rows that repeat an earlier one of their file, or whose text has another label there, and writes `repeats-<file>`.

    Args:
        store: all rows.

    Returns:
        The notes of each file: documents that are one twice, contradictions.
    """
    parts = store.parts
    repeats, shared = Pairs(store.folder / "repeats", store.rows), [Counter[tuple[str, str]]() for _ in range(parts)]
    names: dict[int, str] = {}
    conflicts = [_Conflicts() for _ in range(parts)]
    for records in store.same.sorted():
        for group in groups_of(records, 2):
            rows = group[:, 2]
            if len({store.label_of[row] for row in rows.tolist()}) > 1:
                store.fates[rows] = Fate.CONFLICT
                repeats.add(rows, np.full(len(rows), rows[0]))
                conflicts[store.part_of(int(rows[0]))].add(store, rows.tolist())
            else:
                store.fates[rows[1:]] = Fate.REPEAT
                repeats.add(rows[1:], np.full(len(rows) - 1, rows[0]))
            if store.names_a_group:
                count_shared(_groups_of(store, rows.tolist(), names), shared[store.part_of(int(rows[0]))])
    files = [(store.folder / f"repeats-{number}").open("wb") for number in range(parts)]
    for row, (first,) in repeats:
        origin, part = store.example(row).origin, store.part_of(row)
        if store.fates[row] == Fate.CONFLICT:
            drop = conflict(origin, conflicts[part].said[first], store.read_text(row))
        else:
            drop = repeat(origin, store.numbers[first], store.read_text(row))
        files[part].write(drop_line(drop))
    for file in files:
        file.close()
    return [
        [*twin_group_notes(_group_sizes(store, pairs, names, number), pairs), *conflicts[number].notes()]
        for number, pairs in enumerate(shared)
    ]


class _Conflicts:
    """The texts of a file that have more than one label: by the first row of each, label and number of every one."""

    def __init__(self) -> None:
        self.said: dict[int, list[tuple[str, int]]] = {}
        self._verbatim = 0

    def add(self, store: Store, rows: Sequence[int]) -> None:
        """Takes the rows of one text."""
        labels = [store.labels[store.label_of[row]] for row in rows]
        self.said[rows[0]] = [(label, store.numbers[row]) for label, row in zip(labels, rows, strict=True)]
        self._verbatim += is_verbatim((store.read_text(row), label) for label, row in zip(labels, rows, strict=True))

    def notes(self) -> list[str]:
        """What a person should know."""
        return conflict_notes(len(self.said), self._verbatim, sum(map(len, self.said.values())))


def _groups_of(store: Store, rows: Sequence[int], names: dict[int, str]) -> Counter[str]:
    """The groups of some rows, and how many of the rows each has; their names are kept by number."""
    found: Counter[str] = Counter()
    for row in rows:
        if key := store.group_of[row]:
            if key not in names:
                names[key] = str(store.example(row).group)
            found[names[key]] += 1
    return found


def _group_sizes(store: Store, pairs: Iterable[tuple[str, str]], names: dict[int, str], part: int) -> dict[str, int]:
    """The rows of each group in some pairs, in one file."""
    wanted = {name for pair in pairs for name in pair}
    keys = {key: name for key, name in names.items() if name in wanted}
    sizes, start, rows = dict.fromkeys(wanted, 0), 0, store.part(part)
    for block in store.group_of.blocks() if wanted else ():
        here = block[max(0, rows.start - start) : max(0, rows.stop - start)]
        mine = here[np.isin(here, np.array(list(keys), dtype=np.uint64))]
        for key, n in zip(*np.unique(mine, return_counts=True), strict=True):
            sizes[keys[int(key)]] += int(n)
        start += len(block)
    return sizes


def drop_misfits(store: Store, recipe: Recipe) -> None:
    """Marks rows that are too long and were not cut.

    Raises:
        DataError: a file has some, and the recipe wants to hear of it; or they cannot be cut, and should be.
    """
    how = recipe.train.too_long
    for number in range(store.parts):
        among = store.misfits.among(store.part(number))
        over = [known for known in among if known.fate == Fate.TOO_LONG and store.fates[known.row] == Fate.KEPT]
        if over and how != "drop":
            tokens = tokens_of(recipe.model.base)
            longest, worst = tokens.longest(recipe.train.max_length) or 0, max(over, key=lambda known: known.tokens)
            if how == "truncate":
                tokenizers.fit([store.example(over[0].row)], recipe.task, tokens, longest, how)  # says why it cannot be cut
            what = f"{len(over)} examples are longer than {longest} tokens; this one has {worst.tokens}"
            do = 'Raise [train] max_length, or set [train] too_long to "truncate" or "drop"'
            raise DataError(Problem(str(store.example(worst.row).origin), what, do))
        for known in over:
            store.fates[known.row] = Fate.TOO_LONG
