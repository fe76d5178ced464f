"""Written answers: hand-computed values and the properties of the three measures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.generation import (
    exact_match,
    generation_statistics,
    measure_generation,
    rouge_l,
    score_answers,
    token_f1,
    tokens,
)
from whet.measure.intervals import bootstrap


@pytest.mark.parametrize(
    ("target", "answer", "same"),
    [
        ("Yes", "Yes", 1),
        ("Yes", "yes", 0),
        ("a b", " a \n\tb ", 1),
        ("caf\u00e9", "cafe\u0301", 1),
        ("a b", "ab", 0),
        ("", " ", 1),
    ],
)
def test_exact_match(target: str, answer: str, same: int) -> None:
    assert exact_match(target, answer) == same


@pytest.mark.parametrize(
    ("target", "answer", "f1"),
    [
        ("build 40 homes", "40 new homes", 4 / 6),
        ("a a b", "a b b", 4 / 6),  # a bag: one a and one b are shared
        ("yes", "no", 0),
        ("Yes!", "yes", 1),
        ("?", "!", 1),  # no word on either side
        ("yes", "", 0),
    ],
)
def test_token_f1(target: str, answer: str, f1: float) -> None:
    assert token_f1(target, answer) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("target", "answer", "f1"),
    [
        # Longest common subsequence over the words of both; each value is also what rouge_score 0.1.2 gives.
        ("the cat sat on the mat", "the cat is on the mat", 2 * 5 / 12),
        ("police killed the gunman", "the gunman police killed", 2 * 2 / 8),
        ("police killed the gunman", "police kill the gunman", 2 * 3 / 8),
        ("a b c d", "a c", 2 * 2 / 6),
        ("We will build 40,000 homes by 2027.", "40,000 homes will be built", 2 * 3 / 14),
        ("snake_case e-mail", "snake case E mail", 1),
        ("yes", "", 0),
        ("", "", 0),
    ],
)
def test_rouge_l(target: str, answer: str, f1: float) -> None:
    assert rouge_l(target, answer) == pytest.approx(f1)


def test_letters_of_every_script_are_letters() -> None:
    assert tokens("Åtta år, ÉTÉ") == ["åtta", "år", "été"]
    assert rouge_l("i åtta år", "i nio år") == pytest.approx(2 / 3)


def test_on_real_texts_the_measures_are_ordered(shared: Path) -> None:
    """Instructions against one another: equal is 1, order costs ROUGE-L and nothing else, swapping changes no F1."""
    lines = (shared / "data/self_instruct/machine_generated_2500.jsonl").read_text("utf-8").splitlines()[:120]
    texts = [json.loads(line)["instruction"] for line in lines]
    assert len(texts) == 120
    for target, answer in itertools.pairwise(texts):
        assert 0 <= rouge_l(target, answer) <= token_f1(target, answer) <= 1
        assert rouge_l(target, answer) == rouge_l(answer, target)
        assert rouge_l(target, target) == token_f1(target, target) == exact_match(target, target) == 1


def test_the_record_is_the_mean_and_the_statistics_are_its_parts() -> None:
    targets, answers = ["yes", "build homes", "no"], ["yes", "homes build", "maybe"]
    found = measure_generation(targets, answers).to_json()
    assert found == pytest.approx({"n": 3, "exact_match": 1 / 3, "token_f1": 2 / 3, "rouge_l": 1.5 / 3})
    assert score_answers(targets, answers)["rouge_l"].tolist() == [1, 0.5, 0]
    parts = generation_statistics(targets, answers)
    assert {name: statistic(np.arange(3)) for name, statistic in parts.items()} == pytest.approx(
        {name: found[name] for name in ("exact_match", "token_f1", "rouge_l")}
    )
    interval = bootstrap(parts, 3, seed=0)["token_f1"]
    assert 0 <= interval.low <= 2 / 3 <= interval.high <= 1


@pytest.mark.parametrize(("targets", "answers"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_one_answer_per_target(targets: list[str], answers: list[str]) -> None:
    with pytest.raises(DataError, match=f"{len(answers)} answers to {len(targets)} targets"):
        measure_generation(targets, answers)


def test_of_several_right_answers_the_nearest_counts() -> None:
    wanted = [("40 homes", "forty homes"), ["yes"], ("a b", "c d e")]
    answers = ["forty homes", "no", "c d"]
    scores = score_answers(wanted, answers)
    assert scores["exact_match"].tolist() == [1.0, 0.0, 0.0]
    assert scores["rouge_l"].tolist() == [1.0, 0.0, rouge_l("c d e", "c d")]
    first = score_answers([one[0] for one in wanted], answers)
    assert all((scores[name] >= first[name]).all() for name in scores)
    assert measure_generation(wanted, answers).exact_match == pytest.approx(1 / 3)
