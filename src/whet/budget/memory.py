"""What a run takes in memory, by formula: bytes by phase and component, in milliseconds, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from whet.budget.shapes import Shape
from whet.recipe import Recipe

PHASES = ("forward", "backward", "step", "evaluation")
COMPONENTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "workspace")
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Load:
    """One micro-batch as the layers of a model see it.

    Args:
        rows: examples in it.
        columns: tokens that pass through the layers, padding included; of a token tree, each shared one once.
        width: tokens in one row of attention: all columns of a tree or a packed row, the longest example of padded ones.
        answers: tokens whose logits are computed.
    """

    rows: int
    columns: int
    width: int
    answers: int


@dataclass(frozen=True, slots=True)
class Memory:
    """The height of memory in each phase, and what lies in it: bytes by phase and component. Whoever reads a peak reads the sum
    of its components.

    `forward` ends with the loss, `backward` with all gradients, `step` is the optimizer's, `evaluation` scores or answers.
    """

    by_phase: Mapping[str, Mapping[str, int]]
    source: Literal["formula", "replay"]

    @property
    def phases(self) -> dict[str, int]:
        """Bytes at the height of each phase."""
        return {phase: sum(parts.values()) for phase, parts in self.by_phase.items()}

    @property
    def peak_phase(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self.phases.__getitem__)

    @property
    def peak_bytes(self) -> int:
        """The height of the whole run."""
        return self.phases[self.peak_phase]

    @property
    def components(self) -> dict[str, int]:
        """What lies in memory at that height; the sum is `peak_bytes`."""
        return dict(self.by_phase[self.peak_phase])

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` says of it."""
        return {"peak_bytes": self.peak_bytes, "phases": self.phases, "components": self.components, "source": self.source}


def predict(shape: Shape, recipe: Recipe, load: Load, evaluation: Load | None = None, device: Device = "cpu") -> Memory:
    """The Memory of a recipe's run on a model of this shape.

    Args:
        shape: of the base.
        recipe: its `[model]`, `[lora]` and `[train]` are read.
        load: the largest micro-batch.
        evaluation: the largest batch that is scored; left out, none is.
        device: where it runs.
    """
    raise NotImplementedError
