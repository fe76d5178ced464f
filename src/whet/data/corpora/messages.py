"""OpenAI and ChatML messages: `{"messages": [{"role", "content"}]}`, a content also as a list of parts (LLaMA-Factory v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.data.corpora.format import BAD_FIELD, Format, Item, Record, Unusable, as_object, each, share, text
from whet.data.corpora.forms import restoring
from whet.data.corpora.turns import role_of, to_item
from whet.example import Message

NOT_TEXT = "not_text"


def _item(record: Record) -> Item:
    turns = [as_object(turn) for turn in _turns(record)]
    said = [Message(role_of(text(turn, "role")), _content(turn)) for turn in turns]
    unlearned = {n for n, turn in enumerate(turns) if 0 in (turn.get("weight"), turn.get("loss_weight"))}
    return to_item(record, said, unlearned=unlearned)


def _turns(record: Record) -> list[Any]:
    turns = as_object(record.value).get("messages")
    if not isinstance(turns, list):
        raise Unusable(BAD_FIELD, "there is no list in the field 'messages'")
    return turns


def _content(turn: Mapping[str, Any]) -> str:
    """The text of a turn; the parts of one that has several, joined."""
    parts = turn.get("content")
    if not isinstance(parts, list):
        return text(turn, "content", "")
    return "".join(_part(as_object(part)) for part in parts)


def _part(part: Mapping[str, Any]) -> str:
    kind = text(part, "type", "text")
    if kind != "text":
        raise Unusable(NOT_TEXT, f"a part of a turn is of the type {kind!r}, and whet reads text only")
    return text(part, "text" if "text" in part else "value")


def _is_messages(value: Any) -> bool:
    turns = value.get("messages") if isinstance(value, dict) else None
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "role" in turns[0]


MESSAGES = Format(
    name="messages",
    title="OpenAI / ChatML messages",
    fields=("messages",),
    sniff=lambda values: share(values, _is_messages),
    read=each(restoring(_item)),
)
