"""The figures of `whet info quantization`, measured again with bitsandbytes on normally distributed weights."""

from __future__ import annotations

from typing import Any

import bitsandbytes.functional as bnb
import pytest
import torch

from whet.knobs.quantization import OUTER_BLOCK, PRECISIONS, ROW

ROWS = 128


@pytest.fixture(scope="module")
def weights() -> torch.Tensor:
    return 0.02 * torch.randn(ROWS, ROW, generator=torch.Generator().manual_seed(0))


def error(kept: torch.Tensor, weights: torch.Tensor) -> float:
    return float((kept.float() - weights).norm() / weights.norm())


def size(*tensors: torch.Tensor) -> int:
    return 8 * sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("is_double", [False, True])
def test_four_bits(weights: torch.Tensor, kind: str, is_double: bool) -> None:
    packed, state = bnb.quantize_4bit(weights, blocksize=64, compress_statistics=is_double, quant_type=kind)
    scales: list[Any] = [state.absmax, state.state2.absmax] if is_double else [state.absmax]
    assert not is_double or state.state2.blocksize == OUTER_BLOCK
    fact = PRECISIONS[kind]
    assert size(packed, *scales) / weights.numel() == (fact.double_bits if is_double else fact.bits)
    assert error(bnb.dequantize_4bit(packed, state), weights) == pytest.approx(fact.error, rel=0.01)


def test_eight_bits(weights: torch.Tensor) -> None:
    kept, scales, _ = bnb.int8_vectorwise_quant(weights.half())
    assert size(kept, scales) / weights.numel() == PRECISIONS["int8"].bits
    assert error(kept.float() * scales[:, None] / 127, weights) == pytest.approx(PRECISIONS["int8"].error, rel=0.02)


def test_sixteen_bits(weights: torch.Tensor) -> None:
    assert error(weights.bfloat16(), weights) == pytest.approx(PRECISIONS["bfloat16"].error, rel=0.03)
    assert size(weights.bfloat16()) / weights.numel() == PRECISIONS["bfloat16"].bits


def test_the_keys_are_those_of_the_recipe() -> None:
    from whet.sections import Model

    for fact in PRECISIONS.values():
        assert getattr(Model.model_validate({fact.key: fact.name}), fact.key) == fact.name
    assert len(PRECISIONS) == 5
