"""Rows that are rendered already: P3 as the Hub holds it, and pairs of a prompt and a completion (T0's dumps, TRL)."""

from __future__ import annotations

from typing import Any

from whet.data.corpora.format import BAD_FIELD, WRONG_CHOICE, Format, Item, Record, Unusable, as_object, each, has, share, text
from whet.data.corpora.forms import is_ours, restoring
from whet.data.corpora.task_rows import Asked, to_example
from whet.data.corpora.turns import role_of, to_item
from whet.example import Message

_END = "<|endoftext|>"


def _p3(record: Record) -> Item:
    """The Item of a rendered row; of those that were made to rank the choices of a question, only the right one is learned."""
    value = as_object(record.value)
    answer = text(value, "targets_pretokenized").strip()
    if value.get("is_correct") is False:
        raise Unusable(WRONG_CHOICE, f"{answer[:60]!r} is a wrong choice (is_correct is false)")
    return Item(record.origin, (to_example(record, Asked(text(value, "inputs_pretokenized").strip()), answer),))


def _pair(record: Record) -> Item:
    value = as_object(record.value)
    if isinstance(value.get("prompt"), list):
        return _conversation(record)
    asked, answer = text(value, "prompt"), text(value, "completion")
    if answer.endswith(_END) and not is_ours(value):  # a dump in the form of OpenAI's fine-tuning, with its mark and its space
        asked, answer = asked.strip(), answer.removesuffix(_END).strip()
    return Item(record.origin, (to_example(record, Asked(asked), answer),))


def _conversation(record: Record) -> Item:
    """The Item of a pair of lists of messages: the first is read, the second learned."""
    value = record.value
    if not isinstance(value.get("completion"), list):
        raise Unusable(BAD_FIELD, "the prompt is a list of messages, and the completion is none")
    turns = [as_object(turn) for turn in (*value["prompt"], *value["completion"])]
    said = [Message(role_of(text(turn, "role")), text(turn, "content", "")) for turn in turns]
    return to_item(record, said, unlearned=range(len(value["prompt"])))


def _is_p3(value: Any) -> bool:
    return has("inputs_pretokenized", "targets_pretokenized")(value)


P3 = Format(
    name="p3",
    title="P3, Public Pool of Prompts",
    fields=("inputs_pretokenized", "targets_pretokenized", "answer_choices"),
    sniff=lambda values: share(values, _is_p3),
    read=each(_p3),
)
PROMPT_COMPLETION = Format(
    name="prompt-completion",
    title="Prompt and completion (T0's dumps, TRL)",
    fields=("prompt", "completion"),
    sniff=lambda values: share(values, has("prompt", "completion", without=("instruction",))),
    read=each(restoring(_pair)),
)
