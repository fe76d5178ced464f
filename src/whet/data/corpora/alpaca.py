"""Alpaca and what was made after its pattern, `{"instruction", "input", "output"}`; Evol-Instruct, with two of the three."""

from __future__ import annotations

import re
from typing import Any

from whet.data.corpora.format import MERGED, NO_INPUT_MARK, Format, Item, Record, Unusable, as_object, each, has, share, text
from whet.data.corpora.forms import is_ours, restoring
from whet.data.corpora.task_rows import Asked, to_example
from whet.data.examples import EMPTY_TARGET

# What forks of it write where there is no input; read as text, the model would learn to read it.
_NO_INPUT = frozenset({"noinput", "n/a", "noinputneeded", "noinputrequired", "noinputnecessary", "noinputprovided"})
_NO_OUTPUT = frozenset({"<nooutput>", "<noinput>"})
# Where GPT-3 went on to the next task of its list inside the answer: a line of "#", then "18. Instruction: ...".
# Empty lines before it are no part of the pattern: there may be thousands, and each would be a place to begin.
_NEXT_TASK = re.compile(r"\n[ \t]*#{2,}[ \t\r]*\n\s*(?:\d+\s*\.\s*)?Instruction:\s*")
_TASK_PART = re.compile(r"\n[ \t]*(?:\d+\s*\.\s*)?(Input|Output):[ \t]*\n?")


def _item(record: Record) -> Item:
    value = as_object(record.value)
    read, written = text(value, "input", ""), text(value, "output")
    if is_ours(value):
        return Item(record.origin, (to_example(record, Asked(text(value, "instruction"), read), written),))
    repairs = []
    if read and _is_no_input(read):
        repairs.append(record.drop(NO_INPUT_MARK, f"its input is {read!r}, which says that it has none"))
        read = ""
    if _squeezed(written) in _NO_OUTPUT:
        raise Unusable(EMPTY_TARGET, f"its output is {written!r}, which says that it has none")
    asked, (answer, *merged) = Asked(text(value, "instruction"), read), _NEXT_TASK.split(written)
    if not merged:
        return Item(record.origin, (to_example(record, asked, answer),), tuple(repairs))
    repairs.append(record.drop(MERGED, f"{len(merged)} more of the list that it was written in stood in its output"))
    rows = [(asked, answer.rstrip()), *filter(None, map(_merged, merged))]
    examples = (to_example(record, *row, number=number) for number, row in enumerate(rows, 1))
    return Item(record.origin, tuple(examples), tuple(repairs))


def _merged(task: str) -> tuple[Asked, str] | None:
    """What a task says that stood in the answer of another; None where it broke off before its answer."""
    instruction, *parts = _TASK_PART.split(task)
    named = dict(zip(parts[::2], parts[1::2], strict=True))
    if "Output" not in named:
        return None
    given = named.get("Input", "").strip()
    return Asked(instruction.strip(), "" if _is_no_input(given) else given), named["Output"].strip()


def _evol(record: Record) -> Item:
    """The Item of an instruction and its answer, under either of the two names that an instruction has."""
    value = as_object(record.value)
    asked = text(value, "instruction" if "instruction" in value else "input")
    return Item(record.origin, (to_example(record, Asked(asked), text(value, "output")),))


def _is_no_input(read: str) -> bool:
    return _squeezed(read).strip("<>[]()") in _NO_INPUT


def _squeezed(text_: str) -> str:
    return re.sub(r"[\s_]", "", text_).rstrip(".").lower() if len(text_) < 40 else ""


def _is_evol(value: Any) -> bool:
    return has("instruction", "output", without=("input", "history", "instances", "prompt"))(value) or has(
        "input", "output", without=("instruction", "history")
    )(value)


ALPACA = Format(
    name="alpaca",
    title="Alpaca rows",
    fields=("instruction", "input", "output"),
    sniff=lambda values: share(values, has("instruction", "output", without=("history", "instances"))),
    read=each(restoring(_item)),
)
EVOL = Format(
    name="evol-instruct",
    title="Evol-Instruct: an instruction (or an input) and its output",
    fields=("instruction", "output"),
    sniff=lambda values: share(values, _is_evol),
    read=each(_evol),
)
