"""The optimizer and the learning rate. The rate is a function of the step alone, so nothing of it has to be remembered."""

from __future__ import annotations

import math

import torch

from whet.sections import Train


def build_optimizer(model: torch.nn.Module, train: Train) -> torch.optim.Optimizer:
    """The optimizer over everything that trains; matrices decay, norms and biases do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": train.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if train.optim == "sgd":
        return torch.optim.SGD(groups, lr=train.learning_rate)
    if train.optim == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(groups, lr=train.learning_rate, scale_parameter=False, relative_step=False)
    return torch.optim.AdamW(groups, lr=train.learning_rate)


def learning_rate(step: int, steps: int, train: Train) -> float:
    """The learning rate of step number `step` (from 0) of `steps`.

    Warm-up climbs from 1/w of the peak in the first step to the peak in step w - 1, so that no step is spent at zero;
    then `linear` and `cosine` go down to zero at the end, `constant` stays.

    Example:
        >>> [round(learning_rate(s, 4, Train(learning_rate=1.0)), 2) for s in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    warmup = train.warmup_steps or math.ceil(train.warmup_ratio * steps)
    if step < warmup:
        return train.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    if train.lr_scheduler_type == "linear":
        return train.learning_rate * (1 - done)
    if train.lr_scheduler_type == "cosine":
        return train.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return train.learning_rate
