"""The servers of one model together: who gets the next request, what happens after a fault, when a request is parked.

A fault is answered with a pause (doubled each time, with jitter, or as long as the server asks), then another attempt, where
there is a choice at another server. After the last attempt the request is parked and the rest goes on. A server that says it
is asked too often gets fewer requests at a time; one that will take none of ours gets no more at all.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from whet.errors import ModelError, Problem
from whet.sections import Synth
from whet.synth.client import PROBE, Abilities, Fault, Maker
from whet.synth.journal import LOST, UNPAID, Journal
from whet.synth.request import Reply, Request
from whet.synth.spending import Budget, Tokens

LONGEST_PAUSE = 60.0
LONGEST_WAIT = 600.0  # a server that asks for more is not waited for
BUSY_SECONDS = 900.0  # how long one request is told to come back later before it is parked
BACKOFF_SECONDS = 1.0  # the first pause
LONGEST_ANSWER = 32_768  # tokens; an answer that was cut gets twice the room once, up to this
PARKED_IN_A_ROW = 10  # after so many nothing answers, and the rest is parked at once


@dataclass(slots=True)
class _Seat:
    """One server as the pool sees it."""

    maker: Maker
    weight: float
    limit: float
    under_way: int = 0
    sent: int = 0
    rests_until: float = 0.0
    faults: int = 0  # in a row
    closed: str = ""


@dataclass(slots=True)
class Pool:
    """Servers that answer for one model, behind the journal and the budget. `broken` says why nothing more can be had."""

    model: str
    synth: Synth
    makers: Sequence[Maker]
    journal: Journal
    budget: Budget
    broken: Problem | None = None
    faults: Counter[str] = field(default_factory=Counter)
    _seats: list[_Seat] = field(default_factory=list)
    _free: asyncio.Condition = field(default_factory=asyncio.Condition)
    _slots: asyncio.Semaphore = field(init=False)
    _under_way: dict[str, asyncio.Future[Reply]] = field(default_factory=dict)
    _parked_in_a_row: int = 0
    _random: random.Random = field(default_factory=random.Random)  # of pauses only: no row depends on it

    def __post_init__(self) -> None:
        weights = self.synth.weights or (1.0,) * len(self.makers)
        self._slots = asyncio.Semaphore(self.synth.concurrency)
        self._seats = [_Seat(maker, weight, self.synth.concurrency) for maker, weight in zip(self.makers, weights, strict=True)]

    async def open(self) -> list[str]:
        """Finds out what each server takes, once; returns a sentence about each that was asked.

        Raises:
            ModelError: if no server answers, with what each said.
        """
        said = await asyncio.gather(*(self._learn(seat) for seat in self._seats))
        if all(seat.closed for seat in self._seats):
            do = "Start the server, or mend [synth] base_url, model or the key; the same command then goes on"
            raise ModelError(*(Problem(f"[synth] {s.maker.name}", s.closed, do) for s in self._seats))
        return [sentence for sentence in said if sentence]

    async def close(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(maker.close() for maker in self.makers))

    async def ask(self, request: Request) -> Reply:
        """The reply to a request: the journal's, or a server's. `parked` if there is none now."""
        key = request.key(self.model)
        if (kept := self.journal.answer(key)) is not None:
            return kept
        if key in self._under_way:
            return await asyncio.shield(self._under_way[key])
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._ask(request, key)
            future.set_result(reply)
            return reply
        finally:
            del self._under_way[key]
            future.cancel()

    async def ask_whole(self, request: Request) -> tuple[Reply, str]:
        """The reply to a request and its key; an answer that was cut is asked for once more, with twice the room."""
        reply, longer = await self.ask(request), request.with_room(2 * request.parameters.max_tokens)
        if reply.outcome == "cut" and longer.parameters.max_tokens <= LONGEST_ANSWER:
            whole = await self.ask(longer)
            if whole.outcome != "parked":
                return whole, longer.key(self.model)
        return reply, request.key(self.model)

    async def _learn(self, seat: _Seat) -> str:
        """Sets what a server takes, from the journal or by asking; returns what was found out now."""
        fact = f"abilities of {self.model} at {seat.maker.name}"
        known = self.journal.fact(fact)
        if known is not None:
            seat.maker.use(self._wanted(Abilities.from_json(known)))
            return ""
        bound = Tokens(PROBE.prompt_bound(), PROBE.parameters.max_tokens)
        attempt = await self.journal.begin("probe", seat.maker.name, (bound.into, bound.out))
        try:
            able, reply = await seat.maker.probe()
        except Fault as fault:
            await self.journal.finish(attempt, UNPAID)
            seat.closed = fault.detail
            return f"{seat.maker.name} is left out: {fault.detail}"
        await self.journal.keep(attempt, f"probe of {seat.maker.name}", self.model, PROBE, reply)
        await self.budget.settle(Tokens(), Tokens(reply.tokens_in, reply.tokens_out))
        self.journal.remember(fact, able.to_json())
        seat.maker.use(self._wanted(able))
        keeps = "keeps to a JSON schema" if able.schema else "keeps to no JSON schema; its answers are read as they come"
        dropped = f", and takes no {', '.join(able.dropped)}" if able.dropped else ""
        return f"{seat.maker.name} {keeps}{dropped}."

    def _wanted(self, able: Abilities) -> Abilities:
        """The Abilities as the recipe wants them used."""
        if self.synth.structured == "auto":
            return able
        return Abilities(self.synth.structured == "schema", able.limit, able.dropped)

    async def _ask(self, request: Request, key: str) -> Reply:
        """Attempts until one is answered, or the request is parked."""
        tries, began_waiting = 0, 0.0
        while True:
            async with self._slots:
                found = await self._attempt(request, key)
            if isinstance(found, Reply):
                return found
            if found.kind == "busy":
                began_waiting = began_waiting or time.monotonic()
                if time.monotonic() - began_waiting > BUSY_SECONDS:
                    return self._park(f"busy for {BUSY_SECONDS / 60:.0f} minutes: {found.detail}")
                continue  # the server rests as a whole, so the next attempt waits for its seat
            if found.kind == "closed":
                continue  # another server may take it; without one the next attempt parks it
            tries += 1
            if found.kind == "refused" or tries >= self.synth.max_tries:
                return self._park(found.detail)
            await asyncio.sleep(self.pause(tries, found.retry_after))

    async def _attempt(self, request: Request, key: str) -> Reply | Fault:
        """One attempt at the server whose turn it is."""
        seat = await self._seat()
        if seat is None:
            return Reply("parked", "", 0, 0, detail=self.broken.what if self.broken else f"stopped: {self.budget.exhausted}")
        bound, paid = Tokens(request.prompt_bound(), request.parameters.max_tokens), Tokens()
        try:
            if not await self.budget.set_aside(bound):
                return Reply("parked", "", 0, 0, detail=f"stopped: {self.budget.exhausted}")
            attempt = await self.journal.begin(key, seat.maker.name, (bound.into, bound.out))
            try:
                reply = await seat.maker.send(request)
            except Fault as fault:
                paid = bound if fault.may_be_paid else Tokens()
                await self.journal.finish(attempt, LOST if fault.may_be_paid else UNPAID)
                self._learn_from(seat, fault)
                return fault
            else:
                await self.journal.keep(attempt, key, self.model, request, reply)
                paid = Tokens(reply.tokens_in, reply.tokens_out)
                seat.faults, seat.limit = 0, min(self.synth.concurrency, seat.limit + 1 / seat.limit)
                self._parked_in_a_row = 0
                return reply
            finally:
                await self.budget.settle(bound, paid)
        finally:
            async with self._free:
                seat.under_way -= 1
                self._free.notify_all()

    async def _seat(self) -> _Seat | None:
        """The server whose turn it is, once one may be asked; None if none will be."""
        async with self._free:
            while not self.broken and not self.budget.exhausted:
                now = time.monotonic()
                usable = [seat for seat in self._seats if not seat.closed]
                ready = [seat for seat in usable if seat.rests_until <= now and seat.under_way < max(1, int(seat.limit))]
                if ready:
                    chosen = min(ready, key=self._load)
                    chosen.under_way += 1
                    chosen.sent += 1
                    return chosen
                wait = min((seat.rests_until - now for seat in usable if seat.rests_until > now), default=1.0)
                if not usable or wait > LONGEST_WAIT:
                    self.broken = self._why_none(wait)
                else:
                    try:
                        await asyncio.wait_for(self._free.wait(), wait)
                    except TimeoutError:
                        continue
        return None

    def _load(self, seat: _Seat) -> float:
        """What the next request goes by: a server's share so far where the recipe weighs them, else what it has to do."""
        return (seat.sent + 1) / seat.weight if self.synth.weights else seat.under_way

    def _why_none(self, wait: float) -> Problem:
        closed = "; ".join(f"{seat.maker.name}: {seat.closed}" for seat in self._seats if seat.closed)
        if closed and all(seat.closed for seat in self._seats):
            return Problem("[synth] model", closed, "Mend the key, the model's name or the account; the same command goes on")
        what = f"the server asks to come back in {wait / 60:.0f} minutes"
        return Problem("[synth] model", what, "Give the same command again then")

    def _learn_from(self, seat: _Seat, fault: Fault) -> None:
        """What a fault says about its server: it rests, gets less at a time, or is closed."""
        self.faults[fault.kind] += 1
        now = time.monotonic()
        if fault.kind == "closed":
            seat.closed = fault.detail
        elif fault.kind == "busy":
            if seat.rests_until <= now:  # the others of the same burst say nothing new
                seat.limit = max(1.0, seat.limit / 2)
            seat.rests_until = max(seat.rests_until, now + self.pause(1, fault.retry_after))
        elif fault.kind != "refused":
            seat.faults += 1
            if seat.faults >= 3 and len(self._seats) > 1:
                seat.rests_until = now + self.pause(seat.faults - 2, fault.retry_after)

    def _park(self, why: str) -> Reply:
        self._parked_in_a_row += 1
        if self._parked_in_a_row >= PARKED_IN_A_ROW and self.broken is None:
            what = f"the last {self._parked_in_a_row} requests got no answer ({why})"
            self.broken = Problem("[synth] model", what, "See to the server, then give the same command again")
        return Reply("parked", "", 0, 0, detail=why)

    def pause(self, tries: int, retry_after: float | None) -> float:
        """Seconds until the next attempt: what the server asked for and a little, or doubled each time; with jitter."""
        if retry_after is not None:
            return retry_after + self._random.uniform(0.0, 0.1 * BACKOFF_SECONDS)
        return self._random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, BACKOFF_SECONDS * 2.0 ** (tries - 1))
