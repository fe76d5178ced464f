"""Attention over a token tree in one kernel, for CUDA: torch's flex_attention, which skips what no token of a block sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

if TYPE_CHECKING:
    from whet.engine.tree import Tree

Tensor = torch.Tensor


@cache
def _kernel() -> Callable[..., Any]:
    """flex_attention compiled for any number of columns; uncompiled it would lay the whole T x T out."""
    return torch.compile(flex_attention, dynamic=True)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float, softcap: float | None) -> Tensor:
    """Attention of (1, H, T, D) where the mask lets a column see another. On a CPU, for tests, forward only."""

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        return score if softcap is None else torch.tanh(score / softcap) * softcap

    run: Any = flex_attention if query.device.type == "cpu" else _kernel()
    out: Tensor = run(query, key, value, score_mod=None if softcap is None else capped, block_mask=mask, scale=scale)
    return out


def block_mask(tree: Tree, device: torch.device, window: int | None) -> BlockMask:
    """Which column sees which, as `Tree.mask` says it, by a rule and a table of blocks instead of T x T."""
    ends, positions = (torch.from_numpy(array).to(device) for array in (tree.ends, tree.positions))

    def sees(_batch: Tensor, _head: Tensor, asking: Tensor, asked: Tensor) -> Tensor:
        seen = (asked <= asking) & (ends[asked] > asking)
        return seen if window is None else seen & (positions[asking] - positions[asked] < window)

    return create_block_mask(sees, None, None, len(tree.ids), len(tree.ids), device=device)
