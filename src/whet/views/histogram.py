"""How long rows are, in the terminal: bars of blocks, with the cut at the longest that is allowed."""

from __future__ import annotations

from rich.text import Text

from whet.budget.lengths import Lengths
from whet.views.curve import BLOCKS

HEIGHT = 4  # characters
BAR = 2


def histogram(found: Lengths) -> Text:
    """Bars of the rows' lengths in tokens; a line stands where the longest that is allowed falls among them."""
    top = max(rows for _, rows in found.bars)
    eighths = [round(8 * HEIGHT * rows / top) or int(rows > 0) for _, rows in found.bars]
    margin = len(f"{top:,}")
    cut = None if found.limit is None else (found.limit - found.bars[0][0]) // found.width + 1
    drawn = Text()
    for line in range(HEIGHT, 0, -1):
        drawn.append(f"{f'{top:,}' if line == HEIGHT else '':>{margin}} ", "dim").append("┤" if line == HEIGHT else "│", "dim")
        for number, filled in enumerate(eighths):
            part = min(8, max(0, filled - 8 * (line - 1)))
            drawn.append((BLOCKS[part - 1] if part else " ") * BAR, "cyan")
            drawn.append("┃" if number + 1 == cut else "", "bold")
        drawn.append("\n")
    wide = BAR * len(eighths) + int(cut is not None and 0 < cut <= len(eighths))
    drawn.append(f"{'0':>{margin}} └{'─' * wide}\n", "dim")
    first, last = f"{found.bars[0][0]:,}", f"{found.bars[-1][0] + found.width - 1:,} tokens"
    return drawn.append(f"{'':{margin}}  {first}{last:>{max(len(last) + 1, wide - len(first))}}", "dim")
