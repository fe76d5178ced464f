"""`whet eject`: the script on TRL learns what whet learns, step by step; what it cannot do is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_parts import recipe, write_table

from whet import stages
from whet.recipe import Recipe
from whet.run import Run

OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
ROWS = 32  # about 22 to learn from in batches of 8: the last step of an epoch is a smaller one
LORA = {"r": 4, "lora_alpha": 8}
# What each case changes in the recipe: float32, no dropout and no noise, so that nothing but arithmetic is left to differ.
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": LORA},
    "lora, smoothed over the vocabulary": {"lora": LORA, "train": {"label_smoothing_factor": 0.1}},
    "accumulation": {"train": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}},
    "cosine with warm-up": {"train": {"lr_scheduler_type": "cosine", "warmup_ratio": 0.3}},
    "warm-up stable decay": {
        "train": {"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 2, "lr_scheduler_kwargs": {"num_decay_steps": 4}}
    },
    "nf4": {"lora": LORA, "model": {"quantize": "nf4", "bnb_4bit_use_double_quant": True}},
    "int8": {"lora": LORA, "model": {"quantize": "int8"}},
    "weight decay": {"train": {"weight_decay": 0.5, "learning_rate": 1e-2}},
    "lora on one layer": {"lora": {**LORA, "layers_to_transform": [1], "exclude_modules": ["mlp"], "use_rslora": True}},
    "sgd with momentum, clipped": {
        "train": {"optim": "sgd", "optim_args": {"momentum": 0.9, "nesterov": 1.0}, "learning_rate": 0.1, "max_grad_norm": 0.5}
    },
    "packing": {"train": {"packing": True}},
    "checkpointing": {"train": {"gradient_checkpointing": True}, "lora": LORA},
    "grouped by length": {"train": {"train_sampling_strategy": "group_by_length"}},
    "balanced by sampling": {"train": {"class_balance": "sampling"}},
    "random weights, two and a half epochs": {"model": {"random_weights": True}, "train": {"num_train_epochs": 2.5}},
}


def case(base: Path, table: Path, sections: dict[str, Any]) -> Recipe:
    return recipe(table, base, **sections)


def run_scripts(scripts: list[Path]) -> None:
    """Runs them one after the other in one Python that knows nothing of whet, as each would run alone."""
    code = "import runpy, sys; [runpy.run_path(script, run_name='__main__') for script in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *map(str, scripts)],
        cwd=scripts[0].parent, env=OFFLINE, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "table.csv", rows=ROWS)


@pytest.fixture(scope="module")
def folder(tiny_base: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the script of each case lies, `0.py` the first of them, and what it has trained."""
    where = tmp_path_factory.mktemp("scripts")
    scripts = [where / f"{number}.py" for number in range(len(CASES))]
    for path, sections in zip(scripts, CASES.values(), strict=True):
        stages.eject(case(tiny_base, table, sections), path, same_order=True)
    run_scripts(scripts)
    return where


def theirs(model: Path) -> list[dict[str, float]]:
    log = json.loads((model / "trainer_state.json").read_text())["log_history"]
    return [line for line in log if "loss" in line]


def ours(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_trl_and_whet_lose_the_same(number: int, folder: Path, tiny_base: Path, table: Path, tmp_path: Path) -> None:
    run = stages.prepare(case(tiny_base, table, list(CASES.values())[number]), tmp_path / "run")
    mine, others = ours(stages.train(run)), theirs(folder / f"{number}_model")
    assert len(mine) == len(others) >= 6
    for one, other in zip(mine, others, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert one["lr"] == pytest.approx(other["learning_rate"], rel=1e-6)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-2)
