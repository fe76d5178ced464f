"""Is a row new in meaning? Its embedding against those of all rows before it, by cosine; exact, one product of matrices a row.

An embedding is bought once: it goes into the journal, and what stands there is never asked for again. A server's tokens count
against the caps as those of prompts do, at `price_in`, which is more than any of them costs.
"""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whet.errors import Problem
from whet.sections import Synth
from whet.synth.client import Endpoint, Fault
from whet.synth.journal import EMBEDDINGS, LOST, UNPAID
from whet.synth.novelty import Match
from whet.synth.pool import Pool
from whet.synth.request import BYTES_OF_MARKUP
from whet.synth.spending import Tokens

BATCH = 64  # texts in one request
DECIMALS = 6  # of a cosine: what float32 can tell, whatever order the processor adds in
Floats = NDArray[np.float32]
# The embeddings of texts, (N, D). `engine.embed` has one; it is handed in, because this room knows no torch.
EmbedAll = Callable[[Sequence[str]], Floats]


class Unembedded(Exception):
    """There is no embedding to be had, by a cap or by a fault (`pool.broken`): nothing more can be decided in this call."""


class Embedder(Protocol):
    """Something that turns texts into vectors."""

    model: str
    name: str

    def bound(self, texts: Sequence[str]) -> int:
        """A number of tokens that these texts cannot pass, as far as they are paid for."""

    async def embed(self, texts: Sequence[str]) -> tuple[Floats, int]:
        """The vectors of texts, (N, D), and how many tokens they took; raises a Fault if there are none."""

    async def close(self) -> None:
        """Lets go of what it holds."""


class ServerEmbedder:
    """The `/embeddings` of an OpenAI-compatible server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.model, self.name, self._endpoint = endpoint.model, endpoint.name, endpoint

    def bound(self, texts: Sequence[str]) -> int:
        """No tokenizer makes more tokens than there are bytes."""
        return sum(len(text.encode("utf-8", "replace")) + BYTES_OF_MARKUP for text in texts)

    async def embed(self, texts: Sequence[str]) -> tuple[Floats, int]:
        """The vectors of texts in one request."""
        body = await self._endpoint.post("/embeddings", {"model": self.model, "input": list(texts), "encoding_format": "float"})
        try:
            body = json.loads(body) if isinstance(body, str) else body
            by_place = {int(item["index"]): item["embedding"] for item in body["data"]}
            found = np.array([by_place[n] for n in range(len(texts))], np.float32)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Fault("broken", f"its answer holds no embeddings: {str(body)[:100]}", may_be_paid=True) from None
        if found.ndim != 2 or not found.shape[1] or not np.isfinite(found).all():
            raise Fault("broken", "its answer holds embeddings that are no vectors of numbers", may_be_paid=True)
        return found, _told_tokens(body, self.bound(texts))

    async def close(self) -> None:
        """Closes its connections."""
        await self._endpoint.close()


class LocalEmbedder:
    """A model in this process, which costs nothing."""

    def __init__(self, model: str, embed_all: EmbedAll) -> None:
        self.model = self.name = model
        self._embed_all = embed_all

    def bound(self, texts: Sequence[str]) -> int:
        """Nothing is paid."""
        return 0

    async def embed(self, texts: Sequence[str]) -> tuple[Floats, int]:
        """The vectors of texts, computed in a thread."""
        return await asyncio.to_thread(self._embed_all, texts), 0

    async def close(self) -> None:
        """Nothing to close."""


def _told_tokens(body: dict[str, Any], bound: int) -> int:
    """The number of tokens that a server told, or the bound."""
    usage = body.get("usage")
    told = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return told if isinstance(told, int) and told >= 0 else bound


class Directions:
    """Vectors that were kept, under their places, and the one that another is most like, by cosine.

    Example:
        >>> kept = Directions()
        >>> kept.add(0, np.array([1.0, 0.0], np.float32)), kept.add(1, np.array([3.0, 4.0], np.float32))
        (None, None)
        >>> kept.nearest(np.array([0.0, 2.0], np.float32), 0.7)
        Match(place=1, score=0.8)
        >>> kept.nearest(np.array([0.0, 2.0], np.float32), 0.7, apart_from={1}) is None
        True
    """

    def __init__(self) -> None:
        self._places = array("l")
        self._rows: Floats = np.zeros((0, 0), np.float32)  # (room, D), the first len(places) rows of it in use

    def add(self, place: int, vector: Floats) -> None:
        """Keeps a vector."""
        used = len(self._places)
        if used == len(self._rows):
            grown = np.zeros((max(64, 2 * used), len(vector)), np.float32)
            grown[:used] = self._rows[:used] if used else grown[:0]
            self._rows = grown
        self._rows[used] = _unit(vector)
        self._places.append(place)

    def nearest(self, vector: Floats, threshold: float, apart_from: Collection[int] = ()) -> Match | None:
        """The kept vector with the highest cosine, if that is at least the threshold; the earliest of equals."""
        used = len(self._places)
        if not used:
            return None
        cosines = np.round(self._rows[:used].astype(np.float64) @ _unit(vector).astype(np.float64), DECIMALS)
        for row in np.argsort(-cosines, kind="stable"):
            if cosines[row] < threshold:
                return None
            if self._places[row] not in apart_from:
                return Match(self._places[row], float(cosines[row]))
        return None


def _unit(vector: Floats) -> Floats:
    """The vector at length 1; one of length 0 points nowhere, and is like no other."""
    length = float(np.linalg.norm(vector))
    return (vector / length if length else vector).astype(np.float32)


@dataclass(slots=True)
class Meanings:
    """What rows mean, as far as it is known: by place, in the order in which the filters remember rows.

    Args:
        synth: the section, with the model and the threshold.
        pool: its journal and budget are used, and it is told if nothing can be had.
        embedder: None: nothing is asked for, and what is not known counts as new.
        shown: texts of the examples that the filters know from the start.
    """

    synth: Synth
    pool: Pool
    embedder: Embedder | None
    shown: Sequence[str]
    _kept: Directions = field(default_factory=Directions)
    _size: int = 0
    _begun: bool = False

    async def foresee(self, texts: Sequence[str]) -> None:
        """Asks for the embeddings of texts that the journal does not hold, and before the first of them for those shown.

        Raises:
            Unembedded: if they cannot be had.
        """
        if not self._begun:
            self._begun = True
            await self._embed(self.shown)
            for text in self.shown:
                self.learn(text)
        await self._embed(texts)

    def nearest(self, text: str, apart_from: Collection[int]) -> Match | None:
        """The row that a text means the same as."""
        vector = self._known(text)
        return None if vector is None else self._kept.nearest(vector, self.synth.embedding_threshold, apart_from)

    def learn(self, text: str) -> None:
        """Remembers a row."""
        vector = self._known(text)
        if vector is not None:
            self._kept.add(self._size, vector)
        self._size += 1

    async def close(self) -> None:
        """Closes what the embedder holds."""
        if self.embedder is not None:
            await self.embedder.close()

    def to_json(self) -> dict[str, Any]:
        """What was asked for, as plain JSON values."""
        model, threshold = str(self.synth.embedding_model), self.synth.embedding_threshold
        texts, tokens = self.pool.journal.vectors_of(model)
        return {"model": model, "threshold": threshold, "texts": texts, "tokens": tokens}

    def _known(self, text: str) -> Floats | None:
        found = self.pool.journal.vector(self._key(text))
        return None if found is None else np.frombuffer(found, np.float32)

    def _key(self, text: str) -> str:
        said = json.dumps([self.synth.embedding_model, text], ensure_ascii=False)
        return sha256(said.encode("utf-8", "replace")).hexdigest()

    async def _embed(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if self._known(text) is None] if self.embedder else []
        for start in range(0, len(new), BATCH):
            await self._ask(new[start : start + BATCH])

    async def _ask(self, texts: Sequence[str]) -> None:
        """Attempts until there are embeddings, or there will be none."""
        for tries in range(1, self.synth.max_tries + 1):
            fault = await self._attempt(texts)
            if fault is None:
                return
            self.pool.faults[fault.kind] += 1
            if fault.kind in ("closed", "refused") or tries == self.synth.max_tries:
                do = "See to the embedding model, then give the same command again"
                self.pool.broken = Problem(f"[synth] embedding_model {self.synth.embedding_model}", fault.detail, do)
                raise Unembedded
            await asyncio.sleep(self.pool.pause(tries, fault.retry_after))

    async def _attempt(self, texts: Sequence[str]) -> Fault | None:
        assert self.embedder is not None
        journal, budget = self.pool.journal, self.pool.budget
        bound, paid = Tokens(self.embedder.bound(texts)), Tokens()
        if not await budget.set_aside(bound):
            raise Unembedded
        try:
            attempt = await journal.begin(EMBEDDINGS, self.embedder.name, (bound.into, 0))
            try:
                vectors, tokens = await self.embedder.embed(texts)
            except Fault as fault:
                paid = bound if fault.may_be_paid else Tokens()
                await journal.finish(attempt, LOST if fault.may_be_paid else UNPAID)
                return fault
            rows = [(self._key(text), vector.tobytes()) for text, vector in zip(texts, vectors, strict=True)]
            await journal.keep_vectors(attempt, self.embedder.model, rows, tokens)
            paid = Tokens(tokens)
            return None
        finally:
            await budget.settle(bound, paid)
