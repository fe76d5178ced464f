"""Every corpus format that whet reads, and which of them a file is in."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from whet.data.corpora import (
    alpaca,
    dolly,
    flan,
    guanaco,
    instructions,
    lima,
    marked,
    messages,
    natural,
    oasst,
    prompted,
    self_instruct,
    sharegpt,
)
from whet.data.corpora.format import Format, kind_of
from whet.errors import DataError, Problem

# The more particular before the more general: of two formats that fit equally well, the first is taken.
FORMATS: tuple[Format, ...] = (
    messages.MESSAGES, sharegpt.SHAREGPT, lima.LIMA, oasst.OASST, oasst.OASST_MESSAGES,
    marked.OIG, marked.OIG_PAIRS, marked.OIG_TEXT, marked.GUANACO, marked.LLAMA_GUANACO, marked.CHATML,
    natural.NATURAL_INSTRUCTIONS, natural.SUPER_NI, prompted.P3, flan.FLAN, flan.COT,
    self_instruct.UNNATURAL, self_instruct.SELF_INSTRUCT, prompted.PROMPT_COMPLETION,
    guanaco.GUANACO_CHAT, alpaca.EVOL, alpaca.ALPACA, dolly.DOLLY, instructions.INSTRUCTIONS,
)  # fmt: skip
SNIFFED_RECORDS = 32
LEAST_SHARE = 0.5


def find_format(name: str) -> Format:
    """The format of this name.

    Raises:
        DataError: there is none, with the nearest names.
    """
    by_name = {format_.name: format_ for format_ in FORMATS}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, 3, 0.4)
    do = f"Did you mean {' or '.join(near)}?" if near else f"Name one of {', '.join(by_name)}"
    raise DataError(Problem(f"format {name!r}", "there is no such corpus format", do))


def recognise(values: Sequence[Any], is_text: bool) -> Format | None:
    """The format that most of these records' values are of, or None where none fits at least half of them."""
    candidates = [format_ for format_ in FORMATS if format_.lines == is_text]
    best = max(candidates, key=lambda format_: format_.sniff(values), default=None)  # of equals, max gives the first
    return best if best and best.sniff(values) >= LEAST_SHARE else None


def no_format(name: str, values: Sequence[Any], is_text: bool) -> Problem:
    """The Problem of a file that fits no format: what was seen in it, and what comes nearest."""
    of_its_kind = [format_ for format_ in FORMATS if format_.lines == is_text]
    if is_text:
        seen = f"lines of text, the first being {values[0][:60]!r}" if values else "no line of text"
        near = of_its_kind
    else:
        keys = list(dict.fromkeys(key for value in values if isinstance(value, dict) for key in value))
        kinds = sorted({kind_of(value) for value in values})
        seen = f"records with {_listed(keys)}" if keys else f"records each of which is {' or '.join(kinds)}"
        shared = {format_: len({*format_.fields} & {*keys}) / len({*format_.fields, *keys, ""}) for format_ in of_its_kind}
        near = sorted((format_ for format_ in of_its_kind if shared[format_]), key=lambda format_: -shared[format_])[:3]
    nearest = "; ".join(f"{format_.name} ({', '.join(format_.fields)})" for format_ in near)
    do = f"The nearest are {nearest}: name one with --format" if near else "Read it as a table (`whet new`)"
    return Problem(name, f"it fits no corpus format: it holds {seen}", do)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (" and more" if len(names) > 12 else "")
