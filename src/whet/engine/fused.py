"""Layers in fewer passes over memory, exact: what PEFT and Transformers write as a chain of operations, in one.

On a CPU a step is matrix products and, between them, memory that is read and written again. A LoRA layer by the book scales
and adds over its whole output; here both are part of its matrix products, forward and backward. Only instances are touched,
and only while a step is computed: `fusing` puts every forward back. A layer that is not of the plain kind is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import silu

Tensor = torch.Tensor
Fused = Callable[..., Tensor]
EXACT = (torch.float32, torch.float64)
CPU_FACTS = Path("/proc/cpuinfo")


@contextmanager
def fusing(model: torch.nn.Module) -> Iterator[None]:
    """Lets linear layers, plain LoRA layers, gated units and norms compute in fewer passes; all is as before afterwards.

    Backward passes that compute activations again must lie inside as well.
    """
    replaced = [(module, fused) for module in model.modules() if (fused := _fused(module))]
    for module, fused in replaced:
        module.forward = partial(_choose, module.forward, fused)  # the instance's, not the class's
    try:
        yield
    finally:
        for module, _ in replaced:
            del module.forward


def _choose(own: Fused, fused: Fused, x: Tensor, *more: object, **named: object) -> Tensor:
    """What a layer says of x in fewer passes; in its own way in half precision and under autocast, where layers cast."""
    if more or named or x.dtype not in EXACT or torch.is_autocast_enabled(x.device.type):
        return own(x, *more, **named)
    return fused(x)


def _fused(module: torch.nn.Module) -> Fused | None:
    """What a module computes in fewer passes, or None if it is of no known kind."""
    if "forward" in vars(module) or any(p.dtype not in EXACT for p in module.parameters()):
        return None
    if hasattr(module, "lora_A"):
        adapter = _plain_adapter(module)
        return None if adapter is None else lambda x: _LoraLinear.apply(x, None, *adapter)
    if type(module).__name__.endswith("MLP"):
        return _gated_unit(module)
    if type(module) is torch.nn.Linear:
        return lambda x: _Linear.apply(x, module.weight, module.bias)
    if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return lambda x: _RMSNorm.apply(x, module.weight, module.variance_epsilon)
    return None


# -- linear layers ---------------------------------------------------------------------------------------------------------


@cache
def _has_slow_mkl() -> bool:
    """Whether torch's own products of float32 are the slower ones here: MKL takes its general path on processors that are not
    Intel's, and oneDNN does not. The vendor decides and no stop-watch: a resumed run must round as the first one did."""
    offered = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return offered and torch.backends.mkl.is_available() and CPU_FACTS.exists() and "AuthenticAMD" in CPU_FACTS.read_text()


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    """rows weightᵀ: (T, I), (O, I) to (T, O)."""
    if rows.dtype == torch.float32 and rows.device.type == "cpu" and _has_slow_mkl():
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
        return out
    return rows @ weight.T


class _Linear(torch.autograd.Function):
    """x Wᵀ + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (T, I)
        ctx.save_for_backward(rows if weight.requires_grad else None, weight)
        out = _product(rows, weight)
        return (out if bias is None else out.add_(bias)).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])  # (T, O)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        x_grad = _product(grad, weight.T).view(*grads[0].shape[:-1], -1) if needs_x else None
        return x_grad, grad.T @ rows if needs_weight else None, grad.sum(0) if needs_bias else None


# -- LoRA ----------------------------------------------------------------------------------------------------------------


def _plain_adapter(layer: Any) -> tuple[Any, ...] | None:
    """W, b, A, B and s of a layer with one plain adapter on frozen plain weights: no dropout, no variant, one precision."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    base = layer.get_base_layer()
    if type(base) is not torch.nn.Linear or len(active) != 1 or layer.disable_adapters or layer.merged:
        return None
    (name,) = active
    down, up = layer.lora_A[name], layer.lora_B[name]
    is_plain = name not in layer.lora_variant and isinstance(layer.lora_dropout[name], torch.nn.Identity)
    weights = [base.weight, down.weight, up.weight]
    is_frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
    if not is_plain or not is_frozen or up.bias is not None or len({w.dtype for w in weights}) > 1:
        return None
    return base.weight, base.bias, down.weight, up.weight, layer.scaling[name]


def _gated_unit(mlp: Any) -> Fused | None:
    """The forward of a feed-forward part down(silu(gate(x)) up(x)) that has a plain adapter on `down`."""
    gate, up, down = (getattr(mlp, name, None) for name in ("gate_proj", "up_proj", "down_proj"))
    if gate is None or up is None or not hasattr(down, "lora_A") or "SiLU" not in type(getattr(mlp, "act_fn", None)).__name__:
        return None
    adapter = _plain_adapter(down)
    return None if adapter is None else lambda x: _LoraLinear.apply(up(x), gate(x), *adapter)


class _LoraLinear(torch.autograd.Function):
    """x Wᵀ + b + s (x Aᵀ) Bᵀ, for a frozen W and b; with silu(gate) x instead of x where there is a gate.

    The product with the gate, as large as both its factors, is computed again in the backward pass instead of being kept.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gate: Tensor | None, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (T, I)
        gates = None if gate is None else gate.reshape(rows.shape)
        read = rows if gates is None else silu(gates).mul_(rows)
        low = read @ down.T  # (T, r)
        out = _product(read, weight).addmm_(low, up.T, alpha=scale)  # (T, O)
        if bias is not None:
            out.add_(bias)
        ctx.save_for_backward(rows, gates, weight, down, up, low)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gates, weight, down, up, low = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])  # (T, O)
        opened = None if gates is None else silu(gates)
        rows = x if opened is None else opened * x
        low_grad = (grad @ up).mul_(ctx.scale)  # (T, r)
        down_grad, up_grad = low_grad.T @ rows, (grad.T @ low).mul_(ctx.scale)
        x_grad = gate_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = _product(grad, weight.T).addmm_(low_grad, down)
            if opened is not None:
                gate_grad = torch.ops.aten.silu_backward(torch.mul(x_grad, x, out=rows), gates).view(*grads[0].shape[:-1], -1)
                x_grad.mul_(opened)
            x_grad = x_grad.view(*grads[0].shape[:-1], -1)
        return x_grad, gate_grad, None, None, down_grad, up_grad, None


# -- norms ---------------------------------------------------------------------------------------------------------------


class _RMSNorm(torch.autograd.Function):
    """w x / sqrt(mean(x²) + ε)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        width = x.shape[-1]
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(width).add_(epsilon).rsqrt_()  # (..., 1)
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        grad = grads[0]
        weight_grad = (grad * x).mul_(inverse).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, weight_grad, None
        scaled = grad * weight
        along = torch.linalg.vecdot(scaled, x).unsqueeze(-1)  # (..., 1)
        along.mul_(inverse.pow(3)).div_(-x.shape[-1])
        return scaled.mul_(inverse).addcmul_(x, along), weight_grad, None
