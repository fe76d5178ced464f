"""Guanaco (534K): its chats, whose `instruction` is what was said before and whose `input` is the latest turn.

Its other rows are Alpaca's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from whet.data.corpora.format import Format, Item, Record, as_object, each, has, share, text
from whet.data.corpora.task_rows import Asked, to_example
from whet.data.corpora.turns import role_of, to_item
from whet.example import Message

_TURN = re.compile(r"(?:^|\n)[ \t]*(System|User|Assistant)[ \t]*[:\uff1a][ \t]*")


def _item(record: Record) -> Item:
    value = as_object(record.value)
    before, latest, answer = text(value, "instruction"), text(value, "input", ""), text(value, "output")
    if not _TURN.search(before) and not _TURN.search(latest):
        return Item(record.origin, (to_example(record, Asked(before, latest), answer),))
    said = [*_turns(before, "system"), *_turns(latest, "user")]
    if said and said[-1] == Message("assistant", ""):  # where the answer goes
        del said[-1]
    answer = _TURN.sub("", answer, count=1) if _TURN.match(answer) else answer
    return to_item(record, [*said, Message("assistant", answer)], unlearned=range(len(said)), group=_chat_of(record, said))


def _chat_of(record: Record, said: Sequence[Message]) -> str | None:
    """The group of a chat's rows, each of which holds one turn more of it: the file, and a hash of how it begins."""
    begins = next((message.text for message in said if message.role == "user"), None)
    if begins is None:
        return None
    return f"{record.origin.source}#{hashlib.blake2b(begins.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _turns(text_: str, unmarked: str) -> list[Message]:
    """The turns behind their markers; text before the first is of this role."""
    first, *rest = _TURN.split(text_)
    said = [Message(role_of(name), turn.strip()) for name, turn in zip(rest[::2], rest[1::2], strict=True)]
    return [Message(unmarked, first.strip()), *said] if first.strip() else said


def _is_chat(value: Any) -> bool:
    if not has("instruction", "input", "output")(value):
        return False
    return any(isinstance(value[name], str) and _TURN.match(value[name]) for name in ("input", "instruction"))


def _sniff(values: Sequence[Any]) -> float:
    """The share of rows with these columns, where at least half of all are chats: a plain row among them is no other format."""
    return share(values, has("instruction", "input", "output")) if share(values, _is_chat) >= 0.5 else 0.0


GUANACO_CHAT = Format(
    name="guanaco",
    title="Guanaco's chats: earlier turns as instruction, the latest as input",
    fields=("instruction", "input", "output"),
    sniff=_sniff,
    read=each(_item),
)
