"""The journal: every request and every answer in SQLite, written before anything is made of it. What was paid for is kept.

A request is planned in a wave, sent in one or more attempts, and answered once. Each of these is durable (WAL, synchronous
FULL) before the next happens, so a kill at any moment leaves: answers, which are never asked for again; attempts that have
no end, which may have been paid for without an answer arriving and are counted as such; and requests still to be sent.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.errors import Problem, RunError
from whet.synth.request import Reply, Request

FORMAT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, request TEXT NOT NULL, outcome TEXT NOT NULL, text TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, seconds REAL NOT NULL, detail TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, endpoint TEXT NOT NULL, at REAL NOT NULL,
    bound_in INTEGER NOT NULL, bound_out INTEGER NOT NULL, ended TEXT
);
CREATE TABLE IF NOT EXISTS waves (
    wave INTEGER NOT NULL, place INTEGER NOT NULL, request TEXT NOT NULL, parked TEXT, PRIMARY KEY (wave, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, model TEXT NOT NULL, vector BLOB NOT NULL, tokens INTEGER NOT NULL)
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settled (wave INTEGER PRIMARY KEY);
"""
# How an attempt ends. One that answered is paid, and so may be one without an end (None) or whose answer was lost on the way.
EMBEDDINGS = "embeddings"  # the key of attempts at these
ANSWERED, LOST, UNPAID = "answered", "lost", "unpaid"
_Write = tuple[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over the journal. `lost` counts attempts without an answer that may have been paid for; their tokens are bounds."""

    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    lost: int = 0
    lost_tokens_in: int = 0
    lost_tokens_out: int = 0
    attempts: int = 0


class Journal:
    """One file on disk, written by one process. Writes that wait for each other share one commit."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")  # the connection lives in this thread alone
        self._waiting: list[tuple[_Write, asyncio.Future[int]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self.path = path
        try:
            self._db: sqlite3.Connection = self._thread.submit(self._open).result()
        except sqlite3.DatabaseError as error:
            self._thread.shutdown()
            what = f"it cannot be read as a journal ({error})"
            raise RunError(Problem(str(path), what, "Restore it from a copy, or name another folder with --out")) from None

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_TABLES)
        found = db.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
        if found is None:
            db.execute("INSERT INTO facts VALUES ('format', ?)", (json.dumps(FORMAT),))
        elif json.loads(found[0]) != FORMAT:
            raise sqlite3.DatabaseError(f"format {found[0]}, and this whet writes format {FORMAT}")
        return db

    def close(self) -> None:
        """Closes the file; what was written stays."""
        self._in_thread(lambda db: db.close())
        self._thread.shutdown()

    # -- reading --------------------------------------------------------------------------------------------------

    def answer(self, key: str) -> Reply | None:
        """The reply to the request of this key, or None if it was not answered yet."""
        columns = "outcome, text, tokens_in, tokens_out, seconds, detail"
        found = self._one(f"SELECT {columns} FROM answers WHERE key = ?", (key,))
        return Reply(*found) if found else None

    def waves(self) -> Iterator[tuple[int, list[tuple[Request, str | None]]]]:
        """Every wave with its requests in order, each with why it was parked (None: it was not, or its wave never settled)."""
        numbers = [n for (n,) in self._all("SELECT DISTINCT wave FROM waves ORDER BY wave")]
        for number in numbers:
            rows = self._all("SELECT request, parked FROM waves WHERE wave = ? ORDER BY place", (number,))
            yield number, [(Request.from_json(json.loads(text)), parked) for text, parked in rows]

    def is_settled(self, wave: int) -> bool:
        """Whether everything that came of a wave is known: each request answered, or parked for good reason."""
        return self._one("SELECT 1 FROM settled WHERE wave = ?", (wave,)) is not None

    def fact(self, name: str) -> Any:
        """A remembered fact (a plain JSON value), or None."""
        found = self._one("SELECT value FROM facts WHERE name = ?", (name,))
        return json.loads(found[0]) if found else None

    def vector(self, key: str) -> bytes | None:
        """The embedding of this key, as it was kept."""
        found = self._one("SELECT vector FROM vectors WHERE key = ?", (key,))
        return found[0] if found else None

    def vectors_of(self, model: str) -> tuple[int, int]:
        """How many texts a model has embedded, and how many tokens that took."""
        texts, tokens = self._one("SELECT count(*), coalesce(sum(tokens), 0) FROM vectors WHERE model = ?", (model,))
        return texts, tokens

    def spent(self) -> Spent:
        """What all calls together have spent; the tokens of embeddings are among those of prompts."""
        answers = self._one(
            "SELECT count(*), coalesce(sum(tokens_in), 0) + (SELECT coalesce(sum(tokens), 0) FROM vectors), "
            "coalesce(sum(tokens_out), 0) FROM answers"
        )
        lost = self._one(
            "SELECT count(*), coalesce(sum(bound_in), 0), coalesce(sum(bound_out), 0) FROM attempts "
            "WHERE ended IS NULL OR ended = ?", (LOST,),
        )  # fmt: skip
        attempts = self._one("SELECT count(*) FROM attempts WHERE key <> ?", (EMBEDDINGS,))
        return Spent(*answers, *lost, *attempts)

    def summary(self) -> dict[str, int]:
        """How often each outcome was met."""
        return dict(self._all("SELECT outcome, count(*) FROM answers GROUP BY outcome ORDER BY outcome"))

    # -- writing --------------------------------------------------------------------------------------------------

    def remember(self, name: str, value: Any) -> None:
        """Writes a fact down, or writes it anew."""
        text = json.dumps(value, ensure_ascii=False)
        self._in_thread(lambda db: db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, text)))

    def plan(self, wave: int, requests: Sequence[Request]) -> None:
        """Writes a wave down before any of it is sent."""
        rows = [(wave, place, _dump(request.to_json())) for place, request in enumerate(requests)]

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN")
            db.executemany("INSERT INTO waves (wave, place, request) VALUES (?, ?, ?)", rows)
            db.execute("COMMIT")

        self._in_thread(write)

    def settle(self, wave: int, parked: dict[int, str]) -> None:
        """Writes down how a wave ended: the places of the requests that were parked, with the reason."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN")
            rows = [(reason, wave, place) for place, reason in parked.items()]
            db.executemany("UPDATE waves SET parked = ? WHERE wave = ? AND place = ?", rows)
            db.execute("INSERT INTO settled VALUES (?)", (wave,))
            db.execute("COMMIT")

        self._in_thread(write)

    async def begin(self, key: str, endpoint: str, bound: tuple[int, int]) -> int:
        """The number of a new attempt, durable before it is sent. `bound`: tokens that it cannot pass, in and out."""
        columns = "(key, endpoint, at, bound_in, bound_out) VALUES (?, ?, ?, ?, ?)"
        return await self._write(f"INSERT INTO attempts {columns}", (key, endpoint, time.time(), *bound))

    async def finish(self, attempt: int, ended: str) -> None:
        """Writes down how an attempt ended without an answer."""
        await self._write("UPDATE attempts SET ended = ? WHERE number = ?", (ended, attempt))

    async def keep(self, attempt: int, key: str, model: str, request: Request, reply: Reply) -> None:
        """Writes down the answer to an attempt; it is durable when this returns."""
        answer = (reply.outcome, reply.text, reply.tokens_in, reply.tokens_out, reply.seconds, reply.detail)
        values = (key, model, _dump(request.to_json()), *answer, time.time())
        both = [
            ("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values),
            ("UPDATE attempts SET ended = ? WHERE number = ?", (ANSWERED, attempt)),
        ]
        await asyncio.gather(*(self._write(*each) for each in both))  # queued together: one commit holds both

    async def keep_vectors(self, attempt: int, model: str, rows: Sequence[tuple[str, bytes]], tokens: int) -> None:
        """Writes down embeddings (key and vector) that came together and took so many tokens; durable when this returns."""
        values = [(key, model, vector, 0 if n else tokens) for n, (key, vector) in enumerate(rows)]
        writes = [("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)", each) for each in values]
        end = ("UPDATE attempts SET ended = ? WHERE number = ?", (ANSWERED, attempt))
        await asyncio.gather(*(self._write(*each) for each in [*writes, end]))

    def _write(self, statement: str, values: Sequence[Any]) -> asyncio.Future[int]:
        """A future that is done when the statement is on disk; its result is the number of the inserted row."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(((statement, values), future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return future

    async def _flush(self) -> None:
        """Commits what waits, and what came to wait meanwhile, until nothing does."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            writes = [write for write, _ in batch]
            try:
                numbers = await asyncio.get_running_loop().run_in_executor(self._thread, _commit, self._db, writes)
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, future), number in zip(batch, numbers, strict=True):
                    if not future.done():
                        future.set_result(number)

    def _in_thread(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        return self._thread.submit(work, self._db).result()

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        return self._in_thread(lambda db: db.execute(query, values).fetchone())

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        found: list[Any] = self._in_thread(lambda db: db.execute(query, values).fetchall())
        return found


def _commit(db: sqlite3.Connection, writes: Sequence[_Write]) -> list[int]:
    """Runs the statements in one transaction; returns the number of the row that each inserted."""
    db.execute("BEGIN")
    try:
        numbers = [db.execute(statement, values).lastrowid or 0 for statement, values in writes]
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return numbers


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
