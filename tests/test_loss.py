"""The loss: equal to the textbook's, and the same gradient for any batch × accumulation split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine_parts import random_rows
from transformers import AutoModelForCausalLM

from whet.data.tokens import Encoded
from whet.engine.batches import collate
from whet.engine.infer import row_nats
from whet.engine.loss import summed_loss

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_base: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float64)


def textbook(model: torch.nn.Module, row: Encoded) -> torch.Tensor:
    """One row alone, no padding: -sum log P(next id) over the answer."""
    ids = torch.tensor([row.prompt + row.completion])
    logs: torch.Tensor = model(input_ids=ids).logits[0].double().log_softmax(-1)
    first = len(row.prompt) - 1
    return -torch.stack([logs[first + k, target] for k, target in enumerate(row.completion)]).sum()


def test_loss_is_the_sum_over_answer_tokens_alone(model: torch.nn.Module) -> None:
    rows = random_rows(7)
    wanted = [textbook(model, row).item() for row in rows]
    batch = collate(rows, padding=1, device=CPU)
    assert summed_loss(model, batch).item() == pytest.approx(sum(wanted), rel=1e-6)  # the loss itself is float32
    assert row_nats(model, batch).tolist() == pytest.approx(wanted, rel=1e-6)


Rows = list[Encoded]


def gradients(model: torch.nn.Module, micro_batches: list[Rows]) -> list[torch.Tensor]:
    batches = [collate(rows, padding=1, device=CPU) for rows in micro_batches]
    tokens = sum(b.target_tokens for b in batches)
    model.zero_grad()
    for batch in batches:
        torch.autograd.backward(summed_loss(model, batch) / tokens)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("split", [lambda r: [r[:4], r[4:]], lambda r: [[x] for x in r], lambda r: [r[:1], r[1:3], r[3:]]])
def test_any_split_of_a_step_gives_the_same_gradient(model: torch.nn.Module, split: Callable[[Rows], list[Rows]]) -> None:
    """Rows of different answer lengths: a mean of means would differ."""
    rows = random_rows(8, seed=3)
    assert len({len(r.completion) for r in rows}) > 1
    whole, parts = gradients(model, [rows]), gradients(model, split(rows))
    assert len(whole) == len(parts) == len(list(model.parameters()))
    for one, other in zip(whole, parts, strict=True):
        assert torch.linalg.norm(one - other) <= 1e-6 * torch.linalg.norm(one)


def test_padding_moves_nothing(model: torch.nn.Module) -> None:
    """A row's nats do not depend on the rows beside it."""
    rows = random_rows(5)
    together = row_nats(model, collate(rows, padding=1, device=CPU))
    alone = torch.cat([row_nats(model, collate([r], padding=1, device=CPU)) for r in rows])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=0)
