"""How long a run takes: floating-point operations by formula, seconds from a device's rate. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from whet.budget.devices import Device
from whet.budget.shapes import Shape
from whet.budget.tokens import Work
from whet.recipe import Recipe

# Between the lowest and the highest of the seconds that are said: a rate from a table may be off by the factor named there, one
# that earlier runs of this base had on this device varies with what else the machine does.
SPREAD = {"table": 3.0, "runs": 1.5, "measured": 1.25}
# Quantized weights are unpacked for every product, forward and backward. QLoRA trains 25 to 40 % slower than LoRA (Dettmers
# 2023, arXiv 2305.14314, and whoever measured it since); int8 splits off outlier columns and is slower still.
UNPACKING = {"nf4": 1.35, "fp4": 1.35, "int8": 1.6, None: 1.0}

Basis = Literal["table", "runs", "measured"]


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations of a run: in its steps, and in all the scoring that comes with and after them."""

    training: float
    validation: float
    evaluation: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.training + self.validation + self.evaluation


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds of the steps, of the validations between them, and of `evaluate`; and how they are known.

    `low` and `high` bound the whole: by what a rate out of a table can be off, or runs differ. `watts` and `price_per_hour`
    are the user's.
    """

    training: float
    validation: float
    evaluation: float
    basis: Basis
    runs: int = 0  # that a learned rate comes from
    watts: float | None = None
    price_per_hour: float | None = None

    @property
    def seconds(self) -> float:
        """The whole run."""
        return self.training + self.validation + self.evaluation

    @property
    def low(self) -> float:
        """It may be as short as this."""
        return self.seconds / SPREAD[self.basis]

    @property
    def high(self) -> float:
        """It may be as long as this."""
        return self.seconds * SPREAD[self.basis]

    @property
    def kilowatt_hours(self) -> float | None:
        """Energy, where a power is given."""
        return None if self.watts is None else self.watts * self.seconds / 3.6e6

    @property
    def price(self) -> float | None:
        """What it costs, in the currency of the given price."""
        return None if self.price_per_hour is None else self.price_per_hour * self.seconds / 3600

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` says of it."""
        return {
            "seconds": self.seconds, "training_seconds": self.training, "validation_seconds": self.validation,
            "evaluation_seconds": self.evaluation, "low_seconds": self.low, "high_seconds": self.high, "basis": self.basis,
            "runs": self.runs, "kilowatt_hours": self.kilowatt_hours, "price": self.price,
        }  # fmt: skip


def forward_flops(shape: Shape, work: Work, adapter_weights: int = 0) -> float:
    """Operations of a forward pass: 2 for each weight and column, 4 for each width of the queries and pair of tokens, and the
    head where an answer is predicted.

    Source: Kaplan 2020 (arXiv 2001.08361), table 1, with attention counted over the pairs that are there.

    Example:
        >>> from whet.budget.shapes import known_shape
        >>> round(forward_flops(known_shape("meta-llama/Llama-2-7b-hf"), Work(columns=1)) / 1e9, 2)
        12.95
    """
    linear = 2 * (shape.linear_params + adapter_weights) * work.columns
    attention = 4 * shape.layers * shape.query_width * work.pairs
    return linear + attention + 2 * shape.width * shape.vocabulary * work.answers


def training_flops(shape: Shape, work: Work, recipe: Recipe, adapter_weights: int) -> float:
    """Operations of forward and backward passes.

    A backward pass costs a forward pass for the gradients of the activations and, of weights that train, another one for
    theirs; the attention of either side is computed again in it. Checkpointing adds the layers' forward pass once more.

    Args:
        shape: of the base.
        work: of all steps.
        recipe: its `[lora]` and `[train]` are read.
        adapter_weights: that train beside a frozen base; 0 where all train.
    """
    forward = forward_flops(shape, work, adapter_weights)
    attention = 4 * shape.layers * shape.query_width * work.pairs
    head = 2 * shape.width * shape.vocabulary * work.answers
    weights = 2 * (adapter_weights if recipe.lora else shape.linear_params) * work.columns + (0 if recipe.lora else head)
    again = forward - head if recipe.train.gradient_checkpointing else 0
    return 2 * forward + attention * 1.5 + weights + again


def seconds(flops: Flops, recipe: Recipe, device: Device, rates: Sequence[float] = ()) -> Time:
    """The Time of a run.

    Args:
        flops: of the run.
        recipe: its precision is read.
        device: where it would run.
        rates: operations a second that earlier runs of this base reached there; their median is taken.
    """
    if rates:
        rate = median(rates)
        return Time(flops.training / rate, flops.validation / rate, flops.evaluation / rate, "runs", runs=len(rates))
    is_half = recipe.train.bf16 or recipe.model.dtype == "bfloat16"
    rate = (device.half_flops if is_half else device.flops) / UNPACKING[recipe.model.quantize]
    # Scoring runs in the precision of the weights; what is quantized is computed with as training does.
    scoring = rate if recipe.model.quantize or not recipe.train.bf16 or recipe.model.dtype == "bfloat16" else device.flops
    return Time(flops.training / rate, flops.validation / scoring, flops.evaluation / scoring, "table")

