"""How examples become tensors: padded side by side, packed end to end, or hung on a token tree. All give the same logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from whet.data.tokens import Encoded
from whet.engine.tree import Piece, Tree, grow
from whet.knobs.layout import PACKED_TOKENS


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, or one packed row of it.

    `rows` are its examples in the order of `targets`, all their answer ids in a row: (N,). `ids` and `positions`: (B, T);
    `mask`: (B, T), or None where positions or the tree say what belongs together. `spans` says where each example lies: its
    row and the pieces that it is made of, which several examples may share. `kept` is what the model is asked for (the last
    columns, or the columns of the one row), `picked` the places of those that predict something among all B x K, or None if all
    do; and `which` of the picked ones predicts each target, (N,), or None where each predicts one, in order.
    """

    rows: tuple[Encoded, ...]
    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None
    spans: tuple[tuple[int, tuple[Piece, ...]], ...]
    kept: int | torch.Tensor
    picked: torch.Tensor | None
    targets: torch.Tensor
    tree: Tree | None = None
    which: torch.Tensor | None = None

    @property
    def target_tokens(self) -> int:
        """How many ids carry loss."""
        return len(self.targets)

    @property
    def places(self) -> torch.Tensor:
        """Which of all B x T tokens predicts each target: (N,)."""
        if isinstance(self.kept, torch.Tensor):
            return self.kept if self.which is None else self.kept[self.which]
        rows, length = self.ids.shape
        picked = torch.arange(rows * self.kept, device=self.ids.device) if self.picked is None else self.picked
        return picked // self.kept * length + length - self.kept + picked % self.kept

    def logits(self, model: torch.nn.Module, embedded: torch.Tensor | None = None) -> torch.Tensor:
        """The model's logits that predict each target: (N, V).

        Args:
            model: a causal language model that takes `logits_to_keep`.
            embedded: (B, T, D), instead of the ids' own embeddings.
        """
        found = self._distinct_logits(model, embedded)
        return found if self.which is None else found[self.which]

    def nats(self, model: torch.nn.Module) -> torch.Tensor:
        """-log P of each target: (N,), float32 (float64 of a float64 model)."""
        logits = full(self._distinct_logits(model))
        which = torch.arange(len(logits), device=logits.device) if self.which is None else self.which
        return logits.logsumexp(-1)[which] - logits[which, self.targets]

    def _distinct_logits(self, model: torch.nn.Module, embedded: torch.Tensor | None = None) -> torch.Tensor:
        """The logits at each place that predicts something, once each."""
        given: dict[str, Any] = {"input_ids": self.ids} if embedded is None else {"inputs_embeds": embedded}
        mask = self.mask
        if self.tree is not None:  # a mask of four dimensions is taken as it is: Transformers builds none, and none is read
            given["tree"], mask = self.tree, self.ids.new_ones((1, 1, 1, 1), dtype=torch.bool)
        found = model(
            **given, attention_mask=mask, position_ids=self.positions, use_cache=False, logits_to_keep=self.kept
        ).logits  # (B, K, V)
        flat = found.flatten(0, 1)
        return flat if self.picked is None else flat[self.picked]

    def per_row(self, values: torch.Tensor) -> torch.Tensor:
        """One value per target (N,) summed for each example: (len(rows),), float64."""
        owner = torch.repeat_interleave(
            torch.arange(len(self.rows), device=values.device),
            torch.tensor([len(r.completion) for r in self.rows], device=values.device),
        )
        return torch.zeros(len(self.rows), dtype=torch.float64, device=values.device).index_add_(0, owner, values.double())


def full(logits: torch.Tensor) -> torch.Tensor:
    """Logits in the precision that losses and probabilities are computed in: float32, or float64 where the model is."""
    return logits if logits.dtype == torch.float64 else logits.float()


def collate(rows: Sequence[Encoded], padding: int, device: torch.device) -> Batch:
    """The rows side by side, padded on the left so that all answers end in the last column."""
    length, kept = max(len(r) for r in rows), max(len(r.completion) for r in rows)
    ids = np.full((len(rows), length), padding, np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    picked = np.zeros((len(rows), kept + 1), bool)
    for i, row in enumerate(rows):
        ids[i, length - len(row) :] = row.prompt + row.completion
        mask[i, length - len(row) :] = 1
        picked[i, kept - len(row.completion) : kept] = True
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    tensors = [torch.from_numpy(a).to(device) for a in (ids, positions, mask, np.flatnonzero(picked), _targets(rows))]
    spans = tuple((i, (Piece(length - len(row), 0, len(row)),)) for i, row in enumerate(rows))
    return Batch(tuple(rows), tensors[0], tensors[1], tensors[2], spans, kept + 1, tensors[3], tensors[4])


def pack(rows: Sequence[Encoded], device: torch.device, capacity: int = PACKED_TOKENS) -> list[Batch]:
    """The rows end to end without padding, in as few packed rows of `capacity` tokens as best-fit decreasing finds.

    Positions begin again at zero for each example; from that Transformers builds a mask in which none sees another.
    """
    return [_packed([rows[i] for i in members], device) for members in best_fit(list(map(len, rows)), capacity)]


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices grouped so that each group's lengths sum to at most `capacity`: longest first, each where it fits tightest.

    An item longer than `capacity` has a group of its own. Within a group the order is that of the input.

    Source: best-fit decreasing, Johnson 1973; at most 11/9 of the fewest groups + 1.

    Example:
        >>> best_fit([5, 3, 4, 6, 2], 10)
        [[2, 3], [0, 1, 4]]
    """
    groups: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [g for g, free in enumerate(room) if free >= lengths[i]]
        if fitting:
            tightest = min(fitting, key=lambda g: room[g])
            groups[tightest].append(i)
            room[tightest] -= lengths[i]
        else:
            groups.append([i])
            room.append(capacity - lengths[i])
    return [sorted(group) for group in groups]


def hang(rows: Sequence[Encoded], device: torch.device) -> Batch:
    """The rows on one token tree: every prefix that some of them share stands once.

    The model must be called inside `attention.attending`.
    """
    tree = grow([row.prompt + row.completion for row in rows])
    places = np.concatenate([_columns(path)[len(row.prompt) - 1 : -1] for row, path in zip(rows, tree.paths, strict=True)])
    kept, which = np.unique(places, return_inverse=True)
    is_one_each = len(kept) == len(places)
    arrays = (tree.ids[None], tree.positions[None], places if is_one_each else kept, _targets(rows), which)
    tensors = [torch.from_numpy(a).to(device) for a in arrays]
    tree.read = tensors[2]
    spans = tuple((0, path) for path in tree.paths)
    which_of_them = None if is_one_each else tensors[4]
    return Batch(tuple(rows), tensors[0], tensors[1], None, spans, tensors[2], None, tensors[3], tree, which_of_them)


def _columns(path: Sequence[Piece]) -> np.ndarray:
    """The columns of a sequence's tokens, in order."""
    return np.concatenate([piece.start + np.arange(piece.length) for piece in path])


def _packed(rows: Sequence[Encoded], device: torch.device) -> Batch:
    starts = np.cumsum([0, *(len(r) for r in rows)])[:-1].tolist()
    ids = np.concatenate([row.prompt + row.completion for row in rows])[None].astype(np.int64)
    positions = np.concatenate([np.arange(len(row)) for row in rows])[None]
    kept = np.concatenate(
        [start + np.arange(len(row.prompt) - 1, len(row) - 1) for start, row in zip(starts, rows, strict=True)]
    )
    tensors = [torch.from_numpy(a).to(device) for a in (ids, positions, kept, _targets(rows))]
    spans = tuple((0, (Piece(start, 0, len(row)),)) for start, row in zip(starts, rows, strict=True))
    return Batch(tuple(rows), tensors[0], tensors[1], None, spans, tensors[2], None, tensors[3])


def _targets(rows: Sequence[Encoded]) -> np.ndarray:
    return np.array([token for row in rows for token in row.completion], np.int64)
