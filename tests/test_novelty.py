"""Novelty is exact: the decisions of `rouge_score` and of brute force, on real instructions and on texts made to be close."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz.distance import LCSseq
from rouge_score import rouge_scorer, tokenizers  # type: ignore[import-untyped]

from whet.data.near import normal_form
from whet.synth.novelty import Match, NearTwins, Novelty, f_measure, rouge_tokens

SCORER = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
TOKENIZER = tokenizers.DefaultTokenizer(False)


def rouge(one: str, other: str) -> float:
    """ROUGE-L F1 by the library that Self-Instruct uses."""
    return float(SCORER.score(one, other)["rougeL"].fmeasure)


def first_best(scores: Sequence[float], threshold: float) -> Match | None:
    """What brute force finds: the earliest of the highest scores above the threshold."""
    best = max(scores, default=0.0)
    return Match(scores.index(best), best) if best > threshold else None


def close_texts(draw: random.Random, count: int, words: int) -> list[str]:
    """Texts of few words, many of them edits of each other, so that scores crowd around the threshold."""
    texts: list[str] = []
    for _ in range(count):
        text = draw.choice(texts).split() if texts and draw.random() < 0.6 else []
        text = text or [f"w{draw.randrange(words)}" for _ in range(draw.randint(1, 20))]
        for _ in range(draw.randint(0, 5)):
            place = draw.randrange(len(text))
            text[place : place + draw.randint(0, 2)] = [f"w{draw.randrange(words)}"] * draw.randint(0, 2)
            text = text or ["w0"]
        texts.append(" ".join(text))
    return texts


def instructions(shared: Path) -> list[str]:
    """The real instructions: Self-Instruct's seeds, raw and machine-made ones, and Alpaca's."""
    folder = shared / "data" / "self_instruct"
    found = []
    for name in ("seed_tasks", "machine_generated_2500", "example_raw_instructions"):
        rows = map(json.loads, (folder / f"{name}.jsonl").read_text("utf-8").splitlines())
        found += [str(row["instruction"]) for row in rows]
    found += [row["instruction"] for row in json.loads((shared / "data/alpaca/alpaca_5000.json").read_text("utf-8"))]
    assert len(found) == 7775
    return found


def test_tokens_are_those_of_rouge_score() -> None:
    texts = [
        "Don't panic: it's 42!",
        "",
        "ÀÉÎ naïve café",
        "a_b-c/d",
        "x" * 50 + " 1.5 " + "\u200b",
        "\u0130stanbul \u017f",
        " two\nlines\t",
    ]
    for text in texts:
        assert rouge_tokens(text) == TOKENIZER.tokenize(text)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9])
def test_decisions_are_those_of_rouge_score_on_texts_made_to_be_close(threshold: float) -> None:
    draw = random.Random(int(threshold * 10))
    texts = close_texts(draw, 130, 25)
    kept, near = Novelty(threshold), 0
    for number, text in enumerate(texts):
        found = kept.nearest(text)
        assert found == first_best([rouge(other, text) for other in texts[:number]], threshold)
        near += found is not None
        assert kept.add(text) == number
    assert 10 < near < 125


def test_a_score_of_exactly_the_threshold_is_decided_as_rouge_score_rounds_it() -> None:
    """7 of 10 words: 0.7 in arithmetic, and in floating point whatever 2pr / (p + r) gives."""
    checked = 0
    for one in range(1, 61):
        for other in range(1, 61):
            common, rest = divmod(7 * (one + other), 20)
            if rest or common > min(one, other):
                continue
            first = [f"c{n}" for n in range(common)] + [f"a{n}" for n in range(one - common)]
            second = [f"c{n}" for n in range(common)] + [f"b{n}" for n in range(other - common)]
            kept = Novelty(0.7)
            kept.add(" ".join(first))
            expected = rouge(" ".join(first), " ".join(second))
            assert f_measure(common, one, other) == expected
            assert (kept.nearest(" ".join(second)) is not None) == (expected > 0.7), (one, other, expected)
            checked += 1
    assert checked >= 50


def test_real_instructions_are_decided_as_by_rouge_score(shared: Path) -> None:
    """A slice against the library itself; benchmarks/synth.py does all 30 million pairs."""
    texts = instructions(shared)
    kept = Novelty(0.7)
    matches = {}
    for number, text in enumerate(texts):
        if (found := kept.nearest(text)) is not None:
            matches[number] = found
        kept.add(text)
    assert len(matches) == 79
    for number, match in matches.items():
        assert rouge(texts[match.place], texts[number]) == match.score > 0.7
    draw = random.Random(5)
    tokens = [rouge_tokens(text) for text in texts]
    for number in [*draw.sample(range(len(texts)), 12), *draw.sample(sorted(matches), 12)]:
        scores = [f_measure(LCSseq.similarity(t, tokens[number]), len(t), len(tokens[number])) for t in tokens[:number]]
        assert first_best(scores, 0.7) == matches.get(number)
    for number in draw.sample(range(2000, len(texts)), 6):
        assert first_best([rouge(other, texts[number]) for other in texts[:2000]], 0.7) == _within(kept, texts[number], 2000)


def _within(kept: Novelty, text: str, count: int) -> Match | None:
    return kept.nearest(text, apart_from=range(count, len(kept)))


def test_what_is_kept_apart_does_not_count() -> None:
    kept = Novelty(0.7)
    for text in ("one two three four five", "one two three four six", "nothing like it at all"):
        kept.add(text)
    assert kept.nearest("one two three four five") == Match(0, 1.0)
    assert kept.nearest("one two three four five", apart_from={0}) == Match(1, f_measure(4, 5, 5))
    assert kept.nearest("one two three four five", apart_from={0, 1}) is None


def test_edges() -> None:
    kept = Novelty(0.7)
    assert kept.nearest("anything") is None
    for text in ("", "!!!", "你好世界", "word"):
        kept.add(text)
    assert kept.nearest("") is None and kept.nearest("你好世界") is None and kept.nearest("?") is None
    assert kept.nearest("Word!") == Match(3, 1.0)
    off = Novelty(1.0)
    off.add("the same")
    assert off.nearest("the same") is None, "1 is off: no F1 is above it"


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_near_twins_are_those_of_brute_force(threshold: float) -> None:
    texts = close_texts(random.Random(3), 250, 12)

    def grams(text: str) -> set[str]:
        form = normal_form(text)
        return {form[i : i + 5] for i in range(max(1, len(form) - 4))}

    kept, near = NearTwins(threshold), 0
    for number, text in enumerate(texts):
        mine = grams(text)
        scores = [len(mine & grams(t)) / len(mine | grams(t)) for t in texts[:number]]
        best = max(scores, default=0.0)
        expected = Match(scores.index(best), best) if best >= threshold - 1e-12 else None
        assert kept.nearest(text) == expected
        near += expected is not None
        kept.add(text)
    assert 10 < near < 245 and len(kept) == 250


def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often two texts are compared."""
    calls = 0
    real = LCSseq.similarity

    class Counting:
        @staticmethod
        def similarity(*arguments: Any, **options: Any) -> int:
            nonlocal calls
            calls += 1
            return int(real(*arguments, **options))

    monkeypatch.setattr("whet.synth.novelty.LCSseq", Counting)
    return lambda: calls


def test_few_texts_are_compared(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it fast, as a count and not as a time: brute force compares each with each."""
    comparisons = counted(monkeypatch)
    kept, at = Novelty(0.7), []
    texts = instructions(shared)
    for number, text in enumerate(texts, 1):
        kept.nearest(text)
        kept.add(text)
        if number in (1943, 3887, 7775):
            at.append(comparisons())
    assert at[-1] < 0.003 * len(texts) ** 2 / 2
    growth = [later / earlier for earlier, later in pairwise(at)]
    assert all(ratio < 4.5 for ratio in growth), "no faster than the number of pairs"
