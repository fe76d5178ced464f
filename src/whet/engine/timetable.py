"""Which examples stand in which step: a function of seed and epoch alone, so a resumed run draws the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whet.budget import schedule
from whet.data.tokens import Encoded
from whet.recipe import Recipe
from whet.sections import Train

# Lengths are sorted inside a window of this many steps: long enough that a step's examples are alike, short enough that
# the order stays random (the same figure as Transformers' length-grouped sampler).
WINDOW_STEPS = 50


@dataclass(frozen=True, slots=True)
class Timetable:
    """How many steps a run has, and which examples each step sees.

    Args:
        examples: how many there are.
        train: sizes, epochs and the order's strategy.
        seed: of the order.
        lengths: tokens of each example; read by `group_by_length`.
        classes: the label's number of each example; read by class_balance = "sampling".
    """

    examples: int
    train: Train
    seed: int
    lengths: Sequence[int] = field(default=(), repr=False)
    classes: Sequence[int] = field(default=(), repr=False)
    _drawn_epochs: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def step_size(self) -> int:
        """Examples in a full step."""
        return schedule.step_size(self.train)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass; the last may be smaller, and no example is left out."""
        return schedule.steps_per_epoch(self.examples, self.train)

    @property
    def steps(self) -> int:
        """Steps in the whole run."""
        return schedule.steps(self.examples, self.train)

    def ends_epoch(self, step: int) -> bool:
        """Is this step (counted from 1) the last of an epoch, or of the run?"""
        return step % self.steps_per_epoch == 0 or step == self.steps

    def rows(self, step: int) -> list[int]:
        """The example indices of step number `step` (from 0)."""
        epoch, at = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[at * self.step_size : (at + 1) * self.step_size].tolist()

    def micro_batches(self, step: int, size: int) -> list[list[int]]:
        """The same, `size` at a time."""
        rows = self.rows(step)
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The examples of one epoch, in order; the last one asked for is kept."""
        if epoch not in self._drawn_epochs:
            rng = np.random.default_rng([self.seed, epoch])
            drawn = self._drawn(rng)
            is_grouped = self.train.train_sampling_strategy == "group_by_length"
            self._drawn_epochs.clear()
            self._drawn_epochs[epoch] = self._by_length(drawn, rng) if is_grouped else drawn
        return self._drawn_epochs[epoch]

    def _drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if self.train.class_balance == "sampling":
            drawn = balanced(np.asarray(self.classes), rng)
            return np.sort(drawn) if self.train.train_sampling_strategy == "sequential" else drawn
        if self.train.train_sampling_strategy == "sequential":
            return np.arange(self.examples)
        return rng.permutation(self.examples)

    def _by_length(self, drawn: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Similar lengths in one step, the steps in random order; the step with the longest example comes first, so that what
        does not fit into memory fails at once. The smaller last step stays last."""
        lengths, size = np.asarray(self.lengths), self.step_size
        window = WINDOW_STEPS * size
        parts = [drawn[i : i + window] for i in range(0, len(drawn), window)]
        ordered = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in parts])
        steps = [ordered[i : i + size] for i in range(0, len(ordered), size)]
        whole = math.floor(len(ordered) / size)
        turns = rng.permutation(whole).tolist()
        longest = max(range(whole), key=lambda i: int(lengths[steps[i]].max()), default=None)
        if longest is not None:
            turns.insert(0, turns.pop(turns.index(longest)))
        return np.concatenate([*(steps[i] for i in turns), *steps[whole:]])


def build_timetable(recipe: Recipe, rows: Sequence[Encoded]) -> Timetable:
    """The Timetable of a recipe over its training rows; rows with the same answer are of one class."""
    number = {answer: n for n, answer in enumerate(sorted({row.completion for row in rows}))}
    return Timetable(
        len(rows), recipe.train, recipe.derive_seed("order"),
        lengths=[len(row) for row in rows], classes=[number[row.completion] for row in rows],
    )  # fmt: skip


def balanced(classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """As many indices as there are examples, each class equally often (±1), in random order.

    A class is drawn through whole passes over its members, so none of them comes twice as often as another (±1).

    Example:
        >>> drawn = balanced(np.array([0, 0, 0, 0, 0, 1]), np.random.default_rng(0))
        >>> len(drawn), int((drawn == 5).sum())
        (6, 3)
    """
    members = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    shares = np.full(len(members), len(classes) // len(members))
    shares[rng.permutation(len(members))[: len(classes) % len(members)]] += 1
    drawn = [
        np.concatenate([rng.permutation(m) for _ in range(math.ceil(n / len(m)))])[:n]
        for m, n in zip(members, shares, strict=True)
    ]
    return rng.permutation(np.concatenate(drawn))
