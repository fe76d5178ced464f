"""The reliability diagram in which every test example is a grain of sand, above where it was right, below where wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.views.svg import LEFT, RIGHT, Scale, axis, levels, number, plate, points, tag, write
from whet.views.wording import count, decimal

PANEL = 170.0
GAP = 6.0
HIGHEST = 190.0
FARTHEST = 8.0
PITCHES = (7.0, 6.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.0, 1.5)


@dataclass(frozen=True, slots=True)
class Grain:
    """One test example; `index` is its place in the page's list."""

    index: int
    confidence: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Sand:
    """How the grains of a row of diagrams lie, the same in all so that they can be compared.

    `low` is where the confidence axis begins, `pitch` the width of a grain, `above` and `below` the room for the heaps.
    """

    low: float
    pitch: float
    above: float
    below: float


def settle(diagrams: Sequence[Sequence[Grain]], low: float) -> Sand:
    """The sand of these diagrams: the widest grains that pile up no higher than HIGHEST and lie within FARTHEST of their place.

    Where even the finest grain does not fit, it is drawn all the same: then a heap's foot is wider than it should be.
    """
    heaps = [[[g.confidence for g in grains if g.is_right == side] for grains in diagrams] for side in (True, False)]
    for pitch in PITCHES:
        piled = [[_pile(heap, low, pitch) for heap in side] for side in heaps]
        if all(abs(home - column) * pitch <= FARTHEST for side in piled for heap in side for home, column, _ in heap):
            break
    # Room for a line of text at least.
    above, below = (max(20.0, *((row + 1) * pitch for heap in side for _, _, row in heap), 0.0) for side in piled)
    return Sand(low, pitch, above, below)


def reliability(bins: Sequence[Mapping[str, Any]], grains: Sequence[Grain], sand: Sand, label: str) -> str:
    """A reliability diagram between two heaps of grains.

    An outcome is 1 or 0, so that is where the grains lie; the dots between are the share that was right in each bin of
    confidence, with an area in proportion to its examples, and a line to where they should be.

    Args:
        bins: {"n", "confidence", "accuracy"} each.
        grains: the examples; none draws the diagram alone.
        sand: what `settle` found.
        label: what the chart shows, for those who do not see it.
    """
    top = 20 + sand.above + GAP
    bottom = top + PANEL
    foot = bottom + GAP + sand.below
    x, y = Scale(sand.low, 1, LEFT, RIGHT), Scale(0, 1, bottom, top)
    parts = [levels(y, (0, 0.25, 0.5, 0.75, 1)), axis(x, foot, top, 5)]
    parts.append(tag("line", class_="ideal", x1=x(sand.low), y1=y(sand.low), x2=x(1), y2=y(1)))
    parts.append(write("less sure than right", LEFT + 8, top + 18, "quiet"))
    parts.append(write("surer than right", RIGHT - 6, bottom - 9, "quiet", "end"))
    parts += _bins([b for b in bins if b["n"]], x, y)
    for is_right, base, line in ((True, top - GAP, 11.0), (False, bottom + GAP, foot + 32)):
        heap = [g for g in grains if g.is_right == is_right]
        parts += _heap(heap, sand, base, -1 if is_right else 1)
        if heap:
            kind = "right" if is_right else "wrong"
            parts.append(_grain(is_right, LEFT + 5, line - 4, 8.0, class_=f"key {kind}"))
            parts.append(write(f"{count(len(heap))} {kind}", LEFT + 14, line, "strong"))
    parts.append(tag("circle", class_="ring", r=max(6.0, sand.pitch), visibility="hidden"))
    parts.append(write("confidence in the answer", RIGHT, foot + 32, "quiet", "end"))
    return plate(foot + 38, label, *parts, kind="plate grains" if grains else "plate")


def _bins(bins: Sequence[Mapping[str, Any]], x: Scale, y: Scale) -> list[str]:
    """The bins: a dot each, a line from it to where it should be, and a line through all."""
    most = max((b["n"] for b in bins), default=1)
    places = [(x(b["confidence"]), y(b["accuracy"])) for b in bins]
    goals = [y(b["confidence"]) for b in bins]
    parts = [tag("line", class_="gap", x1=cx, y1=cy, x2=cx, y2=goal) for (cx, cy), goal in zip(places, goals, strict=True)]
    parts.append(tag("polyline", class_="trend", points=points(places)))
    for (cx, cy), b in zip(places, bins, strict=True):
        says = f"{count(b['n'], 'example')}, {decimal(b['confidence'])} sure, {decimal(b['accuracy'])} right"
        radius = 3 + 6 * math.sqrt(b["n"] / most)
        parts.append(tag("circle", tag("title", says), class_="bin", cx=cx, cy=cy, r=radius))
    return parts


def _columns(pitch: float) -> int:
    return int((RIGHT - LEFT) / pitch)


def _pile(confidences: Sequence[float], low: float, pitch: float) -> list[tuple[int, int, int]]:
    """(its own column, its column, its row) of each. A full column spills to the left: sand crowds at the upper end."""
    columns, rows = _columns(pitch), int(HIGHEST / pitch)
    places = [(0, 0, 0)] * len(confidences)
    column, row = columns, 0
    for i in sorted(range(len(confidences)), key=lambda i: -confidences[i]):
        home = max(0, min(columns - 1, int((confidences[i] - low) / (1 - low) * columns)))
        if home < column:
            column, row = home, 0
        elif row >= rows and column > 0:
            column, row = column - 1, 0
        places[i] = (home, column, row)
        row += 1
    return places


def _heap(heap: Sequence[Grain], sand: Sand, base: float, way: int) -> list[str]:
    """The grains of one heap, upwards (way -1) or downwards (1) from its base."""
    width = (RIGHT - LEFT) / _columns(sand.pitch)
    marks = []
    for grain, (_, column, row) in zip(heap, _pile([g.confidence for g in heap], sand.low, sand.pitch), strict=True):
        cx, cy = LEFT + (column + 0.5) * width, base + way * (row + 0.5) * sand.pitch
        kind = f"grain {'right' if grain.is_right else 'wrong'}"
        marks.append(_grain(grain.is_right, cx, cy, sand.pitch, class_=kind, data_i=grain.index))
    return marks


def _grain(is_right: bool, cx: float, cy: float, pitch: float, **attributes: object) -> str:
    """A circle that was right or a diamond that was wrong: to be told apart without colour."""
    if is_right:
        return tag("circle", **attributes, cx=cx, cy=cy, r=pitch * 0.42)
    r = pitch * 0.58
    path = f"M{number(cx)} {number(cy - r)}l{number(r)} {number(r)} {number(-r)} {number(r)} {number(-r)} {number(-r)}z"
    return tag("path", **attributes, d=path)
