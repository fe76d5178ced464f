"""The plan is the run: its steps, tokens and rates are those that training then makes; and it needs no torch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_parts import recipe, write_table
from rich.console import Console

from whet import stages
from whet.budget.estimate import Rows
from whet.budget.plan import Plan, build_plan
from whet.budget.tokens import tree_work
from whet.data.tokens import Encoded
from whet.recipe import Recipe, parse
from whet.views.plan import plan_summary

CONTRACT = {"peak_bytes", "phases", "components", "tokens", "steps", "fits", "budget_bytes", "suggestions"}
# Twenty rows of 10 to 29 tokens that share nothing, two of them learned.
ROWS = [Encoded(str(i), tuple(range(100 * i, 100 * i + 8 + i)), (7, 0)) for i in range(20)]


def plan(**train: object) -> Plan:
    return build_plan(rows_of(ROWS), recipe_of({"per_device_train_batch_size": 4, "num_train_epochs": 1, **train}))


def rows_of(rows: list[Encoded]) -> Rows:
    return Rows({"train": 20}, rows, lambda step: range(4 * step % 20, 4 * step % 20 + 4))


def recipe_of(train: dict[str, object]) -> Recipe:
    return parse({"name": "x", "task": {"kind": "text"}, "data": {"path": "x.txt"}, "train": train})


def shown(planned: Plan) -> str:
    file = io.StringIO()
    Console(file=file, width=80).print(plan_summary(planned))
    return file.getvalue()


def test_tokens_are_counted_with_each_micro_batch_padded_to_its_longest() -> None:
    found = plan().tokens
    assert (found.real, found.answer, found.is_estimate) == (sum(map(len, ROWS)), 40, False)
    assert found.padded == 4 * (13 + 17 + 21 + 25 + 29)
    assert [plan(**given).tokens.computed for given in ({}, {"share_prefix": False, "packing": True})] == [found.real] * 2
    assert plan(share_prefix=False).tokens.computed == found.padded


def test_a_long_run_is_estimated_from_a_share_of_its_steps() -> None:
    found = plan(num_train_epochs=1001).tokens
    assert found.is_estimate and found.real == pytest.approx(1001 * 390, rel=0.01)
    assert "about" in shown(plan(num_train_epochs=1001)) and "about" not in shown(plan())


def test_rates_are_at_most_a_thousand_with_the_first_and_the_last() -> None:
    found = plan(num_train_epochs=1000, warmup_ratio=0.1)
    assert found.steps == 5000 and len(found.rates) == 1000 and found.warmup_steps == 500
    assert found.rates[0][0] == 1 and found.rates[-1][0] == 5000
    assert [s for s, _ in plan(max_steps=3).rates] == [1, 2, 3] and len(plan(max_steps=1).rates) == 1


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ({"warmup_steps": 9}, "climbs for 9 steps, and the run has 5"),
        (
            {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 1.25}, "max_steps": 5},
            "1 of 5 steps have a rate",
        ),
        (
            {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 8}, "warmup_steps": 1},
            "num_decay_steps = 8, and 4 steps follow warm-up",
        ),
    ],
)
def test_what_will_surprise_is_said(train: dict[str, object], says: str) -> None:
    found = plan(**train)
    assert len(found.warnings) == 1 and says in found.warnings[0] and plan().warnings == ()
    assert says in " ".join(shown(found).split())


def test_the_summary_stands_within_80_columns() -> None:
    text = shown(plan(warmup_ratio=0.2))
    assert max(map(len, text.splitlines())) <= 80
    said = [" ".join(line.split()) for line in text.splitlines()]
    assert said[:3] == ["examples train 20", "steps 5 of 4 examples: 5 steps an epoch, 1 epoch", "warm-up 1 step"]
    assert "390, 40 of them learned" in text and "the token tree leaves out 0%" in text
    assert "420 with padding (8% more)" in shown(plan(share_prefix=False))


def test_an_instruction_behind_the_text_is_said_to_cost() -> None:
    """The same rows with their instruction first and last: the tree shares the one, and the plan says so of the other."""
    instruction = tuple(range(9000, 9030))
    first, last = (
        [Encoded(r.id, instruction + r.prompt if is_first else r.prompt + instruction, r.completion) for r in ROWS]
        for is_first in (True, False)
    )
    settings = recipe_of({"per_device_train_batch_size": 4, "num_train_epochs": 1})
    told = [build_plan(rows_of(rows), settings) for rows in (first, last)]
    assert told[0].tokens.tree == told[1].tokens.instruction_first == 390 + 5 * 30
    assert told[0].tokens.instruction_first is None and told[1].tokens.tree == 390 + 20 * 30
    assert "45%" in shown(told[1]) and "end alike" in shown(told[1]) and "end alike" not in shown(told[0])


@pytest.mark.parametrize("seed", range(10))
def test_tree_tokens_are_those_of_the_engine(seed: int) -> None:
    from whet.engine.tree import grow

    rng = np.random.default_rng(seed)
    rows = [tuple(int(t) for t in rng.integers(0, 2, rng.integers(1, 16))) for _ in range(14)]
    rows += [(*range(20), *row) for row in rows]
    tree = grow(rows)
    found = tree_work(rows)
    assert found.columns == len(tree.ids) and found.pairs == int(tree.mask(torch.device("cpu")).sum())


@pytest.fixture
def tiny(tmp_path: Path, tiny_base: Path) -> Recipe:
    train = {"warmup_ratio": 0.2, "lr_scheduler_type": "cosine", "per_device_train_batch_size": 4}
    return recipe(
        write_table(tmp_path / "t.csv", 60), tiny_base, train={**train, "num_train_epochs": 1.5, "learning_rate": 1e-3}
    )


def test_the_run_is_as_it_was_planned(tiny: Recipe, tmp_path: Path) -> None:
    planned = stages.plan(tiny)
    made = stages.train(stages.prepare(tiny, tmp_path / "run"))
    lines = made.read_lines("metrics.jsonl")
    assert planned.steps == len(lines) == made.manifest["training"]["steps"]
    assert planned.epochs == made.manifest["training"]["epochs"]
    assert planned.rates == tuple((line["step"], line["lr"]) for line in lines)
    assert planned.tokens.answer == lines[-1]["tokens"]
    assert planned.examples == {name: split["n"] for name, split in made.manifest["dataset"]["splits"].items()}


def test_balanced_sampling_is_planned_as_it_is_drawn(tiny: Recipe, tmp_path: Path) -> None:
    changed = tiny.model_copy(update={"train": tiny.train.model_copy(update={"class_balance": "sampling", "max_steps": 4})})
    lines = stages.train(stages.prepare(changed, tmp_path / "run")).read_lines("metrics.jsonl")
    assert stages.plan(changed).tokens.answer == lines[-1]["tokens"]


def test_the_command_prints_one_object_and_loads_no_torch(tiny: Recipe, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(tiny.dump(), "utf-8")
    command = [sys.executable, "-X", "importtime", "-m", "whet", "plan", str(tmp_path / "r.toml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"steps", "epochs", "tokens", "learning_rate", *CONTRACT} <= found.keys()
    assert found["fits"] is True and found["source"] == "formula" and found["peak_bytes"] == max(found["phases"].values())
    assert sum(found["components"].values()) == found["peak_bytes"] and found["suggestions"] == []
    assert found["learning_rate"][0] == {"step": 1, "lr": found["learning_rate"][0]["lr"]} and found["steps"] > 1
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "whet" in loaded and not loaded & {"torch", "transformers", "peft"}
    assert not (tmp_path / "runs").exists()
