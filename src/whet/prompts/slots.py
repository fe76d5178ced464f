"""Texts with slots: `Does "{premise}" mean that "{hypothesis}"?`. What stands in a slot is text and is never read again.

A slot is a name in braces, as in Python's `str.format`, of which nothing else is known here: no attributes, no indices, no
formats. A brace that is meant as one is written twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from string import Formatter

NAME = re.compile(r"[^{}\[\].!:]*[^{}\[\].!:\s]")


@lru_cache(4096)
def parts(text: str) -> tuple[tuple[str, str | None], ...]:
    """Pairs of plain text and the slot behind it (None at the end).

    Raises:
        ValueError: with the reason, if a brace is left open or a slot holds more than a name.

    Example:
        >>> parts("Is {text} a {{set}}?")
        (('Is ', 'text'), (' a {', None), ('set}', None), ('?', None))
    """
    found = []
    for plain, slot, format_, conversion in Formatter().parse(text):
        if slot is not None and (format_ or conversion or not NAME.fullmatch(slot)):
            written = f"{{{slot}{'!' + conversion if conversion else ''}{':' + format_ if format_ else ''}}}"
            raise ValueError(f"the slot {written} holds more than a name")
        found.append((plain, slot))
    return tuple(found)


def slots(text: str) -> tuple[str, ...]:
    """The names of the slots of a text, each once, in order.

    Example:
        >>> slots("{b} {a} {b}")
        ('b', 'a')
    """
    return tuple(dict.fromkeys(slot for _, slot in parts(text) if slot is not None))


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with every slot filled.

    Example:
        >>> fill("{text} {{or}} not?", {"text": "{text}"})
        '{text} {or} not?'
    """
    return "".join(plain if slot is None else plain + values[slot] for plain, slot in parts(text))


def fill_one(text: str, name: str, value: str) -> str:
    """The text with one slot filled for good, and all others left open.

    Example:
        >>> fill_one("{text} {options}", "options", "{a} or b")
        '{text} {{a}} or b'
    """
    made = ""
    for plain, slot in parts(text):
        made += escape(plain) + ("" if slot is None else escape(value) if slot == name else f"{{{slot}}}")
    return made


def without(text: str, name: str) -> str:
    """The text without a slot: a line that holds nothing else goes, and so does a blank line too many.

    Example:
        >>> without("Is it so?\\n\\n{options}\\n\\nAnswer:", "options")
        'Is it so?\\n\\nAnswer:'
    """
    taken = re.sub(rf"[ \t]*{re.escape(f'{{{name}}}')}", "", text)
    return re.sub(r"\n{3,}", "\n\n", taken).strip() if taken != text else text


def escape(text: str) -> str:
    """A plain text as it is written between slots.

    Example:
        >>> escape("{a}")
        '{{a}}'
    """
    return text.replace("{", "{{").replace("}", "}}")
