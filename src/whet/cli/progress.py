"""How progress looks: a bar with what is being done, rate and time left on a terminal; plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


def console(stream: TextIO) -> Console:
    """A console that wraps text at the terminal's width, or at 100 columns where there is none, without colours then."""
    return Console(file=stream, highlight=False, soft_wrap=False, width=None if stream.isatty() else 100)


@contextmanager
def showing() -> Iterator[Bar | Lines]:
    """A Progress on stderr for the time of one command."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = Bar()
    with bar.drawn:
        yield bar
        bar.finish()


class _Rate(TextColumn):
    """Units per second, where units are counted."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        if not task.speed or not task.fields["unit"]:
            return Text("")
        rate = f"{task.speed:.1f}" if task.speed < 100 else f"{task.speed:.0f}"
        return Text(f"{rate} {task.fields['unit']}s/s", style="dim")


class _Left(TextColumn):
    """The time left while a piece of work goes on, nothing once it is done."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text("")
        minutes, seconds = divmod(int(task.time_remaining), 60)
        return Text(f"{minutes}:{seconds:02d} left", style="cyan")


class Bar:
    """Progress as a bar a piece of work; finished pieces stay as one line."""

    def __init__(self) -> None:
        self.drawn = Progress(
            SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"), _Rate(), TimeElapsedColumn(), _Left(),
            TextColumn("[dim]{task.fields[note]}"), console=Console(stderr=True, highlight=False),
        )  # fmt: skip
        self._task: Task | None = None

    def start(self, what: str, total: int | None = None, unit: str = "") -> None:
        """A piece of work begins; the one before it is done."""
        self.finish()
        key = self.drawn.add_task(what, total=total, unit=unit, note="", count=f"0/{total}" if total and unit else "")
        self._task = next(t for t in self.drawn.tasks if t.id == key)

    def advance(self, count: int = 1, note: str = "") -> None:
        """More is done."""
        if self._task is None:
            return
        done = int(self._task.completed) + count
        shown = f"{done}/{int(self._task.total)}" if self._task.total and self._task.fields["unit"] else ""
        self.drawn.update(self._task.id, advance=count, count=shown, note=note or self._task.fields["note"])

    def say(self, line: str) -> None:
        """A sentence above the bars."""
        self.drawn.console.print(line, markup=False)

    def finish(self) -> None:
        """The piece of work is done."""
        if self._task is not None:
            total = self._task.total if self._task.total is not None else max(1, self._task.completed)
            self.drawn.update(self._task.id, total=total, completed=total)
            self._task = None


class Lines:
    """Progress as plain lines: one when a piece of work begins. For logs and pipes."""

    def start(self, what: str, total: int | None = None, unit: str = "") -> None:
        """A piece of work begins."""
        count = f": {total:,} {unit}s" if total and unit else ""
        print(f"{what}{count}", file=sys.stderr, flush=True)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Nothing: a log is no place for a moving number."""

    def say(self, line: str) -> None:
        """A sentence."""
        print(line, file=sys.stderr, flush=True)
