"""Alpaca and what was made after its pattern: `{"instruction", "input", "output"}`."""

from __future__ import annotations

from whet.data.corpora.format import Format, Item, Record, as_object, each, has, share, text
from whet.example import Example

NO_INPUT_MARK = "no_input_mark"
# What forks of it write where there is no input; read as text, the model would learn to read it.
_NO_INPUT = frozenset({"<noinput>", "<no input>", "noinput", "no input", "n/a", "[no input]"})


def _item(record: Record) -> Item:
    value = as_object(record.value)
    read = text(value, "input", "")
    is_marked = read.strip().rstrip(".").lower() in _NO_INPUT
    repairs = (record.drop(NO_INPUT_MARK, f"its input is {read!r}, which says that it has none"),) if is_marked else ()
    example = Example(
        id=record.id,
        inputs={"input": "" if is_marked else read},
        target=text(value, "output"),
        group=None,
        origin=record.origin,
        instruction=text(value, "instruction"),
    )
    return Item(record.origin, (example,), repairs)


ALPACA = Format(
    name="alpaca",
    title="Alpaca rows",
    fields=("instruction", "input", "output"),
    sniff=lambda values: share(values, has("instruction", "output", without=("history", "instances"))),
    read=each(_item),
)
