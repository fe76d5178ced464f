"""What scoring takes: the batches in which validation and test are read, as the engine forms them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whet.budget.load import Load
from whet.budget.tokens import Ids, Row, Work, shared_by, tree_work
from whet.knobs.layout import SCORED_TOKENS
from whet.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Scoring:
    """One pass over a split: all that is computed, and its largest batch."""

    work: Work
    load: Load | None  # None of a split without examples

    def __add__(self, other: Scoring) -> Scoring:
        loads = [load for load in (self.load, other.load) if load]
        return Scoring(self.work + other.work, heaviest(loads))


def heaviest(loads: Sequence[Load]) -> Load | None:
    """One Load that is as large as each of these in every respect; None of none."""
    if not loads:
        return None
    return Load(*(max(getattr(load, name) for load in loads) for name in ("rows", "columns", "width", "answers")))


def scoring(rows: Sequence[Row], labels: Sequence[Ids], recipe: Recipe, demonstrations: int = 0) -> Scoring:
    """One pass over a split.

    Args:
        rows: its examples, or the windows of its texts.
        labels: the ids of each label of a `classify` task; empty for the others.
        recipe: its kind of task and `[evaluate]` are read.
        demonstrations: tokens of worked examples in front of every prompt, which all of a batch share.
    """
    if recipe.task.kind == "generate":
        return _answering(rows, recipe, demonstrations)
    ordered = sorted(rows, key=lambda row: len(row.prompt) + len(row.completion))
    size, found = at_once(rows, labels, recipe.evaluate.batch_size), Scoring(Work(), None)
    for part in (ordered[i : i + size] for i in range(0, len(ordered), size)):
        asked = [(row.prompt, answer) for row in part for answer in (labels or (row.completion,))]
        sequences = [(*prompt, *answer) for prompt, answer in asked]
        work = tree_work(sequences)
        columns = work.columns + demonstrations
        places = _places(asked)
        pairs = work.pairs + demonstrations * (work.columns + demonstrations // 2)
        found += Scoring(Work(columns, pairs, places), Load(len(sequences), columns, columns, places))
    return found


def answers_only(recipe: Recipe) -> Recipe:
    """The recipe for a pass that scores the answers that are there, as a validation does, and writes none."""
    if recipe.task.kind == "classify":
        return recipe
    return recipe.model_copy(update={"task": recipe.task.model_copy(update={"kind": "text", "labels": ()})})


def _places(asked: Sequence[tuple[Ids, Ids]]) -> int:
    """Places that predict an answer token, those that several answers to a prompt share once. The end of an answer is none.

    Example:
        >>> _places([((1,), (5, 6, 0)), ((1,), (5, 7, 0)), ((2,), (5, 0))])
        6
    """
    ordered = sorted((tuple(prompt), tuple(answer)) for prompt, answer in asked)
    found = sum(len(answer) for _, answer in ordered)
    for (prompt, answer), (before, earlier) in zip(ordered[1:], ordered, strict=False):
        if prompt == before:
            found -= min(len(answer), len(earlier), shared_by(earlier, answer) + 1)
    return found


def _answering(rows: Sequence[Row], recipe: Recipe, demonstrations: int) -> Scoring:
    """Greedy answers: every row is written to the longest, with the keys and values of all before in memory."""
    ordered, size = sorted(len(row.prompt) + demonstrations for row in rows), recipe.evaluate.batch_size
    written, found = recipe.evaluate.max_new_tokens, Scoring(Work(), None)
    for part in (ordered[i : i + size] for i in range(0, len(ordered), size)):
        width = part[-1] + written
        work = Work(len(part) * width, len(part) * width * (width + 1) // 2, len(part) * written)
        found += Scoring(work, Load(len(part), len(part) * width, width, len(part)))
    return found


def at_once(rows: Sequence[Row], labels: Sequence[Ids], batch_size: int) -> int:
    """Prompts in a batch: fewer where their answers are long, so that not too many logits are in memory together."""
    tokens = sum(map(len, labels)) if labels else max((len(row.completion) for row in rows), default=1)
    return max(1, min(batch_size, SCORED_TOKENS // tokens))
