"""Golden losses: ten steps of a fixed model on fixed rows gave these when they were written, in each way of training.

float32 arithmetic, plain settings. Evaluation after each step must change none of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engine_parts import make_base, random_rows, recipe

from whet.engine import infer, loop, model
from whet.engine.adapters import add_adapter
from whet.engine.course import Course
from whet.engine.timetable import Timetable
from whet.progress import Silent
from whet.sections import Lora, Train

ROOT = Path(__file__).resolve().parent.parent
FILE = Path(__file__).parent / "golden" / "losses.json"
ROWS = random_rows(24, seed=2)
WAYS: dict[str, tuple[dict[str, Any], Lora | None]] = {
    "full": ({}, None), "lora": ({}, Lora(r=4)),
    "nf4": ({"quantize": "nf4"}, Lora(r=4)), "int8": ({"quantize": "int8"}, Lora(r=4)),
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose layers are all multiples of 64 wide, so that 4 bits take all of them."""
    return make_base(tmp_path_factory.mktemp("base") / "even", ROOT / "src/whet/base/whetstone", intermediate_size=128)


def losses(base: Path, folder: Path, way: str, **settings: Any) -> list[float]:
    folder.mkdir()
    section, lora = WAYS[way]
    start = model.load_base(recipe(Path("t.csv"), base, model=section, **({"lora": {}} if lora else {})))
    trained = add_adapter(start, lora, seed=3) if lora else start
    plan = Train(learning_rate=2e-3, per_device_train_batch_size=6, max_steps=10, share_prefix=False, **settings)

    def scored(asked: Any) -> tuple[float, None]:
        infer.label_scores(asked, [row.prompt for row in ROWS[:4]], [(5, 0), (7, 9, 0)], 1, 2)
        return float(infer.answer_nats(asked, ROWS[:6], 1, 3).sum()), None

    loop.train(trained, Course(ROWS, Timetable(24, plan, 4), 1, scored, folder), Silent())
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_golden_losses(base: Path, tmp_path: Path, update_golden: bool) -> None:
    found = {way: [round(loss, 6) for loss in losses(base, tmp_path / way, way)] for way in WAYS}
    if update_golden:
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(FILE.read_text())
    assert golden.keys() == WAYS.keys() and len(golden) == 4
    for way, seen in found.items():
        # A perturbation of 3e-7 moves the losses by 1e-6 at most, but by 1e-4 where inputs are rounded to 8 bits.
        rel = 1e-3 if way == "int8" else 1e-4
        assert len(seen) == 10 and seen[-1] < seen[0] and seen == pytest.approx(golden[way], rel=rel), way
    assert len({seen[0] for seen in found.values()}) == 3, "full and LoRA begin alike; 4 and 8 bits do not"


@pytest.mark.parametrize("way", WAYS)
def test_evaluation_between_steps_changes_no_loss(base: Path, tmp_path: Path, way: str) -> None:
    assert losses(base, tmp_path / "a", way) == losses(base, tmp_path / "b", way, eval_steps=1)
