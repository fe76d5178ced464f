"""A model in this process as a maker: requests that come together are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whet.synth.client import Abilities, Fault, Maker
from whet.synth.embedding import EmbedAll
from whet.synth.request import Reply, Request

# Answers a few requests at once, in their order, with a Fault for each that it cannot. `engine.generate` has one; it is handed
# in, because this room knows no torch.
AnswerAll = Callable[[Sequence[Request]], Sequence[Reply | Fault]]


@dataclass(frozen=True, slots=True)
class LocalModels:
    """What models in this process can do, each made when it is needed: `makers` answer for a recipe without a base_url,
    `embed_all` embeds for one without an embedding_url."""

    makers: Callable[[], Sequence[Maker]]
    embed_all: Callable[[], EmbedAll]


class LocalMaker:
    """Requests queue up while the model is busy; then as many as make a batch are answered at once.

    Args:
        name: of the model, for the journal.
        answer_all: see AnswerAll; runs in a thread.
        batch_size: most requests at once.
    """

    def __init__(self, name: str, answer_all: AnswerAll, batch_size: int) -> None:
        self.name, self._answer_all, self._batch_size = name, answer_all, batch_size
        self._queue: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def probe(self) -> tuple[Abilities, Reply]:
        """No schema: its answers are read as they come."""
        return Abilities(), Reply("ok", "", 0, 0)

    def use(self, abilities: Abilities) -> None:
        """Nothing to set."""

    async def close(self) -> None:
        """Waits for the batch under way."""
        if self._worker is not None:
            await asyncio.gather(self._worker, return_exceptions=True)

    async def send(self, request: Request) -> Reply:
        """The reply, once the request's batch was computed."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Answers batch after batch until the queue is empty."""
        while self._queue:
            await asyncio.sleep(0)  # lets those who are about to ask join the batch
            batch, self._queue = self._queue[: self._batch_size], self._queue[self._batch_size :]
            try:
                replies = await asyncio.to_thread(self._answer_all, [request for request, _ in batch])
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                raise
            for (_, future), reply in zip(batch, replies, strict=True):
                if future.done():
                    continue
                if isinstance(reply, Fault):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
