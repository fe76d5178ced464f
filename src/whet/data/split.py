"""Examples to three splits: seeded, stratified, groups whole, nothing of the test split's text in train.

What decides is a hash of the seed and the text (or the group's name), so a file whose rows were sorted anew is split alike.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from typing import Literal

from whet.data.near import nearest_twins, normal_form
from whet.errors import DataError, Problem
from whet.example import Drop, Example

LEAK = "leak"
MIN_ROWS = 10
MIN_TRAIN_ROWS = 5

SplitName = Literal["train", "validation", "test"]
NAMES: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Splits:
    """The examples of each split, what was dropped because it leaks, and notes for a person."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    drops: tuple[Drop, ...] = ()
    notes: tuple[str, ...] = ()

    def items(self) -> tuple[tuple[SplitName, tuple[Example, ...]], ...]:
        """Name and examples of each split, in the order train, validation, test."""
        return ("train", self.train), ("validation", self.validation), ("test", self.test)


def split(
    examples: Sequence[Example],
    *,
    seed: int,
    validation: float | Sequence[Example] = 0.1,
    test: float | Sequence[Example] = 0.2,
    labels: Sequence[str] = (),
    threshold: float = 0.8,
) -> Splits:
    """Train, validation and test, checked for leaks: texts as similar as `threshold` never stand on two sides.

    Args:
        examples: the rows to split, cleaned.
        seed: another seed, another split.
        validation: its fraction of `examples`; or its own rows, left apart.
        test: likewise. A fraction counts from all of `examples`.
        labels: of a `classify` task; every split then gets its share of each. Empty: no strata.
        threshold: Jaccard similarity of character 5-grams from which a row of train (or validation) leaks.

    Raises:
        DataError: too few rows or groups, a label without a training row, or only one label to learn.
    """
    given = {name: tuple(rows) for name, rows in (("validation", validation), ("test", test)) if not isinstance(rows, float)}
    fractions = {name: rows for name, rows in (("validation", validation), ("test", test)) if isinstance(rows, float)}
    if fractions:
        _require_rows(examples, 1 + len(fractions))
    shares: dict[str, float] = {"train": 1 - sum(fractions.values()), **fractions}
    grouped = any(example.group is not None for example in examples)
    assigned = (_assign_groups if grouped else _assign_rows)(examples, shares, seed, labels)
    parts = {name: tuple(e for e, part in zip(examples, assigned, strict=True) if part == name) for name in shares} | given
    splits = Splits(parts["train"], parts["validation"], parts["test"])
    _require_apart(splits)
    splits = _drop_leaks(splits, threshold)
    _require_labels(splits, labels)
    held: dict[str, set[str]] = {name: {e.target for e in rows} for name, rows in splits.items()[1:]}
    return replace(splits, notes=(*splits.notes, *label_notes(held, labels)))


def _require_rows(examples: Sequence[Example], parts: int) -> None:
    """Raise if there is too little to divide."""
    groups = {e.group if e.group is not None else e.id for e in examples}
    require_rows(examples[0].origin.source if examples else "data", len(examples), len(groups), parts)


def require_rows(source: str, rows: int, groups: int, parts: int) -> None:
    """Raise if so many rows in so many groups cannot be divided into so many parts."""
    if rows < MIN_ROWS:
        what = f"{rows} usable row{'' if rows == 1 else 's'} cannot be split into {parts}"
        raise DataError(Problem(source, what, f"Give at least {MIN_ROWS} rows (a few hundred are a good beginning)"))
    if groups < parts:
        what = f"{parts} splits need {parts} groups that stay whole, and there {'is' if groups == 1 else 'are'} {groups}"
        do = "Name a finer group column, leave `group` out, or give validation_path and test_path"
        raise DataError(Problem(source, what, do))


def row_order(seed: int, form: str, target: str) -> bytes:
    """The place in the seed's order of a row whose text has this normal form."""
    return _order(seed, f"{form}\n{target}")


def group_order(seed: int, group: str) -> bytes:
    """The place in the seed's order of a group."""
    return _order(seed, group)


def lone_group(form: str) -> str:
    """The group of a row that names none, where others do: its text's own."""
    return f"\n{form}"


def _order(seed: int, key: str) -> bytes:
    """A place in the seed's order: a hash, so that neither the file's order nor the other rows matter."""
    return hashlib.blake2b(f"{seed}\n{key}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Walk:
    """Which split each of many rows goes to, in the seed's order: where most is owed, so that totals stay exact to a row."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares = shares
        self._owed = dict.fromkeys(shares, 0.0)

    def next(self, *, is_first: bool) -> str:
        """The split of the next row. The first row of a label goes to train: what cannot be learned cannot be tested."""
        for name, share in self._shares.items():
            self._owed[name] += share
        split = "train" if is_first else max(self._owed, key=lambda name: self._owed[name])
        self._owed[split] -= 1
        return split


class GroupWalk:
    """Which split each of many groups goes to, the large ones first: where it brings the label counts nearest to the shares."""

    def __init__(self, shares: Mapping[str, float], total: Counter[str]) -> None:
        self._shares, self._total = shares, total
        self._have: dict[str, Counter[str]] = {name: Counter() for name in shares}

    def next(self, counts: Counter[str], left: int) -> str:
        """The split of the next group.

        Args:
            counts: its rows by label.
            left: how many groups are left, itself among them.
        """
        empty = [name for name in self._shares if not self._have[name]]
        choices = empty if left <= len(empty) else list(self._shares)
        home = min(choices, key=lambda name: self._cost(name, counts))
        self._have[home] += counts
        return home

    def _cost(self, name: str, counts: Counter[str]) -> float:
        """How much worse the split fits its share of each label with the group in it."""
        change = 0.0
        for label, n in counts.items():
            want, now = self._shares[name] * self._total[label], self._have[name][label]
            change += ((now + n - want) ** 2 - (now - want) ** 2) / max(want, 1.0)
        return change


def group_size_class(rows: int) -> int:
    """The size of a group by its power of two: within one, the seed's order holds."""
    return rows.bit_length()


def _assign_rows(examples: Sequence[Example], shares: Mapping[str, float], seed: int, labels: Sequence[str]) -> list[str]:
    """The split of every row, walked label by label, so that strata are exact to a row or two as well."""
    strata = [e.target if labels else "" for e in examples]
    keys = [row_order(seed, normal_form(e.text), e.target) for e in examples]
    assigned, walk = [""] * len(examples), Walk(shares)
    order = sorted(range(len(examples)), key=lambda i: (strata[i], keys[i]))
    for _, places in groupby(order, key=lambda i: strata[i]):
        for n, i in enumerate(places):
            assigned[i] = walk.next(is_first=n == 0)
    return assigned


def _assign_groups(examples: Sequence[Example], shares: Mapping[str, float], seed: int, labels: Sequence[str]) -> list[str]:
    """The split of every row, groups whole."""
    members = [e.group if e.group is not None else lone_group(normal_form(e.text)) for e in examples]
    counts: dict[str, Counter[str]] = {}
    for example, group in zip(examples, members, strict=True):
        counts.setdefault(group, Counter())[example.target if labels else ""] += 1
    walk = GroupWalk(shares, sum(counts.values(), Counter[str]()))
    order = sorted(counts, key=lambda g: (-group_size_class(counts[g].total()), group_order(seed, g)))
    home = {group: walk.next(counts[group], left) for left, group in zip(range(len(order), 0, -1), order, strict=True)}
    return [home[group] for group in members]


def _require_apart(splits: Splits) -> None:
    """Raise where files that were given as splits are not apart: two of one name, or a group in both."""
    problems = []
    for (name, rows), (other, others) in combinations(splits.items(), 2):
        if {e.id for e in rows} & {e.id for e in others}:
            what = f"{name} and {other} come from two files of the same name, so that their rows cannot be told apart"
            problems.append(Problem(others[0].origin.source, what, "Rename one of the files"))
        if both := sorted({e.group for e in rows if e.group is not None} & {e.group for e in others if e.group is not None}):
            what = (
                f"{len(both):,} groups stand in {name} and in {other} ({', '.join(both[:3])}{', ...' if len(both) > 3 else ''})"
            )
            problems.append(Problem(others[0].origin.source, what, "Move each to one file, or leave `group` out under [data]"))
    if problems:
        raise DataError(*problems)


def _drop_leaks(splits: Splits, threshold: float) -> Splits:
    """The splits without rows of train that have a twin in validation or test, and of validation that have one in test."""
    drops: list[Drop] = []

    def sift(rows: Sequence[Example], name: str, others: Sequence[Example]) -> tuple[Example, ...]:
        twins = nearest_twins([e.text for e in rows], [e.text for e in others], threshold)
        drops.extend(leak(rows[i], name, others[twin.place], twin.similarity) for i, twin in twins.items())
        return tuple(e for i, e in enumerate(rows) if i not in twins)

    validation = sift(splits.validation, "validation", splits.test)
    train = sift(splits.train, "train", [*validation, *splits.test])
    from_train = len(splits.train) - len(train)
    return Splits(train, validation, splits.test, tuple(drops), leak_notes(from_train, len(drops) - from_train))


def leak(example: Example, split: str, other: Example, similarity: float) -> Drop:
    """The Drop of a row of `split` because of one that is kept apart."""
    alike = "the same text as" if similarity == 1 else f"{similarity:.0%} like"
    detail = f"in {split}, and {alike} {other.origin} ({other.id}), which is kept apart: {other.text[:120]}"
    return Drop(example.origin, LEAK, detail, example.text[:200])


def leak_notes(from_train: int, from_validation: int) -> tuple[str, ...]:
    """The note that says how many rows leaked, if any did."""
    if not from_train + from_validation:
        return ()
    return (
        f"{from_train:,} training and {from_validation:,} validation rows are dropped because their text, or "
        "nearly their text, stands in a split that is kept apart.",
    )


def size_problems(source: str, sizes: Mapping[SplitName, int]) -> list[Problem]:
    """What is wrong with splits of these sizes."""
    do = "Give more rows, or other fractions"
    problems = [Problem(source, f"no row is left for {name}", do) for name, rows in sizes.items() if not rows]
    if 0 < sizes["train"] < MIN_TRAIN_ROWS:
        problems.append(Problem(source, f"only {sizes['train']} rows are left to train on", "Give more rows"))
    return problems


def _require_labels(splits: Splits, labels: Sequence[str]) -> None:
    """Raise if train cannot teach the task, or another split has nothing to measure."""
    source = next((rows[0].origin.source for _, rows in splits.items() if rows), "data")
    sizes, counts = {name: len(rows) for name, rows in splits.items()}, Counter(e.target for e in splits.train)
    if problems := split_problems(source, sizes, counts, labels):
        raise DataError(*problems)


def split_problems(
    source: str, sizes: Mapping[SplitName, int], counts: Counter[str], labels: Sequence[str]
) -> list[Problem]:
    """Why train cannot teach the task, or another split has nothing to measure.

    Args:
        source: of the rows.
        sizes: the rows of each split.
        counts: the rows of each label in train.
        labels: of a `classify` task; else empty.
    """
    problems = size_problems(source, sizes)
    if labels and sizes["train"]:
        if len(counts) == 1:
            problems.append(
                Problem(source, f"every training row has the label {next(iter(counts))!r}", "Add rows of the other labels")
            )
        else:
            missing = [label for label in labels if not counts[label]]
            problems += [
                Problem(source, f"no training row has the label {label!r}", "Add such rows, or take it out of [task] labels")
                for label in missing
            ]
    return problems


def label_notes(held: Mapping[str, Iterable[str]], labels: Sequence[str]) -> list[str]:
    """A note for the labels that a split which is kept apart does not hold: nothing can be said about them there."""
    notes = []
    for name, present in held.items():
        missing = sorted(set(labels) - set(present))
        if missing:
            notes.append(f"No {name} row has the label{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}.")
    return notes
