"""Layers in fewer passes: the same values and gradients, and nothing left on the model afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import random_rows
from transformers import AutoModelForCausalLM

from whet.engine import fused
from whet.engine.adapters import add_adapter
from whet.engine.batches import collate
from whet.engine.fused import fusing
from whet.engine.loss import summed_loss
from whet.sections import Lora

CPU = torch.device("cpu")


def adapted(base: Path, **lora: Any) -> Any:
    """The tiny model in float64 with an adapter whose both halves are random."""
    bare: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = add_adapter(bare, Lora(r=4, lora_alpha=8, **lora), seed=0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.double().eval()


def replaced(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if "forward" in vars(module)]


def measured(model: torch.nn.Module) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = summed_loss(model, collate(random_rows(5), 1, CPU))
    torch.autograd.backward(loss)
    return loss.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("lora", [{}, {"use_rslora": True}, {"modules_to_save": ["lm_head"]}], ids=str)
def test_a_model_with_an_adapter_gives_the_same_loss_and_gradients(tiny_base: Path, lora: dict[str, Any]) -> None:
    model = adapted(tiny_base, **lora)
    for module in model.modules():  # Transformers' norms are float32 whatever the model is, which would drown the comparison
        if type(module).__name__ == "LlamaRMSNorm":
            module.__class__ = type("ExactRMSNorm", (type(module),), {"forward": lambda self, x: exact_norm(self, x)})
    wanted = measured(model)
    with fusing(model):
        names = replaced(model)
        found = measured(model)
    assert sum("lora" not in n and n.endswith("_proj") for n in names) == 14
    assert sum("norm" in n for n in names) == 5 and sum(n.endswith("mlp") for n in names) == 2
    assert found[0] == pytest.approx(wanted[0], rel=1e-12) and len(found[1]) == len(wanted[1]) >= 28
    for one, other in zip(wanted[1], found[1], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)


def exact_norm(norm: Any, x: torch.Tensor) -> Any:
    return norm.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon)


def test_all_weights_get_the_same_gradients(tiny_base: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    model.eval()
    wanted = measured(model)
    with fusing(model):
        found = measured(model)
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    for one, other in zip(wanted[1], found[1], strict=True):
        assert torch.linalg.norm(one - other) <= 1e-5 * torch.linalg.norm(one)


@pytest.mark.parametrize("has_bias", [True, False])
def test_the_functions_pass_gradcheck(has_bias: bool) -> None:
    def random(*shape: int, trains: bool = True) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, requires_grad=trains)

    torch.manual_seed(0)
    gradcheck: Any = torch.autograd.gradcheck
    functions: list[Any] = [fused._Linear, fused._LoraLinear, fused._RMSNorm]
    linear, lora, norm = (function.apply for function in functions)
    x, weight, bias = random(2, 5, 6), random(4, 6), random(4) if has_bias else None
    assert gradcheck(linear, (x, weight, bias))
    frozen = (weight.detach(), None if bias is None else bias.detach())
    assert gradcheck(lambda x, a, b: lora(x, None, *frozen, a, b, 0.7), (x, random(3, 6), random(4, 3)))
    assert gradcheck(lambda x, g, a, b: lora(x, g, *frozen, a, b, 0.7), (x, random(2, 5, 6), random(3, 6), random(4, 3)))
    assert gradcheck(norm, (x, random(6), 1e-6))


@pytest.mark.parametrize("lora", [{"lora_dropout": 0.1}, {"use_dora": True}], ids=str)
def test_what_is_not_plain_is_left_as_it_is(tiny_base: Path, lora: dict[str, Any]) -> None:
    model = adapted(tiny_base, **lora)
    with fusing(model):
        assert not [n for n in replaced(model) if n.endswith("_proj")]


def test_the_models_own_forward_is_back_afterwards(tiny_base: Path) -> None:
    model = adapted(tiny_base)
    with pytest.raises(RuntimeError), fusing(model):
        assert replaced(model)
        raise RuntimeError
    assert not replaced(model)


def test_autocast_and_half_precision_stay_with_the_layers_themselves(tiny_base: Path) -> None:
    model: Any = adapted(tiny_base).float()
    with torch.autocast("cpu", torch.bfloat16):
        wanted = measured(model)
        with fusing(model):
            found = measured(model)
    assert found[0] == wanted[0] and all(torch.equal(a, b) for a, b in zip(wanted[1], found[1], strict=True))
    with fusing(model.bfloat16()):
        assert not replaced(model)


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN linear layer")
def test_both_libraries_give_the_same_products(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weight = torch.randn(70, 33), torch.randn(50, 33)
    monkeypatch.setattr(fused, "_has_slow_mkl", lambda: True)
    for one, other in ((rows, weight), (torch.randn(70, 50), weight.T)):
        torch.testing.assert_close(fused._product(one, other), one @ other.T, rtol=1e-5, atol=1e-5)
