"""Curves in the terminal: one line of blocks, or a chart in braille dots with labelled axes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

BLOCKS = "▁▂▃▄▅▆▇█"
# The dots of a braille character, by column and by row from the top: it holds 2 x 4 of them.
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
WIDTH, HEIGHT = 60, 8  # characters


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """The values as one line of blocks, from zero to the highest of them.

    Example:
        >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8), sparkline([1, 1], 4)
        ('▁▂▃▄▅▆▇█', '████')
    """
    top = max(values) or 1.0
    drawn = [values[i * len(values) // width] for i in range(width)]
    return "".join(BLOCKS[round(v / top * (len(BLOCKS) - 1))] for v in drawn)


def chart(points: Sequence[tuple[int, float]], x_label: str) -> Text:
    """A line through points (x, value) in braille dots, from zero to the highest value, with numbers on both axes.

    Args:
        points: by rising x, at least one.
        x_label: what the x axis counts.
    """
    top = max(v for _, v in points) or 1.0
    lines = _braille([v / top for v in _resampled(points, WIDTH * 2)])
    said = {0: _short(top), HEIGHT // 2: _short(top / 2)}
    margin = max(len(s) for s in (*said.values(), "0"))
    drawn = Text()
    for row, line in enumerate(lines):
        drawn.append(f"{said.get(row, ''):>{margin}} ", "dim").append("┤" if row in said else "│", "dim").append(
            line + "\n", "cyan"
        )
    first, last = f"{points[0][0]:,}", f"{points[-1][0]:,} {x_label}"
    drawn.append(f"{'0':>{margin}} └{'─' * WIDTH}\n", "dim")
    drawn.append(f"{'':{margin}}  {first}{last:>{WIDTH - len(first)}}", "dim")
    return drawn


def _resampled(points: Sequence[tuple[int, float]], columns: int) -> list[float]:
    """The value of the last point at or before each of so many places, evenly from the first x to the last."""
    start, end = points[0][0], points[-1][0]
    found, at = [], 0
    for column in range(columns):
        x = start + (end - start) * column / (columns - 1)
        while at + 1 < len(points) and points[at + 1][0] <= x:
            at += 1
        found.append(points[at][1])
    return found


def _braille(shares: Sequence[float]) -> list[str]:
    """A line through heights from 0 to 1, two of them a character, in HEIGHT rows from the top; steep parts are joined up."""
    rows = 4 * HEIGHT - 1
    places = [round((1 - share) * rows) for share in shares]
    cells = [[0] * (len(places) // 2) for _ in range(HEIGHT)]
    for column, place in enumerate(places):
        before = places[column - 1] if column else place
        # From the middle between two heights to this one, so that a jump leaves no gap.
        joint = (before + place) // 2 if abs(before - place) > 1 else place
        for row in range(min(joint, place), max(joint, place) + 1):
            cells[row // 4][column // 2] |= DOTS[column % 2][row % 4]
        if column and abs(before - place) > 1:
            for row in range(min(before, joint), max(before, joint) + 1):
                cells[row // 4][(column - 1) // 2] |= DOTS[(column - 1) % 2][row % 4]
    return ["".join(chr(0x2800 + cell) for cell in line) for line in cells]


def _short(value: float) -> str:
    """A rate in few characters: 3e-4, 1.5e-4, 0.02.

    Example:
        >>> _short(3e-4), _short(1.5e-4), _short(0.02)
        ('3e-4', '1.5e-4', '0.02')
    """
    return f"{value:.3g}".replace("e-0", "e-") if value >= 1e-2 else _scientific(value)


def _scientific(value: float) -> str:
    digits, _, power = f"{value:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
