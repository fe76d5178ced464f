"""Cells of a table as the values that Jinja templates reckon with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

WHOLE_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})")


def values(cells: Mapping[str, str | None]) -> dict[str, Any]:
    """The row with a number where a cell is a whole number, and a list or table where it is JSON of one; text elsewhere.

    A number that is written otherwise (`007`, `1e5`, `0.10`) stays the text that it is, so that it is written as it stands.

    Example:
        >>> values({"text": "007", "label": "1", "choices": '["a", "b"]', "note": "[sic]"})
        {'text': '007', 'label': 1, 'choices': ['a', 'b'], 'note': '[sic]'}
    """
    return {name: _value(cell) for name, cell in cells.items()}


def _value(cell: str | None) -> Any:
    if cell is None:
        return None
    if WHOLE_NUMBER.fullmatch(cell):
        return int(cell)
    if cell[:1] in ("[", "{"):
        try:
            return json.loads(cell)
        except (json.JSONDecodeError, RecursionError):
            return cell
    return cell
