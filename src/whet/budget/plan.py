"""The Plan of a run: its steps, tokens, learning rates, memory and time, and whether it fits, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from whet.budget import schedule
from whet.budget.devices import Device
from whet.budget.estimate import Counted, Estimate, Rows, Scale, count_rows, estimate, micro_batch_of, needed
from whet.budget.lengths import Lengths
from whet.budget.memory import Memory
from whet.budget.remedies import suggest
from whet.budget.shapes import Shape
from whet.budget.time import Flops, Time
from whet.budget.tokens import Heavy, Tokens
from whet.budget.verdict import Case, Fit, Suggestion, Word, verdict
from whet.recipe import Recipe
from whet.sections import Train

MOST_RATES = 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run takes on a device, and what would help where it does not fit well.

    `needed_bytes` is what the device must have, `heavy` the micro-batch that makes the peak. `flops` and `time` are None where
    no formula is known for the base, and a replay found the memory.
    """

    device: Device
    scale: Scale
    memory: Memory
    needed_bytes: int
    heavy: Heavy
    flops: Flops | None
    time: Time | None
    suggestions: tuple[Suggestion, ...] = ()

    @property
    def verdict(self) -> Word:
        """Whether it fits."""
        return verdict(self.needed_bytes, self.device.memory_bytes)

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` says of it."""
        load, flops = self.heavy.load, self.flops
        return {
            **self.memory.to_json(),
            "by_phase": {phase: dict(parts) for phase, parts in self.memory.by_phase.items()},
            "needed_bytes": self.needed_bytes, "outside_bytes": self.device.outside_bytes,
            "factor": {"memory": self.scale.memory, "runs": self.scale.memory_runs},
            "heaviest": {"rows": load.rows, "columns": load.columns, "width": load.width, "answers": load.answers},
            "device": self.device.to_json(), "budget_bytes": self.device.memory_bytes,
            "verdict": self.verdict, "fits": self.verdict != "does not fit",
            "suggestions": [each.to_json() for each in self.suggestions],
            "flops": flops and {"training": flops.training, "validation": flops.validation, "evaluation": flops.evaluation,
                                "total": flops.total},
            "time": self.time and self.time.to_json(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do. `rates` are (step from 1, learning rate): at most 1,000, the first and last step's among them.

    `cost` is None where nothing is known of the base's shape, and `unknown` then says why. `fit` holds the settings with which
    it fits, where they were asked for. `assumed` says what stands in for data, where there are none.
    """

    examples: Mapping[str, int]  # by split
    rows: int  # that are learned from; of plain text, an example is several
    step_size: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    tokens: Tokens
    rates: tuple[tuple[int, float], ...]
    warnings: tuple[str, ...]
    cost: Cost | None = None
    unknown: str = ""
    lengths: Lengths | None = None
    fit: Fit | None = None
    assumed: str = ""

    @property
    def epochs(self) -> float:
        """Passes over the training split that the steps make."""
        return self.steps / self.steps_per_epoch

    @property
    def fits(self) -> bool:
        """False if it is known not to fit."""
        return self.cost is None or self.cost.verdict != "does not fit"

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` prints."""
        return {
            "examples": dict(self.examples), "rows": self.rows, "step_size": self.step_size,
            "steps_per_epoch": self.steps_per_epoch, "steps": self.steps, "epochs": self.epochs,
            "warmup_steps": self.warmup_steps,
            "tokens": self.tokens.to_json(),
            **({"assumed": self.assumed} if self.assumed else {}),
            **(self.cost.to_json() if self.cost else {"peak_bytes": None, "fits": None, "unknown": self.unknown}),
            **({"fit": self.fit.to_json()} if self.fit else {}),
            **({"lengths": self.lengths.to_json()} if self.lengths else {}),
            "learning_rate": [{"step": step, "lr": rate} for step, rate in self.rates],
            "warnings": list(self.warnings),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run's memory and time depend on besides its recipe and its rows.

    Args:
        shape: of the base; None where it is unknown.
        device: where it would run.
        scale: what earlier runs there teach.
        unknown: why there is no shape.
    """

    shape: Shape | None
    device: Device
    scale: Scale = field(default_factory=Scale)
    unknown: str = ""


def build_plan(rows: Rows, recipe: Recipe, ground: Ground | None = None) -> Plan:
    """The Plan of a training.

    Args:
        rows: that are learned from and scored.
        recipe: the whole of it.
        ground: left out, memory and time are not predicted.

    Raises:
        ModelError: if `[lora]` names layers that the base does not have.
    """
    train, number = recipe.train, len(rows.train)
    steps = schedule.steps(number, train)
    scale = ground.scale if ground else Scale()
    micro_batch = micro_batch_of(rows, recipe, ground.shape if ground else None, ground.device, scale) if ground else (
        schedule.step_size(train) // train.gradient_accumulation_steps
    )  # fmt: skip
    counted = count_rows(rows, recipe, micro_batch)
    rates = [schedule.learning_rate(step, steps, train) for step in range(steps)]
    shown = [i * (steps - 1) // (min(steps, MOST_RATES) - 1) for i in range(min(steps, MOST_RATES))] if steps > 1 else [0]
    return Plan(
        rows.examples, number, schedule.step_size(train), schedule.steps_per_epoch(number, train), steps,
        schedule.warmup_steps(steps, train), counted.tokens,
        tuple((step + 1, rates[step]) for step in shown), tuple(_warnings(rates, steps, train)),
        cost=_cost(rows, recipe, ground, counted), unknown=ground.unknown if ground else "",
    )  # fmt: skip


def _cost(rows: Rows, recipe: Recipe, ground: Ground | None, counted: Counted) -> Cost | None:
    """What it takes; None where the shape is unknown."""
    if ground is None or ground.shape is None:
        return None
    found = estimate(counted, recipe, ground.shape, ground.device, ground.scale)
    return _judged(rows, recipe, ground, counted, found, found)


def replayed(plan: Plan, rows: Rows, recipe: Recipe, ground: Ground, memory: Memory) -> Plan:
    """The same plan with the memory that a replay of the step found; what would help is scaled by the formula's error."""
    counted = count_rows(rows, recipe, plan.tokens.micro_batch)
    takes = needed(memory, recipe, ground.device, ground.scale)
    if ground.shape is None:
        heavy = max(plan.tokens.heaviest, key=lambda heavy: heavy.load.columns)
        return replace(plan, cost=Cost(ground.device, ground.scale, memory, takes, heavy, None, None), unknown="")
    formula = estimate(counted, recipe, ground.shape, ground.device, ground.scale)
    better = replace(formula, memory=memory, needed_bytes=takes)
    return replace(plan, cost=_judged(rows, recipe, ground, counted, formula, better))


def timed(plan: Plan, seconds: Time) -> Plan:
    """The same plan with a time that was measured, or priced."""
    assert plan.cost is not None
    return replace(plan, cost=replace(plan.cost, time=seconds))


def _judged(rows: Rows, recipe: Recipe, ground: Ground, counted: Counted, formula: Estimate, found: Estimate) -> Cost:
    """The Cost, with what would help unless it fits well."""
    assert ground.shape is not None
    ratio = found.memory.peak_bytes / formula.memory.peak_bytes
    case = Case(recipe, rows, ground.shape, ground.device, ground.scale)
    cost = Cost(ground.device, ground.scale, found.memory, found.needed_bytes, found.heavy, found.flops, found.time)
    return cost if cost.verdict == "fits" else replace(cost, suggestions=suggest(case, counted, formula, ratio))


def _warnings(rates: Sequence[float], steps: int, train: Train) -> list[str]:
    """What about the schedule will surprise."""
    warmup, found = schedule.warmup_steps(steps, train), []
    if warmup >= steps:
        found.append(
            f"The rate climbs for {warmup:,} steps, and the run has {steps:,}: it never falls. Lower [train] warmup_steps."
        )
    idle = sum(rate == 0 for rate in rates)
    if idle:
        found.append(f"{idle:,} of {steps:,} steps have a rate of zero and change nothing. Mend [train] lr_scheduler_kwargs.")
    decay = int(float(train.lr_scheduler_kwargs.get("num_decay_steps", 0)))
    if decay > steps - warmup > 0:
        what = f"num_decay_steps = {decay:,}, and {steps - warmup:,} steps follow warm-up"
        found.append(f"{what}: the rate begins to fall below its peak at once. Lower it, or train longer.")
    return found
