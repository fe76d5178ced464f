"""LIMA: a conversation as a list of texts, user and assistant in turn; or, from LLaMA-Factory, a row with its history."""

from __future__ import annotations

from typing import Any

from whet.data.corpora.format import BAD_FIELD, Format, Item, Record, Unusable, as_object, each, share, text
from whet.data.corpora.turns import to_item
from whet.example import Message

_ROLES = ("user", "assistant")


def _item(record: Record) -> Item:
    value = as_object(record.value)
    if "conversations" in value:
        return to_item(record, _alternating(value["conversations"]))
    asked = "\n".join(filter(None, (text(value, "instruction"), text(value, "input", ""))))
    history = value.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise Unusable(BAD_FIELD, "the field 'history' is no list of pairs")
    said = _alternating([turn for pair in history for turn in pair])
    return to_item(record, [*said, Message("user", asked), Message("assistant", text(value, "output"))])


def _alternating(turns: Any) -> list[Message]:
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise Unusable(BAD_FIELD, "the conversation is no list of texts")
    return [Message(_ROLES[number % 2], turn) for number, turn in enumerate(turns)]


def _is_lima(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    turns = value.get("conversations")
    is_list_of_texts = isinstance(turns, list) and bool(turns) and isinstance(turns[0], str)
    return is_list_of_texts or {"instruction", "output", "history"} <= value.keys()


LIMA = Format(
    name="lima",
    title="LIMA",
    fields=("conversations", "source"),
    sniff=lambda values: share(values, _is_lima),
    read=each(_item),
)
