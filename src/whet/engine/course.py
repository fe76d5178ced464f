"""A Course: everything the loop needs beside the model, and how its micro-batches are laid out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from whet.data.tokens import Encoded, Tokens
from whet.engine.batches import Batch, collate, pack
from whet.engine.loss import PLAIN, Objective, build_objective, summed_loss
from whet.engine.timetable import Timetable
from whet.example import Task
from whet.progress import Progress
from whet.prompts import plain
from whet.recipe import Recipe

PACKING_TOLERANCE = {False: 1e-3, True: 3e-2}  # of the nats, by bf16: what rounding may change between two layouts
Validate = Callable[[torch.nn.Module], tuple[float, float | None]]
Layout = Callable[[Sequence[Encoded]], list[Batch]]


@dataclass(frozen=True, slots=True)
class Course:
    """What the loop needs beside the model: the rows, their timetable, what is minimised, how to validate, where things go."""

    rows: Sequence[Encoded]
    timetable: Timetable
    padding: int
    validate: Validate
    folder: Path
    objective: Objective = PLAIN


def build_course(
    recipe: Recipe, task: Task, rows: Sequence[Encoded], tokens: Tokens, validate: Validate, folder: Path
) -> Course:
    """The Course of a recipe over its training rows.

    Raises:
        DataError: if classes are to be balanced and a label has no training example.
    """
    answers = [row.completion for row in rows]
    labels = [tokens.completion(plain.completion(label)) for label in task.labels]
    number = {label: n for n, label in enumerate(labels)}
    timetable = Timetable(
        len(rows), recipe.train, recipe.derive_seed("order"),
        lengths=[len(row) for row in rows], classes=[number[answer] for answer in answers] if labels else (),
    )  # fmt: skip
    return Course(rows, timetable, tokens.padding, validate, folder, build_objective(recipe.train, answers, labels))


def choose_layout(model: torch.nn.Module, course: Course, device: torch.device, progress: Progress) -> Layout:
    """Padded, or packed where the recipe asks for it and the model keeps packed examples apart: tried on two of them."""

    def padded(rows: Sequence[Encoded]) -> list[Batch]:
        return [collate(rows, course.padding, device)]

    train = course.timetable.train
    if not train.packing:
        return padded
    packed = partial(pack, device=device)
    tried = sorted(course.rows, key=len)[len(course.rows) // 2 :][:2]
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=train.bf16):
        one, other = (sum(float(summed_loss(model, batch)) for batch in layout(tried)) for layout in (padded, packed))
    if abs(one - other) <= PACKING_TOLERANCE[train.bf16] * max(1.0, abs(one)):
        return packed
    progress.say(f"packing is off: this model does not keep packed examples apart ({one:.4f} nats padded, {other:.4f} packed)")
    return padded
