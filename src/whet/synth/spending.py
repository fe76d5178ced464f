"""What is spent and what may be: caps in tokens, money and minutes that no request can pass, and the forecast from a pilot.

Before a request is sent, the most that it can cost is set aside: a prompt has no more tokens than bytes, an answer no more than
`max_tokens`. It is sent only if all that is spent and set aside stays within the caps; then the true counts replace the bound.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from whet.sections import Synth
from whet.synth.journal import Spent

MILLION = 1_000_000


@dataclass(slots=True)
class Tokens:
    """Two counts: tokens of prompts and tokens of answers."""

    into: int = 0
    out: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.into + other.into, self.out + other.out)

    @property
    def total(self) -> int:
        """Both together."""
        return self.into + self.out


class Budget:
    """The caps of a recipe, and what all calls have spent against them. `exhausted` names the cap that was met, or is "".

    Args:
        synth: the recipe's section, with caps and prices.
        spent: what the journal says was spent before.
        clock: seconds; the minutes of a cap are those of this call.
    """

    def __init__(self, synth: Synth, spent: Spent, clock: Callable[[], float] = time.monotonic) -> None:
        self.synth, self.exhausted = synth, ""
        self._clock, self._began = clock, clock()
        self._paid = Tokens(spent.tokens_in + spent.lost_tokens_in, spent.tokens_out + spent.lost_tokens_out)
        self._set_aside = Tokens()
        self._changed = asyncio.Condition()

    def cost(self, tokens: Tokens) -> float:
        """What tokens cost, in the currency of the recipe's prices; 0 without prices."""
        return (tokens.into * (self.synth.price_in or 0.0) + tokens.out * (self.synth.price_out or 0.0)) / MILLION

    @property
    def paid(self) -> Tokens:
        """Tokens of all answers, and the bounds of attempts that may have been paid for without one."""
        return self._paid

    @property
    def seconds(self) -> float:
        """How long this call has been at work."""
        return self._clock() - self._began

    async def set_aside(self, bound: Tokens) -> bool:
        """Whether a request of this bound may be sent; waits while only requests under way stand against it."""
        async with self._changed:
            while not self.exhausted:
                met = self._met(self._paid + self._set_aside + bound)
                if not met:
                    self._set_aside += bound
                    return True
                if met == "minutes" or not self._set_aside.total:
                    self.exhausted = met
                    self._changed.notify_all()
                else:
                    await self._changed.wait()
        return False

    async def settle(self, bound: Tokens, paid: Tokens) -> None:
        """What was set aside for a request is replaced by what it cost."""
        async with self._changed:
            self._set_aside = Tokens(self._set_aside.into - bound.into, self._set_aside.out - bound.out)
            self._paid += paid
            self._changed.notify_all()

    async def stop(self, why: str) -> None:
        """Nothing more is sent."""
        async with self._changed:
            self.exhausted = self.exhausted or why
            self._changed.notify_all()

    def _met(self, tokens: Tokens) -> str:
        """The cap that so many tokens would pass, or ""."""
        synth = self.synth
        if synth.budget_tokens is not None and tokens.total > synth.budget_tokens:
            return "tokens"
        if synth.budget_cost is not None and self.cost(tokens) > synth.budget_cost:
            return "cost"
        if synth.budget_minutes is not None and self.seconds > 60 * synth.budget_minutes:
            return "minutes"
        return ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the wanted rows will take, from the rows that were made so far. `yield_interval`: 95 %, Wilson."""

    rows_wanted: int
    rows_made: int
    yield_fraction: float
    yield_interval: tuple[float, float]
    requests: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    minutes: float

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}
