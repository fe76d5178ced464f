"""What the splits share: rows, rows behind other templates, documents, groups."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from whet.data.audit.finding import Case, Finding, counted, percent, shortened
from whet.data.audit.material import Material
from whet.data.audit.twins import BUT_FOR
from whet.data.near import near_duplicates, normal_form

SAME_DOCUMENT_SHARE = 0.5
SAME_DOCUMENT_ROWS = 5
COMMONPLACE_GROUPS = 20  # a text in so many documents ("Thank you.") says nothing about two of them
TEMPLATE_WORDS = 3
TEMPLATE_SHARE = 0.02
TEMPLATE_ROWS = 10
STRIPPED_THRESHOLD = 0.9
FEWEST_LEFT = 8  # words behind the template, so that what is compared is a text and not a phrase

BEGIN, END = "\x02", "\x03"  # no words

Gram = tuple[str, ...]


def leaks(material: Material) -> Iterator[Finding]:
    """For every two splits: the rows of the smaller one whose text, or nearly, stands in the other."""
    if not material.is_split:
        return
    near: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for a, b, similarity in material.near_rows:
        near[a].append((similarity, b))
        near[b].append((similarity, a))
    sizes = material.sizes()
    for large, small in combinations(sizes, 2):
        cases: dict[str, list[Case]] = {"letter for letter": [], BUT_FOR: [], "nearly": []}
        for row in (row for row, split in enumerate(material.splits) if split == small):
            how, case = _twin_in(material, row, large, near[row])
            if case:
                cases[how].append(case)
        if total := sum(map(len, cases.values())):
            how = ", ".join(f"{len(found):,} {how}" for how, found in cases.items())
            what = f"{total:,} of {counted(sizes[small], 'row')} of {small!r} stand in {large!r}: {how}"
            what += f" ({percent(material.threshold)} alike or more)" if cases["nearly"] else ""
            do = f"Take them out of {large!r} (`whet prepare` does, given test_path), or split by document"
            yield Finding("leak", "error", what, do, tuple(case for found in cases.values() for case in found))


def _twin_in(material: Material, row: int, split: str, near: Sequence[tuple[float, int]]) -> tuple[str, Case | None]:
    """How a row stands in a split, and the Case that shows it; None where it does not."""
    text = material.examples[row].text
    same = [r for r in material.by_form[normal_form(text)] if material.splits[r] == split]
    if same:
        letters = [r for r in same if material.examples[r].text == text]
        twin, how = (letters or same)[0], "letter for letter" if letters else BUT_FOR
        return how, material.case(f"{material.name(row)} stands in {material.name(twin)}, {how}", row, twin, similarity=1.0)
    close = [(similarity, -r) for similarity, r in near if material.splits[r] == split]
    if not close:
        return "", None
    similarity, twin = max(close)
    why = f"{material.name(row)} is {percent(similarity)} like {material.name(-twin)}"
    return "nearly", material.case(why, row, -twin, similarity=similarity)


def template_leaks(material: Material) -> Iterator[Finding]:
    """Rows of two splits that say the same once the words of the templates around them are taken away."""
    if not material.is_split:
        return
    # With marks for begin and end, so that two words of a template that stand there are a run, too.
    words = [[BEGIN, *re.findall(r"\w+", example.text.casefold()), END] for example in material.examples]
    common = _template_grams(words)
    left = {row: _without(found, common) for row, found in enumerate(words)} if common else {}
    left = {row: text for row, text in left.items() if len(text.split()) >= FEWEST_LEFT}
    rows, cases, told = list(left), [], {frozenset((one, other)) for one, other, _ in material.near_forms}
    for pair in near_duplicates(list(left.values()), max(material.threshold, STRIPPED_THRESHOLD)):
        a, b = rows[pair.first], rows[pair.second]
        forms = frozenset(normal_form(material.examples[row].text) for row in (a, b))
        if material.splits[a] != material.splits[b] and len(forms) == 2 and forms not in told:
            both = f"{material.name(a)} and {material.name(b)} both say: {shortened(left[a])}"
            cases.append(material.case(f"without their templates, {both}", a, b, similarity=pair.similarity))
    if cases:
        what = f"{counted(len(cases), 'pair')} of rows in two splits say the same behind different templates"
        do = "Split by what the rows were made from, before templates are put around it"
        yield Finding("template_leak", "error", what, do, tuple(cases))


def _template_grams(texts: Sequence[Sequence[str]]) -> set[Gram]:
    """The runs of 3 words that so many rows share that they belong to a template."""
    counts: Counter[Gram] = Counter()
    for words in texts:
        counts.update(set(_grams(words)))
    fewest = max(TEMPLATE_ROWS, TEMPLATE_SHARE * len(texts))
    return {gram for gram, count in counts.items() if count >= fewest}


def _grams(words: Sequence[str]) -> list[Gram]:
    return [tuple(words[i : i + TEMPLATE_WORDS]) for i in range(len(words) - TEMPLATE_WORDS + 1)]


def _without(words: Sequence[str], common: set[Gram]) -> str:
    """The words outside every common run; nothing where there is no such run, and so no template."""
    at = [i for i, gram in enumerate(_grams(words)) if gram in common]
    dropped = {place for i in at for place in range(i, i + TEMPLATE_WORDS)}
    left = (word for place, word in enumerate(words) if place not in dropped and word not in (BEGIN, END))
    return " ".join(left) if dropped else ""


def doubled_documents(material: Material) -> Iterator[Finding]:
    """Groups of which one stands for the most part in another: one document, read twice."""
    sizes = Counter(example.group for example in material.examples if example.group is not None)
    shared = _shared_rows(material)
    for one, other in combinations(sorted(sizes), 2) if shared else ():
        small, large = sorted((one, other), key=lambda group: (sizes[group], group))
        twins = shared.get((small, large), [])
        if sizes[small] >= SAME_DOCUMENT_ROWS and len(twins) >= SAME_DOCUMENT_SHARE * sizes[small]:
            what = (
                f"the groups {small!r} and {large!r} are one document twice: {len(twins):,} of "
                f"{counted(sizes[small], 'row')} of the one stand among the {sizes[large]:,} of the other"
            )
            cases = tuple(material.case(f"{material.name(a)} is {material.name(b)}", a, b, similarity=1.0) for a, b in twins)
            yield Finding("doubled_document", "error", what, "Keep one of the two, or give both the same group", cases)


def _shared_rows(material: Material) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """For two groups that share texts, in either order: each row of the first that does, and a row of the second."""
    shared: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for rows in material.by_form.values():
        by_group: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            if (group := material.examples[row].group) is not None:
                by_group[group].append(row)
        if 1 < len(by_group) <= COMMONPLACE_GROUPS:
            for one, other in combinations(by_group, 2):
                shared[one, other] += [(a, by_group[other][0]) for a in by_group[one]]
                shared[other, one] += [(b, by_group[one][0]) for b in by_group[other]]
    return shared


def straddling_groups(material: Material) -> Iterator[Finding]:
    """Groups (documents, speakers) with rows in more than one split."""
    rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, example in enumerate(material.examples):
        if example.group is not None:
            rows[example.group][material.splits[row]].append(row)
    cases = []
    for group, parts in rows.items():
        if len(parts) > 1:
            where = ", ".join(f"{len(at):,} in {split!r}" for split, at in parts.items())
            cases.append(material.case(f"{group!r}: {where}", *(at[0] for at in parts.values())))
    if cases:
        what = f"{counted(len(cases), 'group')} of {len(rows):,} stand in more than one split; the first row in each is shown"
        do = "Put each whole group into one split: whoever wrote it is known there"
        yield Finding("straddling_group", "error", what, do, tuple(cases))
