"""The drawing tools: what is written is escaped, ticks are round and inside."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from whet.views.svg import Scale, axis, escape, levels, tag, ticks


def test_every_domain_has_round_ticks_inside() -> None:
    rng = np.random.default_rng(1)
    for low, span, most in zip(rng.normal(0, 100, 300), 10 ** rng.uniform(-4, 6, 300), rng.integers(3, 8, 300), strict=True):
        found = ticks(low, low + span, int(most))
        assert 1 <= len(found) <= most + 1 and low - 1e-6 * span <= found[0] and found[-1] <= low + span * (1 + 1e-6)
        steps = np.diff(found)
        assert steps == pytest.approx(np.full(len(steps), steps[0] if len(steps) else 0), rel=1e-6)
        assert all(f"{s:.0e}"[0] in "125" for s in steps)
    assert ticks(3.0, 3.0) == [3.0]


def test_markup_in_text_and_attributes_stays_text() -> None:
    evil = '"><script>alert(1)</script>&\u202e'
    element = ET.fromstring(tag("text", escape(evil), aria_label=evil, data_i=3))
    assert element.text == element.get("aria-label") == evil.replace("\u202e", "⟨U+202E⟩")
    assert element.get("data-i") == "3" and len(element) == 0


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.4, 0.46, ["0.40", "0.42", "0.44", "0.46"]), (0, 240, ["0", "100", "200"])]
)
def test_numbers_at_an_axis_have_the_decimals_they_need(low: float, high: float, said: list[str]) -> None:
    scale = Scale(low, high, 40, 350)
    for drawn in (axis(scale, 100, 0), levels(scale, ticks(low, high, 4))):
        assert [e.text for e in ET.fromstring(f"<g>{drawn}</g>").iter("text")] == said
