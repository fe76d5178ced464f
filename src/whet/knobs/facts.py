"""What `whet info` knows: the named choices of a recipe as plain records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from whet.knobs import optimizers, quantization, schedules

Record = Mapping[str, Any]

SHOWN_STEPS, SHOWN_WARMUP = 100, 10  # of the curve that shows a schedule


def facts(topic: str) -> dict[str, list[Record]]:
    """The records of a topic, under its name: "optimizers", "schedules" or "quantization".

    Example:
        >>> facts("optimizers")["optimizers"][0]["name"], len(facts("schedules")["schedules"])
        ('adamw_torch', 10)
    """
    return {topic: TOPICS[topic]()}


def _optimizers() -> list[Record]:
    return [
        {
            "name": o.name, "family": o.family, "package": o.package, "bits": o.bits or 32, "paged": o.paged,
            "state_bytes_per_parameter": o.state_bytes, "decouples_weight_decay": o.decouples_decay,
            "choose_when": o.choose_when,
            "optim_args": {
                name: {"about": a.about, "range": a.range.words, "state_bytes_per_parameter": a.state_bytes}
                for name, a in o.arguments.items()
            },
        }
        for o in optimizers.OPTIMIZERS.values()
    ]  # fmt: skip


def _schedules() -> list[Record]:
    return [
        {
            "name": s.name, "choose_when": s.about, "warms_up": s.warms_up, "needs": list(s.needs),
            "lr_scheduler_kwargs": {name: _schedule_argument(name) for name in s.arguments},
            "example": {"lr_scheduler_kwargs": dict(s.example), "shares_of_peak": example_curve(s)},
        }
        for s in schedules.SCHEDULES.values()
    ]  # fmt: skip


def example_curve(schedule: schedules.Schedule) -> list[float]:
    """The learning rate of a run of 100 steps, the first 10 of them warm-up where it has one; the peak is 1."""
    warmup = SHOWN_WARMUP if schedule.warms_up else 0
    return [
        schedules.learning_rate(step, SHOWN_STEPS, 1.0, schedule.name, warmup, schedule.example) for step in range(SHOWN_STEPS)
    ]


def _schedule_argument(name: str) -> Record:
    if name == "decay_type":
        return {"about": "shape of the fall (left out: cosine)", "range": " or ".join(schedules.DECAY_TYPES)}
    return {"about": schedules.ARGUMENTS[name].about, "range": schedules.ARGUMENTS[name].range.words}


def _quantization() -> list[Record]:
    return [
        {
            "name": p.name, "key": p.key, "bits_per_weight": p.bits, "bits_per_weight_with_double_quant": p.double_bits,
            "relative_error": p.error,
            "trains": p.trains, "choose_when": p.choose_when,
        }
        for p in quantization.PRECISIONS.values()
    ]  # fmt: skip


TOPICS: Mapping[str, Callable[[], list[Record]]] = {
    "optimizers": _optimizers,
    "schedules": _schedules,
    "quantization": _quantization,
}
