"""Answers as a whole: empty, all the same, out of balance, in an order, too long or of another length than the rest."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from whet.data.audit.finding import Case, Finding, counted, place_of_drop, severity_by_share, shortened
from whet.data.audit.material import Material

RARE_ROWS = 10
RARE_SHARE = 0.02
CONSTANT_SHARE = 0.8
CONSTANT_ROWS = 20
HEAD_CHANCE = 1e-9  # of a head of one label, by the share of that label: no accident
SORTED_Z = -10.0
SORTED_SHARE = 0.5
OUTLIER_Z = 5.0
OUTLIER_RATIO = 3.0
OUTLIER_ROWS = 30
SHOWN = 3


def unusable(material: Material) -> Iterator[Finding]:
    """Rows that cannot be learned from, by reason: empty answers, empty texts, rows that could not be read."""
    by_reason: dict[str, list[Case]] = defaultdict(list)
    for drop in material.drops:
        by_reason[drop.reason].append(Case(drop.detail, (place_of_drop(drop),)))
    total = len(material.examples) + len(material.drops)
    for reason, cases in by_reason.items():
        what = f"{counted(len(cases), 'row')} of {total:,} cannot be used ({reason.replace('_', ' ')})"
        do = "Mend them in the table; `whet prepare` drops them and lists them in dropped.jsonl"
        yield Finding(reason, severity_by_share(len(cases), total), what, do, tuple(cases))


def constant(material: Material) -> Iterator[Finding]:
    """One answer for all rows, or for so many that a model may give it unread."""
    total = len(material.examples)
    if material.kind == "text" or not total:
        return
    label, rows = next(iter(material.by_label.items()))
    is_all = len(rows) == total > 1
    is_most = material.kind == "generate" and total >= CONSTANT_ROWS and len(rows) > CONSTANT_SHARE * total
    if is_all or is_most:
        some = tuple(material.case(f"answered {shortened(label)!r}", row) for row in rows[:SHOWN])
        who = f"all {total:,} rows" if is_all else f"{len(rows) / total:.0%} of the {total:,} rows"
        what = f"{who} have the same answer, {shortened(label)!r}; the first {len(some)} are shown"
        do = "Add rows with other answers: " + (
            "there is nothing to tell apart" if is_all else "a model may give this one unread"
        )
        yield Finding("constant_target", "error" if is_all else "warning", what, do, some)


def imbalance(material: Material) -> Iterator[Finding]:
    """Labels that are so rare that little can be learned or measured about them."""
    if material.kind != "classify" or len(material.by_label) < 2:
        return
    total = len(material.examples)
    fewest = max(RARE_ROWS, RARE_SHARE * total)
    cases = tuple(
        material.case(f"{label!r}: {counted(len(rows), 'row')}, {len(rows) / total:.2%}", *rows[:RARE_ROWS])
        for label, rows in material.by_label.items()
        if len(rows) < fewest
    )
    if cases:
        what = (
            f"{counted(len(cases), 'label')} with fewer than {RARE_ROWS} rows or {RARE_SHARE:.0%} of all; the labels hold "
            f"{entropy(material):.2f} of {math.log2(len(material.by_label)):.2f} bits"
        )
        do = "Add such rows, or set [train] class_balance; F1 of these labels will have wide intervals"
        yield Finding("imbalance", "warning", what, do, cases)


def entropy(material: Material) -> float:
    """The entropy of the labels in bits: log2 of how many they are where all are equally frequent, 0 where there is one."""
    total = len(material.examples)
    return -sum(len(rows) / total * math.log2(len(rows) / total) for rows in material.by_label.values()) + 0.0


def unshuffled(material: Material) -> Iterator[Finding]:
    """Tables sorted by label: the first rows are all of one, or equal labels stand together far more than by chance."""
    if material.kind != "classify":
        return
    sources: dict[str, list[int]] = defaultdict(list)
    for row, example in enumerate(material.examples):
        sources[example.origin.source].append(row)
    cases = []
    for source, rows in sources.items():
        labels = [material.examples[row].target for row in rows]
        if len(set(labels)) < 2:
            continue
        head = next(i for i, label in enumerate(labels) if label != labels[0])
        share = labels.count(labels[0]) / len(labels)
        runs, expected, z = runs_of(labels)
        if share**head < HEAD_CHANCE or (z < SORTED_Z and runs < SORTED_SHARE * expected):
            begin = f"{source}: the first {head:,} rows are {labels[0]!r}, which {share:.0%} of all are"
            why = f"{begin}; {runs:,} runs of equal labels, where a shuffled table has {expected:,.0f}"
            cases.append(material.case(why, rows[0], rows[head]))
    if cases:
        do = "Shuffle before you take a first part of it; whet itself draws splits and batches at random"
        yield Finding("unshuffled", "warning", f"{counted(len(cases), 'table')} in the order of the labels", do, tuple(cases))


def runs_of(labels: Sequence[str]) -> tuple[int, float, float]:
    """How many runs of equal labels there are, how many a random order has, and how many standard deviations lie between.

    Source: Wald and Wolfowitz 1940; for more than two labels Barton and David 1957.

    Example:
        >>> runs_of(["a", "a", "b", "b"])
        (2, 3.0, -1.2...)
    """
    counts, n = Counter(labels), len(labels)
    squares, cubes = sum(c**2 for c in counts.values()), sum(c**3 for c in counts.values())
    expected = (n * (n + 1) - squares) / n
    variance = (squares * (squares + n * (n + 1)) - 2 * n * cubes - n**3) / (n**2 * (n - 1)) if n > 1 else 0.0
    runs = 1 + sum(a != b for a, b in pairwise(labels))
    return runs, expected, (runs - expected) / math.sqrt(variance) if variance > 0 else 0.0


def lengths(material: Material) -> Iterator[Finding]:
    """Rows far longer or shorter than the others of their label."""
    cases = []
    groups = material.by_label if material.kind == "classify" else {"": list(range(len(material.examples)))}
    for label, rows in groups.items():
        if len(rows) < OUTLIER_ROWS:
            continue
        logs = [math.log(max(1, len(material.examples[row].text))) for row in rows]
        middle = statistics.median(logs)
        spread = 1.4826 * statistics.median(abs(x - middle) for x in logs)  # a normal distribution's standard deviation
        of = f" of {label!r}" if label else ""
        for row, x in zip(rows, logs, strict=True):
            if abs(x - middle) > max(OUTLIER_Z * spread, math.log(OUTLIER_RATIO)):
                why = f"{math.exp(x):,.0f} characters, where half of the rows{of} have fewer than {math.exp(middle):,.0f}"
                cases.append(material.case(why, row))
    if cases:
        of = " of the same label" if material.kind == "classify" else ""
        what = f"{counted(len(cases), 'row')} far longer or shorter than the others{of}"
        do = "Read them: headings, tables and pages that were read as one sentence show here"
        yield Finding("length_outlier", "note", what, do, tuple(cases))


def truncation(material: Material) -> Iterator[Finding]:
    """Rows with more tokens than the model can take, label by label."""
    if material.lengths is None or material.longest is None:
        return
    long = [row for row, n in enumerate(material.lengths) if n > material.longest]
    if not long:
        return
    shares = ""
    if material.kind == "classify":
        counts = Counter(material.examples[row].target for row in long)
        told = (f"{counts[label] / len(rows):.1%} of {label!r}" for label, rows in material.by_label.items())
        shares = f" ({'; '.join(told)})"
    cases = tuple(material.case(f"{material.lengths[row]:,} tokens with its answer", row) for row in long)
    of = f"{counted(len(long), 'row')} of {len(material.examples):,}"
    what = f"{of} have more than {material.longest:,} tokens{shares}"
    do = "Raise [train] max_length, or choose with too_long what becomes of them"
    yield Finding("too_long", "warning", what, do, cases)
