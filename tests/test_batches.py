"""Batches: answers flush right when padded, end to end when packed; the same logits either way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_parts import random_rows
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from whet.engine.batches import Batch, best_fit, collate, pack

CPU = torch.device("cpu")


def test_answers_end_in_the_last_column() -> None:
    rows = random_rows(6)
    batch = collate(rows, padding=1, device=CPU)
    assert batch.mask is not None
    for i, row in enumerate(rows):
        assert tuple(batch.ids[i][batch.mask[i] == 1].tolist()) == row.prompt + row.completion
        assert tuple(batch.ids[i, -len(row.completion) :].tolist()) == row.completion
        assert batch.positions[i][batch.mask[i] == 1].tolist() == list(range(len(row)))
        at, (piece,) = batch.spans[i]
        assert at == i and tuple(batch.ids[i, piece.start : piece.start + piece.length].tolist()) == row.prompt + row.completion
    assert batch.targets.tolist() == [t for row in rows for t in row.completion]
    assert batch.picked is not None
    assert batch.target_tokens == sum(len(r.completion) for r in rows) == len(batch.picked)


def test_packed_rows_hold_every_token_once_and_no_padding() -> None:
    rows = random_rows(40)
    packed = pack(rows, CPU, capacity=64)
    assert all(b.ids.shape[1] <= 64 and b.mask is None for b in packed)
    assert sum(b.ids.numel() for b in packed) == sum(map(len, rows))
    assert sorted(r.id for b in packed for r in b.rows) == sorted(r.id for r in rows)
    assert len(packed) <= 11 / 9 * np.ceil(sum(map(len, rows)) / 64) + 1


@pytest.mark.parametrize("seed", range(5))
def test_best_fit_never_overfills_and_loses_nothing(seed: int) -> None:
    lengths = [int(n) for n in np.random.default_rng(seed).integers(1, 130, 60)]
    groups = best_fit(lengths, 128)
    assert sorted(i for g in groups for i in g) == list(range(60))
    assert all(sum(lengths[i] for i in g) <= 128 or len(g) == 1 for g in groups)


SMALL: dict[str, Any] = {
    "vocab_size": 6144,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=6144, n_embd=32, n_layer=2, n_head=2, n_positions=64)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL, max_position_embeddings=64)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, num_key_value_heads=1, head_dim=16)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, num_key_value_heads=1, head_dim=16, pad_token_id=1)),
}


@pytest.fixture(params=["llama", *MODELS])
def model(request: pytest.FixtureRequest, tiny_base: Path) -> torch.nn.Module:
    torch.manual_seed(2)
    found = AutoModelForCausalLM.from_pretrained(tiny_base) if request.param == "llama" else MODELS[request.param]()
    # Gemma takes its softmax in float32, where float64's smallest number is -inf
    return found.eval() if request.param == "gemma2" else found.double().eval()


def test_packed_logits_equal_padded_ones(model: torch.nn.Module) -> None:
    """Each example as if it stood alone: packed, padded and one by one, on unmodified models."""
    rows = random_rows(9, seed=4)

    def by_row(batch: Batch) -> dict[str, torch.Tensor]:
        ids, sizes = (r.id for r in batch.rows), [len(r.completion) for r in batch.rows]
        return dict(zip(ids, torch.split(batch.logits(model), sizes), strict=True))

    with torch.inference_mode():
        alone = {row.id: by_row(collate([row], 1, CPU))[row.id] for row in rows}
        padded = by_row(collate(rows, 1, CPU))
        packed = {k: v for batch in pack(rows, CPU, capacity=70) for k, v in by_row(batch).items()}
    assert len(packed) == len(padded) == 9 and len(pack(rows, CPU, capacity=70)) > 1
    for id_, wanted in alone.items():
        torch.testing.assert_close(packed[id_], wanted, rtol=1e-5, atol=1e-5)  # some models compute norms in float32
        torch.testing.assert_close(padded[id_], wanted, rtol=1e-5, atol=1e-5)
