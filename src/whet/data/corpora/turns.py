"""A conversation to Examples: one for each answer, with all that was said before it as its history.

So no answer is learned twice, each is learned behind what it answers, and a conversation is one group, which never straddles
two splits. An answer that follows no question, and a question without an answer, teach nothing and are said; they stay in the
history of the answers behind them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from whet.data.corpora.format import Item, Record, Unusable
from whet.data.examples import has_content
from whet.example import Drop, Example, Message

EMPTY_TURN = "empty_turn"
UNASKED = "unasked_answer"
UNANSWERED = "unanswered"
UNKNOWN_ROLE = "unknown_role"

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user", "person": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "bot": "assistant", "model": "assistant", "ai": "assistant", "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool", "ipython": "tool",
}  # fmt: skip


def role_of(name: str) -> str:
    """The role that a name in a corpus means: `system`, `user`, `assistant` or `tool`.

    Raises:
        Unusable: nobody knows who that is.

    Example:
        >>> role_of("gpt"), role_of("Human")
        ('assistant', 'user')
    """
    role = ROLES.get(name.strip().lower())
    if role is None:
        raise Unusable(UNKNOWN_ROLE, f"the role {name!r} is none of {', '.join(ROLES)}")
    return role


def to_item(
    record: Record,
    said: Sequence[Message],
    *,
    group: str | None = None,
    unlearned: Collection[int] = (),
    repairs: Sequence[Drop] = (),
) -> Item:
    """The Item of a conversation: an Example for each answer to a question.

    Args:
        record: where it stands.
        said: its turns, in order.
        group: what it belongs to; left out: the record's id.
        unlearned: which of the turns (counted from 0) are there to be read only.
        repairs: what was mended on the way.
    """
    examples: list[Example] = []
    drops = list(repairs)
    before: list[Message] = []
    id_ = record.id
    for number, message in enumerate(said):
        if not has_content(message.text):
            drops.append(record.drop(EMPTY_TURN, f"turn {number + 1}, of the {message.role}, is empty"))
            continue
        if message.role == "assistant" and number not in unlearned:
            if before and before[-1].role in ("user", "tool"):
                examples.append(to_example(record, len(examples) + 1, before, message.text, group or id_))
            else:
                drops.append(record.drop(UNASKED, f"turn {number + 1} answers nothing: no question stands before it"))
        before.append(message)
    if before and before[-1].role in ("user", "tool"):
        drops.append(record.drop(UNANSWERED, f"the last turn, of the {before[-1].role}, has no answer"))
    if not examples and not drops:
        drops.append(record.drop(UNANSWERED, "it holds no answer to learn from"))
    return Item(record.origin, tuple(examples), tuple(drops))


def to_example(record: Record, number: int, before: Sequence[Message], answer: str, group: str) -> Example:
    """The Example of one answer of a conversation: the turn before it is its instruction, those before that its history."""
    return Example(
        id=f"{record.id}.{number}",
        inputs={"input": ""},
        target=answer,
        group=group,
        origin=record.origin,
        instruction=before[-1].text,
        history=tuple(before[:-1]),
    )
