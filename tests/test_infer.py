"""Label scores: equal to naive scoring at any batch size and order; a distribution; prefixes of labels compete fairly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_parts import random_rows
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from whet.engine import infer

LABELS = [(7, 0), (7, 8, 0), (9, 10, 11, 0), (12, 0)]  # the first begins the second


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> torch.nn.Module:
    found: torch.nn.Module = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    return found.eval()


def prompts(count: int = 12, shared: int = 9) -> list[tuple[int, ...]]:
    prefix = tuple(range(20, 20 + shared))
    return [(0, *prefix, *row.prompt[1:]) for row in random_rows(count)]


@torch.inference_mode()
def naive(model: torch.nn.Module, prompts: list[tuple[int, ...]]) -> np.ndarray:
    """One forward pass per prompt and label, no cache, no padding."""
    scores = np.empty((len(prompts), len(LABELS)))
    for i, prompt in enumerate(prompts):
        for c, label in enumerate(LABELS):
            logs = model(input_ids=torch.tensor([[*prompt, *label]])).logits[0].double().log_softmax(-1)
            scores[i, c] = sum(float(logs[len(prompt) - 1 + k, t]) for k, t in enumerate(label))
    return scores


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_scores_equal_naive_scoring(model: torch.nn.Module, batch_size: int) -> None:
    rows = prompts()
    ulps = 2 * float(np.finfo(np.float32).eps)  # both are computed in float32, and scores here are as low as -46
    np.testing.assert_allclose(infer.label_scores(model, rows, LABELS, 1, batch_size), naive(model, rows), rtol=ulps, atol=1e-5)


def test_scores_in_float64_equal_naive_scoring_but_for_float32_norms(model: torch.nn.Module) -> None:
    rows, exact = prompts(), copy.deepcopy(model).double()
    np.testing.assert_allclose(infer.label_scores(exact, rows, LABELS, 1, 5), naive(exact, rows), rtol=3e-7)


def test_order_and_company_change_nothing(model: torch.nn.Module) -> None:
    rows = prompts()
    order = np.random.default_rng(0).permutation(len(rows))
    straight = infer.label_scores(model, rows, LABELS, 1, 4)
    shuffled = infer.label_scores(model, [rows[i] for i in order], LABELS, 1, 4)
    np.testing.assert_allclose(shuffled, straight[order], rtol=0, atol=1e-5)
    np.testing.assert_allclose(infer.label_scores(model, rows[:1], LABELS, 1, 4), straight[:1], rtol=0, atol=1e-5)


def test_without_anything_shared(model: torch.nn.Module) -> None:
    rows = [(i + 30, *row.prompt) for i, row in enumerate(random_rows(6))]
    np.testing.assert_allclose(infer.label_scores(model, rows, LABELS, 1, 3), naive(model, rows), rtol=0, atol=1e-5)


def test_labels_of_a_prompt_have_at_most_all_the_probability(model: torch.nn.Module) -> None:
    """No answer is counted twice: each label carries its end token, so 'no' and 'not so' exclude each other."""
    mass = np.exp(infer.label_scores(model, prompts(), LABELS, 1, 4)).sum(1)
    assert (mass > 0).all() and (mass <= 1 + 1e-6).all()


FOREIGN: dict[str, Callable[[], torch.nn.Module]] = {
    "a window shorter than the prompt": lambda: Gemma2ForCausalLM(
        Gemma2Config(vocab_size=6144, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                     head_dim=16, intermediate_size=48, sliding_window=6, pad_token_id=1)),
    "learned positions": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=6144, n_embd=32, n_layer=2, n_head=2, n_positions=64)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_architectures(kind: str) -> None:
    torch.manual_seed(1)
    other = FOREIGN[kind]().eval()
    rows = prompts(5)
    np.testing.assert_allclose(infer.label_scores(other, rows, LABELS, 1, 3), naive(other, rows), rtol=0, atol=1e-5)


def test_greedy_answers_do_not_depend_on_the_batch(model: torch.nn.Module) -> None:
    rows = prompts(6)
    alone = [infer.greedy_answers(model, [r], end=0, padding=1, max_new_tokens=5, batch_size=1)[0] for r in rows]
    assert infer.greedy_answers(model, rows, end=0, padding=1, max_new_tokens=5, batch_size=4) == alone
    assert all(0 not in answer and len(answer) <= 5 for answer in alone)


def test_text_nats_is_the_sum_of_windows(model: torch.nn.Module) -> None:
    ids = list(random_rows(1, seed=9)[0].prompt) * 3
    with torch.inference_mode():
        logs = model(input_ids=torch.tensor([ids[:-1]])).logits[0].double().log_softmax(-1)
    wanted = -sum(float(logs[i, t]) for i, t in enumerate(ids[1:]))
    assert infer.text_nats(model, ids) == pytest.approx(wanted, rel=1e-5)
    assert infer.text_nats(model, ids, window=4) > 0


class Stranger(torch.nn.Module):
    """A model that is no Transformers model: no configuration, no attention that could be taught trees."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, **given: object) -> object:
        return self.inner(**given)


def test_a_model_that_knows_no_trees_is_padded(model: torch.nn.Module) -> None:
    rows = prompts(5)
    np.testing.assert_allclose(infer.label_scores(Stranger(model), rows, LABELS, 1, 3), naive(model, rows), rtol=0, atol=1e-5)


def test_many_labels_stay_within_memory_and_right(model: torch.nn.Module) -> None:
    """300 labels of 3 tokens: fewer prompts at a time than the batch size, and the scores that float64 gives."""
    rng = np.random.default_rng(0)
    labels = [(*(int(t) for t in rng.integers(2, 6000, 2)), 0) for _ in range(300)]
    rows = prompts(9)
    some = [0, 7, 150, 299]
    wanted = infer.label_scores(copy.deepcopy(model).double(), rows, [labels[i] for i in some], 1, 1)
    for found in (infer.label_scores(model, rows, labels, 1, 32)[:, some],
                  infer.label_scores(model, rows, [labels[i] for i in some], 1, 1)):  # fmt: skip
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "at_a_time"), [(1, 4096), (12, 4096), (12, 9), (5, 2)])
def test_nats_of_answers_are_each_rows_own(
    model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch, batch_size: int, at_a_time: int
) -> None:
    """However many are scored at a time: fewer than a batch where their answers are long."""
    rows = random_rows(12, seed=3)
    with torch.inference_mode():
        logs = [model(input_ids=torch.tensor([[*r.prompt, *r.completion]])).logits[0].double().log_softmax(-1) for r in rows]
    alone = [
        -sum(float(found[len(r.prompt) - 1 + k, t]) for k, t in enumerate(r.completion))
        for found, r in zip(logs, rows, strict=True)
    ]
    monkeypatch.setattr(infer, "SCORED_TOKENS", at_a_time)
    done: list[int] = []
    np.testing.assert_allclose(infer.answer_nats(model, rows, 1, batch_size, done.append), alone, rtol=0, atol=1e-4)
    assert sum(done) == 12 and max(done) <= batch_size and (at_a_time > 9 or max(done) < batch_size)
