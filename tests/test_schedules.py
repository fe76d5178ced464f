"""Every learning-rate schedule against Transformers' own, at every step from the end of warm-up on; and what holds for all."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import transformers

from whet.budget import schedule
from whet.knobs.schedules import ARGUMENTS, ELSEWHERE, SCHEDULES, learning_rate, why_not_schedule
from whet.sections import Train

PEAK = 3e-4
LENGTHS = ((1, 0), (7, 0), (10, 2), (50, 1), (64, 13), (100, 30))  # steps, of them warm-up
ALL_WARM_UP = ((20, 20), (5, 8))
KWARGS: list[tuple[str, dict[str, float | str]]] = [
    ("linear", {}), ("cosine", {}), ("cosine", {"num_cycles": 1.5}), ("constant", {}), ("constant_with_warmup", {}),
    ("cosine_with_restarts", {}), ("cosine_with_restarts", {"num_cycles": 3}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.1}), ("cosine_with_min_lr", {"min_lr": 1e-5}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.2, "num_cycles": 1.0}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1}), ("cosine_warmup_with_min_lr", {"min_lr": 1e-5, "num_cycles": 1.0}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.3}),
    ("polynomial", {}), ("polynomial", {"power": 2.0}), ("polynomial", {"power": 0.5, "lr_end": 1e-5}),
    ("polynomial", {"lr_end": 0}),
    ("inverse_sqrt", {}), ("inverse_sqrt", {"timescale": 20}),
    ("warmup_stable_decay", {"num_decay_steps": 4}), ("warmup_stable_decay", {"num_decay_steps": 30, "decay_type": "linear"}),
    ("warmup_stable_decay", {"num_decay_steps": 10, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}),
    ("warmup_stable_decay", {"num_decay_steps": 5, "num_stable_steps": 2, "min_lr_ratio": 0.1}),
    ("warmup_stable_decay", {"num_decay_steps": 8, "num_cycles": 1.5}),
]  # fmt: skip


def ours(name: str, steps: int, warmup: int, arguments: dict[str, float | str]) -> list[float]:
    return [learning_rate(s, steps, PEAK, name, warmup, arguments) for s in range(steps)]


def theirs(name: str, steps: int, warmup: int, arguments: dict[str, float | str]) -> list[float]:
    """The rates that Transformers gives each step of a run."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    given: dict[str, Any] = dict(arguments)
    if "num_stable_steps" in given:  # of the two lengths that they would take they want one
        built: Any = transformers.get_wsd_schedule(optimizer, num_warmup_steps=warmup, **given)
    else:
        built = transformers.get_scheduler(name, optimizer, warmup, steps, scheduler_specific_kwargs=given)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        built.step()
    return rates


def test_every_schedule_and_every_argument_is_compared() -> None:
    assert len(SCHEDULES) == 10 and len(KWARGS) == 24
    assert {name for name, _ in KWARGS} == SCHEDULES.keys()
    for name, known in SCHEDULES.items():
        used = {key for n, arguments in KWARGS if n == name for key in arguments}
        assert used == set(known.arguments), name
    assert {a for s in SCHEDULES.values() for a in s.arguments} == {*ARGUMENTS, "decay_type"}


@pytest.mark.parametrize(("steps", "warmup"), LENGTHS)
@pytest.mark.parametrize(("name", "arguments"), KWARGS, ids=str)
def test_equal_to_transformers_from_the_end_of_warm_up_on(
    name: str, arguments: dict[str, float | str], steps: int, warmup: int
) -> None:
    if not SCHEDULES[name].warms_up:
        warmup = 0  # a recipe that asks for one is refused
    assert ours(name, steps, warmup, arguments)[warmup:] == pytest.approx(
        theirs(name, steps, warmup, arguments)[warmup:], rel=1e-12, abs=1e-18
    )


@pytest.mark.parametrize(("name", "arguments"), KWARGS, ids=str)
def test_warm_up_is_theirs_one_step_earlier(name: str, arguments: dict[str, float | str]) -> None:
    """Their first step is spent at a rate of zero, ours is not; cosine_warmup_with_min_lr alone begins above it there, too."""
    if not SCHEDULES[name].warms_up:
        return
    found, known = ours(name, 40, 10, arguments), theirs(name, 40, 10, arguments)
    if name == "cosine_warmup_with_min_lr":
        assert found == pytest.approx(known)
        return
    assert found[:10] == pytest.approx([PEAK * (s + 1) / 10 for s in range(10)])
    if not arguments.get("min_lr_ratio"):  # theirs of warmup_stable_decay climbs from that ratio
        assert known[0] == 0
        assert found[:9] == pytest.approx(known[1:10])


@pytest.mark.parametrize(("name", "arguments"), KWARGS, ids=str)
def test_rates_lie_between_zero_and_the_peak_and_warm_up_climbs(name: str, arguments: dict[str, float | str]) -> None:
    for steps, warmup in (*LENGTHS, *ALL_WARM_UP):
        rates = ours(name, steps, warmup, arguments)
        assert all(0 <= r <= PEAK * (1 + 1e-12) and math.isfinite(r) for r in rates)
        climbing = rates[: min(warmup, steps)]
        assert all(a < b for a, b in itertools.pairwise(climbing))
        assert not climbing or climbing[0] > 0
        if 0 < warmup <= steps and (warmup > 1 or "warmup_lr_rate" not in arguments):
            assert climbing[-1] == pytest.approx(PEAK)


def test_no_step_of_a_falling_schedule_is_spent_at_zero() -> None:
    """The rate of zero lies behind the last step."""
    for name, arguments in KWARGS:
        if name != "cosine" or not arguments:
            assert all(r > 0 for r in ours(name, 64, 13, {**arguments, "lr_end": 0} if name == "polynomial" else arguments)), (
                name
            )


def test_a_step_knows_its_rate_by_itself() -> None:
    """Nothing is remembered from step to step: asked in any order, the answers are the same, as a resumed run needs."""
    for name, arguments in KWARGS:
        forwards = ours(name, 30, 5, arguments)
        assert [learning_rate(s, 30, PEAK, name, 5, arguments) for s in reversed(range(30))] == forwards[::-1]


def test_the_recipe_names_the_warm_up_by_steps_or_by_share() -> None:
    for train in (
        Train(warmup_steps=3),
        Train(warmup_ratio=0.3),
        Train(warmup_ratio=0.21),
        Train(warmup_ratio=0.9, warmup_steps=3),
    ):
        assert schedule.warmup_steps(10, train) == 3
        assert [schedule.learning_rate(s, 10, train) for s in range(10)] == pytest.approx(
            [learning_rate(s, 10, train.learning_rate, "linear", 3, {}) for s in range(10)]
        )


@pytest.mark.parametrize("size", [1, 3, 16, "auto"])
@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("epochs", [0.5, 1, 2.5, 3])
def test_steps_cover_every_example_of_every_epoch(size: int | str, accumulation: int, epochs: float) -> None:
    train = Train.model_validate(
        {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation, "num_train_epochs": epochs}
    )
    together = (16 if size == "auto" else int(size)) * accumulation
    assert schedule.step_size(train) == together
    for examples in (1, together - 1 or 1, together, together + 1, 100):
        in_an_epoch = schedule.steps_per_epoch(examples, train)
        assert (in_an_epoch - 1) * together < examples <= in_an_epoch * together
        assert epochs * in_an_epoch <= schedule.steps(examples, train) < epochs * in_an_epoch + 1
        assert schedule.steps(examples, train.model_copy(update={"max_steps": 2})) == min(2, schedule.steps(examples, train))


def test_every_name_of_transformers_is_offered_or_answered() -> None:
    from transformers.trainer_utils import SchedulerType

    names = {kind.value for kind in SchedulerType}
    assert len(names) == 12
    assert SCHEDULES.keys() | ELSEWHERE.keys() == names


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_example_is_one_that_a_recipe_may_hold(name: str) -> None:
    known = SCHEDULES[name]
    assert why_not_schedule(name, known.example, known.warms_up, 1.0) is None
    Train(lr_scheduler_type=name, lr_scheduler_kwargs=dict(known.example), warmup_ratio=0.1 if known.warms_up else 0)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("cosin", {}, 'no schedule; did you mean "cosine"?'),
        ("qqq", {}, "see `whet info schedules`"),
        ("reduce_lr_on_plateau", {}, "use warmup_stable_decay"),
        ("linear", {"num_cycles": 2}, "takes no num_cycles; it takes none"),
        ("cosine", {"power": 2}, "takes no power; it takes num_cycles"),
        ("cosine", {"num_cycles": 0}, "above 0; not 0"),
        ("cosine", {"num_cycles": "two"}, "not 'two'"),
        ("cosine_with_min_lr", {}, "needs min_lr or min_lr_rate"),
        ("cosine_with_min_lr", {"min_lr": 1e-5, "min_lr_rate": 0.1}, "needs min_lr or min_lr_rate, not min_lr and min_lr_rate"),
        ("cosine_with_min_lr", {"min_lr": 1e-3}, "min_lr = 0.001 is not below learning_rate = 0.0005"),
        ("polynomial", {"lr_end": 5e-4}, "lr_end = 0.0005 is not below learning_rate"),
        ("warmup_stable_decay", {}, "needs num_decay_steps"),
        ("warmup_stable_decay", {"num_decay_steps": 2.5}, "a whole number from 1; not 2.5"),
        (
            "warmup_stable_decay",
            {"num_decay_steps": 5, "decay_type": "square"},
            "decay_type is linear, cosine, 1-sqrt; not square",
        ),
    ],
)
def test_what_does_not_do_is_said_when_the_recipe_is_read(name: str, given: dict[str, float | str], says: str) -> None:
    with pytest.raises(ValueError, match="lr_scheduler") as caught:
        Train(lr_scheduler_type=name, lr_scheduler_kwargs=given)
    assert says in str(caught.value)
