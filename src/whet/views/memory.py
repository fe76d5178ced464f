"""A plan's memory in the terminal: a stacked bar for each phase, with the budget as a line; readable without colour."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from whet.budget.memory import COMPONENTS
from whet.views.wording import size

WIDTH = 50  # characters of the longest bar
FAR = 4  # a budget more than so many times the peak is not drawn: the bars would be stubs
# How a component looks: a character each, so that a terminal without colour tells them apart, and a colour.
LOOKS = {
    "weights": ("█", "blue"), "adapter": ("▓", "magenta"), "gradients": ("▒", "yellow"), "optimizer": ("░", "red"),
    "activations": ("▤", "cyan"), "logits": ("▥", "green"), "workspace": ("▨", "white"), "outside": ("·", "dim"),
}  # fmt: skip


def stacked(by_phase: Mapping[str, Mapping[str, int]], outside_bytes: int, budget_bytes: int) -> Text:
    """A bar for each phase, made of its components and of what is outside of tensors; below it how large each gets.

    Args:
        by_phase: bytes by phase and component.
        outside_bytes: what a process holds beside its tensors.
        budget_bytes: the memory that there is.
    """
    taken = {phase: parts for phase, parts in by_phase.items() if any(parts.values())}
    is_far = budget_bytes > FAR * (max(sum(parts.values()) for parts in taken.values()) + outside_bytes)
    # Of a small run the process itself takes most: where nothing is short, only what the recipe decides is drawn.
    bars = {phase: parts if is_far else {**parts, "outside": outside_bytes} for phase, parts in taken.items()}
    totals = {phase: sum(parts.values()) for phase, parts in bars.items()}
    peak = max(totals, key=totals.__getitem__)
    whole = totals[peak] if is_far else max(budget_bytes, totals[peak])
    line = None if is_far else round(WIDTH * budget_bytes / whole)
    drawn = Text()
    for phase, parts in bars.items():
        drawn.append(f"{phase:<11}", "bold" if phase == peak else "").append_text(_bar(parts, whole, line))
        drawn.append(f" {size(totals[phase])}\n", "bold" if phase == peak else "")
    if line is not None:
        drawn.append(f"{'budget':<11}{'':{max(0, line - 1)}}┃ {size(budget_bytes)}\n", "dim")
    return drawn.append_text(_legend({**largest(taken), "outside": outside_bytes}))


def largest(by_phase: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Bytes of each component in the phase in which it takes most."""
    return {name: max(parts.get(name, 0) for parts in by_phase.values()) for name in COMPONENTS}


def _bar(parts: Mapping[str, int], whole: int, line: int | None) -> Text:
    """The parts one after the other; each ends where the sum of all so far does, so that none is lost to rounding."""
    drawn, end, at = Text(), 0, 0
    for name in (*COMPONENTS, "outside"):
        end += parts.get(name, 0)
        until = round(WIDTH * end / whole)
        mark, style = LOOKS[name]
        drawn.append(mark * (until - at), style)
        at = until
    drawn.append(" " * (WIDTH - at))
    if line is not None and line > at:
        drawn = drawn[: line - 1].append("┃", "dim").append_text(drawn[line:])
    return drawn


def _legend(parts: Mapping[str, int]) -> Text:
    """What the characters mean, with the sizes, three in a line."""
    drawn, shown = Text(), [name for name in (*COMPONENTS, "outside") if parts.get(name)]
    for number, name in enumerate(shown):
        mark, style = LOOKS[name]
        drawn.append("\n" if number % 3 == 0 and number else "").append(" " * 11 if number % 3 == 0 else "")
        drawn.append(mark * 2, style).append(f" {name:<12}{size(parts[name])}".ljust(23 if number % 3 < 2 else 0))
    return drawn
