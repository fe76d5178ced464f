"""kill -9 at any moment, the same command again: the final adapter is the uninterrupted run's, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from engine_parts import recipe, write_table

KILLS = 30


def test_thirty_kills_end_in_identical_bytes(tiny_base: Path, tmp_path: Path) -> None:
    """Adapter dropout is on, checkpoints are written every second step, and every third kill falls inside a save."""
    table = write_table(tmp_path / "table.csv", rows=400)
    wanted = recipe(
        table, tiny_base, lora={"r": 4, "lora_dropout": 0.2},
        train={"num_train_epochs": 12, "save_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    )  # fmt: skip
    (tmp_path / "r.toml").write_text(wanted.dump(), "utf-8")
    script = Path(__file__).parent / "kill_and_resume.py"
    command = [sys.executable, str(script), str(tmp_path / "r.toml"), str(tmp_path), str(KILLS), "11"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False, env=alone)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["whole"] == found["broken"]
    assert found["hits"]["save"] >= KILLS // 4, found["hits"]
    assert found["hits"]["save"] + found["hits"]["step"] == KILLS, f"a kill that came too late shows nothing: {found['hits']}"
    assert found["steps"] == list(range(1, len(found["steps"]) + 1)), "metrics.jsonl holds each step once"
