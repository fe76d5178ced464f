"""Natural Instructions v1 and Super-NaturalInstructions: a task is a record, with its definition and its instances.

The definition is the instruction of every instance. What else an author wrote for people (examples with explanations, things
to avoid) is a matter of the prompt, and of templates. Where an instance has several outputs, the first is its target and the
others are references: they are answers to one question, and not rows. A file is one task, or holds one a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from whet.data.corpora.format import BAD_FIELD, Format, Item, Options, Record, Unusable, as_object, attempt, has, share, text
from whet.data.corpora.task_rows import Asked, outputs, to_example
from whet.data.examples import has_content
from whet.example import Example, Origin

NO_INSTANCES = "no_instances"
LICENCES = "Instance License"
_INSTANCES = frozenset({"Instances", "sample"})


def _read(records: Iterator[Record], options: Options) -> Iterator[Item]:
    """An Item for each instance of each task; where a record is a single row (the Parquet form on the Hub), for that."""
    head = list(islice(records, 2))
    for record in chain(head, records):
        if isinstance(record.value, dict) and not _INSTANCES.isdisjoint(record.value):
            yield from _instances(record, is_alone=len(head) == 1)
        else:
            yield attempt(record, _row)


def _instances(record: Record, *, is_alone: bool) -> Iterator[Item]:
    """An Item for each instance of a task. In a file of one task the instances are the rows; else the row is the task's."""
    task = record.value
    try:
        definition, licence = _definition(task), _licence(task)
        instances = task.get("Instances", task.get("sample"))
        if not isinstance(instances, list) or not instances:
            raise Unusable(NO_INSTANCES, "the task has no instances")
    except Unusable as fault:
        yield Item(record.origin, drops=(replace(record.drop(fault.reason, fault.detail), text=""),))
        return
    for number, instance in enumerate(instances, 1):
        one = Record(Origin(record.origin.source, number if is_alone else record.origin.row, licence), instance)
        id_ = one.id if is_alone else f"{record.id}.{number}"
        try:
            yield Item(one.origin, (_example(one, definition, id_),))
        except Unusable as fault:
            where = "" if is_alone else f"instance {number}: "
            yield Item(one.origin, drops=(one.drop(fault.reason, where + fault.detail),))


def _example(record: Record, definition: str, id_: str) -> Example:
    instance = as_object(record.value)
    answers = outputs(instance.get("output"))
    asked = Asked(definition, text(instance, "input"))
    return replace(to_example(record, asked, answers[0] if answers else "", references=answers[1:]), id=id_)


def _definition(task: Mapping[str, Any]) -> str:
    """What to do; newer files hold it as a list of texts. FLAN's exemplars say nothing but the name of the task: ""."""
    if "sample" in task:
        return ""
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
    """The Item of an instance that stands alone, with its definition: `{"definition", "inputs", "targets"}`."""
    value = as_object(record.value)
    asked, answered = ("inputs", "targets") if "inputs" in value else ("input", "output")
    answers = outputs(value.get(answered))
    row = Asked(text(value, "definition"), text(value, asked))
    return Item(record.origin, (to_example(record, row, answers[0] if answers else "", references=answers[1:]),))


def _is_super_ni(value: Any) -> bool:
    of_a_task = has("Definition", "Instances", without=("Examples",))(value)
    of_a_row = has("definition", "inputs", "targets")(value) or has("definition", "input", "output")(value)
    return of_a_task or of_a_row or (has("task", "sample")(value) and isinstance(value["sample"], list))


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
