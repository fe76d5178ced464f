"""Learning rates in closed form, and who decays."""

from __future__ import annotations

import math

import pytest
import torch

from whet.engine.optim import build_optimizer, learning_rate
from whet.sections import Train


def rates(steps: int = 10, **train: object) -> list[float]:
    settings = Train(learning_rate=1.0, **train)
    return [learning_rate(s, steps, settings) for s in range(steps)]


def test_linear_goes_down_evenly() -> None:
    assert rates() == pytest.approx([1 - s / 10 for s in range(10)])


def test_no_step_is_spent_at_zero() -> None:
    """Other libraries begin warm-up with a step at a learning rate of 0, which moves nothing."""
    found = rates(warmup_steps=4)
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert found == pytest.approx(rates(warmup_ratio=0.4))
    for name in ("linear", "cosine", "constant_with_warmup"):
        assert all(r > 0 for r in rates(warmup_steps=3, lr_scheduler_type=name)), name


def test_cosine_and_constant() -> None:
    assert rates(lr_scheduler_type="cosine") == pytest.approx([(1 + math.cos(math.pi * s / 10)) / 2 for s in range(10)])
    assert rates(lr_scheduler_type="constant") == [1.0] * 10
    assert rates(lr_scheduler_type="constant_with_warmup", warmup_steps=2) == pytest.approx([0.5] + [1.0] * 9)


@pytest.mark.parametrize(("optim", "kind"), [("adamw_torch", "AdamW"), ("adafactor", "Adafactor"), ("sgd", "SGD")])
def test_matrices_decay_and_norms_do_not(optim: str, kind: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    optimizer = build_optimizer(model, Train(optim=optim, weight_decay=0.1))
    assert type(optimizer).__name__ == kind
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert [decays[id(p)] for p in model.parameters()] == [0.1, 0.0, 0.0, 0.0]
