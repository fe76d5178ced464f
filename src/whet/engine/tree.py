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
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask

from whet.engine import flex
from whet.knobs.layout import SHORTEST_NODE, TAIL_SHARE

# Leaves are put side by side for their own attention; a group takes those down to this share of its longest.
GROUPED_FROM = 0.6

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A stretch of tokens: its first column, its length, the position of its first token, where its subtree ends (column)."""

    start: int
    length: int
    depth: int
    end: int

    @property
    def own(self) -> slice:
        """Its columns."""
        return slice(self.start, self.start + self.length)

    @property
    def subtree(self) -> slice:
        """Its columns and those of all below it."""
        return slice(self.start, self.end)


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
    _leaves: list[Leaves] = field(default_factory=list, repr=False)
    _masks: dict[tuple[torch.device, int | None, bool], torch.Tensor] = field(default_factory=dict, repr=False)
    _biases: dict[torch.dtype, torch.Tensor] = field(default_factory=dict, repr=False)
    _blocks: dict[tuple[torch.device, int | None], BlockMask] = field(default_factory=dict, repr=False)

    @property
    def positions(self) -> np.ndarray:
        """The place of each column's token in the sequences that it belongs to: (T,)."""
        return np.concatenate([node.depth + np.arange(node.length) for node in self.nodes])

    @property
    def ends(self) -> np.ndarray:
        """Where the subtree of each column's node ends: (T,)."""
        return np.repeat([node.end for node in self.nodes], [node.length for node in self.nodes])

    @property
    def shared(self) -> list[Node]:
        """The nodes that have something below them."""
        return [node for node in self.nodes if node.end > node.start + node.length]

    def leaves(self) -> Leaves:
        """The nodes that have nothing below them."""
        if not self._leaves:
            self._leaves.append(Leaves.of(self.nodes))
        return self._leaves[0]

    @property
    def tail(self) -> torch.Tensor | None:
        """The columns that the last layer need compute, if they are few enough to be worth it."""
        return self.read if self.read is not None and TAIL_SHARE * len(self.read) <= len(self.ids) else None

    def mask(self, device: torch.device, window: int | None = None, is_tail: bool = False) -> torch.Tensor:
        """Which column (second index) each column (first; of the tail alone, if asked) sees, no farther back than `window`
        positions: (T, T) or (N, T), bool."""
        key = (device, window, is_tail)
        if key not in self._masks:
            ends = torch.from_numpy(self.ends).to(device)
            column, positions = torch.arange(len(self.ids), device=device), torch.from_numpy(self.positions).to(device)
            seeing = column if not is_tail or self.tail is None else self.tail
            seen = (column[None] <= seeing[:, None]) & (ends[None] > seeing[:, None])
            if window is not None:
                seen &= positions[seeing][:, None] - positions[None] < window
            self._masks[key] = seen
        return self._masks[key]

    def tail_bias(self, dtype: torch.dtype) -> torch.Tensor:
        """The mask of the tail as what is added to scores: (N, T), 0 or -inf."""
        if dtype not in self._biases:
            seen = self.mask(torch.device("cpu"), is_tail=True)
            self._biases[dtype] = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, -torch.inf)
        return self._biases[dtype]

    def blocks(self, device: torch.device, window: int | None = None) -> BlockMask:
        """The same for flex_attention."""
        if (device, window) not in self._blocks:
            self._blocks[device, window] = flex.block_mask(self, device, window)
        return self._blocks[device, window]


@dataclass(frozen=True, slots=True)
class Leaves:
    """The nodes with nothing below them, side by side in groups of similar length, the shorter ones of a group filled up with
    their last token.

    `shapes`: nodes and length of each group; `gathered`: the column of each place in all groups, one after another (P,);
    `filling`: the places that only fill up; `columns`: those of all leaves (N,), and `places`: where each stands (N,).
    """

    shapes: tuple[tuple[int, int], ...]
    gathered: torch.Tensor
    filling: torch.Tensor
    columns: torch.Tensor
    places: torch.Tensor

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> Leaves:
        shapes, gathered, kept = list[tuple[int, int]](), [np.empty(0, np.int64)], [np.empty(0, bool)]
        waiting = sorted((n for n in nodes if n.end == n.start + n.length), key=lambda node: -node.length)
        while waiting:
            width = waiting[0].length
            taken = [n for n in waiting if n.length >= GROUPED_FROM * width]
            gathered += [n.start + np.minimum(np.arange(width), n.length - 1) for n in taken]
            kept += [np.arange(width) < n.length for n in taken]
            shapes.append((len(taken), width))
            waiting = waiting[len(taken) :]
        columns, is_kept = np.concatenate(gathered), np.concatenate(kept)
        found = (columns, np.flatnonzero(~is_kept), columns[is_kept], np.flatnonzero(is_kept))
        return cls(tuple(shapes), *map(torch.from_numpy, found))

    def split(self, x: torch.Tensor, is_filled: bool = True) -> Iterator[torch.Tensor]:
        """The leaves' columns of (T, H, ...), a group at a time: (n, H, L, ...). What fills up is zero unless it is filled."""
        table = x.index_select(0, self.gathered)
        if not is_filled:
            table.index_fill_(0, self.filling, 0)
        start = 0
        for count, length in self.shapes:
            yield table[start : start + count * length].unflatten(0, (count, length)).transpose(1, 2)
            start += count * length

    def put(self, x: torch.Tensor, parts: Sequence[torch.Tensor]) -> None:
        """Writes groups of (n, H, L, ...) to their columns of (T, H, ...)."""
        rows = [part.transpose(1, 2).flatten(0, 1) for part in parts]
        if rows:
            x.index_copy_(0, self.columns, torch.cat(rows).index_select(0, self.places).to(x.dtype))


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
