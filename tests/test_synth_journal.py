"""The journal by itself: what is durable, what it remembers, what it refuses."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from whet.errors import RunError
from whet.synth.journal import LOST, UNPAID, Journal, Spent
from whet.synth.request import Message, Parameters, Reply, Request


def request(number: int, **context: object) -> Request:
    return Request(
        "rows", (Message("user", f"Write {number}."),), Parameters(temperature=0.5, stop=("##",)), number, context=context
    )


REPLY = Reply("ok", "Straße \U0001f44d \u2028 end", 10, 4, 0.5, "")


def test_every_commit_is_synced_to_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    facts = [journal._one(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous")]
    journal.close()
    assert facts == ["wal", 2], "2 is FULL"


def test_what_is_kept_is_read_back_and_never_replaced(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        attempt = await journal.begin("k", "host:1", (100, 50))
        await journal.keep(attempt, "k", "m", request(1), REPLY)
        again = await journal.begin("k", "host:1", (100, 50))
        await journal.keep(again, "k", "m", request(1), Reply("ok", "another", 1, 1))

    journal = Journal(tmp_path / "journal.sqlite")
    asyncio.run(write(journal))
    assert journal.answer("k") == REPLY and journal.answer("other") is None
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.answer("k") == REPLY
    journal.close()


def test_waves_come_back_as_they_were_planned(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    first = [request(1, cell=["a", "ü"]), request(2)]
    journal.plan(1, first)
    journal.settle(1, {1: "HTTP 500"})
    journal.plan(2, [request(3)])
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite")
    assert list(journal.waves()) == [(1, [(first[0], None), (first[1], "HTTP 500")]), (2, [(request(3), None)])]
    assert journal.is_settled(1) and not journal.is_settled(2)
    journal.close()


def test_attempts_without_an_end_and_lost_answers_may_have_been_paid(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        attempts = [await journal.begin(f"k{n}", "host:1", (100 + n, 50)) for n in range(4)]
        await journal.finish(attempts[0], UNPAID)
        await journal.finish(attempts[1], LOST)
        await journal.keep(attempts[2], "k2", "m", request(2), REPLY)  # and of the fourth nothing is known

    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.spent() == Spent()
    asyncio.run(write(journal))
    assert journal.spent() == Spent(
        answers=1, tokens_in=10, tokens_out=4, lost=2, lost_tokens_in=204, lost_tokens_out=100, attempts=4
    )
    journal.close()


def test_writes_that_wait_for_each_other_share_a_commit(tmp_path: Path) -> None:
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    async def write(journal: Journal) -> list[int]:
        return list(await asyncio.gather(*(journal.begin(f"k{n}", "host:1", (1, 1)) for n in range(200))))

    journal = Journal(tmp_path / "journal.sqlite")
    journal._in_thread(lambda db: db.set_trace_callback(count))
    numbers = asyncio.run(write(journal))
    assert sorted(numbers) == list(range(1, 201)) and 1 <= commits < 20
    journal.close()


def test_a_write_that_fails_fails_for_whoever_waits(tmp_path: Path) -> None:
    async def write(journal: Journal) -> None:
        journal._in_thread(lambda db: db.execute("DROP TABLE attempts"))
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await journal.begin("k", "host:1", (1, 1))

    journal = Journal(tmp_path / "journal.sqlite")
    asyncio.run(write(journal))
    journal.close()


def test_facts_are_remembered_and_another_format_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.fact("seconds") is None
    journal.remember("seconds", 1.5)
    journal.remember("seconds", {"a": ["é"]})
    assert journal.fact("seconds") == {"a": ["é"]}
    journal.remember("format", 99)
    journal.close()
    with pytest.raises(RunError, match="format 99"):
        Journal(tmp_path / "journal.sqlite")


def test_keys_tell_apart_what_decides_an_answer_and_nothing_else() -> None:
    base = request(1)
    others = [
        request(2), Request("rows", (*base.messages, Message("user", "And?")), base.parameters, 1),
        Request("rows", base.messages, Parameters(temperature=0.5), 1),
        Request("rows", base.messages, base.parameters, 1, {"a": 1}),
        Request("rows", (Message("system", "Write 1."),), base.parameters, 1), base.with_room(9),
    ]  # fmt: skip
    keys = {base.key("m"), base.key("n"), *(other.key("m") for other in others)}
    assert len(keys) == 2 + len(others)
    assert request(1, cell=["a"]).key("m") == base.key("m"), "what take needs to know decides no answer"
    assert Request.from_json(base.to_json()) == base
