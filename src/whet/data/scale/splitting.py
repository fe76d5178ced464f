"""Which split each row goes to, and what leaks from one to another: the rules of `split`, over what is sorted on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from whet.data.scale.near import OUT, Met, Pairs, compare
from whet.data.scale.spill import PARTS, Buckets, groups_of
from whet.data.scale.store import Fate, Store, drop_line
from whet.data.split import NAMES, GroupWalk, Walk, group_size_class, leak, leak_notes, require_rows
from whet.errors import DataError, Problem
from whet.recipe import Recipe

SIDE: dict[str, int] = {name: side for side, name in enumerate(NAMES)}
SIZE_BITS = 6  # of the highest number that a group is sorted by: the power of two of its rows
MOST_PARTS = 4096


def split(store: Store, recipe: Recipe) -> None:
    """Gives each row of `path` its split.

    Raises:
        DataError: there is too little to divide, or rows cannot be told apart.
    """
    data, own = recipe.data, store.part(0)
    fractions = {} if data.validation_path else {"validation": data.validation_fraction}
    fractions |= {} if data.test_path else {"test": data.test_fraction}
    shares = {"train": 1 - sum(fractions.values()), **fractions}
    is_grouped = _is_grouped(store, own)
    if fractions:
        kept = store.kept[own.start : own.stop]
        rows = int(kept.sum())
        groups = sum(1 for _ in _groups(store, own)) if is_grouped else rows
        source = store.example(own.start + int(kept.argmax())).origin.source if rows else "data"
        require_rows(source, rows, groups, len(shares))
    (_split_groups if is_grouped else _split_rows)(store, own, shares)
    _require_apart(store)


def _is_grouped(store: Store, own: range) -> bool:
    """Whether a kept row of `path` names a group."""
    start, kept = 0, store.kept
    for block in store.group_of.blocks() if store.names_a_group else ():
        inside = slice(start, min(own.stop, start + len(block)))
        if block[: inside.stop - start][kept[inside]].any():
            return True
        start += len(block)
        if start >= own.stop:
            break
    return False


def _split_rows(store: Store, own: range, shares: Mapping[str, float]) -> None:
    """Gives each row its split, label by label, in the seed's order."""
    walk, before, kept = Walk(shares), None, store.kept
    for rows, labels in _by_label(store):
        for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
            if row < own.stop and kept[row]:
                store.sides[row] = SIDE[walk.next(is_first=label != before)]
                before = label


def _by_label(store: Store) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint64]]]:
    """All rows and their labels, label by label in the order of their names, in the seed's order within one."""
    names = store.labels
    if len(names) < 2:
        yield from ((records[:, 2], records[:, 3]) for records in store.order.sorted())
        return
    bits, ranks = (len(names) - 1).bit_length(), np.argsort(np.argsort(np.array(names, dtype=object))).astype(np.uint64)
    sorted_again = Buckets(store.folder / "by_label", 5, min(MOST_PARTS, PARTS << bits))
    for records in store.order.sorted():
        key = (ranks[records[:, 3]] << np.uint64(64 - bits)) | (records[:, 0] >> np.uint64(bits))
        sorted_again.add(key, records[:, 0], records[:, 1], records[:, 2], records[:, 3])
    for records in sorted_again.sorted():
        yield records[:, 3], records[:, 4]


def _groups(store: Store, own: range) -> Iterator[NDArray[np.uint64]]:
    """The records of the groups of the kept rows of `path`, always in the same order: two numbers, row, -, label."""
    kept = store.kept
    for records in store.groups.sorted():
        rows = records[:, 2]
        mine = records[(rows < own.stop) & kept[rows]]
        if len(mine):
            starts = np.flatnonzero((mine[1:, :2] != mine[:-1, :2]).any(axis=1)) + 1
            yield from np.split(mine, starts)


def _split_groups(store: Store, own: range, shares: Mapping[str, float]) -> None:
    """Gives each group its split, the large ones first, then in the seed's order."""
    by_size, counts, names = Buckets(store.folder / "by_size", 4), list[Counter[str]](), store.labels
    known: dict[tuple[tuple[str, int], ...], Counter[str]] = {}  # most groups are small, and so alike
    for place, group in enumerate(_groups(store, own)):
        one, other = int(group[0, 0]), int(group[0, 1])
        size_class = 2**SIZE_BITS - 1 - group_size_class(len(group))
        key = (size_class << (64 - SIZE_BITS)) | (one >> SIZE_BITS)
        by_size.add(*(np.array([value], dtype=np.uint64) for value in (key, one, other, place)))
        mine = Counter(names[label] for label in group[:, 4].tolist())
        counts.append(known.setdefault(tuple(mine.items()), mine))
    total: Counter[str] = Counter()
    for mine in counts:
        total.update(mine)
    walk, homes, left = GroupWalk(shares, total), np.zeros(len(counts), dtype=np.uint8), len(counts)
    for records in by_size.sorted():
        for place in records[:, 3].tolist():
            homes[place] = SIDE[walk.next(counts[place], left)]
            left -= 1
    for place, group in enumerate(_groups(store, own)):
        store.sides[group[:, 2]] = homes[place]


def _require_apart(store: Store) -> None:
    """Raise where an id stands twice, or a group in two splits (which only files of their own can have)."""
    kept = store.kept
    for records in store.ids.sorted():
        for group in groups_of(records[kept[records[:, 1]]]):
            one, other = (store.example(int(row)) for row in group[:2, 1])
            what = f"its id, {one.id}, is also that of {other.origin}, so that the two cannot be told apart"
            raise DataError(Problem(str(one.origin), what, "Rename one of the files"))
    for records in store.groups.sorted() if store.names_a_group else ():
        named = records[(records[:, 3] == 1) & kept[records[:, 2]]]
        for group in groups_of(named, 2):
            if len(np.unique(store.sides[group[:, 2]])) > 1:
                example = store.example(int(group[-1, 2]))
                what = f"the group {example.group!r} stands in two of the files that are splits"
                raise DataError(Problem(str(example.origin), what, "Move each group to one file"))


def count_groups(store: Store) -> Counter[int]:
    """How many groups with a name each split has."""
    found: Counter[int] = Counter()
    kept = store.kept
    for records in store.groups.sorted() if store.names_a_group else ():
        named = records[(records[:, 3] == 1) & kept[records[:, 2]]]
        if len(named):
            is_new = np.concatenate(([True], (named[1:, :2] != named[:-1, :2]).any(axis=1)))
            found.update(store.sides[named[is_new, 2]].tolist())
    return found


def drop_leaks(store: Store, threshold: float) -> tuple[str, ...]:
    """Marks rows of train with a twin in validation or test, and of validation with one in test; writes `leaks-<split>`.

    Returns:
        The note that says how many they are, if there are any.
    """
    pairs = store.meetings.pairs(np.where(store.kept, store.sides, np.uint8(OUT)))
    counts = dict.fromkeys(("validation", "train"), 0)
    for name in counts:
        with (store.folder / f"leaks-{name}").open("wb") as drops:
            for met in _leaks(store, name, pairs, threshold):
                store.fates[met.row] = Fate.LEAK
                drops.write(drop_line(leak(store.example(met.row), name, store.example(met.other), met.similarity)))
                counts[name] += 1
    return leak_notes(counts["train"], counts["validation"])


def _leaks(store: Store, name: str, pairs: Pairs, threshold: float) -> Iterator[Met]:
    """Each row of a split that leaks, with the row kept apart that it is most like; validation before test, then the first."""
    for row, others in pairs:
        if store.sides[row] == SIDE[name]:
            apart = [other for other in others if store.fates[other] == Fate.KEPT]
            if twins := compare(row, apart, store.forms, threshold):
                yield max(twins, key=lambda met: (met.similarity, -int(store.sides[met.other]), -met.other))
