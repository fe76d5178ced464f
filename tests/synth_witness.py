"""What tests/test_every_field.py sees of the [synth] section: what the servers were asked, the rows that came, what it cost."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Play, ScriptedServer
from synth_parts import is_probe, sentence

from whet import stages
from whet.recipe import Recipe

KEY = "WHET_TEST_KEY"


def maker(body: dict[str, Any], n: int) -> Play:
    """A model whose rows meet every filter: some new, some alike, some with a word, a length or a start of their own."""
    if "input" in body:
        return embeddings(body["input"])
    if is_probe(body):
        return Play('{"a": ["yes"]}')
    text, draw = body["messages"][-1]["content"], random.Random(body["seed"])
    if body["model"] == "ill" and n < 2:
        return Play("ill", status=500)
    if body["model"] == "dull":
        return Play('{"rows": [{"sentence": "Always the same thing, day and night."}]}')
    if "Which of these is it" in text:
        return Play(json.dumps({"label": "True" if len(text) % 2 else "False"}), tokens=(50, 5))
    if (said := asked_by_a_method(text, draw)) is not None:
        return Play(said)
    if "Change as few words" in text:
        return Play(json.dumps({"rows": [{"sentence": text.split("sentence: ")[1].split("\n")[0].replace("ward", "town")}]}))
    new = [sentence(draw, draw.randint(3, 14)) for _ in range(3)]
    first = sentence(random.Random(1), 12)
    alike = " ".join([*first.split()[:9], *sentence(draw, 3).split()])
    nearly = f"{sentence(random.Random(2), 20)} {draw.choice('abcdefgh')}"
    rows = [*new, first, alike, nearly, f"- {sentence(draw, 8)}", f"tax {sentence(draw, 8)}"]
    rows.append(f"This {sentence(draw, 2)} was of the town, and it is for us.")
    return Play(
        json.dumps({"rows": [{"sentence": row} for row in draw.sample(rows, 5)]}),
        seconds=0.3 if body["model"] == "slow" else 0.0,
    )


def embeddings(texts: list[str]) -> Play:
    """Directions drawn from the texts, few of which are near each other."""
    drawn = [random.Random(text) for text in texts]
    data = [{"index": n, "embedding": [draw.gauss(0, 1) for _ in range(8)]} for n, draw in enumerate(drawn)]
    return Play(body=json.dumps({"data": data}).encode())


def asked_by_a_method(text: str, draw: random.Random) -> str | None:
    """What the same model says to the prompts that are no request for rows of the task."""
    if "Give the row a score" in text:
        return json.dumps({"score": 1 + len(text) % 10})
    if "Think of" in text:
        return json.dumps({"rows": [{"instruction": sentence(draw)} for _ in range(4)]})
    if "small, fixed set" in text:
        return json.dumps({"label": "Yes" if len(text) % 2 else "No"})
    if "of this task" in text or "examples of this task" in text:
        return json.dumps({"rows": [{"sentence": sentence(draw), "mood": sentence(draw, 4)} for _ in range(2)]})
    if "Write example 4" in text:
        return json.dumps({"rows": [{"instruction": sentence(draw), "sentence": sentence(draw), "other": "None."}]})
    if "other wording" in text:
        return json.dumps({"rows": [{"instruction": sentence(draw)} for _ in range(2)]})
    if "Compare two prompts" in text:
        return json.dumps({"label": "Not equal"})
    if "Rewritten prompt:" in text or "Created prompt:" in text or "Give the answer" in text or text.startswith("la "):
        return f"la {sentence(draw)}"
    return None


@contextmanager
def servers() -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    """Two servers of the same model."""
    with ScriptedServer(maker) as one, ScriptedServer(maker) as two:
        yield one, two


def synthesised(both: tuple[ScriptedServer, ScriptedServer], recipe: Recipe, folder: Path) -> object:
    """What each server was asked (in any order), the rows, those kept aside, and the figures but for the clock's."""
    for server in both:
        server.bodies.clear()
        server.headers.clear()
        server.asked.clear()
        server.most_under_way = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, "secret")
        patch.setattr("whet.synth.pool.BACKOFF_SECONDS", 0.001)
        found = stages.synth(recipe, folder)
    tables = [(folder / name).read_text("utf-8") for name in ("accepted.jsonl", "rejected.jsonl")]
    asked = [sorted(json.dumps(body, sort_keys=True) for body in server.bodies) for server in both]
    keys = [sorted({headers["authorization"] for headers in server.headers}) for server in both]
    figures = {k: v for k, v in found.items() if k not in ("seconds", "forecast")}
    return tables, asked, keys, json.dumps(figures), [min(server.most_under_way, 2) for server in both]
