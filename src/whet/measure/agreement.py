"""How far several annotators agree beyond chance, and how well one of them does against the others: the human ceiling.

Labels are nominal. A missing label is None; rows with fewer than two labels say nothing about agreement and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from whet.measure.inputs import FloatArray, IntArray
from whet.measure.intervals import bootstrap

Cells = Sequence[Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of A annotators on N rows. A figure is None where the labels do not allow it.

    `fleiss_kappa` is over the `fleiss_rows` rows that every annotator labelled, `cohen_kappa` over the rows that both of two
    did. `human_ceiling` is the accuracy of one annotator against the majority of the others, over all labels (a tie of k
    labels counts 1/k). `said` counts how often each annotator gave each label. Intervals are of 95 %, by drawing rows again.
    """

    annotators: int
    rows: int
    annotations: int
    percent_agreement: float | None
    krippendorff_alpha: float | None
    fleiss_kappa: float | None
    fleiss_rows: int
    mean_cohen_kappa: float | None
    cohen_kappa: Mapping[str, float]
    human_ceiling: float | None
    intervals: Mapping[str, Sequence[float]]
    said: Mapping[str, Mapping[str, int]]

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)


def agreement(cells: Cells, names: Sequence[str], labels: Sequence[str], *, seed: int = 0) -> Agreement:
    """The Agreement in a table of labels.

    Args:
        cells: (N, A) labels, None where one is missing.
        names: of the A annotators.
        labels: the C labels that there are.
        seed: of the intervals.
    """
    pairs = {}
    for (i, one), (j, other) in combinations(enumerate(names), 2):
        both = [(row[i], row[j]) for row in cells if row[i] is not None and row[j] is not None]
        if (kappa := cohen_kappa([a for a, _ in both], [b for _, b in both])) is not None:
            pairs[f"{one} / {other}"] = kappa
    complete = [row for row in cells if None not in row]
    counts = _counts(cells, labels)
    counts = counts[counts.sum(axis=1) > 1]
    statistics = {"krippendorff_alpha": _alpha, "human_ceiling": _ceiling}
    drawn = {name: lambda rows, measure=measure: measure(counts[rows]) for name, measure in statistics.items()}
    is_told = len(counts) > 1 and np.count_nonzero(counts.sum(axis=0)) > 1
    return Agreement(
        annotators=len(names), rows=len(cells), annotations=sum(cell is not None for row in cells for cell in row),
        percent_agreement=percent_agreement(cells), krippendorff_alpha=krippendorff_alpha(cells),
        fleiss_kappa=fleiss_kappa(complete), fleiss_rows=len(complete),
        mean_cohen_kappa=sum(pairs.values()) / len(pairs) if pairs else None, cohen_kappa=pairs,
        human_ceiling=_ceiling(counts) if len(counts) else None,
        intervals={k: v.to_json() for k, v in bootstrap(drawn, len(counts), seed=seed).items()} if is_told else {},
        said={name: {label: sum(row[i] == label for row in cells) for label in labels} for i, name in enumerate(names)},
    )  # fmt: skip


def cohen_kappa(one: Sequence[str | None], other: Sequence[str | None]) -> float | None:
    """Cohen's kappa of two annotators over the same rows; None where chance alone would have them agree on all.

    Source: Cohen 1960, "A coefficient of agreement for nominal scales".

    Example:
        >>> round(cohen_kappa(["y"] * 25 + ["n"] * 25, ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15), 4)
        0.4
    """
    n = len(one)
    if not n:
        return None
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    ours, theirs = Counter(one), Counter(other)
    chance = sum(ours[label] * theirs[label] for label in ours) / n**2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def fleiss_kappa(cells: Cells) -> float | None:
    """Fleiss' kappa of rows that all have the same number of labels, two or more; None where there is nothing to tell.

    Source: Fleiss 1971, "Measuring nominal scale agreement among many raters".

    Example:
        >>> round(fleiss_kappa([["a", "a", "b"], ["b", "b", "b"]]), 4)
        0.25
    """
    if not cells or len(cells[0]) < 2:
        return None
    a, n = len(cells[0]), len(cells)
    counts = [Counter(row) for row in cells]
    observed = sum(sum(c * (c - 1) for c in row.values()) for row in counts) / (n * a * (a - 1))
    chance = sum((total / (n * a)) ** 2 for total in sum(counts, Counter[str | None]()).values())
    return None if chance == 1 else (observed - chance) / (1 - chance)


def krippendorff_alpha(cells: Cells) -> float | None:
    """Krippendorff's alpha for nominal labels with gaps; None where every label is the same, or none stands beside another.

    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C.

    Example:
        >>> krippendorff_alpha([["a", "a", None], ["b", None, "b"], [None, None, "a"]])
        1.0
    """
    labels = sorted({cell for row in cells for cell in row if cell is not None})
    counts = _counts(cells, labels)
    alpha = _alpha(counts[counts.sum(axis=1) > 1])
    return None if np.isnan(alpha) else alpha


def percent_agreement(cells: Cells) -> float | None:
    """The share of all pairs of labels on one row that are the same."""
    same = pairs = 0
    for row in cells:
        counts = Counter(cell for cell in row if cell is not None)
        n = counts.total()
        same += sum(c * (c - 1) for c in counts.values())
        pairs += n * (n - 1)
    return same / pairs if pairs else None


def _counts(cells: Cells, labels: Sequence[str]) -> IntArray:
    """(N, C): how often each row was given each label."""
    found = np.zeros((len(cells), len(labels)), dtype=np.int64)
    for i, row in enumerate(cells):
        for cell in row:
            if cell is not None:
                found[i, labels.index(cell)] += 1
    return found


def _alpha(counts: IntArray) -> float:
    """Krippendorff's alpha of rows with two labels or more, (N, C); NaN where only one label occurs."""
    sizes, totals = counts.sum(axis=1), counts.sum(axis=0)
    # Pairs of unlike labels on a row; each row weighs as much as it has labels.
    apart = float(((sizes**2 - (counts**2).sum(axis=1)) / (sizes - 1)).sum())
    n = int(sizes.sum())
    by_chance = n**2 - int((totals**2).sum())
    return 1 - (n - 1) * apart / by_chance if by_chance else float("nan")


def _ceiling(counts: IntArray) -> float:
    """The accuracy of one label against the majority of the others on its row, over all labels of rows with two or more."""
    right = np.zeros(len(counts))
    for label in range(counts.shape[1]):
        others = counts.copy()
        others[:, label] -= 1
        best = others.max(axis=1)
        ties: FloatArray = (others == best[:, None]).sum(axis=1).astype(np.float64)
        right += counts[:, label] * (others[:, label] == best) / ties
    return float(right.sum() / counts.sum())
