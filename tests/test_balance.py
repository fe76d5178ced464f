"""Class balance: rare labels weigh more or come more often, and the probabilities still speak of the true shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_parts import recipe

from whet import stages
from whet.data import tokens as tokenizers
from whet.engine import model, reader
from whet.measure.balance import balanced_weights, prior_shift, shifted
from whet.measure.calibration import softmax
from whet.progress import Silent
from whet.prompts import plain


def test_weights_and_shift_belong_together() -> None:
    """By hand: 90 to 10 of two labels. Weighted, both count 50; a balanced posterior of 1/2 is led back to 0.9 and 0.1."""
    assert balanced_weights([90, 10]).tolist() == pytest.approx([5 / 9, 5.0])
    assert (balanced_weights([90, 10]) * [90, 10]).tolist() == pytest.approx([50, 50])
    scores = np.log([[0.3, 0.3], [0.1, 0.4]])
    found = np.exp(shifted(scores, prior_shift([90, 10])))
    assert found[0].tolist() == pytest.approx([0.54, 0.06])
    assert found[1, 1] / found[1, 0] == pytest.approx(4 / 9)
    assert found.sum(1).tolist() == pytest.approx([0.6, 0.5]), "the probability that the labels have together stays"


def write_noise(path: Path, rows: int = 160, rare: float = 0.2) -> Path:
    """Sentences that say nothing about their label: the best that can be known is its share."""
    rng = np.random.default_rng(3)
    words = ["homes", "tax", "bridge", "hope", "ward", "rail", "jobs", "trade", "farm", "court", "ship", "coal"]
    lines = ["sentence,is_promise,speech"]
    for i in range(rows):
        text = " ".join(rng.choice(words, 6))
        lines.append(f"{text} {i},{i % round(1 / rare) == 0},{i}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_probabilities_are_led_back_to_the_true_share(tiny_base: Path, tmp_path: Path, balance: str) -> None:
    table = write_noise(tmp_path / "t.csv")
    train = {"class_balance": balance, "num_train_epochs": 3, "learning_rate": 2e-3, "per_device_train_batch_size": 16}
    run = stages.train(stages.prepare(recipe(table, tiny_base, train=train, data={"group": None}), tmp_path / "run"))
    tokens = tokenizers.load(run.recipe.model.base)
    prompts = [plain.ask(run.task, e) for e in run.examples("test")]
    asked = reader.open_reader(run, model.load_result(run), tokens)
    unaware = reader.open_reader(run, asked.model, tokens, is_trained=False)
    told, believed = (softmax(r.label_scores(prompts, Silent()))[:, 1].mean() for r in (asked, unaware))
    assert told == pytest.approx(0.2, abs=0.1), "what the user is told"
    assert believed == pytest.approx(0.5, abs=0.17), "what the balanced model itself holds likely"
