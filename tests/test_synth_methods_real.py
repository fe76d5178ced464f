"""Every method on a real llama.cpp server with whetstone, whose answers are bad: nothing breaks, everything is counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from methods_maker import task_recipe, write_seeds
from real_server import RealServer
from synth_parts import LABELS, lines, made, recipe

from whet.synth.journal import Journal
from whet.synth.judge import VERDICT_COLUMN

SMALL = {"model": "whetstone", "rows": 2, "rows_per_request": 2, "concurrency": 4, "max_tokens": 60, "timeout_seconds": 60,
         "patience": 3, "budget_tokens": 40_000}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> RealServer:
    pytest.importorskip("xllamacpp", reason="needs the llama.cpp server of xllamacpp (`pip install xllamacpp`)")
    return RealServer(tmp_path_factory.mktemp("llama"))


def purposes(folder: Path) -> Counter[str]:
    """What was asked for, and answered, how often."""
    journal = Journal(folder / "journal.sqlite")
    found = Counter(
        request.purpose for _, wave in journal.waves() for request, _ in wave if journal.answer(request.key("whetstone"))
    )
    journal.close()
    return found


def check(found: dict[str, Any], folder: Path) -> None:
    """Every candidate is accepted or rejected, every rejection has its line, nothing was parked."""
    rejected = lines(folder / "rejected.jsonl")
    assert found["stopped"] in ("all rows made", "patience", "nothing more to ask", "tokens"), found["stopped"]
    assert Counter(row["reason"] for row in rejected) == found["rejected"] and not found["requests"]["parked"]
    assert len(lines(folder / "accepted.jsonl")) == found["rows"]
    assert all(json.dumps(row, ensure_ascii=False).isprintable() for row in rejected)


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("self_instruct", {"tasks", "is_classification", "instances"}), ("unnatural", {"fourth", "follow"}),
        ("evol", {"evolve", "compare", "answer"}), ("back_instruction", {"back_instruction"}),
    ],
)  # fmt: skip
def test_tasks_of_a_bad_model(server: RealServer, tmp_path: Path, method: str, asked: set[str]) -> None:
    settings = SMALL | ({"max_tokens": 200} if method in ("self_instruct", "unnatural") else {})
    if method in ("evol", "unnatural"):  # whetstone never comes to an end: a user's own prompts stop it
        folder = tmp_path / "prompts"
        folder.mkdir()
        said = {"evolve": "{{ text }} And", "breadth": "{{ text }} Or", "answer": "{{ text }} So", "follow": "{{ text }} So"}
        for name, text in said.items():
            own = f'user = "{text}"\n[parameters]\ntemperature = 1.0\nmax_tokens = 60\nstop = [".", ","]\n'
            (folder / f"{name}.toml").write_text(own, "utf-8")
        settings |= {"prompts": str(folder)}
    found = made(task_recipe(server.base_url, write_seeds(tmp_path), method, **settings), tmp_path / "run")
    check(found, tmp_path / "run")
    assert purposes(tmp_path / "run").keys() >= asked


def test_wordings_and_scores_of_a_bad_model(server: RealServer, tmp_path: Path) -> None:
    found = made(recipe(server.base_url, method="paraphrase", **SMALL), tmp_path / "wordings")
    check(found, tmp_path / "wordings")
    table = tmp_path / "judged.csv"
    rows = [f"My parcel number {n} came late.,{LABELS[n % 3]},{('yes', 'no')[n % 2]}" for n in range(20)]
    table.write_text(f"text,label,{VERDICT_COLUMN}\n" + "\n".join(rows) + "\n", "utf-8")
    judged = {"judge_rubric": "It is clear.", "judge_human": str(table), "judge_unmeasured": True, "judge_threshold": 2.0}
    found = made(recipe(server.base_url, **SMALL, **judged), tmp_path / "judged")
    check(found, tmp_path / "judged")
    assert found["judge"]["rows"] == 20 and found["judge"]["unread"] == 0, "the server keeps to the schema of a score"
    assert {1 <= float(row["judge_score"]) <= 10 for row in lines(tmp_path / "judged/accepted.jsonl")} <= {True}
