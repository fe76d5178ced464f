"""A Course: everything the loop needs beside the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from whet.data.tokens import Encoded, Tokens
from whet.engine.loss import PLAIN, Objective, build_objective
from whet.engine.timetable import Timetable, build_timetable
from whet.example import Task
from whet.prompts import plain
from whet.recipe import Recipe

Validate = Callable[[torch.nn.Module], tuple[float, float | None]]


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
    objective = build_objective(recipe.train, answers, labels)
    return Course(rows, build_timetable(recipe, rows), tokens.padding, validate, folder, objective)
