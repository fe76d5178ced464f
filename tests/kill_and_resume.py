"""Trains one run whole and one that is killed again and again, and prints what became of both as one JSON line.

    python kill_and_resume.py RECIPE FOLDER KILLS SEED

It never computes itself: it forks a child per attempt, so that an attempt starts in a moment, and ends it with SIGKILL at a
random time or, every third kill, as soon as a checkpoint is seen being written.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

import whet.engine.loop
import whet.engine.reader  # noqa: F401 - so that a forked attempt finds the engine already loaded
from whet import stages
from whet.recipe import load
from whet.run import Run


def attempt(run: Run) -> int:
    """The process id of a child that trains the run."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        stages.train(run)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int) -> None:
    """Waits for a child that must succeed."""
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"a training that nobody killed ended with {status}")


def being_written(run: Run) -> bool:
    return any(run.path.glob("checkpoints/.step-*.new"))


def kill(run: Run, rng: random.Random, inside_a_save: bool) -> str:
    """Starts an attempt and kills it; says where it was hit: `save`, `step` or `end` (it had finished by itself)."""
    child, deadline = attempt(run), time.monotonic() + 30
    if inside_a_save:
        while not being_written(run) and time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG) != (0, 0):
                return "end"
    else:
        time.sleep(rng.uniform(0.05, 1.6))
    hit = being_written(run)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        return "end"
    return "save" if hit else "step"


def result(run: Run) -> str:
    """SHA-256 of the adapter's weights and of its configuration in a fixed order."""
    folder = run.path / ("adapter" if run.has("adapter") else "model")
    config = json.loads((folder / ("adapter_config.json" if run.has("adapter") else "config.json")).read_text())
    ordered = {k: sorted(v) if isinstance(v, list) else v for k, v in config.items()}
    weights = b"".join(f.read_bytes() for f in sorted(folder.glob("*.safetensors")))
    return hashlib.sha256(weights + json.dumps(ordered, sort_keys=True).encode()).hexdigest()


def main() -> None:
    recipe, folder, kills, rng = load(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]), random.Random(int(sys.argv[4]))
    whole, broken = (stages.prepare(recipe, folder / name) for name in ("whole", "broken"))
    wait(attempt(whole))
    hits = {"save": 0, "step": 0, "end": 0}
    for number in range(kills):
        hits[kill(broken, rng, inside_a_save=number % 3 == 2)] += 1
    wait(attempt(broken))
    lines = [json.loads(line)["step"] for line in (broken.path / "metrics.jsonl").read_text().splitlines()]
    print(json.dumps({"whole": result(whole), "broken": result(broken), "hits": hits, "steps": lines}))


if __name__ == "__main__":
    main()
