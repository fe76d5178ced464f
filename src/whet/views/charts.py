"""Charts as inline SVG. Every plate is 360 units wide, so that its text is the same size in a column and on a phone.

Colours, line widths and fonts are the page's (`style.css`): the functions here only place things.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from whet.views.wording import NONE, count, decimal, visible

WIDTH = 360.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to places. A domain without extent maps to the middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        fraction = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + fraction * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a dot plot: a value with its interval, and the range that noise alone would reach."""

    name: str
    value: float | None
    interval: Sequence[float] | None = None
    kind: str = "other"
    noise: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Grain:
    """One test example in a reliability diagram; `index` is its place in the page's list."""

    index: int
    confidence: float
    is_right: bool


def tag(name: str, /, *children: str, **attributes: object) -> str:
    """One element. Children are markup, attribute values are escaped; `class_` and `stroke_width` lose their underscores.

    Example:
        >>> tag("text", escape("a < b"), class_="t", x=1.0, y=2.25)
        '<text class="t" x="1" y="2.25">a &lt; b</text>'
    """
    written = "".join(f' {k.rstrip("_").replace("_", "-")}="{_value(v)}"' for k, v in attributes.items() if v is not None)
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def escape(text: str) -> str:
    """Text that is safe as the content of an element or attribute, with nothing hidden in it."""
    return html.escape(visible(text), quote=True)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` + 1 round numbers in [low, high], evenly spaced by 1, 2 or 5 times a power of ten.

    Example:
        >>> ticks(0.33, 0.79), ticks(0, 240, 4)
        ([0.4, 0.5, 0.6, 0.7], [0.0, 100.0, 200.0])
    """
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def dot_plot(rows: Sequence[Row], label: str, zero: bool = False) -> str:
    """Dots with interval bars on one axis, a row each, with the number beside; the tuned row's interval shades all rows.

    Args:
        rows: what to draw, from the top; a row without a value says so with a dash.
        label: what the chart shows, for those who do not see it.
        zero: begin the axis at 0.
    """
    height, top = 27, 8
    bottom = top + height * len(rows)
    scale = Scale(*_extent(rows, zero), 112.0, 252.0)
    parts = [_axis(scale, bottom, top)]
    for row in rows:
        if row.kind == "tuned" and row.interval:
            left, right = (scale(v) for v in row.interval)
            parts.append(tag("rect", class_="own", x=left, y=top - 2, width=right - left, height=bottom - top + 2))
    for i, row in enumerate(rows):
        parts.append(_dot_row(row, scale, top + height * (i + 0.5)))
    return _plate(bottom + 22, label, *parts)


def curve(points: Sequence[tuple[float, float]], label: str, best: float | None = None, dots: bool = False) -> str:
    """A line over training steps; `dots` marks every point, `best` is the step whose point is ringed and named."""
    if not points:
        return ""
    top, bottom, left = 16.0, 168.0, 40.0
    x = Scale(0, max(p[0] for p in points), left, WIDTH - 10)
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    room = (high - low) * 0.08 or 0.1
    under = 2.5 * room if best is not None else room
    y = Scale(max(0.0, low - under) if low >= 0 else low - under, high + room, bottom, top)
    parts = [_axis(x, bottom, bottom), *(_level(v, y(v), left) for v in ticks(y.low, y.high, 4))]
    parts.append(tag("polyline", class_="line", points=" ".join(f"{_value(x(a))},{_value(y(b))}" for a, b in points)))
    if dots:
        parts += [tag("circle", class_="point", cx=x(a), cy=y(b), r=3) for a, b in points]
    for a, b in points:
        if a == best:
            side = "end" if x(a) > WIDTH * 0.6 else "start" if x(a) < WIDTH * 0.3 else "middle"
            parts.append(tag("circle", class_="best", cx=x(a), cy=y(b), r=6.5))
            parts.append(_text(f"best, {decimal(b)}", x(a), y(b) + 20, "strong", side))
    parts.append(_text("step", WIDTH - 10, bottom + 32, "quiet", "end"))
    return _plate(bottom + 38, label, *parts)


def bar(shares: Sequence[tuple[str, float]], label: str) -> str:
    """One bar over the full width, cut into shares of a whole; each share is its class and its size."""
    whole = sum(size for _, size in shares) or 1.0
    parts, start = [], 0.0
    for kind, share in shares:
        wide = 100 * share / whole
        parts.append(tag("rect", class_=kind, x=f"{_value(start)}%", y=0, width=f"{_value(wide)}%", height="100%"))
        start += wide
    return tag("svg", *parts, class_="bar", role="img", aria_label=label)


def reliability(
    bins: Sequence[Mapping[str, Any]], grains: Sequence[Grain], low: float, pitch: float, heights: tuple[float, float], label: str
) -> str:
    """A reliability diagram between two heaps of grains: above the examples that were right, below those that were wrong.

    An outcome is 1 or 0, so that is where the grains lie; the dots between are the share that was right in each bin of
    confidence, with an area in proportion to its examples, and a line to where they should be.

    Args:
        bins: {"n", "confidence", "accuracy"} each.
        grains: the examples; none draws the diagram alone.
        low: where the confidence axis begins.
        pitch: width of a grain, as `pitch_for` found it.
        heights: room for the heap above and the heap below.
        label: what the chart shows, for those who do not see it.
    """
    left, right = 40.0, WIDTH - 8
    top = 20 + heights[0] + 6
    bottom = top + 170
    x, y = Scale(low, 1, left, right), Scale(0, 1, bottom, top)
    foot = bottom + 6 + heights[1]
    parts = [_level(v, y(v), left) for v in (0, 0.25, 0.5, 0.75, 1)]
    parts += [_axis(x, foot, top, 5), tag("line", class_="ideal", x1=x(low), y1=y(low), x2=x(1), y2=y(1))]
    parts += [_text("less sure than right", left + 8, top + 18, "quiet", "start"),
              _text("surer than right", right - 6, bottom - 9, "quiet", "end")]  # fmt: skip
    filled = [b for b in bins if b["n"]]
    most = max((b["n"] for b in filled), default=1)
    dots = [(x(b["confidence"]), y(b["accuracy"]), 3 + 6 * math.sqrt(b["n"] / most), y(b["confidence"]), b) for b in filled]
    parts += [tag("line", class_="gap", x1=cx, y1=cy, x2=cx, y2=goal) for cx, cy, _, goal, _ in dots]
    parts.append(tag("polyline", class_="trend", points=" ".join(f"{_value(d[0])},{_value(d[1])}" for d in dots)))
    for cx, cy, r, _, b in dots:
        says = f"{count(b['n'], 'example')}, {decimal(b['confidence'])} sure, {decimal(b['accuracy'])} right"
        parts.append(tag("circle", tag("title", escape(says)), class_="bin", cx=cx, cy=cy, r=r))
    for is_right, base, way in ((True, top - 6, -1), (False, bottom + 6, 1)):
        heap = [g for g in grains if g.is_right == is_right]
        parts += _heap(heap, Scale(low, 1, left, right), base, pitch, int(heights[not is_right] / pitch), way)
        if heap:
            line = 11.0 if is_right else foot + 32
            parts.append(_grain(is_right, left + 5, line - 4, 8.0, class_=f"key {'right' if is_right else 'wrong'}"))
            parts.append(_text(f"{count(len(heap))} {'right' if is_right else 'wrong'}", left + 14, line, "strong", "start"))
    parts.append(tag("circle", class_="ring", r=max(6.0, pitch), visibility="hidden"))
    parts.append(_text("confidence in the answer", right, foot + 32, "quiet", "end"))
    return _plate(foot + 38, label, *parts, class_="plate grains" if grains else "plate")


def pitch_for(heaps: Sequence[Sequence[float]], low: float, height: float) -> float:
    """The widest grain with which no heap is higher than `height` and no grain lies more than 8 units beside its place."""
    width = WIDTH - 48
    for pitch in (7.0, 6.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.0, 1.5):
        columns, rows = int(width / pitch), int(height / pitch)
        places = [_stack(values, low, columns, rows) for values in heaps]
        if all((home - column) * pitch <= 8 for heap in places for home, column, _ in heap):
            return pitch
    return 1.0


def heap_height(values: Sequence[float], low: float, pitch: float, most: float) -> float:
    """How high these values pile up at this pitch; room for a line of text at least."""
    places = _stack(values, low, int((WIDTH - 48) / pitch), int(most / pitch))
    return max(20.0, max((level + 1 for _, _, level in places), default=0) * pitch)


def _stack(values: Sequence[float], low: float, columns: int, rows: int) -> list[tuple[int, int, int]]:
    """(home column, column, level) of each value. A full column spills to the left: confidence crowds at its upper end."""
    places = [(0, 0, 0)] * len(values)
    column, level = columns, 0
    for i in sorted(range(len(values)), key=lambda i: -values[i]):
        home = max(0, min(columns - 1, int((values[i] - low) / (1 - low) * columns)))
        if home < column:
            column, level = home, 0
        elif level >= rows:
            column, level = column - 1, 0
        places[i] = (home, column, level)
        level += 1
    return places


def _heap(heap: Sequence[Grain], x: Scale, base: float, pitch: float, rows: int, way: int) -> list[str]:
    """The grains of one heap: circles that were right, diamonds that were wrong."""
    width = (x.end - x.start) / int((x.end - x.start) / pitch)
    places = _stack([g.confidence for g in heap], x.low, int((x.end - x.start) / pitch), rows)
    marks = []
    for grain, (_, column, level) in zip(heap, places, strict=True):
        cx, cy = x.start + (column + 0.5) * width, base + way * (level + 0.5) * pitch
        kind = f"grain {'right' if grain.is_right else 'wrong'}"
        marks.append(_grain(grain.is_right, cx, cy, pitch, class_=kind, data_i=grain.index))
    return marks


def _grain(is_right: bool, cx: float, cy: float, pitch: float, **attributes: object) -> str:
    if is_right:
        return tag("circle", **attributes, cx=cx, cy=cy, r=pitch * 0.42)
    r = pitch * 0.58
    path = f"M{_value(cx)} {_value(cy - r)}l{_value(r)} {_value(r)} {_value(-r)} {_value(r)} {_value(-r)} {_value(-r)}z"
    return tag("path", **attributes, d=path)


def _dot_row(row: Row, scale: Scale, y: float) -> str:
    parts = [_text(row.name, 0, y + 4, "name", "start")]
    parts.append(tag("line", class_="rail", x1=scale.start, y1=y, x2=scale.end, y2=y))
    if row.noise:
        mean, most = (scale(v) for v in row.noise)
        start = scale(max(0.0, scale.low))
        parts.append(tag("rect", class_="noise", x=start, y=y - 8, width=max(0.0, most - start), height=16))
        parts.append(tag("line", class_="noise-mean", x1=mean, y1=y - 8, x2=mean, y2=y + 8))
    if row.value is None:
        return tag("g", *parts, _text(NONE, 262, y + 4, "quiet", "start"), class_=f"row {row.kind}")
    if row.interval:
        left, right = (scale(v) for v in row.interval)
        parts.append(tag("line", class_="whisker", x1=left, y1=y, x2=right, y2=y))
        span = f"{decimal(row.interval[0], 2)}–{decimal(row.interval[1], 2)}"
        parts.append(_text(span, WIDTH, y + 4, "quiet", "end"))
    parts.append(tag("circle", class_="dot", cx=scale(row.value), cy=y, r=4.5))
    parts.append(_text(decimal(row.value), 262, y + 4, "number", "start"))
    return tag("g", *parts, class_=f"row {row.kind}")


def _extent(rows: Sequence[Row], zero: bool) -> tuple[float, float]:
    """The range that holds every value, interval and noise range, with a little room."""
    seen = [v for r in rows for v in (r.value, *(r.interval or ()), *(r.noise or ())) if v is not None]
    low, high = min(seen, default=0.0), max(seen, default=1.0)
    room = (high - low) * 0.06 or 0.05
    return (0.0 if zero else max(0.0, low - room), high + room)


def _axis(scale: Scale, y: float, top: float, most: int = 4) -> str:
    marks = []
    values = ticks(scale.low, scale.high, most)
    digits = max((_decimals(b - a) for a, b in pairwise(values)), default=2)
    for v in values:
        if top < y:
            marks.append(tag("line", class_="grid", x1=scale(v), y1=top, x2=scale(v), y2=y))
        marks.append(_text(f"{v:,.{digits}f}", scale(v), y + 15, "tick", "middle"))
    marks.append(tag("line", class_="axis", x1=scale.start, y1=y, x2=scale.end, y2=y))
    return "".join(marks)


def _level(value: float, y: float, left: float) -> str:
    line = tag("line", class_="grid", x1=left, y1=y, x2=WIDTH - 8, y2=y)
    return line + _text(f"{value:.2f}", left - 6, y + 3.5, "tick", "end")


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _text(text: str, x: float, y: float, kind: str, anchor: str) -> str:
    return tag("text", escape(text), class_=kind, x=x, y=y, text_anchor=anchor)


def _plate(height: float, label: str, *parts: str, class_: str = "plate") -> str:
    box = f"0 0 {_value(WIDTH)} {_value(height)}"
    return tag("svg", *parts, class_=class_, viewBox=box, role="img", aria_label=label)


def _value(value: object) -> str:
    """An attribute's value: a number to a twentieth of a pixel, text escaped."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(str(value))
