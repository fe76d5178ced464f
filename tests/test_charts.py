"""Dot plots, curves and bars: every mark stands where the number says."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from whet.views.charts import Row, bar, curve, dot_plot


def read(svg: str) -> ET.Element:
    """The parsed chart: well-formed, named for those who do not see it, and every coordinate a number on the plate."""
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label")
    if root.get("viewBox"):
        _, _, width, height = map(float, root.get("viewBox", "").split())
        for element in root.iter():
            for names, most in ((("x", "x1", "x2", "cx"), width), (("y", "y1", "y2", "cy"), height)):
                assert all(-0.01 <= float(element.get(name, 0)) <= most + 0.01 for name in names)
    return root


def having(root: ET.Element, kind: str) -> list[ET.Element]:
    return [e for e in root.iter() if kind in e.get("class", "").split()]


def numbers(root: ET.Element, kind: str, name: str) -> list[float]:
    return [float(e.get(name, "nan")) for e in having(root, kind)]


def test_dots_and_bars_stand_in_proportion() -> None:
    rows = [Row("Tuned", 0.75, (0.7, 0.8), "tuned"), Row("TF-IDF", 0.6, (0.5, 0.7)), Row("Majority", 0.4)]
    root = read(dot_plot(rows, "F1"))
    a, b, c = numbers(root, "dot", "cx")
    assert (b - c) / (a - c) == pytest.approx((0.6 - 0.4) / (0.75 - 0.4), abs=1e-3)
    (low, other_low), (high, _) = numbers(root, "whisker", "x1"), numbers(root, "whisker", "x2")
    assert low + high == pytest.approx(2 * a, abs=0.02) and other_low < low
    own = having(root, "own")[0]
    assert float(own.get("x", 0)) == low and float(own.get("width", 0)) == pytest.approx(high - low, abs=0.02)
    said = "".join(root.itertext())
    assert "0.750" in said and "0.70–0.80" in said and "0.400" in said


def test_a_row_without_a_value_says_so_and_takes_no_room() -> None:
    root = read(dot_plot([Row("Tuned", 0.4, (0.3, 0.5), "tuned"), Row("Majority", None)], "NLL"))
    assert len(having(root, "dot")) == 1 and "–" in [e.text for e in root.iter()]
    read(dot_plot([Row("Tuned", None, kind="tuned")], "NLL"))
    read(dot_plot([Row("Tuned", 0.5, kind="tuned")], "one value, no extent"))


def test_noise_reaches_from_zero_to_its_95th_percentile() -> None:
    rows = [Row("Before", 0.14, noise=(0.03, None)), Row("After", 0.04, noise=(0.048, 0.07))]
    root = read(dot_plot(rows, "ECE", from_zero=True))
    (zone,), means, dots = having(root, "noise"), numbers(root, "noise-mean", "x1"), numbers(root, "dot", "cx")
    unit = (dots[0] - dots[1]) / 0.10
    assert float(zone.get("width", 0)) == pytest.approx(0.07 * unit, rel=1e-2)
    assert means[1] - float(zone.get("x", 0)) == pytest.approx(0.048 * unit, rel=1e-2)


def test_names_from_outside_stay_text_and_short() -> None:
    root = read(dot_plot([Row("<script>" * 5 + "\u202e", 0.5)], 'a "label" <b>'))
    assert root.get("aria-label") == 'a "label" <b>' and not list(root.iter("script"))
    assert having(root, "name")[0].text == "<script><script…"


def test_best_point_of_a_curve_is_ringed_where_it_is() -> None:
    steps = [(80.0, 0.46), (120.0, 0.425), (160.0, 0.41), (200.0, 0.421), (240.0, 0.441)]
    root = read(curve(steps, "NLL", best=160, dots=True))
    xs, ys = numbers(root, "point", "cx"), numbers(root, "point", "cy")
    (ring,) = having(root, "best")
    assert (float(ring.get("cx", 0)), float(ring.get("cy", 0))) == (xs[2], ys[2]) and ys[2] == max(ys)  # lowest on the page
    assert np.diff(xs) == pytest.approx(np.full(4, xs[1] - xs[0]), abs=0.02)
    line = having(root, "line")[0].get("points", "").split()
    assert line == [f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True)]
    assert "best, 0.410" in "".join(root.itertext())


@pytest.mark.parametrize("steps", [[(1, 0.7)], [(1, 0.7), (2, 0.7)], [(1, 0.0), (9999, 0.0)], [(1, 1e6), (2, 1e-6)]])
def test_a_curve_without_extent_is_still_a_chart(steps: list[tuple[float, float]]) -> None:
    assert len(having(read(curve(steps, "loss", best=steps[0][0])), "best")) == 1


def test_no_steps_no_curve() -> None:
    assert curve([], "loss") == ""


def test_shares_of_a_bar_fill_it() -> None:
    root = read(bar([("is-train", 600), ("is-test", 200), ("is-dropped", 200)], "rows"))
    assert [(e.get("class"), e.get("x"), e.get("width")) for e in root] == [
        ("is-train", "0%", "60%"), ("is-test", "60%", "20%"), ("is-dropped", "80%", "20%"),
    ]  # fmt: skip
    assert [e.get("width") for e in read(bar([("is-train", 0)], "nothing"))] == ["0%"]
