"""The core: waves of requests out, answers in, rows accepted one by one, everything in an order that can be walked again.

A wave is written into the journal before it is sent, and its answers are taken in the order of its requests, whichever came
first. So what is accepted depends on the answers alone: after a kill, the journal's waves are walked again without sending
anything, and the work goes on where it was.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from whet.progress import Progress
from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.checks import Check
from whet.synth.desk import Desk
from whet.synth.embedding import Meanings, Unembedded
from whet.synth.filters import Filters
from whet.synth.judge import Measured
from whet.synth.methods import Method
from whet.synth.pool import Pool
from whet.synth.request import Answer, Reply, Request
from whet.synth.stock import Stock

WAVE_PER_SLOT = 4  # requests in a wave for each that may be under way
SMALLEST_WAVE = 4
UNREADABLE = {"refused": "refusal", "filtered": "filtered", "empty": "empty"}  # outcome to the reason that is counted


@dataclass(slots=True)
class Making:
    """The work on one table of rows, and its tallies.

    Attributes:
        rejected: all that became no row, with the key of the request that it came from.
        outcomes: how the answers of requests ended, over all waves.
        parked: requests without an answer so far, by key, with the reason.
        judge: how far the judge agrees with people, where it was measured.
        meanings: what rows mean, where the recipe names a model that tells.
    """

    desk: Desk
    method: Method
    checks: Sequence[Check]
    filters: Filters
    stock: Stock
    pool: Pool
    progress: Progress
    rejected: list[tuple[Rejection, str]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    parked: dict[str, tuple[Request, str]] = field(default_factory=dict)
    candidates: int = 0
    judge: Measured | None = None
    meanings: Meanings | None = None
    _waiting: list[tuple[Candidate, int, str]] = field(default_factory=list)  # candidate, number of its next check, request
    _last_wave: int = 0
    _unsettled: Sequence[Request] = ()
    _barren: int = 0  # answers in a row that ended in rejections only

    async def work(self, goal: int | None = None) -> str:
        """Makes rows until there are enough; returns why it stopped.

        Args:
            goal: stop at so many rows, for a pilot; None: when every cell has its rows.
        """
        try:
            return await self._work(goal)
        except Unembedded:
            return self._why_stop(goal)

    async def _work(self, goal: int | None) -> str:
        number = self._last_wave
        if self._unsettled:
            await self._wave(number, self._unsettled)
        retries = list(self.parked.values())  # of earlier calls: asked for first
        retried_at_end = False
        while not (why := self._why_stop(goal)):
            wave = [request for request, _ in retries] or self._next_wave()
            retries = []
            if not wave:
                if not self.parked or retried_at_end:
                    return "nothing more to ask"
                retries, retried_at_end = list(self.parked.values()), True
                continue
            number += 1
            self.pool.journal.plan(number, wave)
            await self._wave(number, wave)
        return why

    async def recall(self) -> None:
        """Takes in what the journal holds; asks the maker nothing. Comes before `work`.

        Raises:
            Unembedded: if a row of the journal has no embedding yet, and none is to be had.
        """
        for number, items in self.pool.journal.waves():
            self._last_wave, requests = number, [request for request, _ in items]
            if self.pool.journal.is_settled(number):
                await self._wave(number, requests, {place: why for place, (_, why) in enumerate(items) if why is not None})
            else:
                self._unsettled = requests  # the last one: a kill came before its end

    def _why_stop(self, goal: int | None) -> str:
        """Why no further wave is sent, or ""."""
        if self.stock.is_full:
            return "all rows made"
        if self.pool.broken:
            return "no answers"
        if self.pool.budget.exhausted:
            return self.pool.budget.exhausted
        if goal is not None and len(self.stock.rows) >= goal:
            return "pilot"
        if self._barren >= self.desk.synth.patience:
            return "patience"
        return ""

    def _next_wave(self) -> list[Request]:
        """Checks of what waits for them, then as many of the method's requests as make a wave."""
        wave = [
            self._check_request(candidate, check, key, self.stock.asked + n)
            for n, (candidate, check, key) in enumerate(self._waiting)
        ]
        # While rows come, a wave leaves its slots idle at its end only; once they fail to, no more is risked than is under way.
        room = self.desk.synth.concurrency * (WAVE_PER_SLOT if self._barren <= SMALLEST_WAVE else 1)
        until_pilot = self.desk.synth.pilot_rows - len(self.stock.rows)
        if until_pilot > 0:
            room = max(SMALLEST_WAVE, math.ceil(until_pilot / self.desk.synth.rows_per_request))
        return wave + list(self.method.ask(self.stock, room))

    def _check_request(self, candidate: Candidate, check: int, key: str, number: int) -> Request:
        request = self.checks[check].ask(candidate, number)
        context = {**request.context, "check": check, "candidate": candidate.to_json(), "from": key}
        return replace(request, context=context)

    async def _wave(self, number: int, requests: Sequence[Request], settled: Mapping[int, str] | None = None) -> None:
        """Sends what has no answer, takes all in order, and settles the wave.

        Args:
            number: the wave's.
            requests: in the order of the journal.
            settled: of a wave that is settled, why which places were parked: then nothing is sent.
        """
        parked: dict[int, str] = {}
        ask = self.pool.ask_whole
        replies = [
            asyncio.create_task(self._settled(request, settled.get(place)) if settled is not None else ask(request))
            for place, request in enumerate(requests)
        ]
        try:
            for place, (request, task) in enumerate(zip(requests, replies, strict=True)):
                reply, key = await task
                if reply.outcome == "parked":
                    parked[place] = reply.detail
                await self._take(Answer(request, reply, key))
        except Unembedded:
            await asyncio.gather(*replies, return_exceptions=True)  # what is under way is paid for, and is kept
            raise
        finally:
            for task in replies:
                task.cancel()
        self.stock.asked += len(requests)
        if settled is None:
            self.pool.journal.settle(number, parked)

    async def _settled(self, request: Request, parked: str | None) -> tuple[Reply, str]:
        """What the journal says came of a request of a settled wave."""
        journal, model = self.pool.journal, self.pool.model
        longer = request.with_room(2 * request.parameters.max_tokens).key(model)
        if parked is None and (whole := journal.answer(longer)) is not None:
            return whole, longer
        reply = journal.answer(request.key(model)) if parked is None else None
        return reply or Reply("parked", "", 0, 0, detail=parked or "the journal has lost its answer"), request.key(model)

    async def _take(self, answer: Answer) -> None:
        """Takes one answer in: the rows of a method's request, or a check's verdict."""
        key, is_parked = answer.request.key(self.pool.model), answer.reply.outcome == "parked"
        was_parked = self.parked.pop(key, None) is not None
        if is_parked:
            self.parked[key] = (answer.request, answer.reply.detail)
            if was_parked:
                return
        else:
            self.outcomes[answer.reply.outcome] += 1
        accepted, rejected = len(self.stock.rows), len(self.rejected)
        is_verdict = "check" in answer.request.context
        leads_on = await (self._take_verdict(answer) if is_verdict else self._take_rows(answer))
        if len(self.stock.rows) > accepted:
            self._barren = 0
        elif len(self.rejected) > rejected and not leads_on:
            self._barren += 1

    async def _take_rows(self, answer: Answer) -> bool:
        """Takes what the method reads from an answer; returns whether any of it leads to further requests."""
        outcome, cell = answer.reply.outcome, answer.request.context.get("cell")
        if outcome != "parked" and cell is not None:
            self.stock.asked_of[tuple(cell)] += 1
        if outcome in UNREADABLE:
            self._reject(Rejection(UNREADABLE[outcome], answer.reply.detail), answer.key)
        leads_on, prompt = False, answer.request.context.get("prompt", "")
        read = list(self.method.take(answer))
        await self._foresee([each for each in read if isinstance(each, Candidate)])
        for found in read:
            if isinstance(found, Rejection):
                self._reject(found, answer.key)
            elif isinstance(found, Step):
                leads_on = True
            else:
                self.candidates += 1
                self._offer(replace(found, marks={**found.marks, "prompt": prompt}), 0, answer.key)
        return leads_on

    async def _take_verdict(self, answer: Answer) -> bool:
        """What a check says about its candidate; while the check is parked, its candidate waits. False: no method asks on."""
        context = answer.request.context
        candidate, check, key = Candidate.from_json(context["candidate"]), int(context["check"]), str(context["from"])
        if (candidate, check, key) in self._waiting:
            self._waiting.remove((candidate, check, key))
        if answer.reply.outcome == "parked":
            return False
        self.stock.pending[candidate.cell] -= 1
        found = self.checks[check].judge(candidate, answer)
        if isinstance(found, Rejection):
            self._reject(found, key)
        else:
            await self._foresee([found])
            self._offer(found, check + 1, key)
        return False

    def _offer(self, candidate: Candidate, check: int, key: str) -> None:
        """Accepts a candidate, lets it wait for a check, or rejects it."""
        is_out = any(key.startswith(begin) for begin in self.desk.synth.taken_out)
        rejection = Rejection("taken_out", "[synth] taken_out names its request", candidate) if is_out else None
        rejection = rejection or self.filters.judge(candidate)
        if rejection is None and not self.stock.has_room(candidate):
            rejection = Rejection("surplus", "there are enough of its kind", candidate)
        rejection = rejection or self._meant_before(candidate)
        if rejection is not None:
            self._reject(rejection, key)
        elif check < len(self.checks):
            self._waiting.append((candidate, check, key))
            self.stock.pending[candidate.cell] += 1
        else:
            row = Row(f"{self.desk.recipe.name}-{len(self.stock.rows) + 1}", candidate, key)
            self.stock.add(row)
            self.filters.learn(candidate, row.id)
            if self.meanings:
                self.meanings.learn(candidate.novel_text)
            self.method.learn(row)
            self.progress.advance(1, self._note())

    async def _foresee(self, candidates: Sequence[Candidate]) -> None:
        """Gets the embeddings of those candidates that may become rows."""
        if self.meanings:
            likely = [c for c in candidates if self.stock.has_room(c) and self.filters.judge(c) is None]
            await self.meanings.foresee([c.novel_text for c in likely])

    def _meant_before(self, candidate: Candidate) -> Rejection | None:
        """Why a candidate says nothing new, by its embedding."""
        if self.meanings is None:
            return None
        match = self.meanings.nearest(candidate.novel_text, self.filters.kin(candidate))
        detail = f"cosine {match.score:.3f} with {self.filters.name_of(match.place)}" if match else ""
        return Rejection("same_meaning", detail, candidate) if match else None

    def _reject(self, rejection: Rejection, key: str) -> None:
        self.rejected.append((rejection, key))

    def _note(self) -> str:
        """What is worth seeing right now: rows per label, money, parked requests."""
        labels = self.desk.rows_task.labels
        parts = [f"{label} {len(self.stock.of_label(label))}" for label in labels[:6]]
        if self.desk.synth.price_out is not None:
            parts.append(f"cost {self.pool.budget.cost(self.pool.budget.paid):.2f}")
        return " · ".join([*parts, *([f"{len(self.parked)} parked"] if self.parked else [])])
