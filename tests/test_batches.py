"""Micro-batches: every example once an epoch, in an order that seed and epoch fix; answers flush right."""

from __future__ import annotations

import torch
from engine_parts import random_rows

from whet.engine.batches import Timetable, collate
from whet.sections import Train


def timetable(examples: int = 23, seed: int = 5, **train: object) -> Timetable:
    return Timetable(examples, Train(**train), seed)


def test_every_example_stands_in_an_epoch_once() -> None:
    plan = timetable(per_device_train_batch_size=4, gradient_accumulation_steps=2, num_train_epochs=2)
    assert plan.steps_per_epoch == 3 and plan.steps == 6
    for epoch in range(2):
        seen = [i for step in range(3) for micro in plan.micro_batches(3 * epoch + step) for i in micro]
        assert sorted(seen) == list(range(23))
    first, second = ([plan.micro_batches(s) for s in steps] for steps in (range(3), range(3, 6)))
    assert first != second, "each epoch has its own order"


def test_batch_and_accumulation_only_split_the_same_step() -> None:
    """8×1, 4×2, 2×4 and 1×8: the same examples in each step, whatever the split."""
    splits = [(8, 1), (4, 2), (2, 4), (1, 8)]
    plans = [timetable(per_device_train_batch_size=b, gradient_accumulation_steps=a) for b, a in splits]
    for step in range(plans[0].steps):
        assert len({tuple(i for micro in p.micro_batches(step) for i in micro) for p in plans}) == 1


def test_steps_follow_epochs_and_max_steps() -> None:
    assert timetable(num_train_epochs=0.5, per_device_train_batch_size=4).steps == 3
    assert timetable(num_train_epochs=9, max_steps=4).steps == 4
    plan = timetable(num_train_epochs=1.5, per_device_train_batch_size=8)
    assert [s for s in range(1, plan.steps + 1) if plan.ends_epoch(s)] == [3, 5]


def test_answers_end_in_the_last_column() -> None:
    rows = random_rows(6)
    batch = collate(rows, padding=1, device=torch.device("cpu"))
    for i, row in enumerate(rows):
        assert tuple(batch.ids[i][batch.mask[i] == 1].tolist()) == row.prompt + row.completion
        assert tuple(batch.targets[i][batch.targets[i] != -100].tolist()) == row.completion
        assert tuple(batch.ids[i, -len(row.completion) :].tolist()) == row.completion
        assert batch.positions[i][batch.mask[i] == 1].tolist() == list(range(len(row)))
    assert batch.target_tokens == sum(len(r.completion) for r in rows)
