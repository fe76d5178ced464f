"""The learning-rate schedules by their names in Transformers, each a closed form of the step: nothing to remember on resume.

One thing differs from Transformers on purpose: warm-up climbs from 1/w of the peak in the first step, where Transformers
spends the first step at a rate of zero. From the end of warm-up on, the rates are equal.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Arguments = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule: `factor(done, steps, arguments)` is the share of the peak after `done` of `steps` steps behind warm-up."""

    name: str
    about: str
    factor: Callable[[int, int, Arguments], float]
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # of which one must be given
    warms_up: bool = True


def _cosine(done: int, steps: int, cycles: float = 0.5) -> float:
    return max(0.0, 0.5 * (1 + math.cos(math.pi * 2 * cycles * done / steps)))


def _restarts(done: int, steps: int, arguments: Arguments) -> float:
    place = float(arguments.get("num_cycles", 1)) * done / steps
    return max(0.0, 0.5 * (1 + math.cos(math.pi * (place % 1.0)))) if done < steps else 0.0


def _floored(done: int, steps: int, arguments: Arguments) -> float:
    low = float(arguments["min_lr_rate"])
    return low + (1 - low) * _cosine(done, steps, float(arguments.get("num_cycles", 0.5)))


def _polynomial(done: int, steps: int, arguments: Arguments) -> float:
    low = float(arguments.get("lr_end_rate", 0.0))
    return low + (1 - low) * max(0.0, 1 - done / steps) ** float(arguments.get("power", 1.0))


def _stable_decay(done: int, steps: int, arguments: Arguments) -> float:
    decay, low = int(float(arguments["num_decay_steps"])), float(arguments.get("min_lr_ratio", 0.0))
    stable = steps - decay
    if done < stable:
        return 1.0
    shape = str(arguments.get("decay_type", "cosine"))
    progress = min(1.0, (done - stable) / max(1, decay))
    left = {"linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress)), "1-sqrt": 1 - math.sqrt(progress)}[shape]
    return left * (1 - low) + low


SCHEDULES: Mapping[str, Schedule] = {
    s.name: s
    for s in (
        Schedule("linear", "falls in a line to zero", lambda d, s, a: max(0.0, 1 - d / s)),
        Schedule("cosine", "falls slowly, then fast, then slowly to zero", lambda d, s, a: _cosine(d, s, float(a.get("num_cycles", 0.5))),
                 ("num_cycles",)),
        Schedule("cosine_with_restarts", "num_cycles cosines, each from the peak; 1 is plain cosine", _restarts, ("num_cycles",)),
        Schedule("cosine_with_min_lr", "cosine down to a floor: min_lr_rate of the peak", _floored,
                 ("min_lr_rate", "num_cycles"), ("min_lr_rate",)),
        Schedule("polynomial", "falls with `power`, down to lr_end_rate of the peak", _polynomial, ("power", "lr_end_rate")),
        Schedule("constant", "never changes", lambda d, s, a: 1.0, warms_up=False),
        Schedule("constant_with_warmup", "climbs, then never changes", lambda d, s, a: 1.0),
        Schedule("inverse_sqrt", "falls with the root of the steps, for runs without a fixed end",
                 lambda d, s, a: 1 / math.sqrt((d + float(a["timescale"])) / float(a["timescale"])), ("timescale",)),
        Schedule("warmup_stable_decay", "holds the peak, then falls over num_decay_steps (WSD)", _stable_decay,
                 ("num_decay_steps", "min_lr_ratio", "decay_type"), ("num_decay_steps",)),
    )
}  # fmt: skip

ELSEWHERE = {
    "reduce_lr_on_plateau": "needs an evaluation at every step that it reacts to; use warmup_stable_decay",
    "greedy": "needs an evaluation at every step that it reacts to; use warmup_stable_decay",
    "cosine_warmup_with_min_lr": "is cosine_with_min_lr with warm-up here; write that, and warmup_ratio",
}


def why_not_schedule(name: str, arguments: Arguments, warms_up: bool) -> str | None:
    """What speaks against this name with these `lr_scheduler_kwargs` and a warm-up asked for; None if nothing does.

    Example:
        >>> why_not_schedule("constant", {}, warms_up=True)
        'lr_scheduler_type = "constant" ignores warm-up; write "constant_with_warmup"'
    """
    if name not in SCHEDULES:
        if name in ELSEWHERE:
            return f'lr_scheduler_type = "{name}" {ELSEWHERE[name]}'
        near = difflib.get_close_matches(name, SCHEDULES, n=1)
        return f'lr_scheduler_type = "{name}" is no schedule; ' + (f'did you mean "{near[0]}"?' if near else "see `whet info schedules`")
    schedule = SCHEDULES[name]
    if warms_up and not schedule.warms_up:
        return f'lr_scheduler_type = "{name}" ignores warm-up; write "constant_with_warmup"'
    unknown = sorted(arguments.keys() - set(schedule.arguments))
    if unknown:
        return f"lr_scheduler_kwargs: {name} takes no {', '.join(unknown)}; it takes {', '.join(schedule.arguments) or 'none'}"
    if schedule.needs and not arguments.keys() & set(schedule.needs):
        return f"lr_scheduler_kwargs: {name} needs {' or '.join(schedule.needs)}"
    if str(arguments.get("decay_type", "cosine")) not in ("linear", "cosine", "1-sqrt"):
        return 'lr_scheduler_kwargs: decay_type is "linear", "cosine" or "1-sqrt"'
    return None


def learning_rate(step: int, steps: int, peak: float, name: str, warmup: int, arguments: Arguments) -> float:
    """The learning rate of step number `step` (from 0) of `steps`.

    Args:
        peak: the rate at the end of warm-up.
        name: a key of SCHEDULES.
        warmup: steps that climb: from peak / warmup in the first to the peak in the last, so that none is spent at zero.
        arguments: the schedule's own.

    Example:
        >>> [round(learning_rate(s, 4, 1.0, "linear", 0, {}), 2) for s in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if name == "inverse_sqrt":  # as in Transformers: the scale is the warm-up unless it is given
        arguments = {"timescale": warmup or 10_000, **arguments}
    return peak * SCHEDULES[name].factor(step - warmup, max(1, steps - warmup), arguments)
