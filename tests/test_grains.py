"""Grains: none is lost, none lies on another, each lies where its confidence says, as near as its heap allows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from whet.views import grains
from whet.views.grains import Grain
from whet.views.svg import LEFT, RIGHT, WIDTH

BINS: list[dict[str, Any]] = [
    {"n": 30, "confidence": 0.6, "accuracy": 0.5},
    {"n": 0, "confidence": None, "accuracy": None},
    {"n": 120, "confidence": 0.9, "accuracy": 0.95},
]


def simulated(n: int, sharpness: float, seed: int = 4) -> list[Grain]:
    """Grains of a two-label model; a high sharpness crowds them at 1."""
    rng = np.random.default_rng(seed)
    confidence = 1 / (1 + np.exp(-np.abs(rng.normal(0, sharpness, n))))
    return [Grain(i, float(c), bool(rng.random() < c)) for i, c in enumerate(confidence)]


def places(svg: str, is_right: bool) -> dict[int, tuple[float, float]]:
    """Index to centre of the grains of one heap."""
    found: dict[int, tuple[float, float]] = {}
    for e in ET.fromstring(svg).iter():
        if e.get("class") == f"grain {'right' if is_right else 'wrong'}":
            if is_right:
                centre = (float(e.get("cx", "nan")), float(e.get("cy", "nan")))
            else:
                x, y, r = map(float, re.findall(r"-?[\d.]+", e.get("d", ""))[:3])
                centre = (x, y + r)
            assert found.setdefault(int(e.get("data-i", -1)), centre) is centre
    return found


@pytest.mark.parametrize(("n", "sharpness"), [(1, 1.0), (300, 1.5), (300, 6.0), (2500, 1.5)])
def test_each_grain_lies_alone_and_at_its_place(n: int, sharpness: float) -> None:
    heap = simulated(n, sharpness)
    sand = grains.settle([heap], 0.5)
    svg = grains.reliability(BINS, heap, sand, "calibration")
    top, bottom = 20 + sand.above + grains.GAP, 20 + sand.above + grains.GAP + grains.PANEL
    for is_right in (True, False):
        found = places(svg, is_right)
        assert set(found) == {g.index for g in heap if g.is_right == is_right}
        assert len(set(found.values())) == len(found)
        for i, (x, y) in found.items():
            exact = LEFT + (heap[i].confidence - 0.5) / 0.5 * (RIGHT - LEFT)
            assert abs(x - exact) <= grains.FARTHEST + sand.pitch
            assert 20 <= y < top if is_right else bottom < y <= bottom + grains.GAP + sand.below
    assert f">{sum(g.is_right for g in heap):,} right<" in svg


def test_more_or_more_crowded_sand_is_finer() -> None:
    pitches = [grains.settle([simulated(n, 1.5)], 0.5).pitch for n in (50, 300, 1500, 6000)]
    assert pitches == sorted(pitches, reverse=True) and pitches[0] == 7.0 > pitches[-1]
    assert grains.settle([simulated(300, 6.0)], 0.5).pitch < grains.settle([simulated(300, 1.5)], 0.5).pitch


def test_diagrams_in_a_row_share_their_sand() -> None:
    calm, crowded = simulated(300, 1.5), simulated(300, 6.0)
    sand = grains.settle([calm, crowded], 0.5)
    assert sand.pitch == min(grains.settle([one], 0.5).pitch for one in (calm, crowded))
    assert sand.above >= grains.settle([calm], 0.5).below


def test_even_sand_that_does_not_fit_is_drawn_whole() -> None:
    heap = [Grain(i, 1.0, True) for i in range(40_000)]
    svg = grains.reliability([], heap, grains.settle([heap], 0.5), "all sure, all right")
    assert len(places(svg, True)) == 40_000


def test_bins_stand_at_confidence_and_accuracy() -> None:
    sand = grains.settle([[]], 0.5)
    root = ET.fromstring(grains.reliability(BINS, [], sand, "calibration"))
    small, large = (e for e in root.iter() if e.get("class") == "bin")
    foot = 20 + sand.above + grains.GAP + grains.PANEL
    for dot, b in ((small, BINS[0]), (large, BINS[2])):
        assert float(dot.get("cx", 0)) == pytest.approx(LEFT + (b["confidence"] - 0.5) * 2 * (RIGHT - LEFT), abs=0.01)
        assert float(dot.get("cy", 0)) == pytest.approx(foot - b["accuracy"] * grains.PANEL, abs=0.01)
    area = [(float(e.get("r", 0)) - 3) ** 2 for e in (small, large)]
    assert area[1] / area[0] == pytest.approx(4, rel=1e-2)
    assert root.get("class") == "plate" and "30 examples, 0.600 sure, 0.500 right" in "".join(root.itertext())
    assert root.get("viewBox", "").split()[2] == f"{WIDTH:g}"
