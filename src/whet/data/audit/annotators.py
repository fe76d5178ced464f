"""Several people labelled the same rows: how far they agree, and so how good a model can be told to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from whet.data.audit.finding import Case, Finding, Place, Severity, listed
from whet.data.table import Table
from whet.errors import DataError, Problem
from whet.measure.agreement import Agreement, agreement

STRAY_SHARE = 0.01
RELIABLE_ALPHA, TENTATIVE_ALPHA = 0.8, 0.667  # Krippendorff 2004, "Content Analysis", p. 241
MISSING = frozenset(("", "nan", "none", "na", "n/a", "null"))


@dataclass(frozen=True, slots=True)
class Annotations:
    """The labels that A annotators gave to N rows; None where one gave none. `stray` are cells that are no label."""

    table: Table
    names: tuple[str, ...]
    labels: tuple[str, ...]
    cells: tuple[tuple[str | None, ...], ...]  # (N, A)
    stray: tuple[tuple[int, str, str], ...]  # row's place in the table, annotator, cell


def read_annotations(table: Table, patterns: Sequence[str]) -> Annotations:
    """The Annotations in the columns that are named, or match a pattern such as `human_*`.

    A cell that says "no value" counts as none; so does one whose text fewer than 1 % of the cells hold, and it is listed.

    Raises:
        DataError: a name that no column has, or fewer than two columns.
    """
    names = [name for name in table.columns if any(fnmatchcase(name, pattern) for pattern in patterns)]
    missing = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in table.columns)]
    if missing or len(names) < 2:
        what = (
            f"no column is called {listed(missing)}"
            if missing
            else f"agreement needs two annotators, and there is {listed(names)}"
        )
        raise DataError(Problem(table.source, what, f"Its columns are {', '.join(table.columns)}"))
    columns = {name: [_label(cell) for cell in table.column(name)] for name in names}
    counts = Counter(cell for column in columns.values() for cell in column if cell is not None)
    labels = {label for label, n in counts.items() if n >= STRAY_SHARE * counts.total()}
    stray = tuple(
        (i, name, cell) for name in names for i, cell in enumerate(columns[name]) if cell is not None and cell not in labels
    )
    cells = tuple(tuple(c if c in labels else None for c in row) for row in zip(*columns.values(), strict=True))
    return Annotations(table, tuple(names), tuple(sorted(labels)), cells, stray)


def annotator_findings(given: Annotations, text: str | None) -> tuple[list[Finding], dict[str, Any]]:
    """What the annotators' agreement says, and the figures.

    Args:
        given: the labels.
        text: the column that they read, to show it.
    """
    texts = given.table.column(text) if text in given.table.columns else [""] * len(given.cells)

    def place(i: int, label: str = "") -> Place:
        return Place(given.table.source, given.table.rows[i].number, texts[i] or "", label)

    found = agreement(given.cells, given.names, given.labels)
    findings = [_of_agreement(found, given, place)]
    if given.stray:
        cases = tuple(Case(f"{name} wrote {cell!r}", (place(i),)) for i, name, cell in given.stray)
        are = "annotations that are" if len(cases) > 1 else "annotation that is"
        what = f"{len(cases)} {are} no label ({', '.join(map(repr, given.labels))}), left out here"
        findings.append(Finding("stray_annotation", "note", what, "Decide what was meant", cases))
    return findings, found.to_json()


def _of_agreement(found: Agreement, given: Annotations, place: Callable[[int], Place]) -> Finding:
    """The finding that says how far the annotators agree; its cases are the rows, the most divided first."""
    alpha, ceiling = found.krippendorff_alpha, found.human_ceiling
    severity: Severity = "note" if alpha is None or alpha >= RELIABLE_ALPHA else "warning"
    if alpha is None:
        verdict = "nothing can be told about their agreement"
    elif alpha >= RELIABLE_ALPHA:
        verdict = f"Krippendorff's alpha {alpha:.3f}, reliable"
    elif alpha >= TENTATIVE_ALPHA:
        verdict = f"Krippendorff's alpha {alpha:.3f}, good for tentative conclusions"
    else:
        verdict = f"Krippendorff's alpha {alpha:.3f}, too low to take one annotator's labels for the truth"
    what = f"{len(given.names)} annotators: {verdict}"
    if ceiling is not None:
        what += f"; one of them agrees with the majority of the others {ceiling:.0%} of the time: the human ceiling"
    do = "Sharpen the guideline on these rows, let several people label each and take the majority"
    divided = []
    for i, row in enumerate(given.cells):
        counts = Counter(cell for cell in row if cell is not None)
        if len(counts) > 1:
            votes = ", ".join(f"{n} × {label!r}" for label, n in counts.most_common())
            divided.append((counts.most_common(1)[0][1] / counts.total(), Case(votes, (place(i),))))
    return Finding("annotators", severity, what, do, tuple(case for _, case in sorted(divided, key=lambda d: d[0])))


def _label(cell: str | None) -> str | None:
    return None if cell is None or cell.strip().casefold() in MISSING else cell.strip()
