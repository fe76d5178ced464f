"""How an Example is put to a model: by its template, or plainly. Training, measuring and predicting all ask here."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from whet.errors import DataError, Problem
from whet.example import Example, Task, Template
from whet.prompts import cells, plain, slots
from whet.prompts.render import ANSWER, Rendered, Row, Skipped, cued, few_shot, render, render_prompt, spaced, words


def ask(task: Task, example: Example, shown: Sequence[Example] = ()) -> str:
    """The prompt of an example, behind worked examples if some are to be shown; its completion follows it.

    Raises:
        DataError: its template makes nothing of it.
    """
    template = example.template
    if template is None:
        return plain.ask(task, example, shown)
    if template.jinja or shown:
        asked = few_shot(template, [_made(replace(each, template=template)) for each in shown], _made(example)).prompt
    else:
        try:
            asked = render_prompt(template, {**example.inputs, **_target(example)})
        except ValueError as error:
            raise DataError(_problem(example, str(error))) from None
    told = plain.told(task)
    return "\n\n".join([*([told] if told else []), cued(template, asked)])


def completion(example: Example) -> str:
    """What the model must write behind the prompt of an example."""
    if example.template is None:
        return plain.completion(example.target)
    return spaced(example.template, answer(example))


def answer(example: Example) -> str:
    """The answer to an example in its template's words."""
    return example.target if example.template is None else _made(example).completion


def label_completions(template: Template | None, labels: Sequence[str]) -> list[str]:
    """What the model must write for each label behind a prompt of this template (None: the plain one)."""
    return [plain.completion(label) if template is None else spaced(template, called(template, label)) for label in labels]


def called(template: Template, label: str) -> str:
    """The whole completion that stands for a label."""
    return slots.fill(template.completion, {ANSWER: words(template, label)}).strip()


def in_words(task: Task, template: Template | None) -> Task:
    """The task with its labels as this template calls them."""
    if template is None:
        return task
    return task.model_copy(update={"labels": tuple(called(template, label) for label in task.labels)})


def why_not(example: Example) -> str | None:
    """Why its template makes nothing of an example; None if it does."""
    made = _render(example)
    return made.reason if isinstance(made, Skipped) else None


def _made(example: Example) -> Rendered:
    made = _render(example)
    if isinstance(made, Skipped):
        raise DataError(_problem(example, made.reason))
    return made


def _render(example: Example) -> Rendered | Skipped:
    template = example.template
    assert template is not None
    row: Row = {**example.inputs, **_target(example)}
    if template.jinja:
        row = cells.values({name: str(value) for name, value in row.items()})
    return render(template, row, seed=zlib.crc32(example.id.encode()))


def _target(example: Example) -> dict[str, str]:
    name = example.template.target if example.template else ""
    return {name: example.target} if name else {}


def _problem(example: Example, reason: str) -> Problem:
    name = example.template.name if example.template else ""
    return Problem(str(example.origin), f"the template {name!r} makes nothing of it: {reason}", "Mend the row or the template")
