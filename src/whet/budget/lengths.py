"""How long the rows of a run are: a histogram of their tokens, the cut, and how many of each label it met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BARS = 24
STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # widths of a bar, in tokens


@dataclass(frozen=True, slots=True)
class Cut:
    """What `max_length` did to the rows of a label: how many there were, and how many of them were cut or dropped."""

    label: str
    rows: int
    cut: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """The rows that are learned from, by length.

    `bars` are (tokens from which a bar begins, rows in it), each `width` tokens wide; `limit` is the most tokens that a row may
    have, None where the model takes any. `cuts` is empty where no row was too long.
    """

    bars: tuple[tuple[int, int], ...]
    width: int
    median: int
    longest: int
    limit: int | None
    cuts: tuple[Cut, ...]

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` says of it."""
        return {
            "width": self.width, "bars": [list(bar) for bar in self.bars], "median": self.median, "longest": self.longest,
            "limit": self.limit,
            "cuts": [{"label": c.label, "rows": c.rows, "cut": c.cut, "dropped": c.dropped} for c in self.cuts],
        }  # fmt: skip


def lengths(tokens: Sequence[int], limit: int | None, cuts: Sequence[Cut] = ()) -> Lengths:
    """The Lengths of rows with so many tokens each.

    Example:
        >>> found = lengths([5, 6, 6, 9, 30], limit=32)
        >>> found.width, found.bars[:3], found.median, found.longest
        (2, ((4, 1), (6, 2), (8, 1)), 6, 30)
    """
    ordered = sorted(tokens)
    spread = ordered[-1] - ordered[0] + 1
    width = next((step for step in STEPS if spread <= step * BARS), STEPS[-1])
    counted = Counter(n // width for n in ordered)
    bars = tuple((i * width, counted[i]) for i in range(ordered[0] // width, ordered[-1] // width + 1))
    return Lengths(bars, width, ordered[len(ordered) // 2], ordered[-1], limit, tuple(cuts))


def cuts(kept: Mapping[str, int], cut: Mapping[str, int], dropped: Mapping[str, int]) -> tuple[Cut, ...]:
    """What became of each label's rows, the label that lost most first; nothing where no row was too long.

    Args:
        kept: rows of each label that are learned from or scored, those that were cut among them.
        cut: of them, those that were cut.
        dropped: rows that were left out.
    """
    if not cut and not dropped:
        return ()
    found = [Cut(name, kept.get(name, 0) + dropped.get(name, 0), cut.get(name, 0), dropped.get(name, 0))
             for name in {**kept, **dropped}]  # fmt: skip
    return tuple(sorted(found, key=lambda c: (-(c.cut + c.dropped) / c.rows, c.label)))
