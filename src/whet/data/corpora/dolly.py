"""Dolly, and what was made after its pattern: an instruction, the context that it is about, and the response."""

from __future__ import annotations

from whet.data.corpora.format import Format, Item, Record, as_object, each, has, share, text
from whet.data.corpora.task_rows import Asked, to_example


def _item(record: Record) -> Item:
    """The Item of a row; what Dolly calls context, copies of it call input."""
    value = as_object(record.value)
    context = text(value, "context" if "context" in value else "input", "")
    return Item(record.origin, (to_example(record, Asked(text(value, "instruction"), context), text(value, "response")),))


DOLLY = Format(
    name="dolly",
    title="Dolly: instruction, context, response",
    fields=("instruction", "context", "response", "category"),
    sniff=lambda values: share(values, has("instruction", "response", without=("output", "history", "instances"))),
    read=each(_item),
)
