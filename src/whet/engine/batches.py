"""Which examples stand in which step, and how a micro-batch becomes tensors.

The order is a function of seed and epoch alone, so a resumed run draws the same batches without remembering any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from whet.data.tokens import Encoded
from whet.sections import Train


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch, padded on the left so that all answers end in the last column.

    `ids`, `mask`, `positions`: (B, T). `targets`: (B, K), the last K ids where they carry loss, -100 elsewhere.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor

    @property
    def target_tokens(self) -> int:
        """How many ids carry loss."""
        return int((self.targets != -100).sum())


@dataclass(frozen=True, slots=True)
class Timetable:
    """How many steps a run has, and which examples each step sees."""

    examples: int
    train: Train
    seed: int

    @property
    def step_size(self) -> int:
        """Examples in a full step."""
        return self.train.per_device_train_batch_size * self.train.gradient_accumulation_steps

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass; the last may be smaller, and no example is left out."""
        return math.ceil(self.examples / self.step_size)

    @property
    def steps(self) -> int:
        """Steps in the whole run."""
        wanted = math.ceil(self.train.num_train_epochs * self.steps_per_epoch)
        return min(wanted, self.train.max_steps) if self.train.max_steps else wanted

    def ends_epoch(self, step: int) -> bool:
        """Is this step (counted from 1) the last of an epoch, or of the run?"""
        return step % self.steps_per_epoch == 0 or step == self.steps

    def micro_batches(self, step: int) -> list[list[int]]:
        """The example indices of step number `step` (from 0), one list a micro-batch."""
        epoch, at = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.examples)
        rows = order[at * self.step_size : (at + 1) * self.step_size].tolist()
        size = self.train.per_device_train_batch_size
        return [rows[i : i + size] for i in range(0, len(rows), size)]


def collate(rows: Sequence[Encoded], padding: int, device: torch.device) -> Batch:
    """The rows as one left-padded Batch."""
    length, kept = max(len(r) for r in rows), max(len(r.completion) for r in rows)
    ids = np.full((len(rows), length), padding, np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    targets = np.full((len(rows), kept), -100, np.int64)
    for i, row in enumerate(rows):
        ids[i, length - len(row) :] = row.prompt + row.completion
        mask[i, length - len(row) :] = 1
        targets[i, kept - len(row.completion) :] = row.completion
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    return Batch(*(torch.from_numpy(a).to(device) for a in (ids, mask, positions, targets)))
