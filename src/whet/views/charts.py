"""Charts as inline SVG: figures with their intervals, learning curves, shares of a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whet.views.svg import LEFT, RIGHT, WIDTH, Scale, axis, levels, number, plate, points, tag, ticks, write
from whet.views.wording import NONE, decimal, short_interval


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a dot plot: a value, its interval, and what noise alone would show: its mean and 95th percentile."""

    name: str
    value: float | None
    interval: Sequence[float] | None = None
    kind: str = "other"
    noise: tuple[float, float | None] | None = None


def dot_plot(rows: Sequence[Row], label: str, from_zero: bool = False) -> str:
    """Dots with interval bars on one axis, a row each, with the number beside; the interval of kind "tuned" shades all rows.

    Args:
        rows: what to draw, from the top; a row without a value says so with a dash.
        label: what the chart shows, for those who do not see it.
        from_zero: begin the axis at 0.
    """
    height, top = 27, 8
    bottom = top + height * len(rows)
    scale = Scale(*_extent(rows, from_zero), 112.0, 252.0)
    parts = [axis(scale, bottom, top)]
    for row in rows:
        if row.kind == "tuned" and row.interval:
            left, right = (scale(v) for v in row.interval)
            parts.append(tag("rect", class_="own", x=left, y=top - 2, width=right - left, height=bottom - top + 2))
    parts += [_dot_row(row, scale, top + height * (i + 0.5)) for i, row in enumerate(rows)]
    return plate(bottom + 22, label, *parts)


def curve(steps: Sequence[tuple[float, float]], label: str, best: float | None = None, dots: bool = False) -> str:
    """A line over training steps; `dots` marks every point, `best` is the step whose point is ringed and named."""
    if not steps:
        return ""
    top, bottom = 16.0, 168.0
    x = Scale(0, max(s for s, _ in steps), LEFT, RIGHT)
    low, high = min(v for _, v in steps), max(v for _, v in steps)
    room = (high - low) * 0.08 or 0.1
    under = room if best is None else 2.5 * room  # the best point is a lowest one, and its name stands below it
    y = Scale(max(0.0, low - under) if low >= 0 else low - under, high + room, bottom, top)
    parts = [axis(x, bottom, bottom), levels(y, ticks(y.low, y.high, 4))]
    parts.append(tag("polyline", class_="line", points=points([(x(s), y(v)) for s, v in steps])))
    parts += [tag("circle", class_="point", cx=x(s), cy=y(v), r=3) for s, v in steps if dots]
    for s, v in steps:
        if s == best:
            side = "end" if x(s) > RIGHT - 40 else "start" if x(s) < LEFT + 40 else "middle"
            parts.append(tag("circle", class_="best", cx=x(s), cy=y(v), r=6.5))
            parts.append(write(f"best, {decimal(v)}", x(s), y(v) + 20, "strong", side))
    parts.append(write("step", RIGHT, bottom + 32, "quiet", "end"))
    return plate(bottom + 38, label, *parts)


def bar(shares: Sequence[tuple[str, float]], label: str) -> str:
    """One bar over the full width, cut into shares of a whole; each share is its class and its size."""
    whole = sum(size for _, size in shares) or 1.0
    parts, start = [], 0.0
    for kind, size in shares:
        wide = 100 * size / whole
        parts.append(tag("rect", class_=kind, x=f"{number(start)}%", y=0, width=f"{number(wide)}%", height="100%"))
        start += wide
    return tag("svg", *parts, class_="bar", role="img", aria_label=label)


def _dot_row(row: Row, scale: Scale, y: float) -> str:
    parts = [write(row.name if len(row.name) <= 16 else f"{row.name[:15]}…", 0, y + 4, "name")]
    parts.append(tag("line", class_="rail", x1=scale.start, y1=y, x2=scale.end, y2=y))
    if row.noise:
        mean, most = row.noise
        if most is not None:
            start = scale(max(0.0, scale.low))
            parts.append(tag("rect", class_="noise", x=start, y=y - 8, width=max(0.0, scale(most) - start), height=16))
        parts.append(tag("line", class_="noise-mean", x1=scale(mean), y1=y - 8, x2=scale(mean), y2=y + 8))
    if row.value is None:
        return tag("g", *parts, write(NONE, 262, y + 4, "quiet"), class_=f"row {row.kind}")
    if row.interval:
        left, right = (scale(v) for v in row.interval)
        parts.append(tag("line", class_="whisker", x1=left, y1=y, x2=right, y2=y))
        parts.append(write(short_interval(row.interval), WIDTH, y + 4, "quiet", "end"))
    parts.append(tag("circle", class_="dot", cx=scale(row.value), cy=y, r=4.5))
    parts.append(write(decimal(row.value), 262, y + 4, "number"))
    return tag("g", *parts, class_=f"row {row.kind}")


def _extent(rows: Sequence[Row], from_zero: bool) -> tuple[float, float]:
    """The range that holds every value, interval and noise range, with a little room."""
    seen = [v for r in rows for v in (r.value, *(r.interval or ()), *(r.noise or ())) if v is not None]
    low, high = min(seen, default=0.0), max(seen, default=1.0)
    room = (high - low) * 0.06 or 0.05
    return (0.0 if from_zero else max(0.0, low - room), high + room)
