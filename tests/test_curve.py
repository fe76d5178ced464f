"""Curves in the terminal: what is high stands high, what jumps leaves no gap, axes carry their numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest

from whet.views.curve import HEIGHT, WIDTH, chart, sparkline


def dots(points: list[tuple[int, float]]) -> set[tuple[int, int]]:
    """The dots of a chart as (column, row from the top)."""
    lines = chart(points, "steps").plain.splitlines()[:HEIGHT]
    found = set()
    for row, line in enumerate(lines):
        for column, cell in enumerate(line[-WIDTH:]):
            bits = ord(cell) - 0x2800
            assert 0 <= bits < 256
            for x, y, bit in [(0, 0, 1), (0, 1, 2), (0, 2, 4), (1, 0, 8), (1, 1, 16), (1, 2, 32), (0, 3, 64), (1, 3, 128)]:
                if bits & bit:
                    found.add((2 * column + x, 4 * row + y))
    return found


def test_a_line_goes_from_corner_to_corner() -> None:
    falling = dots([(s, 1 - s / 500) for s in range(501)])
    assert (0, 0) in falling and (2 * WIDTH - 1, 4 * HEIGHT - 1) in falling
    highest = [min(y for x, y in falling if x == column) for column in range(2 * WIDTH)]
    assert highest == sorted(highest)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 60, 121, 1000])
def test_every_column_has_a_dot_and_neighbours_touch(steps: int) -> None:
    jumping = dots([(s, (0.0, 1.0, 0.4)[s % 3]) for s in range(1, steps + 1)])
    columns = [{y for x, y in jumping if x == column} for column in range(2 * WIDTH)]
    assert all(columns)
    for one, two in pairwise(columns):
        assert min(abs(a - b) for a in one for b in two) <= 1


def test_the_axes_carry_numbers_within_80_columns() -> None:
    lines = chart([(1, 1e-5), (400, 3e-4), (1234, 0.0)], "steps").plain.splitlines()
    assert len(lines) == HEIGHT + 2 and max(map(len, lines)) <= 80
    assert (
        lines[0].startswith("  3e-4 ┤") and lines[HEIGHT // 2].startswith("1.5e-4 ┤") and lines[HEIGHT].startswith("     0 └─")
    )
    assert lines[-1].split() == ["1", "1,234", "steps"] and lines[-1].endswith("1,234 steps")


def test_a_run_at_rate_zero_can_be_drawn() -> None:
    assert dots([(1, 0.0), (2, 0.0)]) == {(x, 4 * HEIGHT - 1) for x in range(2 * WIDTH)}
    assert sparkline([0.0, 0.0], 3) == "▁▁▁"


def test_a_sparkline_is_as_wide_as_asked() -> None:
    assert sparkline([1, 2, 3], 9) == "▃▃▃▆▆▆███"
    assert len(sparkline(list(range(1, 1001)), 16)) == 16
