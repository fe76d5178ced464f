"""The verdict is honest, and the few-shot prompt is fair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_parts import LABELS, recipe

from whet.data import tokens as tokenizers
from whet.engine.reader import Reader
from whet.evaluation import _demonstrations, _text_verdict, _verdict
from whet.example import Example, Origin, Task
from whet.measure.compare import paired_difference
from whet.measure.perplexity import Sizes, text_statistics


def answers(accuracy: float, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities of a model that is right that often."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, n)
    said = np.where(np.arange(n) < accuracy * n, y, 1 - y)
    return y, np.where(said[:, None] == np.arange(2), 0.9, 0.1)


@pytest.mark.parametrize(
    ("tuned", "other", "begins"),
    [
        (0.9, 0.7, "Fine-tuning was worth it: macro F1"),
        (0.7, 0.9, "Fine-tuning was not worth it: macro F1"),
        (0.80, 0.8, "Fine-tuning makes no sure difference: macro F1"),
    ],
)
def test_the_verdict_says_who_won(tuned: float, other: float, begins: str) -> None:
    y, p = answers(tuned)
    said = _verdict(y, p, {"majority": answers(0.5)[1], "tfidf": answers(other)[1]}, None, seed=1)
    assert said.startswith(begins) and "TF-IDF + logistic regression, the best of the rest" in said


def test_without_baselines_nothing_is_claimed() -> None:
    y, p = answers(0.9)
    assert "nothing was asked to be compared" in _verdict(y, p, {}, None, seed=1)


def example(number: int, text: str, target: str) -> Example:
    return Example(str(number), {"text": text}, target, None, Origin("t", number))


def test_demonstrations_take_the_labels_in_turn_and_fit(tmp_path: Path) -> None:
    wanted = recipe(tmp_path / "t.csv", "whetstone", evaluate={"few_shot_examples": 4})
    train = [example(i, f"sentence number {i}", LABELS[i % 5 == 0]) for i in range(60)]
    task = Task(instruction="Is it?", labels=tuple(LABELS))
    reader = Reader(None, task, tokenizers.load("whetstone"), 8, max_length=512)  # type: ignore[arg-type]
    shown = _demonstrations(wanted, train, reader, [example(99, "short", "True")])
    assert [e.target for e in shown] == ["False", "True", "False", "True"]
    assert shown == _demonstrations(wanted, train, reader, [example(99, "short", "True")]), "seeded"
    assert len(_demonstrations(wanted, train, reader, [example(99, "long " * 470, "True")])) < 4, "the prompt must fit"


@pytest.mark.parametrize(
    ("factor", "begins"),
    [
        (0.9, "It learned the text: perplexity 14.88 against 20.09 for the base before training (difference -0.3"),
        (1.1, "It reads such text worse than before: perplexity"),
        (None, "Training makes no sure difference: perplexity"),
    ],
)
def test_the_verdict_on_text_says_whether_it_was_learned(factor: float | None, begins: str) -> None:
    sizes = Sizes.of([(n, 4 * n, 4 * n) for n in (50, 80, 120, 90, 60, 70, 100, 40)])
    before = 3.0 * sizes.tokens
    now = before * (factor if factor is not None else np.resize([0.9, 1.1], 8))
    one, other = (text_statistics(nats, sizes)["nats_per_token"] for nats in (now, before))
    said = _text_verdict(paired_difference(one, other, 8, seed=1), now, before, sizes)
    assert said.startswith(begins), said
