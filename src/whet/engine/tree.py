"""The token tree: a micro-batch in which every shared prefix stands once.

    instruction ─┬─ first text ── Answer: True
                 ├─ second text ── Answer: False
                 └─ third text ─┬─ Answer: True          (the same text twice: only the answers differ)
                                └─ Answer: False

The nodes lie in one row in depth-first order, so what comes below a node is one stretch of columns behind it. A token sees
the tokens of its own node up to itself and all tokens of the nodes above: what it would see if its example stood alone. That
is exact: positions go on along the path, and the last shared token predicts the first token of every branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface

NAME = "whet_tree"
# A prefix shared by fewer tokens than this is computed anew for each branch: a node costs one more attention call a layer.
SHORTEST_NODE = 4
# Nodes are put side by side for their own attention; a group takes nodes down to this share of its longest.
GROUPED_FROM = 0.6
# The last layer computes only what is read, where that is at most one column in so many: its attention is dense then.
TAIL_SHARE = 4

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A stretch of tokens: its first column, its length, the position of its first token, where its subtree ends (column)."""

    start: int
    length: int
    depth: int
    end: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one sequence in the row: the first column, the first token's place in the sequence, how many tokens."""

    start: int
    offset: int
    length: int


@dataclass(slots=True)
class Tree:
    """Nodes in depth-first order, the row that they make, and where each sequence lies in it. `read`: the columns whose outputs
    are read, if those of others are not."""

    nodes: tuple[Node, ...]
    ids: np.ndarray
    paths: tuple[tuple[Piece, ...], ...]
    read: torch.Tensor | None = None
    _tables: list[_Tables] = field(default_factory=list, repr=False)
    _masks: dict[tuple[torch.device, int | None, bool], torch.Tensor] = field(default_factory=dict, repr=False)

    @property
    def positions(self) -> np.ndarray:
        """The place of each column's token in the sequences that it belongs to: (T,)."""
        return np.concatenate([node.depth + np.arange(node.length) for node in self.nodes])

    @property
    def shared(self) -> list[Node]:
        """The nodes that have something below them."""
        return [node for node in self.nodes if node.end > node.start + node.length]

    def tables(self) -> _Tables:
        """The nodes side by side, for the attention of each node to itself."""
        if not self._tables:
            self._tables.append(_Tables.of(self.nodes))
        return self._tables[0]

    @property
    def tail(self) -> torch.Tensor | None:
        """The columns that the last layer need compute, if they are few enough to be worth it."""
        return self.read if self.read is not None and TAIL_SHARE * len(self.read) <= len(self.ids) else None

    def mask(self, device: torch.device, window: int | None = None, is_tail: bool = False) -> torch.Tensor:
        """Which column (second index) each column (first; of the tail alone, if asked) sees, no farther back than `window`
        positions: (T, T) or (N, T), bool."""
        key = (device, window, is_tail)
        if key not in self._masks:
            ends = torch.from_numpy(np.repeat([n.end for n in self.nodes], [n.length for n in self.nodes])).to(device)
            column, positions = torch.arange(len(self.ids), device=device), torch.from_numpy(self.positions).to(device)
            seeing = column if not is_tail or self.tail is None else self.tail
            seen = (column[None] <= seeing[:, None]) & (ends[None] > seeing[:, None])
            if window is not None:
                seen &= positions[seeing][:, None] - positions[None] < window
            self._masks[key] = seen
        return self._masks[key]


@dataclass(frozen=True, slots=True)
class _Group:
    """Nodes of similar length side by side, the shorter ones filled up with their last token: (n, L).

    `span`: where they lie in the row, if it is one node, or in the gathered columns. `kept`: (n x L, 1), 0 where there is
    filling, None where there is none.
    """

    count: int
    span: slice
    kept: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class _Tables:
    """All nodes in groups. `gathered`: the columns of those groups that are more than a node; `place`: where each column of the
    row stands when the groups follow each other."""

    groups: tuple[_Group, ...]
    gathered: torch.Tensor
    place: torch.Tensor

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> _Tables:
        groups, gathered, place = [], [np.empty(0, np.int64)], np.empty(sum(n.length for n in nodes), np.int64)
        waiting, behind, tabled = sorted(nodes, key=lambda node: -node.length), 0, 0
        while waiting:
            width = waiting[0].length
            taken = [n for n in waiting if n.length >= GROUPED_FROM * width]
            for i, node in enumerate(taken):
                place[node.start : node.start + node.length] = behind + i * width + np.arange(node.length)
            if len(taken) == 1:
                groups.append(_Group(1, slice(taken[0].start, taken[0].start + width), None))
            else:
                size = len(taken) * width
                gathered += [n.start + np.minimum(np.arange(width), n.length - 1) for n in taken]
                kept = np.concatenate([np.arange(width) < n.length for n in taken])
                filled = None if kept.all() else torch.from_numpy(kept.astype(np.float32))[:, None]
                groups.append(_Group(len(taken), slice(tabled, tabled + size), filled))
                tabled += size
            behind += len(taken) * width
            waiting = waiting[len(taken) :]
        return cls(tuple(groups), torch.from_numpy(np.concatenate(gathered)), torch.from_numpy(place))

    def split(self, x: torch.Tensor, only_kept: bool = False) -> Iterator[torch.Tensor]:
        """The nodes' columns of (1, H, T, D), a group at a time: (n, H, L, D); the filling zero if asked."""
        table = x[0].index_select(1, self.gathered)  # (H, all n x L, D)
        for group in self.groups:
            if group.count == 1:
                yield x[:, :, group.span]
                continue
            part = table[:, group.span]
            if only_kept and group.kept is not None:
                part = part * group.kept.to(part.dtype)
            yield part.unflatten(1, (group.count, -1)).transpose(0, 1)

    def join(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Groups of (n, H, L, ...) as the row: (T, H, ...)."""
        rows = [part.transpose(1, 2).flatten(0, 1) for part in parts]
        return torch.cat(rows).index_select(0, self.place)


def grow(sequences: Sequence[Ids]) -> Tree:
    """The tree of these sequences; equal ones share all their nodes.

    Example:
        >>> tree = grow([(1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 7)])
        >>> [(n.start, n.length, n.depth, n.end) for n in tree.nodes], tree.ids.tolist()
        ([(0, 4, 0, 7), (4, 2, 4, 6), (6, 1, 4, 7)], [1, 2, 3, 4, 5, 6, 7])
    """
    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    nodes: list[Node] = []
    ids: list[int] = []
    paths: dict[int, tuple[Piece, ...]] = {}

    def add(members: list[int], depth: int, path: tuple[Piece, ...]) -> None:
        """Adds what these sorted sequences hold from `depth` on."""
        ended = [i for i in members if len(sequences[i]) == depth]
        paths.update((i, path) for i in ended)
        for _, alike in groupby(members[len(ended) :], key=lambda i: sequences[i][depth]):
            add_alike(list(alike), depth, path)

    def add_alike(members: list[int], depth: int, path: tuple[Piece, ...]) -> None:
        """Adds sequences whose next token is the same: as one node, or branch by branch where they share too little."""
        shared = _common(sequences[members[0]], sequences[members[-1]])
        if shared - depth < SHORTEST_NODE and shared < len(sequences[members[-1]]):
            for _, alike in groupby(members, key=lambda i: sequences[i][: shared + 1]):
                add_alike(list(alike), depth, path)
            return
        start = len(ids)
        ids.extend(sequences[members[0]][depth:shared])
        nodes.append(Node(start, shared - depth, depth, 0))  # its end is known once all below it is added
        place = len(nodes) - 1
        add(members, shared, (*path, Piece(start, depth, shared - depth)))
        nodes[place] = Node(start, shared - depth, depth, len(ids))

    add(order, 0, ())
    return Tree(tuple(nodes), np.array(ids, np.int64), tuple(paths[i] for i in range(len(sequences))))


def _common(one: Ids, other: Ids) -> int:
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


# -- attention -----------------------------------------------------------------------------------------------------------


@contextmanager
def attending(model: torch.nn.Module) -> Iterator[None]:
    """Lets the model's attention layers read token trees, and its last layer leave out what nobody reads; all is as before
    afterwards. Backward passes that compute activations again must lie inside as well."""
    config: Any = model.config
    before = config._attn_implementation
    config._attn_implementation = NAME
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
    if tree.tail is not None and _is_last(module):
        mask = tree.mask(query.device, window, is_tail=True)
        few = _dense(query[:, :, tree.tail], key, value, mask, scale, dropout, softcap)
        return _spread(few, tree.tail, len(tree.ids), 2).transpose(1, 2), None
    if query.device.type == "cpu" and not dropout and softcap is None and window is None and value.shape[-1] == query.shape[-1]:
        out = _TreeAttention.apply(query, key, value, tree, scale)
    else:
        out = _dense(query, key, value, tree.mask(query.device, window), scale, dropout, softcap)
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, attention)


def _is_last(module: Any) -> bool:
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


class _TreeAttention(torch.autograd.Function):
    """Attention in parts: each node to itself (causal), what lies below a shared node to that node (whole).

    The parts are merged by their log-sum-exp; the backward pass of each part runs with the merged output and log-sum-exp,
    which makes it the exact gradient of the whole.

    Source: Dao 2022 (arXiv 2205.14135), the identity behind the backward pass of FlashAttention.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tree: Tree, scale: float
    ) -> torch.Tensor:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        exact = torch.float64 if query.dtype == torch.float64 else torch.float32
        tables = tree.tables()
        asked = zip(*(tables.split(x) for x in (query, key, value)), strict=True)
        own = [flash(*part, is_causal=True, scale=scale) for part in asked]
        out = tables.join([part[0] for part in own]).to(exact)  # (T, H, D)
        logs = tables.join([part[1] for part in own]).to(exact)  # (T, H)
        for node in tree.shared:
            above, below = slice(node.start, node.start + node.length), slice(node.start + node.length, node.end)
            seen, log = flash(query[:, :, below], key[:, :, above], value[:, :, above], scale=scale)
            old, new = logs[below], log[0].transpose(0, 1).to(exact)
            both = torch.logaddexp(old, new)
            out[below].mul_((old - both).exp_()[..., None]).addcmul_(seen[0].transpose(0, 1), (new - both).exp_()[..., None])
            logs[below] = both
        merged = out.to(query.dtype).transpose(0, 1)[None]
        logs = logs.transpose(0, 1)[None].contiguous()
        ctx.save_for_backward(query, key, value, merged, logs)
        ctx.tree, ctx.scale = tree, scale
        return merged

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        query, key, value, out, logs = ctx.saved_tensors
        grad = grads[0]
        tables = ctx.tree.tables()
        groups = zip(
            tables.split(grad, only_kept=True),
            *map(tables.split, (query, key, value, out)),
            tables.split(logs[..., None]),
            strict=True,
        )
        own = [backward(*tensors, log[..., 0], 0.0, True, scale=ctx.scale) for *tensors, log in groups]
        totals = [tables.join(parts).transpose(0, 1)[None] for parts in zip(*own, strict=True)]  # (1, H, T, D)
        for node in ctx.tree.shared:
            above, below = slice(node.start, node.start + node.length), slice(node.start + node.length, node.end)
            q, k, v = backward(
                grad[:, :, below], query[:, :, below], key[:, :, above], value[:, :, above], out[:, :, below],
                logs[:, :, below], 0.0, False, scale=ctx.scale,
            )  # fmt: skip
            totals[0][:, :, below] += q
            totals[1][:, :, above] += k
            totals[2][:, :, above] += v
        return (*totals, None, None)
