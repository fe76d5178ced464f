"""How long work says what it is doing. The library calls; only `cli` draws."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Something that is told what is happening."""

    def start(self, what: str, total: int | None = None, unit: str = "") -> None:
        """A piece of work begins: `what` it is, of `total` units if that is known."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done; `note` is what is worth seeing right now (a loss, say)."""

    def say(self, line: str) -> None:
        """A sentence that should stay on the screen."""


class Silent:
    """A Progress that says nothing."""

    def start(self, what: str, total: int | None = None, unit: str = "") -> None: ...

    def advance(self, count: int = 1, note: str = "") -> None: ...

    def say(self, line: str) -> None: ...
