"""Where a finished run is weak, and how many new rows each weak spot gets.

What is looked at is how the model did on the test split as a whole: for each pair of labels how often, and how nearly, the one
was taken for the other. The test rows themselves are shown to nobody, and no new row may repeat one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from whet.errors import Problem, RunError
from whet.run import Run
from whet.synth.candidate import Cell
from whet.synth.stock import apportioned

PRIOR_ROWS = 5.0  # a label's own rate of mistakes counts for as much as the mean of all once it has so many test rows


@dataclass(frozen=True, slots=True)
class WeakSpot:
    """A label and another that it is taken for.

    Attributes:
        label: the right answer.
        taken_for: the other one.
        test_rows: rows of the test split whose right answer is `label`.
        mistakes: how many of them the model answered with the other.
        expected_mistakes: the calibrated probability that the model gave the other, summed over them: rows that it got right
            without being sure count as well.
        weight: what share of the new rows it gets, before that is divided by the sum of all.
    """

    label: str
    taken_for: str
    test_rows: int
    mistakes: int
    expected_mistakes: float
    weight: float


@dataclass(frozen=True, slots=True)
class Aims:
    """The weak spots of a run, the weakest first. `run` is the name of its folder."""

    run: str
    spots: Sequence[WeakSpot]

    def targets(self, rows: int) -> dict[Cell, int]:
        """How many of so many new rows each (label, taken for) gets; those that get none are left out."""
        counts = apportioned(rows, [spot.weight for spot in self.spots])
        return {(spot.label, spot.taken_for): n for spot, n in zip(self.spots, counts, strict=True) if n}

    def to_json(self, rows: int) -> dict[str, Any]:
        """The record as plain JSON values: the spots that get some of so many rows."""
        wanted = self.targets(rows)
        spots = [asdict(s) | {"rows": wanted[s.label, s.taken_for]} for s in self.spots if (s.label, s.taken_for) in wanted]
        return {"run": self.run, "split": "test", "spots": spots}


def read_aims(run: Run) -> Aims:
    """The Aims that an evaluated `classify` run gives.

    Raises:
        RunError: if it is of another kind, or not evaluated yet.
    """
    task = run.task
    if task.kind != "classify":
        what = f'kind = "{task.kind}" has no labels that could be taken for each other'
        raise RunError(Problem(str(run.path), what, "Name a run that chooses between labels"))
    run.read_json("evaluation.json")  # says which stage is missing
    return Aims(run.path.resolve().name, weak_spots(run.read_lines("predictions.jsonl"), task.labels))


def weak_spots(predictions: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[WeakSpot]:
    """All pairs of labels, the weakest first.

    The weight is a rate, not a count, so that rare labels are not passed over: the expected mistakes per row of the label,
    drawn towards the mean of all pairs where there are few rows, plus one standard error, so that what is hardly known counts
    as weak.

    Args:
        predictions: rows of `predictions.jsonl`: `target`, `label` and `scores` (label to calibrated probability).
        labels: of the task.

    Source: ours; the bound is that of Lai & Robbins 1985 in its simplest form.

    Example:
        >>> rows = [{"target": "a", "label": "b", "scores": {"a": 0.4, "b": 0.6}}] * 4
        >>> rows += [{"target": "b", "label": "b", "scores": {"a": 0.1, "b": 0.9}}] * 4
        >>> [(s.label, s.taken_for, s.mistakes, round(s.expected_mistakes, 1)) for s in weak_spots(rows, ["a", "b"])]
        [('a', 'b', 4, 2.4), ('b', 'a', 0, 0.4)]
    """
    counts = Counter(str(row["target"]) for row in predictions)
    mistakes: Counter[tuple[str, str]] = Counter()
    mass: dict[tuple[str, str], float] = {(a, b): 0.0 for a in labels for b in labels if a != b}
    for row in predictions:
        target = str(row["target"])
        mistakes[target, str(row["label"])] += 1
        for other, probability in row["scores"].items():
            if other != target:
                mass[target, other] += float(probability)
    # One mistake more than was seen, so that a run without any has a next weakest spot too.
    mean = (sum(mass.values()) + 1) / max(1, len(predictions) * (len(labels) - 1))
    spots = []
    for (label, other), expected in mass.items():
        n = counts[label] + PRIOR_ROWS
        rate = min(1.0, (expected + PRIOR_ROWS * mean) / n)
        weight = rate + math.sqrt(rate * (1 - rate) / n)
        spots.append(WeakSpot(label, other, counts[label], mistakes[label, other], expected, weight))
    return sorted(spots, key=lambda spot: -spot.weight)
