"""Linear layers, with LoRA adapters or without: scaling and adding are part of the matrix products, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

Tensor = torch.Tensor
EXACT = (torch.float32, torch.float64)
CPU_FACTS = Path("/proc/cpuinfo")


@cache
def _has_slow_mkl() -> bool:
    """Whether torch's own products of float32 are the slower ones here: MKL takes its general path on processors that are not
    Intel's, and oneDNN does not. The vendor decides and no stop-watch: a resumed run must round as the first one did."""
    offered = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return offered and torch.backends.mkl.is_available() and CPU_FACTS.exists() and "AuthenticAMD" in CPU_FACTS.read_text()


def _is_slow(rows: Tensor) -> bool:
    return rows.dtype == torch.float32 and rows.device.type == "cpu" and _has_slow_mkl()


def product(rows: Tensor, weight: Tensor) -> Tensor:
    """rows weightᵀ: (T, I), (O, I) to (T, O)."""
    if _is_slow(rows):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
        return out
    return rows @ weight.T


def add_product(out: Tensor, rows: Tensor, weight: Tensor) -> None:
    """Adds rows weightᵀ to what is there."""
    if _is_slow(rows):
        out.add_(product(rows, weight))
    else:
        out.addmm_(rows, weight.T)


# -- frozen layers and their adapters --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Projection:
    """A frozen layer x Wᵀ + b; with an adapter, + s (x Aᵀ) Bᵀ, where A is (r, I) and B (O, r)."""

    weight: Tensor
    bias: Tensor | None
    adapter: tuple[Tensor, Tensor] | None = None
    scale: float = 1.0


def plain_projection(layer: Any) -> Projection | None:
    """A layer as a Projection, if it is one: frozen, one adapter at most, no dropout, no variant, one exact precision."""
    is_adapted = "lora_A" in layer._modules
    base = layer.get_base_layer() if is_adapted else layer
    if type(base) is not torch.nn.Linear or base.weight.dtype not in EXACT:
        return None
    if base.weight.requires_grad or (base.bias is not None and base.bias.requires_grad):
        return None
    if not is_adapted:
        return Projection(base.weight, base.bias)
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or layer.disable_adapters or layer.merged:
        return None
    (name,) = active
    down, up = layer.lora_A[name], layer.lora_B[name]
    is_plain = name not in layer.lora_variant and isinstance(layer.lora_dropout[name], torch.nn.Identity) and up.bias is None
    if not is_plain or down.weight.dtype != base.weight.dtype or up.weight.dtype != base.weight.dtype:
        return None
    return Projection(base.weight, base.bias, (down.weight, up.weight), layer.scaling[name])


def adapters(layers: Sequence[Projection]) -> list[Tensor]:
    """A and B of each layer that has an adapter, in a row: what trains."""
    return [weight for layer in layers for weight in layer.adapter or ()]


def project(rows: Tensor, layers: Sequence[Projection]) -> tuple[list[Tensor], Tensor | None]:
    """What layers that read the same rows (T, I) say, (T, O) each; and x Aᵀ of all adapters side by side, (T, sum of r)."""
    downs = [layer.adapter[0] for layer in layers if layer.adapter]
    lows = rows @ (torch.cat(downs) if len(downs) > 1 else downs[0]).T if downs else None
    outs, start = [], 0
    for layer in layers:
        out = product(rows, layer.weight)
        if layer.adapter and lows is not None:
            up = layer.adapter[1]
            out.addmm_(lows[:, start : start + up.shape[1]], up.T, alpha=layer.scale)
            start += up.shape[1]
        outs.append(out if layer.bias is None else out.add_(layer.bias))
    return outs, lows


def project_backward(
    grads: Sequence[Tensor],
    rows: Tensor | None,
    lows: Tensor | None,
    layers: Sequence[Projection],
    is_rows_grad_read: bool = True,
    so_far: Tensor | None = None,
) -> tuple[Tensor | None, list[Tensor]]:
    """The gradient of the rows, (T, I), and those of A and B of each layer that has an adapter, in a row.

    Args:
        grads: of what the layers said, (T, O) each.
        rows: which the layers read; None if none of them has an adapter.
        lows: as `project` gave them.
        layers: in the order of `grads`.
        is_rows_grad_read: whether anybody needs the gradient of the rows.
        so_far: a gradient of the rows, to which this one is added.
    """
    found, start, rows_grad = list[Tensor](), 0, so_far
    lows_grad = None if lows is None else torch.empty_like(lows)
    for grad, layer in zip(grads, layers, strict=True):
        if is_rows_grad_read and rows_grad is None:
            rows_grad = product(grad, layer.weight.T)
        elif is_rows_grad_read and rows_grad is not None:
            add_product(rows_grad, grad, layer.weight.T)
        if layer.adapter and lows is not None and lows_grad is not None:
            up = layer.adapter[1]
            part = slice(start, start + up.shape[1])
            torch.mm(grad, up * layer.scale, out=lows_grad[:, part])
            up_grad = (lows[:, part].T @ grad).mul_(layer.scale).T  # in this order twice as fast on two threads
            found += [lows_grad, up_grad]
            start = part.stop
    if lows_grad is not None and rows is not None:
        downs = [layer.adapter[0] for layer in layers if layer.adapter]
        if rows_grad is not None:
            rows_grad.addmm_(lows_grad, torch.cat(downs) if len(downs) > 1 else downs[0])
        found[0::2] = (lows_grad.T @ rows).split([len(down) for down in downs])
    return rows_grad, found


class LoraLinear(torch.autograd.Function):
    """One frozen layer that may have an adapter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Projection, *_: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (T, I)
        (out,), low = project(rows, [layer])
        ctx.save_for_backward(rows if layer.adapter else None, low)
        ctx.layer = layer
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, low = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])  # (T, O)
        rows_grad, found = project_backward([grad], rows, low, [ctx.layer], ctx.needs_input_grad[0])
        return None if rows_grad is None else rows_grad.view(*grads[0].shape[:-1], -1), None, *found


# -- layers that train -----------------------------------------------------------------------------------------------------


class Linear(torch.autograd.Function):
    """x Wᵀ + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (T, I)
        ctx.save_for_backward(rows if weight.requires_grad else None, weight)
        out = product(rows, weight)
        return (out if bias is None else out.add_(bias)).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])  # (T, O)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        x_grad = product(grad, weight.T).view(*grads[0].shape[:-1], -1) if needs_x else None
        return x_grad, grad.T @ rows if needs_weight else None, grad.sum(0) if needs_bias else None
