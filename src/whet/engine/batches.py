"""How examples become tensors: padded side by side, or packed end to end. Both give the same logits at the same places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from whet.data.tokens import Encoded

# Packed rows are filled up to this many tokens. Attention over a packed row goes over a dense T x T mask, which costs more
# than the padding it saves from about here on.
PACKED_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, or one packed row of it.

    `rows` are its examples in the order of `targets`, all their answer ids in a row: (N,). `ids` and `positions`: (B, T);
    `mask`: (B, T), or None where positions alone say what belongs together. `spans` says where each example lies: row,
    first column, length. `kept` is what the model is asked for (the last columns, or the columns of the one row), and
    `picked` which of them predict a target: a bool array over (B, K).
    """

    rows: tuple[Encoded, ...]
    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None
    spans: tuple[tuple[int, int, int], ...]
    kept: int | torch.Tensor
    picked: torch.Tensor
    targets: torch.Tensor

    @property
    def target_tokens(self) -> int:
        """How many ids carry loss."""
        return len(self.targets)

    def logits(self, model: torch.nn.Module, embedded: torch.Tensor | None = None) -> torch.Tensor:
        """The model's logits that predict each target: (N, V).

        Args:
            model: a causal language model that takes `logits_to_keep`.
            embedded: (B, T, D), instead of the ids' own embeddings.
        """
        given = {"input_ids": self.ids} if embedded is None else {"inputs_embeds": embedded}
        found = model(
            **given, attention_mask=self.mask, position_ids=self.positions, use_cache=False, logits_to_keep=self.kept
        ).logits  # (B, K, V)
        return found[self.picked]

    def per_row(self, values: torch.Tensor) -> torch.Tensor:
        """One value per target (N,) summed for each example: (len(rows),), float64."""
        owner = torch.repeat_interleave(
            torch.arange(len(self.rows), device=values.device),
            torch.tensor([len(r.completion) for r in self.rows], device=values.device),
        )
        return torch.zeros(len(self.rows), dtype=torch.float64, device=values.device).index_add_(0, owner, values.double())


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
    tensors = [torch.from_numpy(a).to(device) for a in (ids, positions, mask, picked, _targets(rows))]
    spans = tuple((i, length - len(row), len(row)) for i, row in enumerate(rows))
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


def _packed(rows: Sequence[Encoded], device: torch.device) -> Batch:
    starts = np.cumsum([0, *(len(r) for r in rows)])[:-1].tolist()
    ids = np.concatenate([row.prompt + row.completion for row in rows])[None].astype(np.int64)
    positions = np.concatenate([np.arange(len(row)) for row in rows])[None]
    kept = np.concatenate(
        [start + np.arange(len(row.prompt) - 1, len(row) - 1) for start, row in zip(starts, rows, strict=True)]
    )
    picked = np.ones((1, len(kept)), bool)
    tensors = [torch.from_numpy(a).to(device) for a in (ids, positions, kept, picked, _targets(rows))]
    spans = tuple((0, start, len(row)) for start, row in zip(starts, rows, strict=True))
    return Batch(tuple(rows), tensors[0], tensors[1], None, spans, tensors[2], tensors[3], tensors[4])


def _targets(rows: Sequence[Encoded]) -> np.ndarray:
    return np.array([token for row in rows for token in row.completion], np.int64)
