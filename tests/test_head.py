"""The head over many answer tokens: a chunk at a time, with the loss and every gradient of all at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from test_tree import CPU, GROUPED, HEADED, SMALL, gradients, shared_rows

from whet.data.tokens import Encoded
from whet.engine import adapters, head
from whet.engine.batches import Batch, collate, hang, pack
from whet.engine.loss import Objective, spread_over, summed_loss
from whet.sections import Lora

ROWS = shared_rows()
ANSWERS = sorted({row.completion for row in ROWS})
OBJECTIVES = {
    "plain": Objective(),
    "smoothed": Objective(smoothing=0.1),
    "over labels": Objective(spreads=spread_over(ANSWERS, 0.2)),
    "weighted": Objective(weights={answer: 0.5 + i for i, answer in enumerate(ANSWERS)}),
    "noisy": Objective(noise=5.0),
}
# What stands between a head's product and the logits: nothing, a cap, a scale, a bias.
HEADS: dict[str, dict[str, Any]] = {
    "Llama": GROUPED, "Gemma2": {**HEADED, "final_logit_softcapping": 3.0}, "Granite": {**GROUPED, "logits_scaling": 5.0},
    "Phi": {}, "GPTNeoX": {},
}  # fmt: skip


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(5)
    config = getattr(transformers, f"{name}Config")(**SMALL, **HEADS[name])
    model: torch.nn.Module = getattr(transformers, f"{name}ForCausalLM")(config)
    return model.double().eval()


def alike(one: tuple[float, list[torch.Tensor]], other: tuple[float, list[torch.Tensor]]) -> bool:
    pairs = zip(one[1], other[1], strict=True)
    is_near = all(torch.linalg.norm(a - b) <= 1e-10 * max(1e-3, float(torch.linalg.norm(a))) for a, b in pairs)
    return is_near and abs(one[0] - other[0]) <= 1e-12 * abs(one[0])


def chunked(monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module, batch: Batch, objective: Objective, most: int) -> Any:
    """Loss and gradients with so many answer tokens at a time; at no time does the head make more logits."""
    seen: list[int] = []
    outer: Any = model.get_output_embeddings()  # type: ignore[operator]
    hook = outer.register_forward_hook(lambda _module, _given, out: seen.append(out.shape[:-1].numel()))
    with monkeypatch.context() as patch:
        patch.setattr(head, "LEARNED_TOKENS", most)
        found = gradients(model, batch, objective)
    hook.remove()
    assert max(seen) <= max(most, len(batch.ids)) and len(seen) > 2
    return found


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("lay", [lambda: hang(ROWS, CPU), lambda: collate(ROWS, 1, CPU), lambda: pack(ROWS, CPU)[0]],
                         ids=["tree", "padded", "packed"])  # fmt: skip
def test_a_chunk_at_a_time_is_all_at_once(monkeypatch: pytest.MonkeyPatch, lay: Any, objective: Objective) -> None:
    model, batch = build("Llama"), lay()
    assert alike(gradients(model, batch, objective), chunked(monkeypatch, model, batch, objective, 5))


@pytest.mark.parametrize("name", HEADS)
def test_whatever_the_head_does_to_its_logits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model, batch = build(name), hang(ROWS[:4], CPU)
    assert alike(gradients(model, batch, Objective()), chunked(monkeypatch, model, batch, Objective(), 3))
    assert not any("forward" in vars(m) or m._forward_hooks for m in model.modules()), "nothing stays on the model"


def test_behind_an_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    base: Any = build("Llama")
    model = adapters.add_adapter(base, Lora(r=4), seed=1)
    batch = hang(ROWS, CPU)
    assert alike(gradients(model, batch, Objective()), chunked(monkeypatch, model, batch, Objective(), 4))


def test_what_cannot_be_told_apart_is_computed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that does not say what lies below its head gives all logits at once, and the same loss."""
    model, batch = build("Llama"), collate(ROWS, 1, CPU)
    wanted = summed_loss(model, batch)
    monkeypatch.setattr(head, "LEARNED_TOKENS", 2)
    monkeypatch.setattr(type(model), "get_decoder", lambda self: self)
    assert summed_loss(model, batch).item() == pytest.approx(wanted.item(), rel=1e-12)


def test_the_peak_is_that_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 600 answer tokens with 6,144 logits each, 100 at a time: what is allocated in a step falls by more than half."""
    rows, model = [Encoded(str(i), (0, 5), (*range(9, 108), i)) for i in range(6)], build("Llama").float()

    def height() -> int:
        with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            torch.autograd.backward(summed_loss(model, batch))
        total = highest = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                total += event.nbytes()
                highest = max(highest, total)
        return highest

    batch = pack(rows, CPU)[0]
    whole = height()
    monkeypatch.setattr(head, "LEARNED_TOKENS", 100)
    assert height() < whole / 2
