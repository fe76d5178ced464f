"""A trial: the first steps of a run, taken with its real weights and rows, and a scored batch, to see how long they take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]

from whet.data.tokens import Encoded, Tokens
from whet.engine import adapters, infer, model
from whet.engine.checkpoint import State
from whet.engine.course import Course, build_course
from whet.engine.layout import choose_layout
from whet.engine.loop import Bench, take_step
from whet.engine.optim import build_optimizer
from whet.example import Task
from whet.progress import Progress
from whet.recipe import Recipe

WARM_UP = 1  # the first step allocates what the others find


@dataclass(frozen=True, slots=True)
class Sample:
    """What a trial takes: the rows of the run, those that are scored, the ids of each label, rows in a micro-batch, steps."""

    rows: Sequence[Encoded]
    held: Sequence[Encoded]
    labels: Sequence[Sequence[int]]
    micro_batch: int
    steps: int


def take(sample: Sample, recipe: Recipe, task: Task, tokens: Tokens, progress: Progress) -> tuple[list[float], float]:
    """Seconds of each of the first steps behind the first one, and of scoring the held rows once. Nothing is kept.

    Args:
        sample: of the run.
        recipe: the whole of it.
        task: in the words of the run's template.
        tokens: of the base.
        progress: is told of every step.
    """
    trained = model.load_base(recipe)
    if recipe.lora:
        trained = adapters.add_adapter(trained, recipe.lora, recipe.derive_seed("adapter"))
    if recipe.train.gradient_checkpointing:
        trained.activation_checkpointing_enable()
    course = build_course(recipe, task, sample.rows, tokens, lambda _: (0.0, None), Path())
    accelerator = Accelerator(cpu=model.device().type == "cpu")
    prepared, optimizer = accelerator.prepare(trained, build_optimizer(trained, recipe.train))
    bench = Bench(prepared, optimizer, accelerator, course, choose_layout(prepared, course, accelerator.device, progress))
    taken = _steps(bench, sample, course, progress)
    return taken[WARM_UP:] or taken, _scored(prepared, sample, course) if sample.held else 0.0


def _steps(bench: Bench, sample: Sample, course: Course, progress: Progress) -> list[float]:
    """Seconds of each step."""
    state, taken = replace(State(), micro_batch=sample.micro_batch), []
    total = min(sample.steps + WARM_UP, course.timetable.steps)
    progress.start("measuring", total, "step")
    for step in range(total):
        began = _now()
        take_step(bench, replace(state, step=step), progress)
        taken.append(_now() - began)
        progress.advance()
    return taken


def _scored(trained: torch.nn.Module, sample: Sample, course: Course) -> float:
    """Seconds of scoring the held rows; what is tried or compiled at the first time is not among them."""

    def score() -> None:
        if sample.labels:
            infer.label_scores(trained, [row.prompt for row in sample.held], sample.labels, course.padding, len(sample.held))
        else:
            infer.answer_nats(trained, sample.held, course.padding, len(sample.held))

    score()
    began = _now()
    score()
    return _now() - began


def _now() -> float:
    """The clock, once all work that was begun is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()
