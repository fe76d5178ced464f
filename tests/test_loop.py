"""The loop: any split of a step trains the same weights, the best validation is what is kept, Ctrl-C keeps everything."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import random_rows, recipe
from transformers import AutoModelForCausalLM

from whet.engine import adapters, layout, loop, model
from whet.engine.batches import collate, hang
from whet.engine.course import Course
from whet.engine.loss import summed_loss
from whet.engine.timetable import Timetable
from whet.errors import Interrupted, RunError
from whet.progress import Silent
from whet.sections import Lora, Train

ROWS = random_rows(24, seed=2)


def course(folder: Path, train: Train, nlls: list[float] | None = None) -> Course:
    scores = iter(nlls or [])
    return Course(ROWS, Timetable(len(ROWS), train, seed=4), 1, lambda m: (next(scores, 1.0), None), folder)


def trained(
    base: Path, folder: Path, lora: Lora | None = None, dtype: torch.dtype = torch.float32, **settings: Any
) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    untrained = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    fresh = adapters.add_adapter(untrained, lora, seed=3) if lora else untrained
    loop.train(fresh, course(folder, Train(**{"learning_rate": 1e-2, "num_train_epochs": 2, **settings})), Silent())
    return model.trained_weights(fresh)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 2), (2, 4), (1, 8)])
def test_batch_and_accumulation_split_the_same_step(tiny_base: Path, tmp_path: Path, batch: int, accumulation: int) -> None:
    """In float64 with plain gradient steps, so that what differs is the arithmetic of the loop and nothing else."""
    exactly = partial(trained, tiny_base, dtype=torch.float64, optim="sgd", learning_rate=0.1)
    whole = exactly(tmp_path / "a", per_device_train_batch_size=8)
    split = exactly(tmp_path / "b", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    start = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float64).state_dict()
    for name, weight in whole.items():
        moved = torch.linalg.norm(weight - start[name])
        assert moved > 0 and torch.linalg.norm(weight - split[name]) <= 1e-5 * moved, name  # nats are summed in float32
    for one, other in zip(lines(tmp_path / "a"), lines(tmp_path / "b"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6) and one["tokens"] == other["tokens"]
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)


@pytest.mark.parametrize(
    "extra", [{}, {"neftune_noise_alpha": 5.0, "label_smoothing_factor": 0.1}], ids=["plain", "noisy and smoothed"]
)
def test_packing_trains_the_same_weights(tiny_base: Path, tmp_path: Path, extra: dict[str, Any]) -> None:
    settings = {"dtype": torch.float64, "optim": "sgd", "learning_rate": 0.1, **extra}
    padded = trained(tiny_base, tmp_path / "a", per_device_train_batch_size=8, **settings)
    halved: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "packing": True,
        "share_prefix": False,
    }
    packed = trained(tiny_base, tmp_path / "b", **settings, **halved)
    for name, weight in padded.items():
        torch.testing.assert_close(packed[name], weight, rtol=1e-5, atol=1e-7)
    assert [r["tokens"] for r in lines(tmp_path / "a")] == [r["tokens"] for r in lines(tmp_path / "b")]


def test_a_model_that_sees_across_packed_examples_is_padded_and_says_so(tiny_base: Path, tmp_path: Path) -> None:
    """Positions taken away: all packed examples run together, which the trial before the first step notices."""

    class Blind(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, position_ids: torch.Tensor, attention_mask: torch.Tensor | None, **given: Any) -> Any:
            ids = given["input_ids"]
            mask = torch.ones_like(ids) if attention_mask is None else attention_mask
            return self.inner(attention_mask=mask, position_ids=position_ids, **given)

    said: list[str] = []

    class Listener(Silent):
        def say(self, sentence: str) -> None:
            said.append(sentence)

    blind = Blind(AutoModelForCausalLM.from_pretrained(tiny_base))
    loop.train(
        blind, course(tmp_path, Train(packing=True, share_prefix=False, max_steps=2, per_device_train_batch_size=8)), Listener()
    )
    assert len(said) == 1 and said[0].startswith("packing is off: this model does not keep examples apart")


def test_a_model_that_breaks_on_a_tree_is_trained_padded(tmp_path: Path) -> None:
    """Bloom makes its positions of a mask of two dimensions: what it raises is no end of the run."""
    from transformers import BloomConfig, BloomForCausalLM

    said: list[str] = []

    class Listener(Silent):
        def say(self, sentence: str) -> None:
            said.append(sentence)

    bloom = BloomForCausalLM(BloomConfig(vocab_size=6144, hidden_size=32, n_layer=2, n_head=4, pad_token_id=1))
    state = loop.train(bloom, course(tmp_path, Train(max_steps=2, per_device_train_batch_size=8)), Listener())
    assert state.step == 2 and any(s.startswith("the token tree is off") for s in said)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_where_flex_attention_fails_the_tree_goes_on_without_it(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU has no backward pass of it, so it stands for a GPU whose kernel cannot be built."""
    said: list[str] = []

    class Listener(Silent):
        def say(self, sentence: str) -> None:
            said.append(sentence)

    kernels: list[Any] = ["flex", "plain"]
    monkeypatch.setattr(layout, "_hung", lambda on: [layout.Layout("tree", lambda rows: [hang(rows, on)], k) for k in kernels])
    net, run = AutoModelForCausalLM.from_pretrained(tiny_base), course(tmp_path, Train(max_steps=2))
    chosen = layout.choose_layout(net, run, torch.device("cpu"), Listener())
    assert (chosen.name, chosen.kernel) == ("tree", "plain")
    assert len(said) == 1 and said[0].startswith("flex_attention is off: this model cannot be computed that way")


def test_checkpointing_changes_nothing(tiny_base: Path, tmp_path: Path) -> None:
    plain = trained(tiny_base, tmp_path / "a", per_device_train_batch_size=8)
    again = trained(tiny_base, tmp_path / "b", per_device_train_batch_size=8, gradient_checkpointing=True)
    assert all(torch.allclose(plain[n], again[n], rtol=0, atol=1e-6) for n in plain)
    lora = {"lora": Lora(r=2), "per_device_train_batch_size": 8}
    plain, again = (trained(tiny_base, tmp_path / f"lora-{on}", gradient_checkpointing=on, **lora) for on in (False, True))  # type: ignore[arg-type]
    assert all(torch.allclose(plain[n], again[n], rtol=0, atol=1e-6) for n in plain)


def test_what_lies_below_the_first_adapter_keeps_no_activations(tiny_base: Path) -> None:
    """A frozen lower layer is computed and forgotten: nothing of it is kept for the backward pass."""

    def kept_bytes(layers: tuple[int, ...]) -> int:
        untrained = AutoModelForCausalLM.from_pretrained(tiny_base)
        names = [f"model.layers.{i}.mlp.{part}_proj" for i in layers for part in ("gate", "up", "down")]
        fresh = adapters.add_adapter(untrained, Lora(r=2, target_modules=tuple(names)), seed=3)
        storages: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        weights = {p.untyped_storage().data_ptr() for p in fresh.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = summed_loss(fresh, collate(ROWS[:8], 1, torch.device("cpu")))
        found = sum(size for place, size in storages.items() if place not in weights)
        del loss
        return found

    assert kept_bytes((1,)) < 0.7 * kept_bytes((0,))


def test_bf16_is_near_and_not_the_same(tiny_base: Path, tmp_path: Path) -> None:
    trained(tiny_base, tmp_path / "a", per_device_train_batch_size=8)
    trained(tiny_base, tmp_path / "b", per_device_train_batch_size=8, bf16=True)
    first, second = lines(tmp_path / "a")[0]["loss"], lines(tmp_path / "b")[0]["loss"]
    assert first != second and first == pytest.approx(second, rel=0.02)


def test_dropout_is_a_function_of_the_seed_and_the_step(tiny_base: Path, tmp_path: Path) -> None:
    noisy = Lora(r=2, lora_dropout=0.5)
    one = trained(tiny_base, tmp_path / "a", noisy, per_device_train_batch_size=8)
    torch.manual_seed(99)  # what the process drew before must not matter
    two = trained(tiny_base, tmp_path / "b", noisy, per_device_train_batch_size=8)
    calm = trained(tiny_base, tmp_path / "c", Lora(r=2), per_device_train_batch_size=8)
    assert len(one) == 28 and all(torch.equal(one[n], two[n]) for n in one)
    assert not all(torch.equal(one[n], calm[n]) for n in one)


def test_the_weights_of_the_best_validation_are_kept(tiny_base: Path, tmp_path: Path) -> None:
    settings = Train(learning_rate=1e-2, num_train_epochs=3, per_device_train_batch_size=8)
    fresh = AutoModelForCausalLM.from_pretrained(tiny_base)
    seen = []

    def validate(m: torch.nn.Module) -> tuple[float, None]:
        seen.append({n: p.detach().clone() for n, p in m.named_parameters()})
        return [0.9, 0.4, 0.6][len(seen) - 1], None

    state = loop.train(fresh, Course(ROWS, Timetable(len(ROWS), settings, 4), 1, validate, tmp_path), Silent())
    assert state.best is not None and (state.best.step, state.step, len(seen)) == (6, 9, 3)
    assert all(torch.equal(p, seen[1][n]) for n, p in fresh.named_parameters())
    assert not all(torch.equal(p, seen[2][n]) for n, p in fresh.named_parameters())
    scored = [(r["step"], r["validation_nll"], r["best"]) for r in lines(tmp_path) if "validation_nll" in r]
    assert scored == [(3, 0.9, True), (6, 0.4, True), (9, 0.6, False)]


def test_clipping_logs_the_norm_before(tiny_base: Path, tmp_path: Path) -> None:
    trained(tiny_base, tmp_path / "a", per_device_train_batch_size=8, max_grad_norm=0.0, optim="sgd", learning_rate=1e-6)
    trained(tiny_base, tmp_path / "b", per_device_train_batch_size=8, max_grad_norm=1e-3, optim="sgd", learning_rate=1e-6)
    free, clipped = lines(tmp_path / "a")[0], lines(tmp_path / "b")[0]
    assert free["grad_norm"] == clipped["grad_norm"] > 1e-3


def test_a_loss_that_is_no_number_stops_the_run(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step \d+.*learning_rate"):
        trained(tiny_base, tmp_path / "a", per_device_train_batch_size=8, learning_rate=1e30, optim="sgd", max_grad_norm=0.0)


def test_ctrl_c_writes_a_checkpoint_and_the_same_command_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    plan = Train(learning_rate=1e-2, per_device_train_batch_size=8, num_train_epochs=4)

    class Stopper(Silent):
        def advance(self, count: int = 1, note: str = "") -> None:
            if note and len(lines(tmp_path / "b")) == 5:
                os.kill(os.getpid(), signal.SIGINT)

    (tmp_path / "b").mkdir()
    stopped = AutoModelForCausalLM.from_pretrained(tiny_base)
    with pytest.raises(Interrupted, match=r"stopped after step \d of 12; a checkpoint is written. Give the same command again"):
        loop.train(stopped, course(tmp_path / "b", plan), Stopper())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = trained(tiny_base, tmp_path / "b", per_device_train_batch_size=8, num_train_epochs=4)
    whole = trained(tiny_base, tmp_path / "a", per_device_train_batch_size=8, num_train_epochs=4)
    assert [r["step"] for r in lines(tmp_path / "b")] == list(range(1, 13))
    assert all(torch.equal(whole[n], resumed[n]) for n in whole)


def test_summary_counts_what_trains(tiny_base: Path) -> None:
    plan = Timetable(24, recipe(Path("t.csv"), tiny_base).train, 0)
    fresh = adapters.add_adapter(AutoModelForCausalLM.from_pretrained(tiny_base), Lora(r=2), 0)
    state = loop.State(6, 100, 1.0, (loop.Validation(3, 0.5, None),))
    found = loop.summary(fresh, state, plan)
    wanted = 2 * sum(2 * (i + o) for i, o in [(64, 64), (64, 32), (64, 32), (64, 64), (64, 96), (64, 96), (96, 64)])
    assert found["method"] == "lora" and found["trainable_parameters"] == wanted and found["best_step"] == 3
