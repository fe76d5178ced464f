"""Vicuna and ShareGPT: `{"id", "conversations": [{"from", "value"}]}`, with all that is met of it in the wild."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from whet.data.corpora.format import (
    BAD_FIELD,
    DRAWN_HTML,
    Format,
    Item,
    Options,
    Record,
    Unusable,
    as_object,
    attempt,
    share,
    text,
)
from whet.data.corpora.page_text import is_drawn, to_text
from whet.data.corpora.turns import role_of, to_item
from whet.example import Message

_TURNS = ("conversations", "items", "conversation")
_FROM, _VALUE = ("from", "role"), ("value", "content", "text")
_PIECE = re.compile(r"(?P<chat>.+)_(?P<start>\d+)$")
_SHAREGPT_ID = re.compile(r"[\w-]{7}")


class _Groups:
    """Which chat a conversation is a piece of, by its id.

    FastChat cut long chats into pieces that are called by the chat and the turn that they begin with: `X_0`, `X_14`. But
    `identity_0`, `identity_1` are chats of their own. So a piece belongs to the one before it if it begins behind it; and
    where the chat has an id as ShareGPT gives it, of seven characters, all its pieces belong together wherever they stand.
    """

    def __init__(self) -> None:
        self._chat, self._next, self._group = "", 0, ""

    def group(self, id_: str, turns: int) -> str:
        """The group of the conversation with this id and so many turns."""
        match = _PIECE.fullmatch(id_)
        if match is None:
            return id_
        chat, start = match["chat"], int(match["start"])
        if _SHAREGPT_ID.fullmatch(chat):
            return chat
        goes_on = chat == self._chat and start >= self._next > 0
        self._chat, self._next, self._group = chat, start + max(turns, 2), self._group if goes_on else id_
        return self._group


def _read(records: Iterator[Record], options: Options) -> Iterator[Item]:
    groups = _Groups()
    for record in records:
        yield attempt(record, lambda record: _item(record, groups))


def _item(record: Record, groups: _Groups) -> Item:
    value = as_object(record.value)
    turns = [as_object(turn) for turn in _turns(value)]
    raw = [Message(role_of(_field(turn, _FROM)), _field(turn, _VALUE, "")) for turn in turns]
    said = [m._replace(text=to_text(m.text)) if m.role == "assistant" and is_drawn(m.text) else m for m in raw]
    repairs = [
        record.drop(DRAWN_HTML, f"turn {n} was HTML and is read as its text")
        for n, (m, was) in enumerate(zip(said, raw, strict=True), 1)
        if m is not was
    ]
    unlearned = {n for n, turn in enumerate(turns) if 0 in (turn.get("weight"), turn.get("loss_weight"))}
    if text(value, "system", ""):
        said, unlearned = [Message("system", text(value, "system")), *said], {n + 1 for n in unlearned}
    id_ = text(value, "id", "")
    return to_item(record, said, group=groups.group(id_, len(turns)) if id_ else None, unlearned=unlearned, repairs=repairs)


def _turns(value: Mapping[str, Any]) -> list[Any]:
    turns = next((value[name] for name in _TURNS if name in value), None)
    if not isinstance(turns, list):
        raise Unusable(BAD_FIELD, "there is no list in the field 'conversations'")
    return turns


def _field(turn: Mapping[str, Any], names: tuple[str, ...], default: str | None = None) -> str:
    return text(turn, next((name for name in names if name in turn), names[0]), default)


def _is_sharegpt(value: Any) -> bool:
    turns = next((value[name] for name in _TURNS if name in value), None) if isinstance(value, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return False
    return all(any(name in turn for name in _FROM) and any(name in turn for name in _VALUE) for turn in turns)


SHAREGPT = Format(
    name="sharegpt",
    title="Vicuna / ShareGPT conversations",
    fields=("id", "conversations"),
    sniff=lambda values: share(values, _is_sharegpt),
    read=_read,
)
