"""The learning-rate schedules by their names in Transformers, each a closed form of the step: nothing to remember on resume.

One thing differs from Transformers on purpose: warm-up climbs from 1/w of the peak in the first step, where Transformers
spends the first step at a rate of zero. From the end of warm-up on, the rates are equal (docs/decisions/0010).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from whet.knobs.ranges import COUNT, COUNT_FROM_ZERO, NOT_NEGATIVE, POSITIVE, RATIO, SHARE, Range

Arguments = Mapping[str, float | str]

DECAY_TYPES = ("linear", "cosine", "1-sqrt")
POLYNOMIAL_END = 1e-7  # as in Transformers: an absolute rate


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule.

    `factor(done, steps, arguments)` is the share of the peak after `done` of `steps` steps behind warm-up; floors stand in
    `arguments` as shares of the peak. `arguments` are what `[train] lr_scheduler_kwargs` may hold, and one of `needs` must be
    given. `example` are arguments to show it with, for a run of 100 steps.
    """

    name: str
    about: str
    factor: Callable[[int, int, Arguments], float]
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    warms_up: bool = True
    example: Arguments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Argument:
    """What `[train] lr_scheduler_kwargs` may hold under a name: its meaning and its range."""

    about: str
    range: Range


ARGUMENTS: Mapping[str, Argument] = {
    "num_cycles": Argument("cosine waves until the end (left out: 0.5, one fall); of restarts: how many", POSITIVE),
    "min_lr": Argument("the floor, as a rate", POSITIVE),
    "min_lr_rate": Argument("the floor, as a share of the peak", SHARE),
    "warmup_lr_rate": Argument("the first step's rate, as a share of the peak", SHARE),
    "lr_end": Argument("the rate at the end (left out: 1e-7)", NOT_NEGATIVE),
    "power": Argument("of the polynomial (left out: 1, a line)", POSITIVE),
    "timescale": Argument("steps in which it falls to 71 % (left out: those of warm-up, else 10,000)", POSITIVE),
    "num_decay_steps": Argument("steps that it falls", COUNT),
    "num_stable_steps": Argument("steps at the peak (left out: all between warm-up and the fall)", COUNT_FROM_ZERO),
    "min_lr_ratio": Argument("where the fall ends, as a share of the peak (left out: 0)", RATIO),
}


def _constant(done: int, steps: int, arguments: Arguments) -> float:
    return 1.0


def _cosine(done: float, steps: int, arguments: Arguments) -> float:
    low, cycles = float(arguments.get("min_lr_rate", 0.0)), float(arguments.get("num_cycles", 0.5))
    return max(0.0, low + (1 - low) * 0.5 * (1 + math.cos(math.pi * 2 * cycles * done / steps)))


def _restarts(done: int, steps: int, arguments: Arguments) -> float:
    place = float(arguments.get("num_cycles", 1)) * done / steps
    return 0.5 * (1 + math.cos(math.pi * (place % 1.0)))


def _polynomial(done: int, steps: int, arguments: Arguments) -> float:
    low = float(arguments["lr_end_rate"])
    return low + (1 - low) * math.pow(1 - done / steps, float(arguments.get("power", 1.0)))


def _stable_decay(done: int, steps: int, arguments: Arguments) -> float:
    decay, low = int(float(arguments["num_decay_steps"])), float(arguments.get("min_lr_ratio", 0.0))
    stable = int(float(arguments.get("num_stable_steps", steps - decay)))
    if done < stable:
        return 1.0
    if done >= stable + decay:
        return low
    progress, waves = (done - stable) / decay, 2 * float(arguments.get("num_cycles", 0.5))
    shape = str(arguments.get("decay_type", "cosine"))
    wave = 0.5 * (1 + math.cos(math.pi * waves * progress))
    return low + (1 - low) * {"linear": 1 - progress, "cosine": wave, "1-sqrt": 1 - math.sqrt(progress)}[shape]


def _inverse_sqrt(done: int, steps: int, arguments: Arguments) -> float:
    timescale = float(arguments["timescale"])
    return 1 / math.sqrt((done + timescale) / timescale)


SCHEDULES: Mapping[str, Schedule] = {
    s.name: s
    for s in (
        Schedule("linear", "falls in a line to zero: the default, and hard to beat", lambda d, s, a: 1 - d / s),
        Schedule("cosine", "falls slowly, fast, then slowly to zero: one run of known length", _cosine, ("num_cycles",)),
        Schedule("cosine_with_restarts", "num_cycles cosines, each from the peak; 1, if left out, is plain cosine", _restarts,
                 ("num_cycles",), example={"num_cycles": 3}),
        Schedule("cosine_with_min_lr", "cosine to a floor: the last steps still learn", _cosine,
                 ("min_lr", "min_lr_rate", "num_cycles"), ("min_lr", "min_lr_rate"), example={"min_lr_rate": 0.1}),
        Schedule("cosine_warmup_with_min_lr", "the same, one step ahead: the last step is on the floor",
                 lambda d, s, a: _cosine(d + 1, s, a), ("min_lr", "min_lr_rate", "num_cycles", "warmup_lr_rate"),
                 ("min_lr", "min_lr_rate"), example={"min_lr_rate": 0.1, "warmup_lr_rate": 0.5}),
        Schedule("polynomial", "falls with `power` to lr_end: above 1 early, below 1 late", _polynomial, ("power", "lr_end"),
                 example={"power": 2.0}),
        Schedule("constant", "never changes: for a few steps, or to see the optimizer alone", _constant, warms_up=False),
        Schedule("constant_with_warmup", "climbs, then never changes: a run that may be prolonged", _constant),
        Schedule("inverse_sqrt", "falls with the root of the steps: a run without a fixed end", _inverse_sqrt, ("timescale",)),
        Schedule("warmup_stable_decay", "holds the peak, then falls (WSD): prolong the stable part, decay whenever you like",
                 _stable_decay, ("num_decay_steps", "num_stable_steps", "min_lr_ratio", "decay_type", "num_cycles"),
                 ("num_decay_steps",), example={"num_decay_steps": 25}),
    )
}  # fmt: skip

ELSEWHERE = {
    "reduce_lr_on_plateau": "reacts to evaluations, which a resumed run could not repeat; use warmup_stable_decay",
    "greedy": "reacts to evaluations, which a resumed run could not repeat; use warmup_stable_decay",
}


def why_not_schedule(name: str, arguments: Arguments, warms_up: bool, peak: float) -> str | None:
    """What speaks against this name with these `lr_scheduler_kwargs`, a warm-up and a learning rate; None if nothing does.

    Example:
        >>> why_not_schedule("constant", {}, warms_up=True, peak=1e-3)
        'lr_scheduler_type = "constant" ignores warm-up; write "constant_with_warmup"'
    """
    if name in ELSEWHERE:
        return f'lr_scheduler_type = "{name}" {ELSEWHERE[name]}'
    if name not in SCHEDULES:
        near = difflib.get_close_matches(name, SCHEDULES, n=1)
        way_out = f'did you mean "{near[0]}"?' if near else "see `whet info schedules`"
        return f'lr_scheduler_type = "{name}" is no schedule; {way_out}'
    schedule = SCHEDULES[name]
    if warms_up and not schedule.warms_up:
        return f'lr_scheduler_type = "{name}" ignores warm-up; write "constant_with_warmup"'
    unknown = sorted(arguments.keys() - set(schedule.arguments))
    if unknown:
        return f"lr_scheduler_kwargs: {name} takes no {', '.join(unknown)}; it takes {', '.join(schedule.arguments) or 'none'}"
    needed = arguments.keys() & set(schedule.needs)
    if schedule.needs and len(needed) != 1:
        given = f", not {' and '.join(sorted(needed))}" if needed else ""
        return f"lr_scheduler_kwargs: {name} needs {' or '.join(schedule.needs)}{given}"
    return next((reason for key in arguments if (reason := _why_not_argument(key, arguments[key], peak))), None)


def _why_not_argument(key: str, value: float | str, peak: float) -> str | None:
    if key == "decay_type":
        return None if value in DECAY_TYPES else f"lr_scheduler_kwargs: decay_type is {', '.join(DECAY_TYPES)}; not {value}"
    argument = ARGUMENTS[key]
    if isinstance(value, str) or not argument.range.holds(value):
        return f"lr_scheduler_kwargs: {key} is {argument.about}: {argument.range.words}; not {value!r}"
    if key in ("min_lr", "lr_end") and value >= peak:
        return f"lr_scheduler_kwargs: {key} = {value:g} is not below learning_rate = {peak:g}"
    return None


def learning_rate(step: int, steps: int, peak: float, name: str, warmup: int, arguments: Arguments) -> float:
    """The learning rate of step number `step` (from 0) of `steps`.

    Args:
        peak: the rate at the end of warm-up.
        name: a key of SCHEDULES.
        warmup: steps that climb: from peak / warmup in the first to the peak in the last, so that none is spent at zero.
        arguments: the schedule's own.

    Source: `transformers.optimization`, of version 5.23; the warm-up is ours.

    Example:
        >>> [round(learning_rate(s, 4, 1.0, "linear", 0, {}), 2) for s in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup:
        if "warmup_lr_rate" in arguments:
            first = float(arguments["warmup_lr_rate"])
            return peak * (first + (1 - first) * step / max(1, warmup - 1))
        return peak * (step + 1) / warmup
    return peak * SCHEDULES[name].factor(step - warmup, max(1, steps - warmup), _in_shares(arguments, peak, warmup))


def _in_shares(arguments: Arguments, peak: float, warmup: int) -> Arguments:
    """The arguments with absolute rates as shares of the peak, and what follows from the warm-up."""
    shares: dict[str, float | str] = {"timescale": warmup or 10_000, "lr_end_rate": POLYNOMIAL_END / peak, **arguments}
    for absolute, share in (("min_lr", "min_lr_rate"), ("lr_end", "lr_end_rate")):
        if absolute in arguments:
            shares[share] = float(arguments[absolute]) / peak
    return shares
