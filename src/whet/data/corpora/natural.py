"""Natural Instructions v1 and Super-NaturalInstructions: a file is a task, with its definition and its instances.

The definition is the instruction of every instance. What else an author wrote for people (examples with explanations, things
to avoid) is a matter of the prompt, and of templates. Where an instance has several outputs, the first is its target and the
others are references: they are answers to one question, and not rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from whet.data.corpora.format import BAD_FIELD, Format, Item, Options, Record, Unusable, as_object, attempt, has, share, text
from whet.data.corpora.task_rows import Asked, outputs, to_example
from whet.data.examples import has_content
from whet.example import Example, Origin

NO_INSTANCES = "no_instances"
LICENCES = "Instance License"


def _read(records: Iterator[Record], options: Options) -> Iterator[Item]:
    """An Item for each instance of each task; where a record is a single row (the Parquet form on the Hub), for that."""
    for record in records:
        if isinstance(record.value, dict) and "Instances" in record.value:
            yield from _instances(record)
        else:
            yield attempt(record, _row)


def _instances(record: Record) -> Iterator[Item]:
    task = record.value
    try:
        definition, licence = _definition(task), _licence(task)
        instances = task["Instances"]
        if not isinstance(instances, list) or not instances:
            raise Unusable(NO_INSTANCES, "the task has no instances")
    except Unusable as fault:
        yield Item(record.origin, drops=(replace(record.drop(fault.reason, fault.detail), text=""),))
        return
    for number, instance in enumerate(instances, 1):
        one = Record(Origin(record.origin.source, number, licence), instance)
        yield attempt(one, lambda one: Item(one.origin, (_example(one, definition),)))


def _example(record: Record, definition: str) -> Example:
    instance = as_object(record.value)
    answers = outputs(instance.get("output"))
    asked = Asked(definition, text(instance, "input"))
    return to_example(record, asked, answers[0] if answers else "", references=answers[1:])


def _definition(task: Mapping[str, Any]) -> str:
    """What to do; newer files hold it as a list of texts."""
    value = task.get("Definition")
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines) or not has_content("".join(lines)):
        raise Unusable(BAD_FIELD, "the task has no text in the field 'Definition'")
    return "\n".join(lines).strip()


def _licence(task: Mapping[str, Any]) -> str | None:
    """The licence that the task names for its instances; several hold together."""
    stated = task.get(LICENCES)
    names = [stated] if isinstance(stated, str) else stated
    return " AND ".join(name for name in names if isinstance(name, str)) or None if isinstance(names, list) else None


def _row(record: Record) -> Item:
    """The Item of an instance that stands alone, with its definition: `{"task_name", "definition", "inputs", "targets"}`."""
    value = as_object(record.value)
    answers = outputs(value.get("targets"))
    asked = Asked(text(value, "definition"), text(value, "inputs"))
    return Item(record.origin, (to_example(record, asked, answers[0] if answers else "", references=answers[1:]),))


def _is_super_ni(value: Any) -> bool:
    return has("Definition", "Instances", without=("Examples",))(value) or has("definition", "inputs", "targets")(value)


NATURAL_INSTRUCTIONS = Format(
    name="natural-instructions",
    title="Natural Instructions v1: a task a file",
    fields=("Title", "Definition", "Examples", "Instances"),
    sniff=lambda values: share(values, has("Definition", "Instances", "Examples")),
    read=_read,
)
SUPER_NI = Format(
    name="super-ni",
    title="Super-NaturalInstructions: a task a file",
    fields=("Definition", "Positive Examples", "Negative Examples", "Instances"),
    sniff=lambda values: share(values, _is_super_ni),
    read=_read,
)
