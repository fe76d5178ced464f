"""The few drawing tools that the charts share: elements, scales, ticks. A plate is 360 units wide, a phone's column.

Colours, line widths and fonts are the page's (`style.css`): the charts only place things.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from whet.views.wording import visible

WIDTH = 360.0
LEFT, RIGHT = 40.0, WIDTH - 8  # of the area that a chart with a vertical axis draws in


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to places. A domain without extent maps to the middle.

    Example:
        >>> Scale(0, 2, 100, 200)(0.5), Scale(3, 3, 100, 200)(3)
        (125.0, 150.0)
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        fraction = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + fraction * (self.end - self.start)


def tag(name: str, /, *children: str, **attributes: object) -> str:
    """One element. Children are markup, attribute values are escaped; `class_` and `stroke_width` lose their underscores.

    Example:
        >>> tag("text", escape("a < b"), class_="t", x=1.0, y=2.25)
        '<text class="t" x="1" y="2.25">a &lt; b</text>'
    """
    written = "".join(f' {k.rstrip("_").replace("_", "-")}="{number(v)}"' for k, v in attributes.items() if v is not None)
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def escape(text: str) -> str:
    """Text that is safe as the content of an element or attribute, with nothing hidden in it."""
    return html.escape(visible(text), quote=True)


def number(value: object) -> str:
    """An attribute's value: a float to a hundredth of a unit, any other value as escaped text."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(str(value))


def points(places: Sequence[tuple[float, float]]) -> str:
    """The `points` of a polyline."""
    return " ".join(f"{number(float(x))},{number(float(y))}" for x, y in places)


def write(text: str, x: float, y: float, kind: str, anchor: str = "start") -> str:
    """A line of text."""
    return tag("text", escape(text), class_=kind, x=x, y=y, text_anchor=anchor)


def plate(height: float, label: str, *parts: str, kind: str = "plate") -> str:
    """A whole chart; `label` says what it shows to those who do not see it."""
    return tag("svg", *parts, class_=kind, viewBox=f"0 0 {number(WIDTH)} {number(height)}", role="img", aria_label=label)


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


def axis(scale: Scale, y: float, top: float, most: int = 4) -> str:
    """A horizontal axis at `y` with its numbers below, and grid lines up to `top`."""
    values = ticks(scale.low, scale.high, most)
    marks = [tag("line", class_="grid", x1=scale(v), y1=top, x2=scale(v), y2=y) for v in values if top < y]
    marks += [write(said, scale(v), y + 15, "tick", "middle") for v, said in zip(values, _said(values), strict=True)]
    return "".join(marks) + tag("line", class_="axis", x1=scale.start, y1=y, x2=scale.end, y2=y)


def levels(scale: Scale, values: Sequence[float]) -> str:
    """Horizontal grid lines at these values, each with its number on the left."""
    lines = [tag("line", class_="grid", x1=LEFT, y1=scale(v), x2=RIGHT, y2=scale(v)) for v in values]
    said = zip(values, _said(values), strict=True)
    return "".join(lines) + "".join(write(text, LEFT - 6, scale(v) + 3.5, "tick", "end") for v, text in said)


def _said(values: Sequence[float]) -> list[str]:
    """The numbers with as many decimals as the step between them needs."""
    step = min((b - a for a, b in pairwise(values)), default=0.01)
    digits = next((d for d in range(6) if abs(round(step, d) - step) < 1e-9), 6)
    return [f"{v:,.{digits}f}" for v in values]
