"""The attention part of Llama and its kin over a token tree: projections, rotation, attention and the way out, as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from whet.engine import attention
from whet.engine.fused.linear import Projection, adapters, plain_projection, project, project_backward
from whet.engine.tree import Tree
from whet.engine.tree_attention import attend, attend_backward, attend_tail, attend_tail_backward

Tensor = torch.Tensor
# Models whose attention does what is done here and nothing else. The run's trial of its layout holds them to it.
KINDS = ("LlamaAttention", "MistralAttention", "Qwen2Attention")


@dataclass(frozen=True, slots=True)
class Part:
    """An attention module of this kind: its module, and its layers for queries, keys, values and the way out."""

    module: Any
    layers: tuple[Projection, ...]

    def serves(self, x: Tensor, tree: Tree, cos: Tensor) -> bool:
        """Whether this is what the model asks for: a tree on a CPU, without dropout or a window that is shorter than it."""
        module, config = self.module, self.module.config
        window = module.sliding_window if hasattr(module, "sliding_window") else getattr(config, "sliding_window", None)
        return (
            config._attn_implementation == attention.NAMES["plain"]
            and x.device.type == "cpu"
            and not torch.is_autocast_enabled("cpu")
            and cos.shape[-1] == module.head_dim
            and not (module.training and module.attention_dropout)
            and (not window or window > int(tree.positions.max()))
        )


def attention_part(module: Any) -> Part | None:
    """An attention module as a Part, if it is of a kind that is known and its layers are frozen, with adapters or without."""
    if type(module).__name__ not in KINDS:
        return None
    layers = [plain_projection(getattr(module, f"{name}_proj")) for name in "qkvo"]
    whole = tuple(layer for layer in layers if layer is not None)
    return Part(module, whole) if len(whole) == len(layers) else None


def attend_in_one(own: Callable[..., Any], part: Part, *given: Any, **named: Any) -> tuple[Tensor, Tensor | None]:
    """The module's forward: in one where it serves, else its own."""
    asked: Any = [named.get(name) for name in ("hidden_states", "tree", "position_embeddings")]
    x, tree, rotation = asked
    is_whole = not given and x is not None and tree is not None and rotation is not None
    if not is_whole or named.get("past_key_values") is not None or not part.serves(x, tree, rotation[0]):
        found: tuple[Tensor, Tensor | None] = own(*given, **named)
        return found
    tail = tree.tail if attention.is_last(part.module) else None
    facts = (part.module.head_dim, part.module.scaling, part.layers)
    return _Attention.apply(x, *rotation, tree, tail, facts, *adapters(part.layers)), None


class _Attention(torch.autograd.Function):
    """Queries of the tail alone where there is one; the other columns' outputs, which nobody reads, are zero."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, tree: Tree, tail: Tensor | None, facts: Any, *_: Tensor
    ) -> Tensor:
        width, scale, layers = facts
        rows = x[0]  # (T, I)
        asking = rows if tail is None else rows[tail]
        (query,), query_low = project(asking, layers[:1])
        (key, value), key_lows = project(rows, layers[1:3])
        query, key, value = (part.view(len(part), -1, width) for part in (query, key, value))  # (T, H, D)
        _rotate(query, cos, sin, tail)
        _rotate(key, cos, sin)
        heads = query.shape[1] // key.shape[1]
        if tail is None:
            seen, logs = attend(query, _repeated(key, heads), _repeated(value, heads), tree, scale)
        else:
            seen, logs = attend_tail(query, _repeated(key, heads), _repeated(value, heads), tree, scale)
        (out,), out_low = project(seen.flatten(1), layers[3:])
        read_again = None if query_low is None and key_lows is None else rows
        ctx.save_for_backward(read_again, query, key, value, seen, logs, query_low, key_lows, out_low, cos, sin)
        ctx.tree, ctx.tail, ctx.facts = tree, tail, facts
        return (out if tail is None else out.new_zeros((len(rows), out.shape[1])).index_copy_(0, tail, out))[None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, query, key, value, seen, logs, query_low, key_lows, out_low, cos, sin = ctx.saved_tensors
        (_, scale, layers), tail, is_read = ctx.facts, ctx.tail, ctx.needs_input_grad[0]
        grad = grads[0][0] if tail is None else grads[0][0, tail]
        seen_grad, of_out = project_backward([grad], seen.flatten(1), out_low, layers[3:])
        assert seen_grad is not None
        heads = query.shape[1] // key.shape[1]
        read = (seen_grad.view(seen.shape), query, _repeated(key, heads), _repeated(value, heads), seen, logs, ctx.tree, scale)
        query_grad, key_grad, value_grad = attend_backward(*read) if tail is None else attend_tail_backward(*read)
        key_grad, value_grad = (part.unflatten(1, (-1, heads)).sum(2) if heads > 1 else part for part in (key_grad, value_grad))
        _rotate(query_grad, cos, sin, tail, is_back=True)
        _rotate(key_grad, cos, sin, is_back=True)
        key_value_grads = [key_grad.flatten(1), value_grad.flatten(1)]
        rows_grad, of_keys = project_backward(key_value_grads, rows, key_lows, layers[1:3], is_read)
        asking_rows = rows if tail is None or rows is None else rows[tail]
        asking = (query_grad.flatten(1), asking_rows, query_low, layers[:1], is_read)
        if tail is None:
            rows_grad, of_query = project_backward([asking[0]], *asking[1:], so_far=rows_grad)
        else:
            asking_grad, of_query = project_backward([asking[0]], *asking[1:])
            if rows_grad is not None and asking_grad is not None:
                rows_grad.index_add_(0, tail, asking_grad)
        found = None if rows_grad is None else rows_grad[None]
        return found, None, None, None, None, None, *of_query, *of_keys, *of_out


def _repeated(x: Tensor, times: int) -> Tensor:
    """Each head of (T, H, D) so many times."""
    return x.repeat_interleave(times, 1) if times > 1 else x


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, tail: Tensor | None = None, *, is_back: bool = False) -> None:
    """Rotates (N, H, D) in place: the pair of a number in the first half and its like in the second, by its angle; or, of what
    was rotated, takes the gradient back.

    Args:
        x: queries or keys.
        cos: (1, T, D); and so `sin`.
        tail: the tokens among T that x is of, if not all: (N,).

    Source: Su 2021 (arXiv 2104.09864), in the layout of GPT-NeoX and Llama.
    """
    cos, sin = (part[0, :, None] if tail is None else part[0, tail, None] for part in (cos, sin))  # (N, 1, D)
    half = x.shape[-1] // 2
    first, second = sin[..., :half], sin[..., half:]
    turned = torch.cat((second, -first) if is_back else (-first, second), -1)
    swapped = torch.cat((x[..., half:], x[..., :half]), -1)
    x.mul_(cos).addcmul_(swapped, turned)
