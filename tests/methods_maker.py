"""A scripted model that answers the prompts of every method with content; what it said can be changed prompt by prompt."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripted_server import Play
from synth_parts import is_probe, sentence

from whet.recipe import Recipe, parse

# What a prompt of ours is known by.
MARKS = {
    "tasks": "Think of", "is_classification": "small, fixed set", "class_instances": "choose one of its possible answers first",
    "instances": "Give up to", "fourth": "Write example 4", "reword": "other wording",
    "follow": "Give the answer and nothing else", "compare": "Compare two prompts",
    "evolve": "Rewritten prompt:", "breadth": "Created prompt:",
    "back_instruction": "Write the instruction, as the person may have put it", "templates": "templates that ask for the same",
    "judge": "Give the row a score", "weak": "a hasty reader would take for",
}  # fmt: skip
Say = Callable[[str, random.Random], str]


def prompt_of(text: str) -> str:
    """Which prompt a text was made of."""
    return next((name for name, mark in MARKS.items() if mark in text), "answer")


def rows(*objects: dict[str, str]) -> str:
    """Objects as a list `rows` in JSON."""
    return json.dumps({"rows": list(objects)})


def usual(name: str, text: str, draw: random.Random) -> str:
    """What a good model says to a prompt: something new."""
    if name == "tasks":
        return rows(*({"instruction": f"Do {sentence(draw)}."} for _ in range(8)))
    if name == "is_classification":
        return json.dumps({"label": draw.choice(["Yes", "No"])})
    if name == "class_instances":
        return rows(*({"output": label, "input": sentence(draw)} for label in ("high", "low")))
    if name == "instances":
        return rows({"input": sentence(draw), "output": sentence(draw)})
    if name == "fourth":
        return rows({"instruction": f"Do {sentence(draw)}.", "input": sentence(draw), "constraints": "None."})
    if name == "reword":
        return rows(*({"instruction": f"Please {sentence(draw)}."} for _ in range(3)))
    if name == "compare":
        return json.dumps({"label": "Not equal"})
    if name == "templates":
        return rows(*({"template": f"{sentence(draw, 6).capitalize()}: {{text}}\n{{options}}"} for _ in range(5)))
    if name == "judge":
        return json.dumps({"score": draw.randint(5, 10)})
    if name == "weak":
        return rows(*({"text": sentence(draw)} for _ in range(5)))
    return f"Well {sentence(draw)}."


class MethodsMaker:
    """A script for `ScriptedServer`; `said` names other answers to some prompts, `asked` the prompts as they arrived."""

    def __init__(self, **said: Say) -> None:
        self.said = said
        self.asked: list[str] = []
        self.texts: list[tuple[str, str]] = []

    def __call__(self, body: dict[str, Any], n: int) -> Play:
        if is_probe(body):
            return Play('{"a": ["yes"]}')
        text, draw = body["messages"][-1]["content"], random.Random(body["seed"])
        name = prompt_of(text)
        self.asked.append(name)
        self.texts.append((name, text))
        return Play(self.said[name](text, draw) if name in self.said else usual(name, text, draw))

    def texts_of(self, name: str) -> list[str]:
        """What was asked with a prompt."""
        return [text for asked, text in self.texts if asked == name]


def shown_after(text: str, mark: str) -> str:
    """The line behind a mark."""
    return re.split(re.escape(mark), text, maxsplit=1)[1].strip().split("\n")[0]


def given(text: str) -> str:
    """The text that a prompt asks to evolve."""
    return text.split("Given prompt:\n")[1].rpartition("\n\n")[0]


def task_recipe(base_url: str, seeds: Path | None, method: str, **synth: Any) -> Recipe:
    """A recipe for rows that bring their own instruction."""
    inputs = ["input", "constraints"] if method == "unnatural" else ["input"]
    section = {"model": "scripted", "base_url": base_url, "rows": 24, "concurrency": 8, "timeout_seconds": 10, "method": method,
               **({"seeds": str(seeds)} if seeds else {}), **synth}  # fmt: skip
    return parse({
        "name": "tasks", "task": {"kind": "generate", "instruction": "Do what is asked."},
        "data": {"path": "accepted.jsonl", "instruction": "instruction", "input": inputs, "target": "output"}, "synth": section,
    })  # fmt: skip


def write_seeds(folder: Path, count: int = 20) -> Path:
    """A table of tasks that people wrote."""
    draw = random.Random(5)
    lines = [
        json.dumps({"instruction": f"Kindly {sentence(draw, 8)}.", "input": sentence(draw) if n % 2 else "",
                    "constraints": "None.", "output": sentence(draw)})
        for n in range(count)
    ]  # fmt: skip
    file = folder / "seeds.jsonl"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file
