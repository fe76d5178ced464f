"""The Plan of a run: what its steps, tokens and learning rates will be, counted before any weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.budget import schedule
from whet.budget.tokens import Row, Tokens, count
from whet.sections import Train

MOST_RATES = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do. `rates` are (step from 1, learning rate): at most 1,000, the first and last step's among them."""

    examples: Mapping[str, int]  # by split
    rows: int  # that are learned from; of plain text, an example is several
    step_size: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    tokens: Tokens
    rates: tuple[tuple[int, float], ...]
    warnings: tuple[str, ...]

    @property
    def epochs(self) -> float:
        """Passes over the training split that the steps make."""
        return self.steps / self.steps_per_epoch

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` prints."""
        return {
            "examples": dict(self.examples), "rows": self.rows, "step_size": self.step_size,
            "steps_per_epoch": self.steps_per_epoch, "steps": self.steps, "epochs": self.epochs,
            "warmup_steps": self.warmup_steps,
            "tokens": self.tokens.to_json(),
            "learning_rate": [{"step": step, "lr": rate} for step, rate in self.rates],
            "warnings": list(self.warnings),
        }  # fmt: skip


def build_plan(examples: Mapping[str, int], rows: Sequence[Row], rows_of: Callable[[int], Sequence[int]], train: Train) -> Plan:
    """The Plan of a training.

    Args:
        examples: how many there are, by split.
        rows: that are learned from.
        rows_of: the rows of a step (from 0), in the order in which micro-batches take them.
        train: the recipe's section.
    """
    steps = schedule.steps(len(rows), train)
    micro_batch = schedule.step_size(train) // train.gradient_accumulation_steps
    rates = [schedule.learning_rate(step, steps, train) for step in range(steps)]
    shown = [i * (steps - 1) // (min(steps, MOST_RATES) - 1) for i in range(min(steps, MOST_RATES))] if steps > 1 else [0]
    return Plan(
        examples, len(rows), schedule.step_size(train), schedule.steps_per_epoch(len(rows), train), steps,
        schedule.warmup_steps(steps, train), count(rows, rows_of, steps, train, micro_batch),
        tuple((step + 1, rates[step]) for step in shown), tuple(_warnings(rates, steps, train)),
    )  # fmt: skip


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
