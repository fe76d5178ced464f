"""Exact duplicates, contradictions, and groups that are the same document twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from whet.data.near import normal_form
from whet.data.table import Sifted
from whet.example import Drop, Example, Kind, Origin

DUPLICATE = "duplicate"
CONFLICT = "conflict"
TWIN_GROUP_FRACTION = 0.8
TWIN_GROUP_ROWS = 5
COMMONPLACE_GROUPS = 20


def clean(examples: Sequence[Example], *, kind: Kind = "classify") -> Sifted:
    """The examples without exact duplicates and contradictions, a Drop for each that went, and notes with the counts.

    Two texts are the same if their normal forms are (`near.normal_form`). Same text, same target: the first stays. Same
    text, different labels: nobody knows which is right, so all of them go. In a `generate` task a text may have several
    answers; there only text and answer together make a duplicate.
    """
    texts: dict[str, list[Example]] = {}
    for example in examples:
        form = normal_form(example.text)
        texts.setdefault(form if kind == "classify" else answered(form, example.target), []).append(example)
    fates: dict[str, Drop] = {}
    verbatim = contradicted = 0
    for same in texts.values():
        if kind == "classify" and len({e.target for e in same}) > 1:
            contradicted += 1
            verbatim += is_verbatim((e.text, e.target) for e in same)
            said = [(e.target, e.origin.row) for e in same]
            fates |= {e.id: conflict(e.origin, said, e.text) for e in same}
        else:
            fates |= {e.id: repeat(e.origin, same[0].origin.row, e.text) for e in same[1:]}
    notes = _twin_group_notes(examples, list(texts.values()))
    notes += conflict_notes(contradicted, verbatim, sum(drop.reason == CONFLICT for drop in fates.values()))
    kept = [e for e in examples if e.id not in fates]
    return Sifted(kept, [fates[e.id] for e in examples if e.id in fates], notes)


def answered(form: str, target: str) -> str:
    """What two rows of a `generate` task have in common if they are the same: the normal forms of text and answer."""
    return f"{form}\n{normal_form(target)}"


def repeat(origin: Origin, first: int, text: str) -> Drop:
    """The Drop of a row that repeats row `first`."""
    return Drop(origin, DUPLICATE, f"the same as row {first}", text[:200])


def conflict(origin: Origin, said: Sequence[tuple[str, int]], text: str) -> Drop:
    """The Drop of a row whose text has different labels; `said` are the label and the number of every row that has it."""
    detail = "the same text has different labels: " + ", ".join(f"{label!r} in row {row}" for label, row in said)
    return Drop(origin, CONFLICT, detail, text[:200])


def conflict_notes(texts: int, verbatim: int, rows: int) -> list[str]:
    """The note that so many texts have more than one label, so many of them letter for letter, in so many rows."""
    if not texts:
        return []
    return [
        f"{texts:,} text{'s' if texts > 1 else ''} with more than one label ({verbatim:,} letter for letter, "
        f"{texts - verbatim:,} but for case, space and punctuation): all {rows:,} rows are dropped."
    ]


def is_verbatim(said: Iterable[tuple[str, str]]) -> bool:
    """Whether one and the same spelling carries two labels, not only two spellings of one text; of texts and their labels."""
    labels: dict[str, set[str]] = {}
    for text, label in said:
        labels.setdefault(text, set()).add(label)
    return any(len(found) > 1 for found in labels.values())


def _twin_group_notes(examples: Sequence[Example], texts: Sequence[Sequence[Example]]) -> list[str]:
    """A note for every two groups of which the smaller one stands for the most part in the other: one document, read twice."""
    shared: Counter[tuple[str, str]] = Counter()
    for same in texts:
        count_shared(Counter(e.group for e in same if e.group is not None), shared)
    return twin_group_notes(Counter(e.group for e in examples if e.group is not None), shared)


def count_shared(rows: Counter[str], shared: Counter[tuple[str, str]]) -> None:
    """Counts the rows of one text for every two groups that have it.

    Args:
        rows: how often each group has it.
        shared: (one, other) to how many rows of the one stand in the other.
    """
    # "Thank you." in every speech says nothing about the speeches, and pairs grow with the square.
    if 1 < len(rows) <= COMMONPLACE_GROUPS:
        for one, other in combinations(sorted(rows), 2):
            shared[one, other] += rows[one]
            shared[other, one] += rows[other]


def twin_group_notes(sizes: Mapping[str, int], shared: Mapping[tuple[str, str], int]) -> list[str]:
    """A note for every two groups of which the smaller one stands for the most part in the other.

    Args:
        sizes: how many rows each group has.
        shared: what `count_shared` has counted over all texts.
    """
    notes = []
    for one, other in sorted(pair for pair in shared if pair[0] < pair[1]):
        small, large = sorted((one, other), key=lambda group: (sizes[group], group))
        twins = shared[small, large]
        if sizes[small] >= TWIN_GROUP_ROWS and twins >= TWIN_GROUP_FRACTION * sizes[small]:
            notes.append(
                f"The groups {small!r} and {large!r} are largely the same document: {twins:,} of {sizes[small]:,} rows of the "
                f"one stand among the {sizes[large]:,} of the other."
            )
    return notes
