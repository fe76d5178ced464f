"""Texts that stand more than once among the rows: the same again, nearly the same, and with another label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from whet.data.audit.finding import Case, Finding, counted, listed, percent
from whet.data.audit.material import Material

BUT_FOR = "but for case, space and punctuation"


def duplicates(material: Material) -> Iterator[Finding]:
    """Rows whose text stands in an earlier row of the same split, with the same answer."""
    cases = []
    for rows in material.by_form.values():
        alike: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in rows:
            alike[material.splits[row], material.examples[row].target].append(row)
        for first, *others in alike.values():
            if others:
                again = f"{listed([material.name(row) for row in others])} {'is' if len(others) == 1 else 'are'}"
                spelled = len({material.examples[row].text for row in (first, *others)}) > 1
                why = f"{again} {material.name(first)} again{f', {BUT_FOR}' if spelled else ''}"
                cases.append(material.case(why, first, *others, similarity=1.0))
    if cases:
        repeats = sum(len(case.rows) - 1 for case in cases)
        what = f"{counted(repeats, 'row')} of {len(material.examples):,} repeat an earlier row, text and answer"
        do = "`whet prepare` keeps the first of each; find out how they came in"
        yield Finding("duplicate", "warning", what, do, tuple(cases))


def near_copies(material: Material) -> Iterator[Finding]:
    """Rows that are nearly the same as an earlier one of the same split, each with the earlier one that it is most like."""
    closest: dict[int, tuple[float, int]] = {}
    for a, b, similarity in material.near_rows:
        first, second = sorted((a, b))
        if material.splits[a] == material.splits[b]:
            closest[second] = max(closest.get(second, (0.0, 0)), (similarity, -first))
    cases = []
    for row, (similarity, first) in sorted(closest.items()):
        why = f"{material.name(row)} is {percent(similarity)} like {material.name(-first)}"
        cases.append(material.case(why, -first, row, similarity=similarity))
    if cases:
        what = f"{counted(len(cases), 'row')} nearly the same as an earlier one ({percent(material.threshold)} alike or more)"
        do = "Read some; keep one of each, or name a `group` column so that they stay together"
        yield Finding("near_duplicate", "note", what, do, tuple(cases))


def conflicts(material: Material) -> Iterator[Finding]:
    """Texts with more than one label: letter for letter, but for case and punctuation, and nearly."""
    if material.kind != "classify":
        return
    verbatim: list[Case] = []
    alike: list[Case] = []
    for rows in material.by_form.values():
        if len({material.examples[row].target for row in rows}) > 1:
            labelled = (f"{material.examples[row].target!r} in {material.name(row)}" for row in rows)
            case = material.case(f"one text, {', '.join(labelled)}", *rows, similarity=1.0)
            (verbatim if _is_verbatim(material, rows) else alike).append(case)
    if cases := (*verbatim, *alike):
        how = f"{len(verbatim):,} letter for letter, {len(alike):,} {BUT_FOR}"
        what = f"{counted(len(cases), 'text')} with more than one label ({how})"
        do = "Decide each; `whet prepare` drops all of their rows, because nobody says which is right"
        yield Finding("conflict", "error", what, do, cases)


def near_conflicts(material: Material) -> Iterator[Finding]:
    """Nearly the same text with two labels."""
    cases = []
    for a, b, similarity in material.near_rows if material.kind == "classify" else ():
        one, other = material.examples[a].target, material.examples[b].target
        if one != other:
            why = f"{percent(similarity)} alike, {one!r} in {material.name(a)} and {other!r} in {material.name(b)}"
            cases.append(material.case(why, a, b, similarity=similarity))
    if cases:
        what = f"{counted(len(cases), 'pair')} of nearly the same text with two labels"
        do = "Read them: either the small difference matters, or one label is wrong"
        yield Finding("near_conflict", "warning", what, do, tuple(cases))


def _is_verbatim(material: Material, rows: Sequence[int]) -> bool:
    """Whether one and the same spelling carries two labels, not only two spellings of one text."""
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels[material.examples[row].text].add(material.examples[row].target)
    return any(len(found) > 1 for found in labels.values())
