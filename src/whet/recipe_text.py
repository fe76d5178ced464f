"""The text of a recipe with settings changed in it: comments, order and everything else stay as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

HEADER = re.compile(r"^\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
# A value that ends on its line: a string, or anything without a quotation mark; then perhaps a comment.
VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'#\[{][^"'#\[{]*?|\[[^\[\]#]*\])"""


def edited(text: str, sets: Mapping[str, Any]) -> str:
    """The text of a recipe with these settings: where a key stands its value is replaced, else a line is added to its section.

    Whoever writes it reads it again: a value over several lines, or a section as an inline table, is not found here.

    Args:
        text: TOML.
        sets: `section.key` to value.

    Example:
        >>> text = "[train]\\nmax_length = 128  # short\\n\\n[lora]\\nr = 64\\n"
        >>> print(edited(text, {"train.max_length": 96, "train.bf16": True}))
        [train]
        max_length = 96  # short
        bf16 = true
        <BLANKLINE>
        [lora]
        r = 64
        <BLANKLINE>
    """
    lines = text.splitlines()
    for key, value in sets.items():
        section, _, name = key.rpartition(".")
        lines = _set(lines, section, name, _toml(value))
    return "\n".join(lines) + "\n"


def _set(lines: list[str], section: str, name: str, value: str) -> list[str]:
    """The lines with one key of one section set."""
    start, end = _extent(lines, section)
    if start is None:
        return [*lines, *([""] if lines and lines[-1] else []), f"[{section}]", f"{name} = {value}"]
    pattern = re.compile(rf"""^(\s*["']?{re.escape(name)}["']?\s*=\s*){VALUE}(\s*(?:#.*)?)$""")
    for at in range(start, end):
        if found := pattern.match(lines[at]):
            return [*lines[:at], f"{found[1]}{value}{found[2]}", *lines[at + 1 :]]
    while end > start and not lines[end - 1].strip():
        end -= 1
    return [*lines[:end], f"{name} = {value}", *lines[end:]]


def _extent(lines: list[str], section: str) -> tuple[int | None, int]:
    """The first line of a section and the one behind its last; None where there is no such section."""
    start = 0 if not section else None
    for number, line in enumerate(lines):
        if found := HEADER.match(line):
            if start is not None:
                return start, number
            if found[1] == section:
                start = number + 1
    return start, len(lines)


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
