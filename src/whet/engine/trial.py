"""A trial: the first steps of a run, taken with its real weights and rows to see how long they take; nothing is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator  # type: ignore[import-untyped]

from whet.data.tokens import Encoded, Tokens
from whet.engine import adapters, model
from whet.engine.checkpoint import State
from whet.engine.course import build_course
from whet.engine.layout import choose_layout
from whet.engine.loop import Bench, take_step
from whet.engine.optim import build_optimizer
from whet.engine.peak import Peak
from whet.example import Task
from whet.progress import Progress
from whet.recipe import Recipe

WARM_UP = 1  # the first step allocates what the others find


def try_steps(
    recipe: Recipe, task: Task, rows: Sequence[Encoded], tokens: Tokens, micro_batch: int, steps: int, progress: Progress
) -> tuple[list[float], dict[str, int]]:
    """Seconds of each of the first steps behind the first one, and the height of memory.

    Args:
        recipe: the whole of it.
        task: in the words of the run's template.
        rows: that are learned from.
        tokens: of the base.
        micro_batch: rows in one.
        steps: to measure, at most as many as the run has.
        progress: is told of every step.
    """
    peak = Peak.start()
    trained = model.load_base(recipe)
    if recipe.lora:
        trained = adapters.add_adapter(trained, recipe.lora, recipe.derive_seed("adapter"))
    course = build_course(recipe, task, rows, tokens, lambda _: (0.0, None), Path())
    if recipe.train.gradient_checkpointing:
        trained.activation_checkpointing_enable()
    accelerator = Accelerator(cpu=model.device().type == "cpu")
    prepared, optimizer = accelerator.prepare(trained, build_optimizer(trained, recipe.train))
    bench = Bench(prepared, optimizer, accelerator, course, choose_layout(prepared, course, accelerator.device, progress))
    state, taken = replace(State(), micro_batch=micro_batch), []
    total = min(steps + WARM_UP, course.timetable.steps)
    progress.start("measuring", total, "step")
    for step in range(total):
        began = time.monotonic()
        take_step(bench, replace(state, step=step), progress)
        taken.append(time.monotonic() - began)
        progress.advance()
    return taken[WARM_UP:] or taken, peak.read()
