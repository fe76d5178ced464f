"""How many steps a run has, and the learning rate of each: arithmetic on the recipe and the number of examples."""

from __future__ import annotations

import math

from whet.knobs import schedules
from whet.sections import Train

AUTO_BATCH_SIZE = 16  # examples per accumulation step when per_device_train_batch_size = "auto" leaves the split open


def step_size(train: Train) -> int:
    """Examples in a full step.

    Example:
        >>> step_size(Train(per_device_train_batch_size=8, gradient_accumulation_steps=4)), step_size(Train())
        (32, 16)
    """
    size = train.per_device_train_batch_size
    return (AUTO_BATCH_SIZE if size == "auto" else size) * train.gradient_accumulation_steps


def steps_per_epoch(examples: int, train: Train) -> int:
    """Steps in one pass over so many examples; the last may be smaller, and no example is left out."""
    return math.ceil(examples / step_size(train))


def steps(examples: int, train: Train) -> int:
    """Steps in the whole run: of all epochs (the last may be a part of one), but not more than max_steps.

    Example:
        >>> steps(100, Train(num_train_epochs=2.5)), steps(100, Train(max_steps=3))
        (18, 3)
    """
    whole = math.ceil(train.num_train_epochs * steps_per_epoch(examples, train))
    return whole if train.max_steps is None else min(whole, train.max_steps)


def warmup_steps(steps: int, train: Train) -> int:
    """Steps that the learning rate climbs: as many as warmup_steps says, else the share warmup_ratio of all, rounded up.

    Example:
        >>> warmup_steps(200, Train(warmup_ratio=0.03)), warmup_steps(200, Train(warmup_ratio=0.03, warmup_steps=10))
        (6, 10)
    """
    return train.warmup_steps or math.ceil(train.warmup_ratio * steps)


def learning_rate(step: int, steps: int, train: Train) -> float:
    """The learning rate of step number `step` (from 0) of `steps`.

    Example:
        >>> [round(learning_rate(s, 4, Train(learning_rate=1.0)), 2) for s in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    kind, arguments = train.lr_scheduler_type, train.lr_scheduler_kwargs
    return schedules.learning_rate(step, steps, train.learning_rate, kind, warmup_steps(steps, train), arguments)
