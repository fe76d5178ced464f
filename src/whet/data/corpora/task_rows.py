"""A row of a task to an Example: what to do, what to do it with, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whet.data.corpora.format import BAD_FIELD, Record, Unusable
from whet.data.examples import has_content
from whet.example import Example


@dataclass(frozen=True, slots=True)
class Asked:
    """What a row asks: the instruction, and the input that it is about ("" where there is none)."""

    instruction: str
    input: str = ""


def to_example(
    record: Record, asked: Asked, target: str, *, number: int | None = None, references: Sequence[str] = ()
) -> Example:
    """The Example of a task's row.

    Args:
        record: where it stands.
        asked: what the row asks.
        target: its answer.
        number: where the record holds several rows, which of them this is, from 1. They are one group then: rows of one
            instruction, or one row in several words, never straddle two splits.
        references: other answers that are as right.
    """
    return Example(
        id=record.id if number is None else f"{record.id}.{number}",
        inputs={"input": asked.input},
        target=target,
        group=None if number is None else record.id,
        origin=record.origin,
        instruction=asked.instruction,
        references=tuple(references),
    )


def outputs(value: Any) -> list[str]:
    """The answers in a field that holds one text or a list of them: each once, without those that say nothing.

    Raises:
        Unusable: it holds something else.

    Example:
        >>> outputs(["Paris", "", "Paris", "the city of Paris"]), outputs("POS")
        (['Paris', 'the city of Paris'], ['POS'])
    """
    answers = [value] if isinstance(value, (str, int, float)) else value
    if not isinstance(answers, list) or not all(isinstance(answer, (str, int, float)) for answer in answers):
        raise Unusable(BAD_FIELD, "the output is neither a text nor a list of texts")
    return [answer for answer in dict.fromkeys(map(str, answers)) if has_content(answer)]
