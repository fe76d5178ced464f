"""What a run was predicted to take and took, as charts and rows of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.budget.memory import COMPONENTS
from whet.views.memory import FAR, largest
from whet.views.svg import LEFT, RIGHT, WIDTH, Scale, axis, levels, plate, tag, ticks, write
from whet.views.wording import count, duration, size

Json = Mapping[str, Any]

MEASURED = {
    "allocated": "tensors", "reserved": "reserved by the allocator", "above_start": "the process above its start",
    "whole": "the whole process",
}  # fmt: skip
GIB, MIB = 2**30, 2**20


def cost(plan: Json, score: Json) -> dict[str, Any]:
    """What the template shows: charts by name, the components with their sizes, rows (what, predicted, measured, ratio).

    Args:
        plan: what `plan.json` holds; empty where there is none.
        score: the part `score` of the manifest; empty where nothing was measured.
    """
    if not plan:
        return {"charts": {}, "parts": [], "rows": [], "cuts": []}
    lengths, charts, parts = plan.get("lengths"), {}, []
    if plan.get("by_phase"):
        charts["memory"] = stacked(plan["by_phase"], plan["outside_bytes"], plan["budget_bytes"])
        parts = [(name, size(most)) for name, most in largest(plan["by_phase"]).items() if most]
    if lengths:
        charts["lengths"] = histogram(lengths["bars"], lengths["width"], lengths["limit"])
    return {"charts": charts, "parts": parts, "rows": _rows(score), "cuts": lengths["cuts"] if lengths else []}


def _rows(score: Json) -> list[tuple[str, str, str, str]]:
    rows = [
        (f"Peak memory, {MEASURED[peak['what']]}", size(peak["predicted_bytes"]), size(peak["measured_bytes"]), _times(peak))
        for peak in score.get("peaks", ())
    ]
    if took := score.get("time"):
        predicted, measured = duration(took["predicted_seconds"]), duration(took["measured_seconds"])
        rows.append(("Training, with its validations", predicted, measured, _times(took)))
    return rows


def _times(figure: Json) -> str:
    return f"{figure['ratio']:.2f} ×"


def stacked(by_phase: Mapping[str, Mapping[str, int]], outside_bytes: int, budget_bytes: int) -> str:
    """A bar of components for each phase, and the budget as a line where it is not far off."""
    taken = {phase: parts for phase, parts in by_phase.items() if any(parts.values())}
    highest = max(sum(parts.values()) for parts in taken.values()) + outside_bytes
    is_far = budget_bytes > FAR * highest
    bars = {phase: parts if is_far else {**parts, "outside": outside_bytes} for phase, parts in taken.items()}
    most = highest - outside_bytes if is_far else max(highest, budget_bytes)
    unit, name = (GIB, "GiB") if most > GIB / 2 else (MIB, "MiB")
    scale, height, top = Scale(0, most / unit, 76.0, WIDTH - 64), 27, 12
    bottom = top + height * len(bars)
    drawn = [axis(scale, bottom, top)]
    for number, (phase, parts) in enumerate(bars.items()):
        y, end = top + height * number + 5, 0.0
        drawn.append(write(phase, 0, y + 13, "name"))
        for component in (*COMPONENTS, "outside"):
            start, end = end, end + parts.get(component, 0) / unit
            if end > start:
                wide = scale(end) - scale(start)
                drawn.append(tag("rect", class_=f"part is-{component}", x=scale(start), y=y, width=wide, height=17))
        drawn.append(write(size(sum(parts.values())), WIDTH, y + 13, "number", "end"))
    if not is_far:
        x = scale(budget_bytes / unit)
        drawn.append(tag("line", class_="budget", x1=x, y1=top - 4, x2=x, y2=bottom + 4))
        drawn.append(write("budget", x, top - 6, "quiet", "end" if x > WIDTH / 2 else "start"))
    drawn.append(write(name, WIDTH, bottom + 15, "quiet", "end"))
    told = "; ".join(f"{phase} {size(sum(parts.values()))}" for phase, parts in bars.items())
    return plate(bottom + 22, f"Predicted memory by phase: {told}", *drawn)


def histogram(bars: Sequence[Sequence[int]], width: int, limit: int | None) -> str:
    """Rows by their tokens, and the longest that is allowed as a line where it falls among them."""
    top, bottom = 16.0, 150.0
    first, last = bars[0][0], bars[-1][0] + width
    x, y = Scale(first, last, LEFT, RIGHT), Scale(0, max(rows for _, rows in bars), bottom, top)
    drawn = [axis(x, bottom, bottom), levels(y, ticks(0, y.high, 3))]
    drawn += [
        tag("rect", class_="part is-rows", x=x(start), y=y(rows), width=x(start + width) - x(start), height=bottom - y(rows))
        for start, rows in bars
        if rows
    ]
    if limit is not None and limit <= last:
        drawn.append(tag("line", class_="budget", x1=x(limit), y1=top - 4, x2=x(limit), y2=bottom))
        drawn.append(write("most allowed", x(limit) - 4, top, "quiet", "end"))
    drawn.append(write("tokens", RIGHT, bottom + 32, "quiet", "end"))
    told = f"{count(sum(rows for _, rows in bars), 'row')} of {first:,} to {last - 1:,} tokens"
    return plate(bottom + 38, f"Length of the training rows: {told}", *drawn)
