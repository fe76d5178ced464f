"""A model with its task and tokenizer: it reads prompts and gives label scores or answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from whet.data.tokens import Encoded, Tokens
from whet.engine import infer
from whet.errors import DataError, Problem
from whet.example import Example, Origin, Task, Template
from whet.measure.balance import prior_shift, shifted
from whet.measure.calibration import Calibration, softmax
from whet.progress import Progress, Silent
from whet.prompts import asking, plain
from whet.prompts.sets import needed
from whet.recipe import Recipe
from whet.run import Run


@dataclass(frozen=True)
class Reader:
    """A model that can be asked. `max_length` is the most tokens of prompt and answer together, None for no limit;
    `shift` (C,) leads the label scores of a model trained on balanced classes back to the true shares; `template` is what all
    is asked with, None for the plain one."""

    model: torch.nn.Module
    task: Task
    tokens: Tokens
    batch_size: int
    max_length: int | None = None
    shift: np.ndarray | None = None
    template: Template | None = None

    def label_scores(self, prompts: Sequence[str], progress: Progress) -> np.ndarray:
        """log P(label and end token | prompt) for each prompt and each label in the task's order: (N, C)."""
        labels = [self.tokens.completion(text) for text in asking.label_completions(self.template, self.task.labels)]
        ids = self._ids(prompts, longest_answer=max(map(len, labels)))
        scores = infer.label_scores(self.model, ids, labels, self.tokens.padding, self.batch_size, progress.advance)
        return scores if self.shift is None else shifted(scores, self.shift)

    def answers(self, prompts: Sequence[str], max_new_tokens: int, progress: Progress) -> list[str]:
        """The greedy answer to each prompt."""
        ids = self._ids(prompts, longest_answer=1)
        room = max_new_tokens
        if self.max_length is not None:
            room = min(room, self.max_length - max(map(len, ids), default=0))
        written = infer.greedy_answers(
            self.model, ids, self.tokens.end, self.tokens.padding, max(1, room), self.batch_size, progress.advance
        )
        return [plain.parse(self.tokens.decode(i)) for i in written]

    def answer_nats(self, rows: Sequence[Encoded], progress: Progress) -> np.ndarray:
        """Nats of each row's own answer: (N,)."""
        return infer.answer_nats(self.model, rows, self.tokens.padding, self.batch_size, progress.advance)

    def bits_per_character(self, text: str) -> float:
        """How well the model still knows plain text: bits for each of its characters."""
        return infer.text_nats(self.model, self.tokens.prompt(text)) / np.log(2) / len(text)

    def _ids(self, prompts: Sequence[str], longest_answer: int) -> list[tuple[int, ...]]:
        ids = [self.tokens.prompt(prompt) for prompt in prompts]
        too_long = [n for n, p in enumerate(ids) if self.max_length and len(p) + longest_answer > self.max_length]
        if too_long:
            longest = max(len(ids[n]) for n in too_long)
            what = f"{len(too_long)} prompts do not fit into the model's {self.max_length} tokens; the longest has {longest}"
            raise DataError(Problem(f"input {too_long[0] + 1}", what, "Give shorter passages, or fewer few-shot examples"))
        return ids


def open_reader(run: Run, model: torch.nn.Module, tokens: Tokens, *, is_trained: bool = True) -> Reader:
    """A Reader for a run's task; a trained model's label scores are led back from balanced classes to the true shares."""
    recipe, task = run.recipe, run.task
    shift = None
    if is_trained and recipe.train.class_balance != "none":
        counts = run.manifest["dataset"]["splits"]["train"]["labels"]
        shift = prior_shift([counts[label] for label in task.labels])
    return Reader(model, task, tokens, recipe.evaluate.batch_size, tokens.max_length, shift, run.template)


def validate(
    reader: Reader, examples: Sequence[Example], rows: Sequence[Encoded], model: torch.nn.Module
) -> tuple[float, float | None]:
    """(nats per answer token, unsmoothed; accuracy over the label set, None where there is none) of the validation split.

    Args:
        reader: whose task and tokenizer are used.
        examples: the validation split.
        rows: the same examples as ids, in the same order; the windows of plain texts.
        model: the model as it is now.
    """
    asked, silent = replace(reader, model=model), Silent()
    tokens = sum(len(r.completion) for r in rows)
    if reader.task.kind != "classify":
        return float(asked.answer_nats(rows, silent).sum() / tokens), None
    scores = asked.label_scores([asking.ask(reader.task, e) for e in examples], silent)
    truth = np.array([reader.task.labels.index(e.target) for e in examples])
    nats = -scores[np.arange(len(truth)), truth].sum()
    return float(nats / tokens), float((scores.argmax(1) == truth).mean())


def read_passages(
    reader: Reader, passages: Sequence[str], recipe: Recipe, calibration: Calibration | None, progress: Progress
) -> list[tuple[str, float | None, dict[str, float]]]:
    """(label, probability, probability per label) of each passage; for `generate` (answer, None, {}).

    Raises:
        DataError: if the task reads several columns, or an instruction of each row: a passage has neither.
    """
    columns = ("input",) if recipe.data.format else recipe.data.input
    if reader.template is not None:
        columns = needed([reader.template], reader.template.target)
    if len(columns) != 1:
        what = f"the task reads {len(columns)} columns ({', '.join(columns)}), and a document is one text"
        raise DataError(Problem("predict", what, "Train a task with one input to read documents"))
    if (recipe.data.instruction or recipe.data.format) and not reader.task.instruction:
        what = "each row brought its own instruction, and a document brings none"
        raise DataError(Problem("predict", what, "Give the recipe a [task] instruction too, and train with it"))
    if not passages:
        return []
    blank = Example("", {}, "", None, Origin("document", 1), template=reader.template)
    prompts = [asking.ask(reader.task, replace(blank, inputs={columns[0]: passage})) for passage in passages]
    if reader.task.kind == "generate":
        return [(answer, None, {}) for answer in reader.answers(prompts, recipe.evaluate.max_new_tokens, progress)]
    labels = reader.task.labels
    scores = reader.label_scores(prompts, progress)
    probabilities = calibration.apply(scores, labels) if calibration else softmax(scores)
    return [(labels[int(p.argmax())], float(p.max()), dict(zip(labels, map(float, p), strict=True))) for p in probabilities]
