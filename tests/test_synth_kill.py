"""kill -9 at any moment: no row is lost, and nothing that was answered is asked again. WHET_KILLS=100 for the long run."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Play, ScriptedServer
from synth_parts import is_probe, lines, made, maker, recipe

KILLS = int(os.environ.get("WHET_KILLS", "10"))
Asked = tuple[int, str, int]  # what tells requests apart: seed, last message, room for the answer


def of_body(body: dict[str, Any]) -> Asked:
    return body["seed"], body["messages"][-1]["content"], body["max_tokens"]


def of_journal(request: dict[str, Any]) -> Asked:
    return request["seed"], request["messages"][-1][1], request["parameters"]["max_tokens"]


def slow(body: dict[str, Any], n: int) -> Play:
    """The maker, a little slow and now and then cut, so that kills fall between all kinds of moments."""
    draw = random.Random(body["seed"])
    play = maker(body, n)
    if not is_probe(body) and body["max_tokens"] < 4096 and body["seed"] % 7 == 0:
        return Play(play.text[:200], finish_reason="length", seconds=0.01)
    return Play(play.text, seconds=draw.uniform(0.0, 0.08))


def answered(folder: Path) -> Counter[Asked]:
    """The requests whose answers the journal holds."""
    file = folder / "journal.sqlite"
    if not file.exists():
        return Counter()
    db = sqlite3.connect(file)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
            return Counter()
        return Counter(of_journal(json.loads(text)) for (text,) in db.execute("SELECT request FROM answers"))
    finally:
        db.close()


def wait_for(server: ScriptedServer, count: int) -> None:
    """Waits until so many requests came, or no more do."""
    deadline = time.monotonic() + 10
    while len(server.bodies) < count and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.parametrize("is_checked", [False, True], ids=["filtered", "checked"])
def test_kills_lose_no_row_and_pay_nothing_twice(tmp_path: Path, is_checked: bool) -> None:
    wanted_kills = KILLS // 2 if is_checked else KILLS
    rows = (
        10 if is_checked else 60
    ) * wanted_kills  # about as many requests: a checked row is asked about, and one in three passes
    settings: dict[str, Any] = {"rows": rows, "concurrency": 16, "check_labels": is_checked}
    draw = random.Random(11)
    with ScriptedServer(slow) as server:
        wanted = recipe(server.base_url, **settings)
        (tmp_path / "mail.toml").write_text(wanted.dump(), "utf-8")
        whole = made(wanted, tmp_path / "whole")
        script = [sys.executable, str(Path(__file__).parent / "fork_synth.py"), "mail.toml", "killed"]
        server.bodies.clear()
        kills = middles = 0
        closed: Counter[Asked] = Counter()  # what was answered, and how often it had been asked by then
        environment, pipe = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, subprocess.PIPE
        with subprocess.Popen(script, cwd=tmp_path, env=environment, text=True, stdin=pipe, stdout=pipe) as starter:
            assert starter.stdin is not None and starter.stdout is not None
            ended = -9
            while ended != 0:
                starter.stdin.write("\n")
                starter.stdin.flush()
                process = int(starter.stdout.readline())
                if kills < wanted_kills:
                    before = len(server.bodies)
                    # Two of three in the middle of the asking; the others whenever: while it starts, or reads its journal.
                    wait_for(server, before + draw.randint(1, 24) if kills % 3 else 0)
                    time.sleep(draw.uniform(0.0, 0.02 if kills % 3 else 0.4))
                    os.kill(process, signal.SIGKILL)
                    kills += 1
                    middles += len(server.bodies) > before
                ended = int(starter.stdout.readline())
                assert ended in (0, -9)
                kept, asked = answered(tmp_path / "killed"), Counter(map(of_body, server.bodies))
                for request, times in closed.items():
                    assert asked[request] == times, "an answered request was asked again"
                closed = Counter({request: asked[request] for request in kept})
            starter.stdin.close()
        asked = Counter(map(of_body, server.bodies))
    report = json.loads((tmp_path / "killed" / "synth.json").read_text("utf-8"))
    assert lines(tmp_path / "killed" / "accepted.jsonl") == lines(tmp_path / "whole" / "accepted.jsonl"), "no row is lost"
    assert lines(tmp_path / "killed" / "rejected.jsonl") == lines(tmp_path / "whole" / "rejected.jsonl")
    assert report["rows"] == whole["rows"] == rows
    again = sum(asked.values()) - len(asked)
    assert again <= report["requests"]["without_answer_perhaps_paid"] <= kills * 17, "what was in flight is counted"
    assert report["requests"]["answered"] == whole["requests"]["answered"] == len(asked)
    assert kills == wanted_kills or ended == 0
    assert middles >= wanted_kills // 3, f"only {middles} of {kills} kills fell while it was asking"
