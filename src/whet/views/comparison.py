"""Two runs side by side for a terminal: what was changed, each figure with its paired interval, which rows got worse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from whet.views import wording

SHOWN_ROWS, SHOWN_CHARACTERS = 10, 90
UNITS = {"item": "rows are drawn", "group": "whole documents (groups) are drawn"}


def comparison_table(found: Mapping[str, Any]) -> Group:
    """What `whet compare` shows.

    Args:
        found: a RunComparison as JSON values.
    """
    rows = wording.count(found["n"], "document" if found["kind"] == "text" else "example")
    heading = f"{found['run']} against {found['before']}: the same {rows} of the test split"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("before", "now", "difference", "95 % interval"):
        table.add_column(name, justify="right")
    for key, figure in found["figures"].items():
        known, gap = wording.metric(key), figure["difference"]
        figures = (wording.decimal(figure["before"]), wording.decimal(figure["now"]))
        spread = f"{_signed(gap['low'])} to {_signed(gap['high'])}"
        table.add_row(f"{known.name} {'↑' if known.higher_is_better else '↓'}", *figures, _signed(gap["value"]), spread)
    return Group(Text(wording.visible(heading)), _changes(found), table, *_answers(found), "", _verdict(found))


def _changes(found: Mapping[str, Any]) -> Group:
    """What sets the runs apart: rows of training, settings."""
    sizes = found["train_rows"]
    lines = [Text(f"Trained on {sizes['before']:,} rows before, on {sizes['now']:,} now.")]
    for key, pair in found["settings"].items():
        lines.append(Text(wording.visible(f"  {key}: {_short(pair['before'])} before, {_short(pair['now'])} now")))
    return Group(*lines) if found["settings"] else Group(*lines, Text("No setting differs."))


def _answers(found: Mapping[str, Any]) -> list[Any]:
    """Who was right where, label by label, and the rows that got worse."""
    answers = found["answers"]
    if answers is None:
        return []
    p = wording.p_value(answers["mcnemar_p"])
    said = f"{answers['wins']:,} right now and wrong before, {answers['losses']:,} the other way round (McNemar p {p})."
    parts: list[Any] = [Text(said)]
    if found["kind"] == "classify":
        changes = ", ".join(f"{k} {_signed(v) if v is not None else 'no rows'}" for k, v in answers["recall_change"].items())
        parts.append(Text(wording.visible(f"Recall by label: {changes}")))
    if found["regressions"]:
        table = Table("wrong now", "should be", "is", "text", box=None, pad_edge=False)
        for row in found["regressions"][:SHOWN_ROWS]:
            table.add_row(*(Text(wording.visible(_short(row[key]))) for key in ("id", "target", "now", "text")))
        more = len(found["regressions"]) - SHOWN_ROWS
        parts += ["", table, *([Text(f"and {more:,} more (--json lists all)")] if more > 0 else [])]
    return parts


def _verdict(found: Mapping[str, Any]) -> Text:
    """One sentence: better, worse, or nothing sure."""
    name = wording.metric(found["decides"]).name
    gap = found["figures"][found["decides"]]["difference"]
    between = f"{name} {_signed(gap['value'])}, 95 % interval {_signed(gap['low'])} to {_signed(gap['high'])}"
    begins = {"better": "It got better", "worse": "It got worse", "no sure difference": "No sure difference"}
    return Text(f"{begins[found['verdict']]}: {between}; {UNITS[found['interval_unit']]} for both alike.", "bold")


def _signed(value: float) -> str:
    text = wording.decimal(abs(value))
    return f"{'+' if value > 0 else '−'}{text}" if float(text.replace(",", "")) else text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
