"""Every fault that a server can have, played on a real socket: what is tried again, what is parked, what the rest does."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Play, ScriptedServer
from synth_parts import faulty, is_probe, lines, made, maker, recipe

from whet.errors import ModelError
from whet.synth.journal import Journal

CANARY = "sk-canary-5d41402abc4b2a76b9719d911017c592"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of hundredths of a second instead of seconds."""
    monkeypatch.setattr("whet.synth.pool.BACKOFF_SECONDS", 0.01)


ONCE = {
    "500": Play("out of memory", status=500),
    "503": Play("overloaded", status=503),
    "529": Play("overloaded", status=529),
    "429": Play("slow down", status=429),
    "429 with seconds": Play("slow down", status=429, headers={"retry-after": "0.05"}),
    "a hang": Play(way="hang"),
    "a slow drip": Play("x" * 400, way="drip"),
    "a reset in the middle": Play("x" * 400, way="reset"),
    "a closed connection": Play(way="refuse"),
    "a body that is no JSON": Play(body=b"<html>Bad gateway</html>"),
    "a body without choices": Play(body=b'{"choices": []}'),
    "a body of another shape": Play(body=b'[1, 2]'),
}  # fmt: skip


@pytest.mark.parametrize("fault", ONCE, ids=str)
def test_a_fault_that_passes_costs_nothing_but_time(tmp_path: Path, fault: str) -> None:
    script = faulty(lambda body, n: ONCE[fault] if n == 0 and body["seed"] % 2 else None)
    with ScriptedServer(script) as server:
        found = made(recipe(server.base_url, timeout_seconds=0.5), tmp_path)
    assert found["rows"] == 30 and found["stopped"] == "all rows made"
    assert sum(found["requests"]["faults_of_this_call"].values()) >= 2, "the fault was played"
    assert not found["requests"]["parked"]
    assert max(server.answered.values()) == 1, "what was answered is not asked again"


@pytest.mark.parametrize("fault", [f for f in ONCE if "429" not in f], ids=str)
def test_a_fault_that_stays_parks_the_request_and_the_rest_goes_on(tmp_path: Path, fault: str) -> None:
    broken = faulty(lambda body, n: ONCE[fault] if body["seed"] % 4 == 0 else None)
    settings = {"timeout_seconds": 0.3, "max_tries": 2, "rows": 60, "pilot_rows": 1}
    with ScriptedServer(broken) as server:
        found = made(recipe(server.base_url, **settings), tmp_path)
    parked = sum(found["requests"]["parked"].values())
    assert found["rows"] == 60, "other requests took the place of those that were parked"
    assert parked >= 1
    bad = {k for k, n in server.asked.items() if n > 1}
    assert len(bad) >= parked and max(server.asked.values()) <= 4, "tries are bounded"


def test_parked_requests_are_asked_again_in_the_next_call(tmp_path: Path) -> None:
    down = faulty(lambda body, n: Play("down", status=500) if body["seed"] % 2 else None)
    with ScriptedServer(down) as server:
        first = made(recipe(server.base_url, max_tries=1, budget_tokens=3500), tmp_path)
    assert first["requests"]["parked"] and first["rows"] < 30
    with ScriptedServer(maker) as server:
        second = made(recipe(server.base_url), tmp_path)
    assert second["rows"] == 30
    assert len(server.bodies) >= sum(first["requests"]["parked"].values()) > 0
    assert second["requests"]["answered"] == first["requests"]["answered"] + len(server.bodies)


def test_retry_after_is_waited_for_in_seconds_and_as_a_date(tmp_path: Path) -> None:
    times: dict[str, list[float]] = {}

    def busy(body: dict[str, Any], n: int) -> Play | None:
        times.setdefault(str(body["seed"]), []).append(time.time())
        if n:
            return None
        in_a_moment = formatdate(time.time() + 2, usegmt=True)  # whole seconds: 1 to 2 from now
        return Play("slow down", status=429, headers={"retry-after": in_a_moment if body["seed"] % 2 else "1"})

    with ScriptedServer(faulty(busy)) as server:
        made(recipe(server.base_url, rows=3, rows_per_request=1), tmp_path)
    waits = [second - first for first, second, *_ in times.values()]
    assert len(waits) >= 3
    assert all(0.9 <= wait < 4 for wait in waits), waits


def test_a_server_that_asks_for_an_hour_is_not_waited_for(tmp_path: Path) -> None:
    away = faulty(lambda body, n: Play("tomorrow", status=429, headers={"retry-after": "3600"}))
    with ScriptedServer(away) as server, pytest.raises(ModelError, match="asks to come back in 60 minutes"):
        made(recipe(server.base_url), tmp_path)
    with ScriptedServer(maker) as server:
        assert made(recipe(server.base_url), tmp_path)["rows"] == 30


def test_a_server_that_is_busy_gets_fewer_at_a_time(tmp_path: Path) -> None:
    under_way = []

    def busy(body: dict[str, Any], n: int) -> Play:
        under_way.append(server.under_way)
        return Play("slow down", status=429) if server.under_way > 3 else Play(maker(body, n).text, seconds=0.02)

    with ScriptedServer(faulty(busy)) as server:
        found = made(recipe(server.base_url, rows=300, concurrency=32), tmp_path)
    assert found["rows"] == 300 and not found["requests"]["parked"]
    refused = found["requests"]["faults_of_this_call"]["busy"]
    assert refused < 4 * found["requests"]["answered"], "it does not go on asking 32 at a time"


@pytest.mark.parametrize(
    ("play", "said"),
    [
        (Play(f"Incorrect API key provided: {CANARY}.", status=401), "401"),
        (Play("The model does not exist.", status=404), "404"),
        (Play("You exceeded your current quota: insufficient_quota", status=429), "insufficient_quota"),
        (Play("Payment required", status=402), "402"),
    ],
)
def test_what_will_not_get_better_stops_the_call_and_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, play: Play, said: str
) -> None:
    monkeypatch.setenv("MAKER_KEY", CANARY)
    settings = {"api_key_env": "MAKER_KEY", "rows": 60, "pilot_rows": 1}
    with ScriptedServer(lambda body, n: play if len(server.bodies) > 4 else maker(body, n)) as server:
        with pytest.raises(ModelError, match=said) as error:
            made(recipe(server.base_url, **settings), tmp_path)
        asked = len(server.bodies)
    assert CANARY not in str(error.value)
    assert asked < 20, "nothing is sent to a server that takes nothing"
    assert 0 < len(lines(tmp_path / "accepted.jsonl")) < 60
    with ScriptedServer(maker) as server:
        assert made(recipe(server.base_url, **settings), tmp_path)["rows"] == 60


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelError, match=f"127.0.0.1:{port}.*Start the server"):
        made(recipe(f"http://127.0.0.1:{port}/v1"), tmp_path)


def test_a_server_that_dies_ends_the_call_and_the_next_one_goes_on(tmp_path: Path) -> None:
    dead = faulty(lambda body, n: Play(way="refuse") if len(server.bodies) > 5 else None)
    settings = {"rows": 200, "max_tries": 2, "pilot_rows": 1}
    with ScriptedServer(dead) as server, pytest.raises(ModelError, match="got no answer"):
        made(recipe(server.base_url, **settings), tmp_path)
    kept = len(lines(tmp_path / "accepted.jsonl"))
    assert kept > 0
    with ScriptedServer(maker) as server:
        found = made(recipe(server.base_url, **settings), tmp_path)
    assert found["rows"] == 200 and max(server.answered.values()) == 1


def test_a_request_that_is_refused_is_not_sent_again_as_it_is(tmp_path: Path) -> None:
    script = faulty(lambda body, n: Play("context too long", status=400) if body["seed"] % 3 == 0 else None)
    with ScriptedServer(script) as server:
        found = made(recipe(server.base_url, rows=60), tmp_path)
    assert found["rows"] == 60 and any("context too long" in reason for reason in found["requests"]["parked"])
    assert max(server.asked.values()) <= 2, "once, and once more at the end of the call"


def test_an_answer_that_was_cut_is_asked_for_with_more_room_once(tmp_path: Path) -> None:
    def short(body: dict[str, Any], n: int) -> Play | None:
        if body["max_tokens"] > 100:
            return None
        return Play(maker(body, n).text[:150], finish_reason="length", tokens=(100, 100))

    with ScriptedServer(faulty(short)) as server:
        found = made(recipe(server.base_url, max_tokens=100), tmp_path)
    assert found["rows"] == 30
    asked = [body["max_tokens"] for body in server.bodies if not is_probe(body)]
    assert asked.count(100) == asked.count(200) > 0, "never the same request again"
    assert max(server.asked.values()) == 1
    with ScriptedServer(faulty(lambda body, n: Play(maker(body, n).text[:150], finish_reason="length"))) as server:
        found = made(recipe(server.base_url, max_tokens=100), tmp_path / "always")
    assert found["rows"] == 30, "whole rows of an answer that stays cut count"
    assert found["rejected"]["cut_json"] > 0


def test_every_kind_of_answer_is_counted_and_none_becomes_a_row_by_default(tmp_path: Path) -> None:
    kinds = [
        Play("", message={"content": None}), Play("   "), Play("I'm sorry, but I can't help with that."), Play("Some prose."),
        Play("x", message={"refusal": "No."}), Play("", finish_reason="content_filter"), Play('{"rows": [{"txt": "a"}]}'),
        Play('{"rows": [{"text": NaN}]}'), Play('{"rows": [{"text": "a", "text": "b"}]}'), Play('{"rows": []}'),
    ]  # fmt: skip
    order = iter(kinds)
    with ScriptedServer(faulty(lambda body, n: next(order, None))) as server:
        found = made(recipe(server.base_url, rows=60, pilot_rows=60), tmp_path)
    assert found["rows"] == 60
    expected = {
        "empty": 3,
        "refusal": 2,
        "no_json": 1,
        "filtered": 1,
        "missing_field": 1,
        "not_a_number": 1,
        "duplicate_key": 1,
    }
    assert {k: v for k, v in found["rejected"].items() if k != "surplus"} == expected
    reasons = [line["reason"] for line in lines(tmp_path / "rejected.jsonl")]
    assert sorted(r for r in reasons if r != "surplus") == sorted(r for r, n in expected.items() for _ in range(n))


def test_no_key_reaches_anything_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAKER_KEY", CANARY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-canary-7215ee9c7d9dc229d2921a40e899ec5f")

    def echo(body: dict[str, Any], n: int) -> Play | None:
        if n == 0 and body["seed"] % 3 == 0:
            return Play(f"500 for Bearer {CANARY}", status=500)
        draw = maker(body, n).text.replace("river", CANARY)
        return Play(draw, message={"refusal": f"not for {CANARY}"}) if body["seed"] % 5 == 0 else Play(draw)

    with ScriptedServer(faulty(echo)) as server:
        made(recipe(server.base_url, api_key_env="MAKER_KEY"), tmp_path / "with")
        assert {h["authorization"] for h in server.headers} == {f"Bearer {CANARY}"}
    with ScriptedServer(maker) as server:
        made(recipe(server.base_url), tmp_path / "without")
        assert {h["authorization"] for h in server.headers} == {"Bearer none"}, "no other key goes to whoever listens"
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) >= 10
    for file in written:
        assert b"canary" not in file.read_bytes(), file.name
    out = capfd.readouterr()
    assert "canary" not in out.out + out.err


def test_a_key_that_is_not_set_is_said_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAKER_KEY", raising=False)
    with ScriptedServer(maker) as server:
        with pytest.raises(ModelError, match="environment variable MAKER_KEY is not set"):
            made(recipe(server.base_url, api_key_env="MAKER_KEY"), tmp_path)
        assert not server.bodies


# -- a pool ------------------------------------------------------------------------------------------------------------


def test_a_pool_shares_the_work_by_weight_and_survives_a_dead_server(tmp_path: Path) -> None:
    with ScriptedServer(maker) as one, ScriptedServer(maker) as two:
        made(recipe([one.base_url, two.base_url], weights=[3, 1], rows=400), tmp_path / "weighted")
        counts = [len([b for b in server.bodies if not is_probe(b)]) for server in (one, two)]
    assert sum(counts) >= 80
    assert counts[0] / counts[1] == pytest.approx(3, rel=0.25)
    dead = faulty(lambda body, n: Play(way="refuse"))
    with ScriptedServer(maker) as one, ScriptedServer(dead) as two:
        found = made(recipe([one.base_url, two.base_url], rows=100), tmp_path / "dead")
    assert found["rows"] == 100 and not found["requests"]["parked"]


def test_a_pool_leaves_out_a_server_that_is_not_there(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        found = made(recipe([server.base_url, "http://127.0.0.1:9/v1"]), tmp_path)
    assert found["rows"] == 30


def test_as_many_are_under_way_as_the_recipe_says(tmp_path: Path) -> None:
    slow = faulty(lambda body, n: Play(maker(body, n).text, seconds=0.05))
    for wanted in (1, 7):
        with ScriptedServer(slow) as server:
            made(recipe(server.base_url, concurrency=wanted, pilot_rows=1, rows=90), tmp_path / str(wanted))
        assert server.most_under_way == wanted


# -- what a server takes -----------------------------------------------------------------------------------------------


def without(*names: str, swap: bool = False) -> Any:
    """A maker that refuses bodies with these fields."""

    def script(body: dict[str, Any], n: int) -> Play:
        for name in names:
            if name in body:
                return Play(f"Unsupported parameter: '{name}' is not supported with this model.", status=400)
        if swap and "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return Play(said, status=400)
        return maker({"seed": len(server_bodies(body)), **body}, n)

    return script


def server_bodies(body: dict[str, Any]) -> str:
    """A number for a body without a seed: as many as it has letters."""
    return str(body["messages"][-1]["content"]) + str(body.get("temperature", ""))


@pytest.mark.parametrize(
    ("script", "kept", "dropped"),
    [
        (without(), {"seed", "max_tokens", "response_format", "temperature", "top_p"}, set()),
        (without("response_format"), {"seed", "max_tokens", "temperature"}, {"response_format"}),
        (without(swap=True), {"max_completion_tokens", "seed", "response_format"}, {"max_tokens"}),
        (without("temperature", swap=True), {"max_completion_tokens", "seed"}, {"max_tokens", "temperature"}),
    ],
    ids=["everything", "no schema", "another name", "no temperature"],
)
def test_a_server_is_asked_once_what_it_takes(tmp_path: Path, script: Any, kept: set[str], dropped: set[str]) -> None:
    with ScriptedServer(script) as server:
        assert made(recipe(server.base_url, rows=5), tmp_path)["rows"] == 5
        probes = [body for body in server.bodies if is_probe(body)]
        assert len(probes) == 1 + len(dropped)
        for body in (body for body in server.bodies if not is_probe(body)):
            assert kept <= body.keys() and not dropped & body.keys()
        made(recipe(server.base_url, rows=10), tmp_path)
        assert len([body for body in server.bodies if is_probe(body)]) == len(probes), "the journal remembers"


def test_a_server_that_ignores_a_schema_is_not_sent_one(tmp_path: Path) -> None:
    script = lambda body, n: Play("Yes, I read this.") if is_probe(body) else maker(body, n)  # noqa: E731
    with ScriptedServer(script) as server:
        made(recipe(server.base_url, rows=5), tmp_path / "auto")
        assert not any("response_format" in body for body in server.bodies if not is_probe(body))
        made(recipe(server.base_url, rows=5, structured="schema"), tmp_path / "schema")
        assert "response_format" in server.bodies[-1]


def test_tokens_are_bounded_where_a_server_counts_none(tmp_path: Path) -> None:
    with ScriptedServer(lambda body, n: Play(maker(body, n).text, tokens=None)) as server:
        found = made(recipe(server.base_url, rows=5, price_in=1.0, price_out=1.0), tmp_path)
    read = sum(len(m["content"].encode()) for body in server.bodies for m in body["messages"])
    assert found["tokens"]["in"] >= read


def test_the_journal_knows_what_was_sent_and_how_it_ended(tmp_path: Path) -> None:
    script = faulty(lambda body, n: Play(way="reset", text="x" * 99) if n == 0 else None)
    with ScriptedServer(script) as server:
        found = made(recipe(server.base_url, rows=5), tmp_path)
    asked = [body for body in server.bodies if not is_probe(body)]
    journal = Journal(tmp_path / "journal.sqlite")
    spent = journal.spent()
    journal.close()
    assert spent.attempts == len(asked) + 1 and spent.answers == spent.attempts - spent.lost
    assert spent.lost == found["requests"]["without_answer_perhaps_paid"] == len(asked) // 2
    assert spent.lost_tokens_out == spent.lost * 2048
