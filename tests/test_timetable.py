"""Which examples stand in which step: every one once an epoch, in an order that seed and epoch fix."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from whet.engine.timetable import Timetable
from whet.sections import Train

LENGTHS = [int(n) for n in np.random.default_rng(3).integers(5, 200, 403)]


def timetable(examples: int = 23, seed: int = 5, **train: object) -> Timetable:
    return Timetable(examples, Train(**train), seed)


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length"])
def test_every_example_stands_in_an_epoch_once(strategy: str) -> None:
    train = Train(per_device_train_batch_size=4, num_train_epochs=2, train_sampling_strategy=strategy)
    plan = Timetable(403, train, 5, lengths=LENGTHS)
    assert plan.steps_per_epoch == 101 and plan.steps == 202
    epochs = [[i for step in range(101) for i in plan.rows(101 * epoch + step)] for epoch in range(2)]
    assert [sorted(seen) for seen in epochs] == [list(range(403))] * 2
    assert (epochs[0] == epochs[1]) == (strategy == "sequential"), "each epoch has its own order, but for the file's"
    assert (epochs[0] == sorted(epochs[0])) == (strategy == "sequential")


def test_batch_and_accumulation_only_split_the_same_step() -> None:
    """8 x 1, 4 x 2, 2 x 4 and 1 x 8: the same examples in each step, whatever the split."""
    splits = [(8, 1), (4, 2), (2, 4), (1, 8)]
    plans = [timetable(per_device_train_batch_size=b, gradient_accumulation_steps=a) for b, a in splits]
    for step in range(plans[0].steps):
        assert len({tuple(p.rows(step)) for p in plans}) == 1
        for plan, (size, _) in zip(plans, splits, strict=True):
            micro = plan.micro_batches(step, size)
            assert [i for m in micro for i in m] == plan.rows(step) and all(len(m) <= size for m in micro)


def test_steps_follow_epochs_and_max_steps() -> None:
    assert timetable(num_train_epochs=0.5, per_device_train_batch_size=4).steps == 3
    assert timetable(num_train_epochs=9, max_steps=4).steps == 4
    plan = timetable(num_train_epochs=1.5, per_device_train_batch_size=8)
    assert [s for s in range(1, plan.steps + 1) if plan.ends_epoch(s)] == [3, 5]


def test_group_by_length_puts_the_longest_first_and_pads_little() -> None:
    def padding(strategy: str) -> int:
        train = Train(per_device_train_batch_size=8, train_sampling_strategy=strategy)
        plan = Timetable(403, train, 5, lengths=LENGTHS)
        steps = [[LENGTHS[i] for i in plan.rows(s)] for s in range(plan.steps_per_epoch)]
        if strategy == "group_by_length":
            assert max(steps[0]) == max(LENGTHS), "what does not fit into memory fails in the first step"
            assert [max(s) for s in steps] != sorted((max(s) for s in steps), reverse=True), "steps come in random order"
        return sum(max(s) * len(s) - sum(s) for s in steps)

    assert padding("group_by_length") < 0.1 * padding("random")


def test_balanced_sampling_shows_each_class_equally_often() -> None:
    """95 to 5: over an epoch of as many draws, half of each; no member of a class comes twice as often as another (±1)."""
    classes = [0] * 95 + [1] * 5
    plan = Timetable(100, Train(class_balance="sampling", per_device_train_batch_size=10), 1, classes=classes)
    seen = Counter(i for step in range(plan.steps_per_epoch) for i in plan.rows(step))
    assert sum(seen[i] for i in range(95)) == sum(seen[i] for i in range(95, 100)) == 50
    assert {seen[i] for i in range(95, 100)} == {10} and max(seen[i] for i in range(95)) == 1
    later = {i for step in range(10, 20) for i in plan.rows(step) if i < 95}
    assert later - {i for i in seen if i < 95}, "another epoch shows other members of the large class"
