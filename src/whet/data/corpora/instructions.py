"""Instructions without answers: InstructionWild v2 and the seeds of v1, Self-Instruct's first step, WizardLM's test set.

They are recognised, so that each file is explained, and give no example: nobody has answered them yet.
"""

from __future__ import annotations

from typing import Any

from whet.data.corpora.format import Format, Item, Record, Unusable, as_object, each, share

NO_ANSWER = "no_answer"
_NAMES = ("instruction", "Instruction")
_ANSWERS = ("output", "instances", "raw_instances", "completion", "response", "answer")


def _item(record: Record) -> Item:
    as_object(record.value)
    raise Unusable(NO_ANSWER, "the corpus has instructions only, and no answers; let a model answer them first (`whet synth`)")


def _is_bare(value: Any) -> bool:
    return isinstance(value, dict) and any(name in value for name in _NAMES) and not any(name in value for name in _ANSWERS)


INSTRUCTIONS = Format(
    name="instructions",
    title="Instructions without answers",
    fields=("instruction",),
    sniff=lambda values: share(values, _is_bare),
    read=each(_item),
)
