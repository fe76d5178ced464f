"""Layers in fewer passes: the same values and gradients, and nothing left on the model afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from engine_parts import random_rows
from transformers import AutoModelForCausalLM

from whet.data.tokens import Encoded
from whet.engine.adapters import add_adapter
from whet.engine.attention import attending
from whet.engine.batches import Batch, collate, hang
from whet.engine.fused import linear
from whet.engine.fused.feed_forward import feed_forward
from whet.engine.fused.fusing import fusing
from whet.engine.fused.linear import Linear, LoraLinear, Projection, adapters
from whet.engine.fused.norm import RMSNorm
from whet.engine.loss import summed_loss
from whet.sections import Lora

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "vocab_size": 6144, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 128, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0,
    "initializer_range": 0.2,
}  # fmt: skip


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


def measured(model: torch.nn.Module, batch: Batch | None = None) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    loss = summed_loss(model, batch or collate(random_rows(5), 1, CPU))
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
    assert sum("lora" not in n and n.endswith("_proj") for n in names) == 8 and sum("norm" in n for n in names) == 5
    assert sum(n.endswith("mlp") for n in names) == 2 and sum(n.endswith("self_attn") for n in names) == 2
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
    functions: list[Any] = [Linear, RMSNorm, LoraLinear]
    linear, norm, lora = (function.apply for function in functions)
    x = random(2, 5, 6)
    assert gradcheck(linear, (x, random(4, 6), random(4) if has_bias else None))
    assert gradcheck(norm, (x, random(6), 1e-6))

    def layer(inputs: int, outputs: int, adapter: tuple[torch.Tensor, torch.Tensor] | None) -> Projection:
        bias = random(outputs, trains=False) if has_bias else None
        return Projection(random(outputs, inputs, trains=False), bias, adapter, 0.7)

    one = layer(6, 4, (random(3, 6), random(4, 3)))
    assert gradcheck(lambda x, *weights: lora(x, one, *weights), (x, *adapters([one])))
    for adapted in ("all", "gate", "up", "down", "none"):
        sizes = {"gate": (6, 7), "up": (6, 7), "down": (7, 6)}
        halves = {name: (random(3, i), random(o, 3)) if adapted in ("all", name) else None for name, (i, o) in sizes.items()}
        layers = tuple(layer(*sizes[name], halves[name]) for name in sizes)
        assert gradcheck(lambda x, *_, layers=layers: feed_forward(x, layers), (x, *adapters(layers)))


KINDS: dict[str, dict[str, Any]] = {
    "Llama": {}, "Qwen2": {}, "Mistral": {"sliding_window": None}, "a window that is too short": {"sliding_window": 9},
}  # fmt: skip
TARGETS = ["all-linear", ["q_proj"], ["k_proj", "o_proj"], ["down_proj", "v_proj"]]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("targets", TARGETS, ids=str)
@pytest.mark.parametrize("has_tail", [True, False], ids=["tail", "whole"])
def test_attention_in_one_gives_the_same_over_a_tree(name: str, targets: Any, has_tail: bool) -> None:
    kind = name if name in ("Llama", "Qwen2") else "Mistral"
    torch.manual_seed(5)
    config = getattr(transformers, f"{kind}Config")(**SMALL, **KINDS[name])
    bare: Any = getattr(transformers, f"{kind}ForCausalLM")(config)
    model: Any = add_adapter(bare, Lora(r=4, lora_alpha=8, target_modules=targets), seed=0).double().eval()
    for parameter_name, parameter in model.named_parameters():
        if "lora_B" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = hang([Encoded(r.id, (0, *range(100, 130), *r.prompt), r.completion[:1]) for r in random_rows(9, 3)], CPU)
    assert batch.tree and batch.tree.tail is not None
    if not has_tail:
        batch.tree.read = None
    with attending(model):
        wanted = measured(model, batch)
        with fusing(model):
            assert sum(n.endswith("self_attn") for n in replaced(model)) == 2
            found = measured(model, batch)
    assert found[0] == pytest.approx(wanted[0], rel=1e-6) and len(found[1]) == len(wanted[1])
    for one, other in zip(wanted[1], found[1], strict=True):  # Transformers' norms are float32 in any model
        assert torch.linalg.norm(one - other) <= 1e-5 * torch.linalg.norm(one)


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
    monkeypatch.setattr(linear, "_has_slow_mkl", lambda: True)
    for one, other in ((rows, weight), (torch.randn(70, 50), weight.T)):
        torch.testing.assert_close(linear.product(one, other), one @ other.T, rtol=1e-5, atol=1e-5)
