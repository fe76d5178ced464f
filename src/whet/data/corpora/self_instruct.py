"""Self-Instruct, in the forms of its steps, and Unnatural Instructions: an instruction with its instances.

What a record of several instances gives is one group: its rows share an instruction, or say one instruction in other words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whet.data.corpora.format import BAD_FIELD, Format, Item, Record, Unusable, as_object, each, has, share, text
from whet.data.corpora.natural import NO_INSTANCES
from whet.data.corpora.task_rows import Asked, to_example
from whet.data.examples import has_content
from whet.example import Drop

EMPTY_INSTANCE = "empty_instance"
UNPARSED = "unparsed_instances"
CUT_INSTANCE = "cut_instance"
_EXAMPLE = re.compile(r"^[ \t]*Example[ \t]*\d*[ \t]*[.:]?[ \t]*$", re.MULTILINE)
_INPUT = re.compile(r"^[ \t]*Input[ \t]*\d*[ \t]*:[ \t]*", re.MULTILINE)
_OUTPUT = re.compile(r"^[ \t]*Output[ \t]*\d*[ \t]*:[ \t]*", re.MULTILINE)
_CLASS = re.compile(r"^[ \t]*Class label[ \t]*:[ \t]*", re.MULTILINE)

Pair = tuple[Asked, str]


def _self_instruct(record: Record) -> Item:
    value = as_object(record.value)
    instruction = text(value, "instruction")
    if "instances" in value:
        return _item(record, [_instance(each_, instruction) for each_ in _list(value, "instances")])
    if "raw_instances" in value:
        pairs, drops = _from_raw(record, instruction)
        return _item(record, pairs, drops)
    return Item(record.origin, (to_example(record, Asked(instruction, text(value, "input", "")), text(value, "output")),))


def _instance(value: Any, instruction: str) -> Pair:
    instance = as_object(value)
    return Asked(instruction, text(instance, "input", "")), text(instance, "output")


def _unnatural(record: Record) -> Item:
    """The Item of an instruction with its instances, and with its paraphrases where there are some.

    `constraints` says what an output may be, for the model that wrote it; the authors put it into no prompt that is learned.
    """
    value = as_object(record.value)
    instruction = text(value, "instruction")
    pairs = [_instance(each_, instruction) for each_ in _list(value, "instances")]
    for one in map(as_object, _list(value, "reformulations") if value.get("reformulations") else ()):
        reformulated = text(one, "instruction")
        # A paraphrase may say where its input goes, and then stands there in full as well.
        asked = Asked(text(one, "instruction_with_input")) if "{INPUT}" in reformulated else None
        pairs.append((asked or Asked(reformulated, text(one, "input", "")), text(one, "output")))
    return _item(record, pairs)


def _item(record: Record, pairs: list[Pair], drops: tuple[Drop, ...] = ()) -> Item:
    """The Item of some rows; a Drop stands for each without an answer."""
    if not pairs and not drops:
        raise Unusable(NO_INSTANCES, "the instruction has no instances")
    number = None if len(pairs) == 1 else 0
    examples = []
    for asked, answer in pairs:
        if has_content(answer):
            number = None if number is None else number + 1
            examples.append(to_example(record, asked, answer, number=number))
        else:
            drops += (record.drop(EMPTY_INSTANCE, f"an instance has no answer; its input is {asked.input[:60]!r}"),)
    return Item(record.origin, tuple(examples), drops)


def _from_raw(record: Record, instruction: str) -> tuple[list[Pair], tuple[Drop, ...]]:
    """The instances in a text that GPT-3 wrote: `Class label: ..` and the input below it, or `Input: ..` and `Output: ..`."""
    value = record.value
    raw = text(value, "raw_instances").strip()
    pairs = [*_classified(raw, instruction)] if _CLASS.search(raw) else [*_written(raw, instruction)]
    if pairs and _was_cut(value.get("instance_metadata")):
        cut = record.drop(CUT_INSTANCE, "its text was cut off at the longest that was asked for: the last instance is left out")
        return pairs[:-1], (cut,)
    if not pairs:
        return [], (record.drop(UNPARSED, "no `Output:` and no `Class label:` stands in the field 'raw_instances'"),)
    return pairs, ()


def _classified(raw: str, instruction: str) -> list[Pair]:
    blocks = (block.strip().partition("\n") for block in _CLASS.split(raw)[1:])
    return [(Asked(instruction, below.strip()), label.strip()) for label, _, below in blocks]


def _written(raw: str, instruction: str) -> list[Pair]:
    found = []
    for block in _EXAMPLE.split(raw):
        before, mark, answer = _cut(block, _OUTPUT)
        if mark:
            _, is_input, given = _cut(before, _INPUT)
            found.append((Asked(instruction, (given if is_input else before).strip()), answer.strip()))
    return found


def _cut(text_: str, at: re.Pattern[str]) -> tuple[str, bool, str]:
    """What stands before and behind the first match, and whether there is one."""
    match = at.search(text_)
    return (text_[: match.start()], True, text_[match.end() :]) if match else (text_, False, "")


def _was_cut(metadata: Any) -> bool:
    """Whether the raw answer of the API says that it ended for its length."""
    response = metadata.get("response") if isinstance(metadata, Mapping) else None
    choices = response.get("choices") if isinstance(response, Mapping) else None
    return isinstance(choices, list) and bool(choices) and as_object(choices[0]).get("finish_reason") == "length"


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    """The list in a field. Parquet may hold it by columns, `{"input": [..], "output": [..]}`: then its rows."""
    found = value.get(name)
    if isinstance(found, list):
        return found
    named = found if isinstance(found, dict) else {}
    columns = list(named.values())
    if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return [dict(zip(named, row, strict=True)) for row in zip(*columns, strict=True)]
    raise Unusable(BAD_FIELD, f"there is no list in the field {name!r}")


def _is_self_instruct(value: Any) -> bool:
    if has("prompt", "completion", "instruction", "output")(value) or has("instruction", "raw_instances")(value):
        return True
    return has("instruction", "instances")(value) and not _is_unnatural(value)


def _is_unnatural(value: Any) -> bool:
    instances = value.get("instances") if isinstance(value, dict) else None
    first = instances[0] if isinstance(instances, list) and instances else instances
    return isinstance(first, dict) and "instruction_with_input" in first


SELF_INSTRUCT = Format(
    name="self-instruct",
    title="Self-Instruct: seeds, machine-made instances, fine-tuning rows",
    fields=("instruction", "instances"),
    sniff=lambda values: share(values, _is_self_instruct),
    read=each(_self_instruct),
)
UNNATURAL = Format(
    name="unnatural",
    title="Unnatural Instructions, core or full",
    fields=("instruction", "instances", "reformulations"),
    sniff=lambda values: share(values, _is_unnatural),
    read=each(_unnatural),
)
