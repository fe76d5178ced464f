"""Replay: what a run will take in memory, found by taking its own step with tensors that have sizes and no values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whet.budget.memory import Device, Memory
from whet.budget.shapes import Shape
from whet.data.tokens import Encoded
from whet.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Material:
    """What a run reads.

    Args:
        rows: that it learns from.
        held: that it scores or answers, of validation and test.
        labels: the ids of each label with its end token; empty where there is no label set.
    """

    rows: Sequence[Encoded]
    held: Sequence[Encoded] = ()
    labels: Sequence[tuple[int, ...]] = ()


def plain_rows(count: int, length: int) -> list[Encoded]:
    """Rows without data: so many tokens each, all but the first carry loss, and none share a beginning."""
    return [Encoded(str(i), (i,), (0,) * (length - 1)) for i in range(count)]


def replay(recipe: Recipe, base: Shape | Path, material: Material, device: Device = "cpu") -> Memory:
    """The Memory of the recipe's run (source "replay"), phase by phase.

    Args:
        recipe: all of it counts.
        base: a Shape, or the folder of a model, of which config.json is read and no weight.
        material: what the run reads; of it the heaviest micro-batch and the heaviest batch that is scored are taken.
        device: where it would run.
    """
    raise NotImplementedError
