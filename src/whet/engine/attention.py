"""Attention over token trees, by Transformers' attention interface: models stay as they are.

On a CPU a tree's attention is computed in parts that are merged; on CUDA by flex_attention; what neither can do, by a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from transformers import AttentionInterface

from whet.engine import flex
from whet.engine.tree import Tree
from whet.engine.tree_attention import TreeAttention

Kernel = Literal["plain", "flex"]
NAMES: dict[Kernel, str] = {"plain": "whet_tree", "flex": "whet_tree_flex"}


@contextmanager
def attending(model: torch.nn.Module, kernel: Kernel = "plain") -> Iterator[None]:
    """Lets the model's attention layers read token trees, and its last layer leave out what nobody reads; all is as before
    afterwards. Backward passes that compute activations again must lie inside as well.

    Args:
        model: a causal language model of Transformers.
        kernel: "flex" for flex_attention; "plain" goes by parts on a CPU and by a mask elsewhere.
    """
    config: Any = model.config
    before = config._attn_implementation
    config._attn_implementation = NAMES[kernel]
    hooks = _hook_tail(model)
    try:
        yield
    finally:
        config._attn_implementation = before
        for hook in hooks:
            hook.remove()


def _hook_tail(model: Any) -> list[Any]:
    """Hooks that let the last layer's feed-forward part see the tail of a tree alone. What it would say of the other columns is
    read by nobody, so zeros stand there."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    layers: Any = getattr(decoder, "layers", None) or getattr(decoder, "h", None) or [None]
    part = getattr(layers[-1], "mlp", None)
    if part is None:
        return []
    trees: list[Any] = []  # that of this pass, if it has a tail

    def enter(_: object, __: object, given: dict[str, Any]) -> None:
        trees[:] = [tree for tree in (given.get("tree"),) if tree is not None and tree.tail is not None]

    def gather(_: object, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (given[0][:, trees[0].tail],) if trees else given

    def scatter(_: object, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        return _spread(out, trees[0].tail, len(trees[0].ids), 1) if trees else out

    return [
        layers[-1].register_forward_pre_hook(enter, with_kwargs=True),
        part.register_forward_pre_hook(gather),
        part.register_forward_hook(scatter),
    ]


def _spread(few: torch.Tensor, columns: torch.Tensor, count: int, axis: int) -> torch.Tensor:
    """What belongs to these columns at their places among `count`, zeros elsewhere."""
    shape = [*few.shape[:axis], count, *few.shape[axis + 1 :]]
    return few.new_zeros(shape).index_copy(axis, columns, few)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    tree: Tree | None = None,
    kernel: Kernel = "plain",
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention over a token tree, as Transformers calls it: (1, H, T, D) in, (1, T, H, D) out."""
    assert tree is not None, "attending() is for token trees alone"
    heads = query.shape[1] // key.shape[1]
    if heads > 1:
        key, value = key.repeat_interleave(heads, 1), value.repeat_interleave(heads, 1)
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast, rotary embeddings leave them in float32
    window = sliding_window if sliding_window and sliding_window <= int(tree.positions.max()) else None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if tree.tail is not None and is_last(module):
        mask = tree.mask(query.device, window, is_tail=True)
        few = _dense(query[:, :, tree.tail], key, value, mask, scale, dropout, softcap)
        return _spread(few, tree.tail, len(tree.ids), 2).transpose(1, 2), None
    is_whole = not dropout and softcap is None and window is None and value.shape[-1] == query.shape[-1]
    if kernel == "flex" and not dropout:
        out = flex.attend(query, key, value, tree.blocks(query.device, window), scale, softcap)
    elif query.device.type == "cpu" and is_whole:
        out = TreeAttention.apply(query, key, value, tree, scale)
    else:
        out = _dense(query, key, value, tree.mask(query.device, window), scale, dropout, softcap)
    return out.transpose(1, 2), None


for _kernel, _name in NAMES.items():
    AttentionInterface.register(_name, partial(attention, kernel=_kernel))


def is_last(module: Any) -> bool:
    """Whether this is the attention of a model's last layer."""
    layers = getattr(getattr(module, "config", None), "num_hidden_layers", None)
    return layers is not None and getattr(module, "layer_idx", None) == layers - 1


def _dense(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
    dropout: float,
    softcap: float | None,
) -> torch.Tensor:
    """The same over a whole T x T mask: on accelerators, and for what the parts below cannot do (soft caps, short windows)."""
    if softcap is None:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scale)
    weights = torch.tanh(query @ key.transpose(2, 3) * scale / softcap) * softcap
    weights = weights.masked_fill(~mask, -torch.inf).softmax(-1, dtype=torch.float32).to(query.dtype)
    return torch.nn.functional.dropout(weights, dropout) @ value
