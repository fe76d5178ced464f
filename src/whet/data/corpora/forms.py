"""An Example to a record that others read (messages, Alpaca rows, prompts and completions), and back to the same Example.

Beside the form's own fields a record has where it comes from: `id`, `group`, `source`, `row`, `licence`, `maker`. What the form
has no place for stands in `whet`, which is there in every record, so that its reader knows whose it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from whet.data.corpora.format import BAD_FIELD, Item, Record, Unusable
from whet.errors import DataError, Problem
from whet.example import Example, Origin

Form = Literal["messages", "alpaca", "prompt-completion"]
FORMS: tuple[Form, ...] = ("messages", "alpaca", "prompt-completion")
WHET = "whet"
_BESIDE = ("id", "group", "source", "row", "licence", "maker")
_NO_INPUT: Mapping[str, str] = {"input": ""}


def to_record(example: Example, form: Form) -> dict[str, Any]:
    """The record of an Example in a form.

    Raises:
        DataError: it answers a turn of a conversation, and the form has no place for what was said before.

    Example:
        >>> row = Example("a-1", {"input": "b a"}, "a b", None, Origin("a.json", 1), "Sort.")
        >>> to_record(row, "prompt-completion")
        {'prompt': 'Sort.\\nb a', 'completion': 'a b', 'id': 'a-1', 'group': None, 'source': 'a.json', 'row': 1,
         'licence': None, 'maker': None, 'whet': '{"inputs": {"input": "b a"}}'}
    """
    if example.history and form != "messages":
        what = f"it answers a turn of a conversation, and {form} has no place for what was said before"
        raise DataError(Problem(str(example.origin), what, "Write --as messages"))
    asked, parts = _joined(example)
    rest: dict[str, Any] = {"references": list(example.references)} if example.references else {}
    if form == "alpaca":
        own = {"instruction": example.instruction or "", "input": parts, "output": example.target}
        rest |= {} if example.instruction is not None else {"instruction": None}
        rest |= {} if [*example.inputs] == ["input"] else {"inputs": dict(example.inputs)}
    else:
        own = _messages(example, asked) if form == "messages" else {"prompt": asked, "completion": example.target}
        rest |= {} if example.inputs == _NO_INPUT else {"inputs": dict(example.inputs)}
        rest |= {"instruction": ""} if example.instruction == "" else {}
    origin = example.origin
    return {
        **own, "id": example.id, "group": example.group, "source": origin.source, "row": origin.row, "licence": origin.licence,
        "maker": origin.maker, WHET: json.dumps(rest, ensure_ascii=False),
    }  # fmt: skip


def restoring(make: Callable[[Record], Item]) -> Callable[[Record], Item]:
    """A reader of a form's record that gives back the Example whose record it is, where `to_record` wrote it.

    Where its text was changed since, the text counts.

    Args:
        make: the reader of the form itself.
    """

    def item(record: Record) -> Item:
        made = make(record)
        if not is_ours(record.value) or len(made.examples) != 1:
            return made
        return replace(made, examples=(_restored(made.examples[0], record.value),))

    return item


def is_ours(value: Any) -> bool:
    """Whether a record is one that `to_record` wrote: nothing in it has to be mended."""
    return isinstance(value, dict) and WHET in value


def _messages(example: Example, asked: str) -> dict[str, Any]:
    """The turns of a conversation; answers before the last were learned elsewhere, and have the weight 0."""

    def turns() -> Iterator[dict[str, Any]]:
        for message in example.history:
            yield {"role": message.role, "content": message.text, **({"weight": 0} if message.role == "assistant" else {})}
        yield {"role": "user", "content": asked}
        yield {"role": "assistant", "content": example.target}

    return {"messages": list(turns())}


def _joined(example: Example) -> tuple[str, str]:
    """What an Example asks in one text, and the part of it that is input."""
    read = "\n".join(filter(None, example.inputs.values()))
    return "\n".join(filter(None, (example.instruction, read))), read


def _restored(example: Example, value: Mapping[str, Any]) -> Example:
    """The Example with what its record says besides: where it comes from, and what of its text is instruction and what input.

    Raises:
        Unusable: that is not as it was written.
    """
    own, rest = _with_origin(example, value), _rest(value)
    own = replace(own, references=tuple(rest.get("references", ())))
    inputs, instruction = rest.get("inputs", example.inputs), rest.get("instruction", example.instruction)
    parted = replace(own, inputs=inputs, instruction=instruction)
    read = _joined(parted)[1]
    if _joined(own) == _joined(parted):  # an Alpaca row: its parts were apart already
        return parted
    text = own.instruction or ""
    if text == read:
        return replace(parted, instruction=rest.get("instruction"))
    return replace(parted, instruction=text.removesuffix(f"\n{read}")) if text.endswith(f"\n{read}") else own


def _with_origin(example: Example, value: Mapping[str, Any]) -> Example:
    id_, group, source, row, licence, maker = (value.get(name) for name in _BESIDE)
    are_texts = all(text is None or isinstance(text, str) for text in (group, licence, maker))
    if not (are_texts and isinstance(id_, str) and isinstance(source, str) and isinstance(row, int)):
        raise Unusable(BAD_FIELD, f"the fields {', '.join(_BESIDE)} are not as whet wrote them")
    return replace(example, id=id_, group=group, origin=Origin(source, row, licence, maker))


def _rest(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object whose JSON stands in `whet`."""
    try:
        rest = json.loads(value[WHET])
    except (ValueError, TypeError):
        rest = None
    if isinstance(rest, dict) and not rest.get("instruction"):
        inputs, references = rest.get("inputs", {}), rest.get("references", [])
        are_kinds = isinstance(inputs, dict) and isinstance(references, list)
        if are_kinds and all(isinstance(text, str) for text in (*inputs.values(), *references)):
            return rest
    raise Unusable(BAD_FIELD, f"the field {WHET!r} is not as whet wrote it")
