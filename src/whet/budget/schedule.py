"""How many steps a run takes, and how many examples stand in each."""

from __future__ import annotations

import math

from whet.sections import Train

AUTO_BATCH_SIZE = 16  # examples per accumulation step when per_device_train_batch_size = "auto" leaves the split open


def step_size(train: Train) -> int:
    """Examples in a full step.

    Example:
        >>> step_size(Train(per_device_train_batch_size="auto", gradient_accumulation_steps=2))
        32
    """
    size = train.per_device_train_batch_size
    return (AUTO_BATCH_SIZE if size == "auto" else size) * train.gradient_accumulation_steps


def steps_per_epoch(examples: int, train: Train) -> int:
    """Steps in one pass; the last may be smaller, and no example is left out."""
    return math.ceil(examples / step_size(train))


def steps(examples: int, train: Train) -> int:
    """Steps in the whole run."""
    wanted = math.ceil(train.num_train_epochs * steps_per_epoch(examples, train))
    return min(wanted, train.max_steps) if train.max_steps else wanted
