"""What a recipe takes on a device: the work of its rows counted, their memory and their operations by formula. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from whet.budget import schedule, time
from whet.budget.devices import Device
from whet.budget.load import Load
from whet.budget.memory import Memory, predict
from whet.budget.scoring import Scoring, answers_only, heaviest, scoring
from whet.budget.shapes import Shape
from whet.budget.targets import adapter_weights
from whet.budget.tokens import COUNTED_STEPS, Heavy, Ids, Row, Tokens, count, load_of
from whet.knobs.optimizers import OPTIMIZERS
from whet.recipe import Recipe

# Of the free memory the engine fills so much when it looks for the largest micro-batch ("auto").
AUTO_SHARE = 0.9


@dataclass(frozen=True)
class Rows:
    """The rows of a run as ids.

    Args:
        examples: how many there are, by split.
        train: the rows that are learned from.
        rows_of: the rows of a step (from 0), in the order in which micro-batches take them.
        validation: the rows that are scored after every epoch, and once when it is calibrated.
        test: those that `evaluate` reads.
        labels: the ids of each label of a `classify` task.
        most: steps that are counted, and stand for all.
    """

    examples: Mapping[str, int]
    train: Sequence[Row] = field(repr=False)
    rows_of: Callable[[int], Sequence[int]] = field(repr=False)
    validation: Sequence[Row] = field(default=(), repr=False)
    test: Sequence[Row] = field(default=(), repr=False)
    labels: Sequence[Ids] = ()
    most: int = COUNTED_STEPS

    @property
    def longest(self) -> int:
        """Tokens of the longest row that is learned from."""
        return max(len(row.prompt) + len(row.completion) for row in self.train)


@dataclass(frozen=True, slots=True)
class Counted:
    """The work in the rows of a run: of all steps, of all validations between them, of `evaluate` with its baselines."""

    tokens: Tokens
    validation: Scoring
    evaluation: Scoring

    @property
    def scored(self) -> Load | None:
        """The largest batch that is scored."""
        return heaviest([part.load for part in (self.validation, self.evaluation) if part.load])


@dataclass(frozen=True, slots=True)
class Scale:
    """What earlier runs on a device teach: measured over predicted peak, operations a second; of how many runs."""

    memory: float = 1.0
    memory_runs: int = 0
    rates: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a recipe takes on a device.

    `needed_bytes` is what the device must have: the predicted peak by the factor that earlier runs taught, and what a process
    holds beside its tensors. `heavy` is the micro-batch that makes the peak.
    """

    memory: Memory
    needed_bytes: int
    heavy: Heavy
    flops: time.Flops
    time: time.Time


def count_rows(rows: Rows, recipe: Recipe, micro_batch: int) -> Counted:
    """The work in the rows of a run with this recipe.

    Args:
        rows: that are learned from and scored.
        recipe: its kind of task, `[train]` and `[evaluate]` are read.
        micro_batch: rows in one.
    """
    train = recipe.train
    steps = schedule.steps(len(rows.train), train)
    tokens = count(rows.train, rows.rows_of, steps, train, micro_batch, rows.most)
    labels = rows.labels
    once = scoring(rows.validation, labels, answers_only(recipe))
    validations = math.ceil(steps / schedule.steps_per_epoch(len(rows.train), train))
    validations += steps // train.eval_steps if train.eval_steps else 0
    passes = [scoring(rows.test, labels, recipe)]  # the tuned model
    if "zero_shot" in recipe.evaluate.baselines:
        passes.append(passes[0])
    if "few_shot" in recipe.evaluate.baselines and recipe.task.kind != "text":
        mean = sum(len(row.prompt) + len(row.completion) for row in rows.train) // len(rows.train)
        passes.append(scoring(rows.test, labels, recipe, recipe.evaluate.few_shot_examples * mean))
    evaluation = sum(passes, once if recipe.task.kind == "classify" else Scoring(once.work.scaled(0), None))
    return Counted(tokens, Scoring(once.work.scaled(validations), once.load), evaluation)


def micro_batch_of(rows: Rows, recipe: Recipe, shape: Shape | None, device: Device, scale: Scale) -> int:
    """Rows in a micro-batch: as the recipe says, or under "auto" the largest power of two that the formula thinks to fit."""
    size, step = recipe.train.per_device_train_batch_size, schedule.step_size(recipe.train)
    if size != "auto" or shape is None:
        return step // recipe.train.gradient_accumulation_steps
    longest = sorted(rows.train, key=lambda row: -(len(row.prompt) + len(row.completion)))[:step]
    found = 1
    while 2 * found <= step:
        memory = predict(shape, recipe, load_of(longest[: 2 * found], recipe.train), None, device.kind)
        if needed(memory, recipe, device, scale) > AUTO_SHARE * device.memory_bytes:
            break
        found *= 2
    return found


def estimate(counted: Counted, recipe: Recipe, shape: Shape, device: Device, scale: Scale) -> Estimate:
    """What a recipe takes on a device, by formula.

    Args:
        counted: the work in its rows.
        recipe: the whole of it.
        shape: of its base.
        device: where it would run.
        scale: what earlier runs there teach.

    Raises:
        ModelError: if `[lora]` names layers that the base does not have.
    """
    found = [(predict(shape, recipe, heavy.load, counted.scored, device.kind), heavy) for heavy in counted.tokens.heaviest]
    memory, heavy = max(found, key=lambda pair: pair[0].peak_bytes)
    weights = adapter_weights(shape, recipe.lora) if recipe.lora else 0
    flops = time.Flops(
        time.training_flops(shape, counted.tokens.work, recipe, weights),
        time.forward_flops(shape, counted.validation.work, weights),
        time.forward_flops(shape, counted.evaluation.work, weights),
    )
    seconds = time.seconds(flops, recipe, device, scale.rates)
    return Estimate(memory, needed(memory, recipe, device, scale), heavy, flops, seconds)


def needed(memory: Memory, recipe: Recipe, device: Device, scale: Scale) -> int:
    """Bytes that the device must have. The state of a paged optimizer can leave a GPU, and is not among them there."""
    pages = device.kind == "cuda" and OPTIMIZERS[recipe.train.optim].paged
    peak = max(sum(parts.values()) - (parts.get("optimizer", 0) if pages else 0) for parts in memory.by_phase.values())
    return math.ceil(peak * scale.memory) + device.outside_bytes
