"""What methods read out of answers: rows, texts, yes or no. What cannot be read is a Rejection with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whet.synth import answers
from whet.synth.candidate import Rejection
from whet.synth.request import Answer


def rows_schema(fields: Sequence[str], count: int, least: int | None = None) -> dict[str, Any]:
    """The JSON Schema of an object with a list `rows` of so many items (or of `least` and more), which have these fields, all
    texts, in this order."""
    item = {
        "type": "object", "properties": {name: {"type": "string"} for name in fields}, "required": list(fields),
        "additionalProperties": False,
    }  # fmt: skip
    return {
        "type": "object", "required": ["rows"], "additionalProperties": False,
        "properties": {"rows": {"type": "array", "items": item, "minItems": least or count, "maxItems": count}},
    }  # fmt: skip


def choice_schema(choices: Sequence[str]) -> dict[str, Any]:
    """The JSON Schema of an object `{"label": ...}` with one of these texts."""
    return {
        "type": "object", "properties": {"label": {"type": "string", "enum": list(choices)}}, "required": ["label"],
        "additionalProperties": False,
    }  # fmt: skip


def read_rows(answer: Answer, columns: Sequence[str], target: str = "") -> Iterator[dict[str, str] | Rejection]:
    """The rows of a JSON answer as column name to text; a Rejection for each that is none. The first column and the target
    must be there."""
    yield from read_fields(answer, [*columns[:1], *([target] if target else [])], columns[1:], [*columns, target])


def read_fields(
    answer: Answer, required: Sequence[str], optional: Sequence[str] = (), order: Sequence[str] = ()
) -> Iterator[dict[str, str] | Rejection]:
    """The objects of a JSON answer as field to text; a Rejection for each that is none.

    Args:
        answer: a usable one.
        required: fields that must be there, with something in them.
        optional: fields that may be empty or left out.
        order: of the fields in what is returned; left out: as named above.
    """
    found = answers.read_objects(answer.text)
    yield from (Rejection(fault.reason, fault.detail, text=fault.text) for fault in found.faults)
    for value in found.objects:
        if value == {"rows": []}:
            yield Rejection("empty", "its list is empty", text=answer.text)
            continue
        fields = answers.read_fields(value, required, optional)
        if isinstance(fields, answers.Fault):
            yield Rejection(fields.reason, fields.detail, text=fields.text)
        else:
            yield {name: fields[name] for name in order or fields if name in fields}


def read_text(answer: Answer) -> str | Rejection:
    """The text of a usable answer; one that was cut is none."""
    if answer.reply.outcome == "cut":
        return Rejection("cut_text", answer.reply.detail, text=answer.text)
    said = answers.read_text(answer.text)
    return Rejection(said.reason, said.detail, text=said.text) if isinstance(said, answers.Fault) else said
