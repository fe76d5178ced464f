"""What is wanted and what there is: accepted rows cell by cell, and how many requests the rest will take."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from whet.example import Task
from whet.sections import Synth
from whet.synth.candidate import Candidate, Cell, Row

FIRST_YIELD = 0.7  # rows that are accepted of those asked for, until it is known


def targets(task: Task, synth: Synth) -> dict[Cell, int]:
    """How many rows each cell is to have: `rows`, shared out over the labels, then evenly over the slices of each label.

    Whole numbers by largest remainder, so they add up; the earlier of equals gets the odd row.

    Example:
        >>> task = Task(instruction="Sort it.", labels=("a", "b"))
        >>> targets(task, Synth(model="m", rows=7, slices={"length": ("short", "long")}))
        {('a', 'short'): 2, ('a', 'long'): 2, ('b', 'short'): 2, ('b', 'long'): 1}
    """
    labels: Sequence[str] = task.labels if task.kind == "classify" else ()
    slices = list(itertools.product(*synth.slices.values()))
    if not labels:
        return dict(zip(slices, apportioned(synth.rows, [1.0] * len(slices)), strict=True))
    weights = [synth.shares.get(label, 0.0) if synth.shares else 1.0 for label in labels]
    found: dict[Cell, int] = {}
    for label, count in zip(labels, apportioned(synth.rows, weights), strict=True):
        found |= {(label, *s): n for s, n in zip(slices, apportioned(count, [1.0] * len(slices)), strict=True)}
    return found


def apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to the weights that add up to the total (largest remainder)."""
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [math.floor(each) for each in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


@dataclass(slots=True)
class Stock:
    """The accepted rows, counted against what is wanted.

    Attributes:
        wanted: rows wanted of each cell.
        rows: the accepted ones, in order.
        asked: requests of the method so far, of all waves; numbers the next one.
        pending: candidates that passed the filters and wait for a check, cell by cell.
        asked_of: requests so far that were to give rows of a cell.
    """

    wanted: Mapping[Cell, int]
    rows: list[Row] = field(default_factory=list)
    asked: int = 0
    pending: Counter[Cell] = field(default_factory=Counter)
    asked_of: Counter[Cell] = field(default_factory=Counter)
    _accepted: Counter[Cell] = field(default_factory=Counter)
    _by_id: dict[str, Row] = field(default_factory=dict)
    _of_label: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    def add(self, row: Row) -> None:
        """Takes an accepted row in."""
        self.rows.append(row)
        self._accepted[row.candidate.cell] += 1
        self._by_id[row.id] = row
        self._of_label[row.candidate.target].append(row)

    def count(self, cell: Cell) -> int:
        """Accepted rows of a cell."""
        return self._accepted[cell]

    def missing(self, cell: Cell) -> int:
        """Rows that a cell still lacks; those that wait for a check count as there."""
        return max(0, self.wanted.get(cell, 0) - self._accepted[cell] - self.pending[cell])

    @property
    def is_full(self) -> bool:
        """Whether every cell has what is wanted of it."""
        return all(self._accepted[cell] >= wanted for cell, wanted in self.wanted.items())

    def has_room(self, candidate: Candidate) -> bool:
        """Whether one more row of the candidate's cell is wanted."""
        return self._accepted[candidate.cell] + self.pending[candidate.cell] < self.wanted.get(candidate.cell, 0)

    def of_label(self, label: str) -> Sequence[Row]:
        """The accepted rows of a label, in order."""
        return self._of_label[label]

    def __getitem__(self, id_: str) -> Row:
        return self._by_id[id_]

    def requests_for(self, cell: Cell, rows_per_request: int, awaited: int = 0) -> int:
        """How many more requests a cell's missing rows will take, by what its requests gave so far.

        Args:
            cell: whose rows.
            rows_per_request: that one can give at best.
            awaited: rows that steps already taken will give.
        """
        gained = self._accepted[cell] + self.pending[cell] + awaited
        # Two requests' worth of the first guess, so that one unlucky answer is no verdict on a cell.
        per_request = (gained + 2 * FIRST_YIELD * rows_per_request) / (self.asked_of[cell] + 2)
        return math.ceil(max(0, self.missing(cell) - awaited) / per_request)
