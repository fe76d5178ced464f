"""Attention over a token tree in parts, on a CPU: leaves among themselves, and every shared node with all that lies below it.

Both are attention that is causal from the first column, which torch's flash kernel computes: a token of a shared node sees its
node up to itself, and one below sees it whole. The parts are merged by their log-sum-exp; the backward pass of each runs with
the merged output and log-sum-exp, which makes it the exact gradient of the whole.

Source: Dao 2022 (arXiv 2205.14135), the identity behind the backward pass of FlashAttention.
"""

from __future__ import annotations

from typing import Any

import torch

from whet.engine.tree import Tree

Tensor = torch.Tensor
_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> tuple[Tensor, Tensor]:
    """The attention of (T, H, D) queries, keys and values, (T, H, D), and its log-sum-exp, (T, H)."""
    leaves = tree.leaves()
    out = query.new_zeros(query.shape, dtype=torch.promote_types(query.dtype, torch.float32))
    logs = out.new_full(query.shape[:2], -torch.inf)
    read = zip(*map(leaves.split, (query, key, value)), strict=True)
    parts = [_forward(*part, is_causal=True, scale=scale) for part in read]
    leaves.put(out, [part[0] for part in parts])
    leaves.put(logs, [part[1] for part in parts])
    for node in tree.shared:
        read_below = (_heads(query[node.subtree]), _heads(key[node.own]), _heads(value[node.own]))
        found, found_logs = _forward(*read_below, is_causal=True, scale=scale)
        old, new = logs[node.subtree], _columns(found_logs)
        out[node.subtree].lerp_(_columns(found).to(out.dtype), torch.sigmoid(new - old)[..., None])
        logs[node.subtree] = torch.logaddexp(old, new)
    return out.to(query.dtype), logs


def attend_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, logs: Tensor, tree: Tree, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of queries, keys and values: (T, H, D) each, from that of the output."""
    leaves = tree.leaves()
    query_grad, key_grad, value_grad = torch.zeros_like(query), torch.empty_like(key), torch.empty_like(value)
    read = zip(leaves.split(grad, is_filled=False), *map(leaves.split, (query, key, value, out, logs)), strict=True)
    parts = [_backward(*part, 0.0, True, scale=scale) for part in read]
    for total, some in zip((query_grad, key_grad, value_grad), zip(*parts, strict=True), strict=False):
        leaves.put(total, some)
    for node in tree.shared:  # keys and values are asked once: by their own node and all below it
        asking, asked = node.subtree, node.own
        read_below = map(_heads, (grad[asking], query[asking], key[asked], value[asked], out[asking], logs[asking]))
        below = map(_columns, _backward(*read_below, 0.0, True, scale=scale))
        query_part, key_grad[asked], value_grad[asked] = below
        query_grad[asking] += query_part
    return query_grad, key_grad, value_grad


def attend_tail(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> tuple[Tensor, Tensor]:
    """The same for the (N, H, D) queries of the tree's tail alone."""
    read, bias = map(_heads, (query, key, value)), tree.tail_bias(query.dtype)
    out, logs = _forward(*read, attn_mask=bias, scale=scale)
    return _columns(out), _columns(logs)


def attend_tail_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, logs: Tensor, tree: Tree, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Their gradients, and those of all keys and values."""
    read, bias = map(_heads, (grad, query, key, value, out, logs)), tree.tail_bias(query.dtype)
    query_grad, key_grad, value_grad = _backward(*read, 0.0, False, attn_mask=bias, scale=scale)
    return _columns(query_grad), _columns(key_grad), _columns(value_grad)


def _heads(x: Tensor) -> Tensor:
    """(T, H, ...) as (1, H, T, ...)."""
    return x.transpose(0, 1)[None]


def _columns(x: Tensor) -> Tensor:
    """(1, H, T, ...) as (T, H, ...)."""
    return x[0].transpose(0, 1)


class TreeAttention(torch.autograd.Function):
    """Attention over a tree, as Transformers' interface has it: (1, H, T, D) in, and out."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
        out, logs = attend(_columns(query), _columns(key), _columns(value), tree, scale)
        ctx.save_for_backward(query, key, value, out, logs)
        ctx.tree, ctx.scale = tree, scale
        return _heads(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, logs = ctx.saved_tensors
        read = (_columns(grads[0]), _columns(query), _columns(key), _columns(value))
        return (*map(_heads, attend_backward(*read, out, logs, ctx.tree, ctx.scale)), None, None)
