"""The loss: equal to the textbook's, and the same gradient for any split and any layout; smoothing, weights and noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine_parts import random_rows
from transformers import AutoModelForCausalLM

from whet.data.tokens import Encoded
from whet.engine.batches import collate, pack
from whet.engine.infer import row_nats
from whet.engine.loss import PLAIN, Objective, build_objective, spread_over, summed_loss
from whet.errors import DataError
from whet.sections import Train

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_base: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float64)


def textbook(model: torch.nn.Module, row: Encoded) -> torch.Tensor:
    """One row alone, no padding: -sum log P(next id) over the answer."""
    ids = torch.tensor([row.prompt + row.completion])
    logs: torch.Tensor = model(input_ids=ids).logits[0].double().log_softmax(-1)
    first = len(row.prompt) - 1
    return -torch.stack([logs[first + k, target] for k, target in enumerate(row.completion)]).sum()


def test_loss_is_the_sum_over_answer_tokens_alone(model: torch.nn.Module) -> None:
    rows = random_rows(7)
    wanted = [textbook(model, row).item() for row in rows]
    batch = collate(rows, padding=1, device=CPU)
    assert summed_loss(model, batch).item() == pytest.approx(sum(wanted), rel=1e-6)  # the loss itself is float32
    assert row_nats(model, batch).tolist() == pytest.approx(wanted, rel=1e-6)


Rows = list[Encoded]


def gradients(
    model: torch.nn.Module, micro_batches: list[Rows], objective: Objective = PLAIN, packed: bool = False
) -> list[torch.Tensor]:
    batches = [b for rows in micro_batches for b in (pack(rows, CPU, 40) if packed else [collate(rows, 1, CPU)])]
    tokens = sum(b.target_tokens for b in batches)
    model.zero_grad()
    for batch in batches:
        torch.autograd.backward(summed_loss(model, batch, objective, seed=6) / tokens)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("split", [lambda r: [r[:4], r[4:]], lambda r: [[x] for x in r], lambda r: [r[:1], r[1:3], r[3:]]])
def test_any_split_of_a_step_gives_the_same_gradient(model: torch.nn.Module, split: Callable[[Rows], list[Rows]]) -> None:
    """Rows of different answer lengths: a mean of means would differ."""
    rows = random_rows(8, seed=3)
    assert len({len(r.completion) for r in rows}) > 1
    whole, parts = gradients(model, [rows]), gradients(model, split(rows))
    assert len(whole) == len(parts) == len(list(model.parameters()))
    for one, other in zip(whole, parts, strict=True):
        assert torch.linalg.norm(one - other) <= 1e-6 * torch.linalg.norm(one)


def test_padding_moves_nothing(model: torch.nn.Module) -> None:
    """A row's nats do not depend on the rows beside it."""
    rows = random_rows(5)
    together = row_nats(model, collate(rows, padding=1, device=CPU))
    alone = torch.cat([row_nats(model, collate([r], padding=1, device=CPU)) for r in rows])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=0)


LABELS: list[tuple[int, ...]] = [(7, 0), (8, 0), (9, 0)]


def labelled(count: int = 8, labels: list[tuple[int, ...]] = LABELS, seed: int = 5) -> Rows:
    return [Encoded(r.id, r.prompt, labels[i % len(labels)]) for i, r in enumerate(random_rows(count, seed))]


OBJECTIVES = {
    "plain": Train(),
    "smoothed over the vocabulary": Train(label_smoothing_factor=0.1),
    "smoothed over the labels": Train(label_smoothing_factor=0.1, label_smoothing_over="labels"),
    "weighted": Train(class_balance="weights"),
    "weighted and smoothed": Train(class_balance="weights", label_smoothing_factor=0.2),
    "noisy": Train(neftune_noise_alpha=5),
    "all at once": Train(
        neftune_noise_alpha=5, class_balance="weights", label_smoothing_factor=0.1, label_smoothing_over="labels"
    ),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_no_split_and_no_layout_changes_the_gradient(model: torch.nn.Module, kind: str) -> None:
    """Accumulation, packing and the company in a micro-batch: the same gradient for every objective, noise included."""
    rows = labelled()
    objective = build_objective(OBJECTIVES[kind], [r.completion for r in rows], LABELS)
    whole = gradients(model, [rows], objective)
    for other in (
        gradients(model, [rows[:3], rows[3:]], objective),
        gradients(model, [rows], objective, packed=True),
        gradients(model, [[rows[i] for i in (5, 0, 3)], [rows[i] for i in (7, 1, 2, 4, 6)]], objective, packed=True),
    ):
        for a, b in zip(whole, other, strict=True):
            assert torch.linalg.norm(a - b) <= 2e-6 * torch.linalg.norm(a)
    if kind != "plain":
        plain = gradients(model, [rows])
        assert any(torch.linalg.norm(a - b) > 1e-3 * torch.linalg.norm(a) for a, b in zip(plain, whole, strict=True))


def test_smoothing_over_the_vocabulary_is_the_published_formula(model: torch.nn.Module) -> None:
    """(1 - eps) x -log p(target) + eps x the mean of -log p over all V tokens, on answer tokens alone."""
    rows = random_rows(4)
    batch = collate(rows, 1, CPU)
    logs = batch.logits(model).double().log_softmax(-1)
    wanted = 0.9 * -logs.gather(1, batch.targets[:, None]).sum() + 0.1 * -logs.mean(-1).sum()
    assert summed_loss(model, batch, Objective(smoothing=0.1)).item() == pytest.approx(wanted.item(), rel=1e-6)


class Answers(torch.nn.Module):
    """A "model" whose logits at a label's place are its three parameters, and certain of the end token elsewhere."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.free = torch.nn.Parameter(torch.zeros(labels))

    def forward(self, input_ids: torch.Tensor, logits_to_keep: int, **_: object) -> object:
        first = torch.full((20,), -1e4).index_copy(0, torch.arange(7, 7 + len(self.free)), self.free)
        end = torch.full((20,), -1e4).index_fill(0, torch.tensor([0]), 0.0)
        logits = torch.stack([first, end, end]).expand(len(input_ids), -1, -1)
        return type("Out", (), {"logits": logits})()


@pytest.mark.parametrize(
    ("count", "best", "floor", "gap"),
    [(2, 0.95, 0.19852, 2.9444), (3, 0.93333, 0.29114, 3.3322), (4, 0.925, 0.34878, 3.6109)],
)
def test_smoothing_over_labels_has_its_closed_form(count: int, best: float, floor: float, gap: float) -> None:
    """Minimised by hand-computed probabilities: 1 - eps + eps / C on the target; the loss cannot fall below their entropy."""
    labels = [(7 + i, 0) for i in range(count)]
    row = Encoded("x", (1, 2), labels[0])
    model, spreads = Answers(count), spread_over(labels, 0.1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = summed_loss(model, collate([row], 1, CPU), Objective(spreads=spreads))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    p = model.free.detach().softmax(0)
    assert p[0].item() == pytest.approx(best, abs=1e-4)
    assert closure().item() == pytest.approx(floor, abs=1e-5)
    assert (model.free[0] - model.free[1]).item() == pytest.approx(gap, abs=1e-3)


def test_labels_that_begin_alike_share_a_target_until_they_part() -> None:
    """`no` (5 0), `not so` (5 6 0) and `yes` (7 0) at eps 0.3: two labels stand behind the 5, and part at the next token."""
    spreads = spread_over([(5, 0), (5, 6, 0), (7, 0)], 0.3)
    first, second = spreads[5, 0]
    assert first == ((5, 7), (0.9, 0.1))
    assert second[0] == (0, 6) and second[1] == pytest.approx((0.8 / 0.9, 0.1 / 0.9))
    assert spreads[5, 6, 0][2] == ((0,), (1.0,)) and spreads[7, 0][0] == ((5, 7), (0.2, 0.8))
    for label, places in spreads.items():
        on_path = math.prod(dict(zip(ids, shares, strict=True))[t] for t, (ids, shares) in zip(label, places, strict=True))
        assert on_path == pytest.approx(0.8), "together the places give the label 1 - eps + eps / C"


def test_class_weights_are_n_over_c_times_count(model: torch.nn.Module) -> None:
    rows = [*labelled(6, LABELS[:1]), *labelled(2, LABELS[1:2], seed=9)]
    objective = build_objective(Train(class_balance="weights"), [r.completion for r in rows], LABELS[:2])
    assert objective.weights == {(7, 0): 8 / 12, (8, 0): 2.0}
    wanted = sum(objective.weights[r.completion] * textbook(model, r).item() for r in rows)
    assert summed_loss(model, collate(rows, 1, CPU), objective).item() == pytest.approx(wanted, rel=1e-6)


def test_a_label_without_examples_cannot_be_balanced() -> None:
    for balance in ("weights", "sampling"):
        with pytest.raises(DataError, match="a label that has no training example"):
            build_objective(Train(class_balance=balance), [(7, 0)], LABELS)


def test_neftune_noise_has_the_examples_own_scale_and_leaves_nothing_behind(model: torch.nn.Module) -> None:
    """Uniform in ±alpha / sqrt(L x D) on the example's L tokens, none on padding, whatever stands beside it."""
    seen: list[torch.Tensor] = []
    embed = model.get_input_embeddings()  # type: ignore[operator]
    handle = model.model.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda m, a, k: seen.append(k["inputs_embeds"].detach()), with_kwargs=True
    )
    rows = random_rows(5)
    batch = collate(rows, 1, CPU)
    summed_loss(model, batch, Objective(noise=5.0), seed=3)
    summed_loss(model, collate(rows[:1], 1, CPU), Objective(noise=5.0), seed=3)
    summed_loss(model, collate(rows[:1], 1, CPU), Objective(noise=5.0), seed=4)
    handle.remove()
    noise = (seen[0] - embed(batch.ids)).detach()
    for row, ((start, _, length),) in ((r, [(p.start, p.offset, p.length) for p in pieces]) for r, pieces in batch.spans):
        limit = 5.0 / math.sqrt(length * 64)
        own = noise[row, start : start + length]
        assert own.abs().max() <= limit and own.abs().mean().item() == pytest.approx(limit / 2, rel=0.15)
        assert (noise[row, :start] == 0).all()
    alone, later = (s - embed(collate(rows[:1], 1, CPU).ids) for s in seen[1:])
    torch.testing.assert_close(alone[0], noise[0, batch.spans[0][1][0].start :], rtol=0, atol=1e-7)
    assert not torch.equal(alone, later), "another step, other noise"
    assert not embed._forward_hooks and row_nats(model, batch).tolist() == row_nats(model, batch).tolist()
