"""What the tests of synth share: a small recipe, a scripted maker that writes new rows, and a run of both."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scripted_server import Play

from whet import stages
from whet.recipe import Recipe, parse
from whet.synth.client import PROBE

WORDS = ["".join(letters) for letters in itertools.product("bdfgklmnprst", "aeiou", "lmnrst", "aeiou")]  # 1,800 of no language
LABELS = ("complaint", "praise", "question")


def recipe(base_url: str | Sequence[str] = "http://127.0.0.1:9/v1", **synth: Any) -> Recipe:
    """A recipe for 30 rows of three labels; keywords are keys of its [synth]."""
    section = {"model": "scripted", "base_url": base_url, "rows": 30, "concurrency": 8, "timeout_seconds": 5, **synth}
    return parse({
        "name": "mail", "task": {"instruction": "Say what the message is.", "labels": list(LABELS)},
        "data": {"path": "accepted.jsonl", "input": "text", "target": "label"}, "synth": section,
    })  # fmt: skip


def is_probe(body: dict[str, Any]) -> bool:
    """Whether a request asks what the server can do."""
    return bool(body["messages"][-1]["content"] == PROBE.messages[-1].content)


def sentence(draw: random.Random, words: int = 12) -> str:
    """A text like no other."""
    return " ".join(draw.choice(WORDS) for _ in range(words))


def rows_text(body: dict[str, Any], count: int = 5) -> str:
    """New rows in JSON, decided by the request's seed."""
    draw = random.Random(body["seed"])
    return json.dumps({"rows": [{"text": sentence(draw)} for _ in range(count)]})


def maker(body: dict[str, Any], n: int) -> Play:
    """A model that does as it is told: it keeps to schemas, writes rows, and labels a text by its length."""
    if is_probe(body):
        return Play('{"a": ["yes"]}')
    if "Which of these is it" in body["messages"][-1]["content"]:
        return Play(json.dumps({"label": LABELS[body["seed"] % 3]}), tokens=(60, 8))
    return Play(rows_text(body))


def faulty(play: Callable[[dict[str, Any], int], Play | None]) -> Callable[[dict[str, Any], int], Play]:
    """The maker, with what `play` says for the requests that are no probe (None: as the maker does)."""
    return lambda body, n: maker(body, n) if is_probe(body) else play(body, n) or maker(body, n)


def made(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """The report of a run in a folder."""
    return stages.synth(recipe, folder, **options)


def lines(file: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
