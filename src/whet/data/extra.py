"""Rows that are only trained on, such as made ones: they come after the split, and change nothing about validation and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from whet.data.clean import CONFLICT, DUPLICATE
from whet.data.near import nearest_twins, normal_form
from whet.data.split import LEAK, Splits, leak
from whet.example import Drop, Example


def add_extra(splits: Splits, extra: Sequence[Example], threshold: float, *, is_classify: bool) -> Splits:
    """The splits with more rows in train: those that repeat no row of it, leak nothing and share no group with the other two.

    Args:
        splits: of the recipe's own rows, which win where both say something of one text.
        extra: cleaned rows.
        threshold: Jaccard similarity of character 5-grams from which a row leaks.
        is_classify: whether a text has one answer only; else text and answer together make a duplicate.
    """
    held = [*splits.validation, *splits.test]
    groups = {e.group for e in held if e.group is not None}
    twins = nearest_twins([e.text for e in extra], [e.text for e in held], threshold)
    known = {_form(e, is_classify): e for e in splits.train}
    kept, drops = list[Example](), list[Drop]()
    for i, example in enumerate(extra):
        same = known.get(_form(example, is_classify))
        if i in twins:
            drops.append(leak(example, "extra", held[twins[i].place], twins[i].similarity))
        elif example.group in groups:
            detail = f"its group {example.group!r} stands in validation or test"
            drops.append(Drop(example.origin, LEAK, detail, example.text[:200]))
        elif same is not None:
            reason = DUPLICATE if same.target == example.target or not is_classify else CONFLICT
            detail = f"the same text as {same.origin}" + ("" if reason == DUPLICATE else f", which is {same.target!r}")
            drops.append(Drop(example.origin, reason, detail, example.text[:200]))
        else:
            kept.append(example)
    note = f"train: {len(kept):,} extra rows added."
    if drops:
        counts = ", ".join(f"{n:,} {reason}" for reason, n in Counter(drop.reason for drop in drops).most_common())
        note = f"{note[:-1]}; {len(drops):,} left out ({counts})."
    train = (*splits.train, *kept)
    return replace(splits, train=train, drops=(*splits.drops, *drops), notes=(*splits.notes, note))


def _form(example: Example, is_classify: bool) -> str:
    form = normal_form(example.text)
    return form if is_classify else f"{form}\n{normal_form(example.target)}"
