"""Every optimizer by its name: it learns, its state has the bytes that are told, and a checkpoint puts it back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import random_rows
from transformers import AutoModelForCausalLM

from whet.engine import loop
from whet.engine.checkpoint import Checkpoints, State
from whet.engine.course import Course
from whet.engine.model import trained_weights
from whet.engine.optim import MuonWithAdamW, build_optimizer, load_state, optimizer_notes
from whet.engine.timetable import Timetable
from whet.knobs.optimizers import BITSANDBYTES_FROM, ELSEWHERE, OPTIMIZERS, why_not_optimizer
from whet.progress import Silent
from whet.sections import Train

NAMES = sorted(OPTIMIZERS)
WIDTH = 64  # WIDTH x WIDTH elements are just enough for 8-bit states
RATES = {"sgd": 0.3, "adagrad": 0.03}  # of a family; 3e-3 for the others


class Toy(torch.nn.Module):
    """An embedding, a hidden matrix, a norm and a head: every kind of parameter that a language model trains."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(WIDTH, WIDTH)
        self.hidden = torch.nn.Linear(WIDTH, WIDTH)
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.head = torch.nn.Linear(WIDTH, WIDTH, bias=False)
        self.to(dtype)

    def get_output_embeddings(self) -> torch.nn.Module:
        """The output head, as a language model names it."""
        return self.head

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (N, WIDTH)."""
        logits: torch.Tensor = self.head(self.norm(self.embed(ids) + torch.relu(self.hidden(self.embed(ids)))))
        return logits


def settings(optim: str, **train: Any) -> Train:
    return Train(optim=optim, learning_rate=RATES.get(OPTIMIZERS[optim].family, 3e-3), **train)


def step(model: Toy, optimizer: torch.optim.Optimizer) -> float:
    """One step towards ids + 1; the loss before it."""
    ids = torch.arange(WIDTH)
    loss: Any = torch.nn.functional.cross_entropy(model(ids).float(), (ids + 1) % WIDTH)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def tensors(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    """What an optimizer remembers of a parameter, but for single numbers and the code tables that all share."""
    kept = {name: v for name, v in optimizer.state[parameter].items() if isinstance(v, torch.Tensor) and v.numel() > 1}
    return {name: value for name, value in kept.items() if not name.startswith("qmap")}


def test_the_names_are_all_here() -> None:
    assert len(NAMES) == 22


@pytest.mark.parametrize("optim", NAMES)
def test_it_learns(optim: str) -> None:
    model = Toy()
    optimizer = build_optimizer(model, settings(optim))
    losses = [step(model, optimizer) for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("optim", NAMES)
def test_its_state_has_the_bytes_that_the_table_says(optim: str) -> None:
    model, fact = Toy(), OPTIMIZERS[optim]
    optimizer = build_optimizer(model, settings(optim))
    step(model, optimizer)
    kept = tensors(optimizer, model.hidden.weight)
    measured = sum(t.numel() * t.element_size() for t in kept.values()) / model.hidden.weight.numel()
    if fact.family == "adafactor":
        assert measured == 4 * 2 / WIDTH  # a row and a column
    else:
        assert measured == fact.state_bytes
    is_small = {t.dtype for t in tensors(optimizer, model.norm.weight).values()} <= {torch.float32}
    assert is_small, "the state of small tensors is kept in 32 bits"
    assert (torch.uint8 in {t.dtype for t in kept.values()}) == (fact.bits == 8)


def test_muon_keeps_adamws_state_of_what_is_no_matrix() -> None:
    model = Toy()
    optimizer = build_optimizer(model, settings("muon"))
    step(model, optimizer)
    assert {n: sorted(tensors(optimizer, p)) for n, p in model.named_parameters()} == {
        "embed.weight": ["exp_avg", "exp_avg_sq"], "hidden.weight": ["momentum_buffer"],
        "hidden.bias": ["exp_avg", "exp_avg_sq"], "norm.weight": ["exp_avg", "exp_avg_sq"],
        "norm.bias": ["exp_avg", "exp_avg_sq"], "head.weight": ["exp_avg", "exp_avg_sq"],
    }  # fmt: skip


def arguments() -> Iterator[tuple[str, str, float]]:
    """Each argument of each optimizer with a value that is not its default."""
    values = {
        "amsgrad": 1, "clip_threshold": 0.01, "decay_rate": -0.5, "momentum": 0.5, "nesterov": 1, "dampening": 0.5,
        "alpha": 0.8,
        "eps": 0.1, "centered": 1, "lr_decay": 0.5, "initial_accumulator_value": 0.1, "beta3": 0.9, "t_beta3": 5, "t_alpha": 5,
        "ns_steps": 2, "adam_lr_ratio": 0.1,
    }  # fmt: skip
    for name in NAMES:
        for argument in OPTIMIZERS[name].arguments:
            nesterov = {"sgd": 1, "muon": 0}.get(name, 1)  # the default of Muon's is true
            yield name, argument, nesterov if argument == "nesterov" else values[argument]


ARGUMENTS = list(arguments())


def test_every_argument_was_found() -> None:
    assert len(ARGUMENTS) == 40


@pytest.mark.parametrize(("optim", "argument", "value"), ARGUMENTS, ids=lambda v: str(v))
def test_every_argument_changes_the_steps_and_the_state_as_told(optim: str, argument: str, value: float) -> None:
    needed = {"nesterov": {"momentum": 0.5}, "dampening": {"momentum": 0.5}}.get(argument, {}) if optim == "sgd" else {}
    weights = []
    for given in (needed, {**needed, argument: value}):
        model = Toy()
        optimizer = build_optimizer(model, settings(optim, optim_args=given))
        for _ in range(4):
            step(model, optimizer)
        kept = tensors(optimizer, model.hidden.weight).values()
        measured = sum(t.numel() * t.element_size() for t in kept) / model.hidden.weight.numel()
        assert optim == "adafactor" or measured == OPTIMIZERS[optim].bytes_with(given)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert not torch.equal(*weights)


ADAM_KNOBS = {"adam_beta1": 0.5, "adam_beta2": 0.9, "adam_epsilon": 0.1}
READ = {"adamw": set(ADAM_KNOBS), "muon": set(ADAM_KNOBS), "ademamix": set(ADAM_KNOBS), "lion": {"adam_beta1", "adam_beta2"}}


@pytest.mark.parametrize("optim", NAMES)
def test_the_adam_knobs_reach_adam_like_optimizers(optim: str) -> None:
    """Lion has no epsilon; the others have none of them (nor in Transformers)."""

    def trained(**train: Any) -> torch.Tensor:
        model = Toy()
        optimizer = build_optimizer(model, settings(optim, **train))
        for _ in range(3):
            step(model, optimizer)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    plain = trained()
    changed = {knob for knob, value in ADAM_KNOBS.items() if not torch.equal(plain, trained(**{knob: value}))}
    assert changed == READ.get(OPTIMIZERS[optim].family, set())


@pytest.mark.parametrize("optim", NAMES)
def test_matrices_decay_and_vectors_do_not(optim: str) -> None:
    """A parameter whose gradient is zero moves by its decay alone; where that is decoupled, to (1 - rate x decay)."""
    model = Toy()
    train = settings(optim, weight_decay=0.1)
    optimizer = build_optimizer(model, train)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            assert torch.equal(parameter, before[name]), name
        elif OPTIMIZERS[optim].decouples_decay or optim == "sgd":  # of plain SGD the two are the same
            assert torch.allclose(parameter, before[name] * (1 - train.learning_rate * 0.1), rtol=1e-5, atol=1e-7), name
        else:
            assert not torch.equal(parameter, before[name]), name


def test_every_parameter_stands_in_one_group() -> None:
    for optim in NAMES:
        model = Toy()
        optimizer = build_optimizer(model, settings(optim))
        held = [id(p) for group in optimizer.param_groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in model.parameters()), optim


def test_frozen_parameters_are_left_alone() -> None:
    for optim in NAMES:
        model = Toy()
        model.embed.weight.requires_grad_(False)
        model.head.weight.requires_grad_(False)
        before = model.embed.weight.detach().clone()
        optimizer = build_optimizer(model, settings(optim, weight_decay=0.1))
        step(model, optimizer)
        assert torch.equal(model.embed.weight, before), optim


# -- Muon -------------------------------------------------------------------------------------------------------------


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest() -> None:
    model = Toy()
    optimizer = build_optimizer(model, settings("muon", weight_decay=0.1, optim_args={"adam_lr_ratio": 0.5}))
    assert isinstance(optimizer, MuonWithAdamW)
    kinds = {id(p): type(part).__name__ for part in optimizer.parts for group in part.param_groups for p in group["params"]}
    assert {n: kinds[id(p)] for n, p in model.named_parameters()} == {
        "embed.weight": "AdamW", "hidden.weight": "Muon", "hidden.bias": "AdamW", "norm.weight": "AdamW", "norm.bias": "AdamW",
        "head.weight": "AdamW",
    }  # fmt: skip
    assert [g.get("lr_ratio", 1.0) for g in optimizer.param_groups] == [1.0, 0.5, 0.5]


def test_muon_of_one_object_is_muon_and_adamw_apart() -> None:
    """Rates set on the one object's groups, as the loop sets them, reach both."""
    one, two = Toy(), Toy()
    train = settings("muon", weight_decay=0.01)
    together = build_optimizer(one, train)
    muon = torch.optim.Muon([two.hidden.weight], 3e-3, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [
            {"params": [two.embed.weight, two.head.weight], "weight_decay": 0.01},
            {"params": [two.hidden.bias, *two.norm.parameters()], "weight_decay": 0.0},
        ],
        3e-3,
    )
    for rate in (3e-3, 2e-3, 1e-3):
        for group in together.param_groups + muon.param_groups + adamw.param_groups:
            group["lr"] = rate
        step(one, together)
        step(two, muon)  # leaves the gradients that are AdamW's
        adamw.step()
        two.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("kept", ["matrices", "vectors"])
def test_muon_may_have_only_one_kind(kept: str) -> None:
    model = Toy()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_((name == "hidden.weight") == (kept == "matrices"))
    optimizer = build_optimizer(model, settings("muon"))
    assert step(model, optimizer) > step(model, optimizer)


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("optim", NAMES)
def test_a_checkpoint_puts_it_back_bit_for_bit(tmp_path: Path, optim: str, dtype: torch.dtype) -> None:
    model = Toy(dtype)
    optimizer = build_optimizer(model, settings(optim, weight_decay=0.01))
    for _ in range(3):
        step(model, optimizer)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(State(3), {n: p.detach() for n, p in model.named_parameters()}, optimizer)
    assert {f.suffix for f in (tmp_path / "step-000003").iterdir()} == {".safetensors", ".json"}
    other = Toy(dtype)
    resumed = build_optimizer(other, settings(optim, weight_decay=0.01))
    checkpoints.load(3, other, resumed)
    same_state(model, optimizer, other, resumed)
    for _ in range(2):
        assert step(model, optimizer) == step(other, resumed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    same_state(model, optimizer, other, resumed)


def same_state(model: Toy, optimizer: torch.optim.Optimizer, other: Toy, resumed: torch.optim.Optimizer) -> None:
    """Both remember the same of every parameter, in the same precision."""
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        before, after = optimizer.state[one], resumed.state[two]
        assert before.keys() == after.keys()
        for key, value in before.items():
            if isinstance(value, torch.Tensor):
                assert value.dtype == after[key].dtype and torch.equal(value, after[key]), key
            else:
                assert value == after[key], key


def test_a_paged_state_is_put_back_into_paged_memory() -> None:
    """On a CPU bitsandbytes answers a wish for paged memory with a warning: here that shows that it was asked."""
    model = Toy()
    optimizer = build_optimizer(model, settings("paged_adamw_32bit"))
    step(model, optimizer)
    saved = {i: dict(optimizer.state[p]) for i, p in enumerate(p for g in optimizer.param_groups for p in g["params"])}
    other = build_optimizer(model, settings("paged_adamw_32bit"))
    other.is_paged = True  # type: ignore[attr-defined]  # as it is on CUDA
    with pytest.warns(UserWarning, match="not supported on CPU"):
        load_state(other, saved)
    assert torch.equal(other.state[model.hidden.weight]["state1"], optimizer.state[model.hidden.weight]["state1"])


@pytest.mark.parametrize("optim", ["muon", "adamw_8bit", "adafactor"])
def test_the_loop_goes_on_with_it_as_if_never_stopped(tiny_base: Path, tmp_path: Path, optim: str) -> None:
    """Through Accelerate's wrapper, with Muon's own ratio of rates: four steps at once, and the last two after a stop."""
    arguments = {"adam_lr_ratio": 0.5} if optim == "muon" else {}
    train = settings(optim, max_steps=4, save_steps=2, per_device_train_batch_size=4, optim_args=arguments)

    def trained(folder: Path) -> dict[str, torch.Tensor]:
        fresh = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
        rows = random_rows(16, seed=2)
        loop.train(fresh, Course(rows, Timetable(16, train, seed=4), 1, lambda m: (1.0, None), folder), Silent())
        return trained_weights(fresh)

    for folder in (tmp_path / "whole", tmp_path / "stopped"):
        folder.mkdir()
    whole = trained(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "step-000002", tmp_path / "stopped" / "checkpoints" / "step-000002")
    resumed = trained(tmp_path / "stopped")
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())
    for name in ("weights.safetensors", "optimizer.safetensors"):
        ends = [tmp_path / run / "checkpoints" / "step-000004" / name for run in ("whole", "stopped")]
        assert ends[0].read_bytes() == ends[1].read_bytes()


# -- names and words --------------------------------------------------------------------------------------------------


def test_paging_on_a_cpu_is_said_to_do_nothing() -> None:
    paged = [n for n in NAMES if optimizer_notes(settings(n), "cpu")]
    assert paged == [n for n in NAMES if n.startswith("paged_")] and len(paged) == 6
    assert not any(optimizer_notes(settings(n), "cuda") for n in NAMES)


def test_every_name_of_transformers_is_offered_or_answered() -> None:
    from transformers.training_args import OptimizerNames

    theirs = {name.value for name in OptimizerNames}
    assert len(theirs) >= 40
    assert set(OPTIMIZERS) - theirs == {"muon"}
    needs = {name: why_not_optimizer(name, {}) for name in theirs - set(OPTIMIZERS)}
    assert all(reason and "which whet does not ship" in reason for reason in needs.values()), needs
    assert all(any(name.startswith(prefix) for name in theirs) for prefix in ELSEWHERE), "a prefix that answers nothing"


@pytest.mark.parametrize(
    ("optim", "given", "says"),
    [
        ("adamw", {}, 'no optimizer; did you mean "adamw_8bit"'),
        ("qqq", {}, "see `whet info optimizers`"),
        ("galore_adamw_8bit", {}, "the package galore_torch"),
        ("adamw_torch_npu_fused", {}, "an Ascend NPU"),
        ("adamw_torch", {"momentum": 0.9}, "takes no momentum; it takes amsgrad"),
        ("lion_8bit", {"alpha": 1}, "it takes none"),
        ("rmsprop_bnb", {"momentum": 0.9}, "takes no momentum; it takes alpha, eps"),
        ("sgd", {"momentum": 1.0}, "from 0 to below 1; not 1"),
        ("sgd", {"nesterov": 1}, "nesterov of sgd needs a momentum"),
        ("sgd", {"momentum": 0.9, "nesterov": 1, "dampening": 0.1}, "no dampening"),
        ("muon", {"ns_steps": 2.5}, "a whole number from 1 to 99; not 2.5"),
        ("adafactor", {"decay_rate": 0.8}, "below 0; not 0.8"),
    ],
)
def test_what_does_not_do_is_said(optim: str, given: dict[str, float], says: str) -> None:
    assert says in (why_not_optimizer(optim, given) or "")
    with pytest.raises(ValueError, match="optim"):
        Train(optim=optim, optim_args=given)


def test_eight_bits_begin_at_the_size_that_the_facts_name() -> None:
    sizes = {}
    for elements in (BITSANDBYTES_FROM - 1, BITSANDBYTES_FROM):
        model = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(elements))])
        optimizer = build_optimizer(model, settings("adamw_8bit"))
        model[0].grad = torch.ones(elements)
        optimizer.step()
        sizes[elements] = optimizer.state[model[0]]["state1"].dtype
    assert list(sizes.values()) == [torch.float32, torch.uint8]
