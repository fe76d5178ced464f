"""The feed-forward part of most models today: down(silu(gate(x)) up(x)), its three layers frozen, with adapters or without."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import silu

from whet.engine.fused.linear import Projection, adapters, plain_projection, project, project_backward

Tensor = torch.Tensor
Layers = tuple[Projection, ...]  # gate, up, down
NAMES = ("gate_proj", "up_proj", "down_proj")


def gated_layers(mlp: Any) -> Layers | None:
    """The three layers of a feed-forward part, if it is of this kind."""
    if not all(hasattr(mlp, name) for name in NAMES) or "SiLU" not in type(getattr(mlp, "act_fn", None)).__name__:
        return None
    layers = [plain_projection(getattr(mlp, name)) for name in NAMES]
    whole = tuple(layer for layer in layers if layer is not None)
    return whole if len(whole) == len(NAMES) else None


def feed_forward(x: Tensor, layers: Layers) -> Tensor:
    """What the part says of x, (..., D)."""
    out: Tensor = _FeedForward.apply(x, layers, *adapters(layers))
    return out


class _FeedForward(torch.autograd.Function):
    """The product with the gate, as large as both its factors, is computed again in the backward pass instead of being kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Layers, *_: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])  # (T, D)
        (gates, ups), lows = project(rows, layers[:2])  # (T, F)
        (out,), low = project(silu(gates).mul_(ups), layers[2:])
        ctx.save_for_backward(None if lows is None else rows, gates, ups, lows, low)
        ctx.layers = layers
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, gates, ups, lows, low = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])  # (T, D)
        opened = silu(gates)
        read = opened * ups
        read_grad, of_down = project_backward([grad], read, low, ctx.layers[2:])
        assert read_grad is not None
        gates_grad = torch.ops.aten.silu_backward(torch.mul(read_grad, ups, out=read), gates)
        ups_grad = read_grad.mul_(opened)
        rows_grad, of_both = project_backward([gates_grad, ups_grad], rows, lows, ctx.layers[:2], ctx.needs_input_grad[0])
        return None if rows_grad is None else rows_grad.view(grads[0].shape), None, *of_both, *of_down
