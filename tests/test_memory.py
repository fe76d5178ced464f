"""The closed form of memory: the book's statements, published peaks, what each knob does, and peaks that replay finds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from whet.budget.load import Load
from whet.budget.memory import COMPONENTS, PHASES, Memory, predict
from whet.budget.shapes import Shape, known_shape, known_shapes
from whet.data.tokens import Encoded
from whet.recipe import Recipe, load, parse
from whet.sections import Model

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
TASK = {"labels": ["a", "b"], "instruction": "Which?"}
DATA = {"path": "x.csv", "input": "text", "target": "label"}
TINY = Shape("tiny", "llama", 3, 64, 4, 2, 16, 160, 500, True)
LOAD = Load(8, 1024, 128, 8)


def recipe(**sections: Any) -> Recipe:
    return parse({"name": "x", "task": TASK, "data": DATA, **sections})


def llama() -> Shape:
    shape = known_shape("meta-llama/Llama-2-7b-hf")
    assert shape is not None
    return shape


def published() -> ModuleType:
    spec = importlib.util.spec_from_file_location("published_memory", ROOT / "benchmarks" / "published_memory.py")
    assert spec and spec.loader
    module = sys.modules["published_memory"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the book's statements ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optim", "gigabytes"), [("adamw_torch", 56), ("adamw_8bit", 14), ("sgd", 0)])
def test_states_of_seven_billion_parameters(optim: str, gigabytes: int) -> None:
    from whet.budget.resting import state_bytes
    from whet.budget.targets import Weight
    from whet.sections import Train

    states = state_bytes([Weight(10**6, 7_000, 4)], Train(optim=optim))
    assert states / 1e9 == pytest.approx(gigabytes, rel=0.02)


def test_the_recipe_of_the_book_on_llama_2_7b_fits_on_16_gigabytes() -> None:
    book = load(ROOT / "recipes" / "promise-detector-qlora.toml")
    model = book.model.model_copy(update={"base": "meta-llama/Llama-2-7b-hf", "dtype": "bfloat16"})
    heaviest, scored = Load(8, 1024, 1024, 24), Load(32, 4096, 4096, 192)
    memory = predict(llama(), book.model_copy(update={"model": model}), heaviest, scored, device="cuda")
    assert memory.peak_bytes < 0.85 * 16 * 1e9
    page = (ROOT / "docs" / "memory.md").read_text("utf-8")
    for phase, parts in memory.by_phase.items():
        sizes = [parts[name] for name in COMPONENTS] + [memory.phases[phase]]
        assert f"| {' | '.join([phase, *(f'{size / GIB:.2f}' for size in sizes)])} |" in page
    linear, norms, ends = 6_476_005_376, 65 * 4096, 2 * 32_000 * 4096
    assert memory.by_phase["step"]["weights"] == linear * 4.5 / 8 + 224 * 68 + 2 * (norms + ends)  # 68: its levels
    assert memory.by_phase["step"]["optimizer"] == 8 * 159_907_840


# -- published peaks ---------------------------------------------------------------------------------------------------------


def test_published_peaks_are_met_and_the_page_shows_them() -> None:
    module = published()
    points = module.read_points()
    errors = module.errors(points)
    assert len(errors) == 42 and sum(errors) / len(errors) <= 0.05 and max(errors) <= 0.12
    page = (ROOT / "docs" / "memory.md").read_text("utf-8")
    missing = [line for line in module.table(points) if line not in page]
    assert not missing, "run benchmarks/published_memory.py and put its table into docs/memory.md"


def test_points_that_no_formula_should_meet_lie_below_their_own_floor() -> None:
    suspect = [point for point in published().read_points() if point.is_suspect]
    assert len(suspect) == 3
    assert all(point.floor_bytes > 1.1 * point.published_bytes for point in suspect)
    scored = [point for point in published().read_points() if not point.is_suspect]
    assert all(point.floor_bytes < point.published_bytes for point in scored)


# -- what each knob does -----------------------------------------------------------------------------------------------------

LORA = {"lora": {"r": 16}}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str, int]] = {  # before, after, phase.component, sign of the change
    "int8": (LORA, {**LORA, "model": {"quantize": "int8"}}, "step.weights", -1),
    "nf4": ({**LORA, "model": {"quantize": "int8"}}, {**LORA, "model": {"quantize": "nf4"}}, "step.weights", -1),
    "double quantization": (
        {**LORA, "model": {"quantize": "fp4"}}, {**LORA, "model": {"quantize": "fp4", "bnb_4bit_use_double_quant": True}},
        "step.weights", -1,
    ),
    "layers left whole": (
        {**LORA, "model": {"quantize": "nf4"}}, {**LORA, "model": {"quantize": "nf4", "llm_int8_skip_modules": ["down_proj"]}},
        "step.weights", 1,
    ),
    "dtype": (LORA, {**LORA, "model": {"dtype": "bfloat16"}}, "step.weights", -1),
    "autocast keeps copies of float32 weights": ({}, {"train": {"bf16": True}}, "forward.workspace", 1),
    "rank": (LORA, {"lora": {"r": 32}}, "step.adapter", 1),
    "rank in the states": (LORA, {"lora": {"r": 32}}, "step.optimizer", 1),
    "targets": (
        {**LORA, "train": {"share_prefix": False}}, {"lora": {"target_modules": ["q_proj"]}, "train": {"share_prefix": False}},
        "forward.activations", -1,
    ),
    "targets on a tree": (LORA, {"lora": {"target_modules": ["q_proj"]}}, "forward.activations", -1),
    "dora": (LORA, {"lora": {"r": 16, "use_dora": True}}, "forward.activations", 1),
    "layers below the first adapter keep nothing": (
        LORA, {"lora": {"r": 16, "layers_to_transform": [31]}}, "forward.activations", -1,
    ),
    "modules to save": (LORA, {"lora": {"r": 16, "modules_to_save": ["lm_head"]}}, "step.gradients", 1),
    "dropout": (LORA, {"lora": {"r": 16, "lora_dropout": 0.1}}, "forward.activations", 1),
    "checkpointing": (LORA, {**LORA, "train": {"gradient_checkpointing": True}}, "forward.activations", -1),
    "accumulation": ({}, {"train": {"gradient_accumulation_steps": 2}}, "forward.gradients", 1),
    "8-bit states": ({}, {"train": {"optim": "adamw_8bit"}}, "step.optimizer", -1),
    "momentum": (
        {"train": {"optim": "sgd"}}, {"train": {"optim": "sgd", "optim_args": {"momentum": 0.9}}}, "step.optimizer", 1,
    ),
    "padding instead of the tree": (LORA, {**LORA, "train": {"share_prefix": False}}, "forward.activations", 1),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_each_knob_changes_what_it_should(change: str) -> None:
    before, after, place, sign = CHANGES[change]
    phase, component = place.split(".")
    one, other = (predict(llama(), recipe(**sections), LOAD).by_phase[phase][component] for sections in (before, after))
    assert (other - one) * sign > 0


def test_phases_and_components_add_up() -> None:
    memory = predict(TINY, recipe(), LOAD, evaluation=Load(4, 512, 128, 8))
    assert tuple(memory.by_phase) == PHASES
    assert all(tuple(parts) == COMPONENTS and min(parts.values()) >= 0 for parts in memory.by_phase.values())
    assert memory.peak_bytes == max(memory.phases.values()) == sum(memory.components.values())


@pytest.mark.parametrize("family", sorted({shape.family for shape in known_shapes()}))
@pytest.mark.parametrize("trains", ["full", "lora", "nf4"])
def test_more_rows_never_take_less(family: str, trains: str) -> None:
    shape = next(shape for shape in known_shapes() if shape.family == family)
    kinds: dict[str, dict[str, Any]] = {"full": {}, "lora": LORA, "nf4": {**LORA, "model": {"quantize": "nf4"}}}
    sections = kinds[trains]
    few, many = (predict(shape, recipe(**sections), Load(n, n * 64, 64, n * 2), device="cuda") for n in (2, 8))
    assert 0 < few.phases["forward"] < many.phases["forward"] and few.peak_bytes <= many.peak_bytes


# -- the engine's own step, replayed -------------------------------------------------------------------------------------------

REPLAYED: dict[str, dict[str, Any]] = {
    "adapter on the tree": LORA,
    "all weights, padded": {"train": {"share_prefix": False}},
    "adapter under checkpointing, packed": {
        **LORA, "train": {"share_prefix": False, "packing": True, "gradient_checkpointing": True},
    },
}  # fmt: skip


@pytest.mark.parametrize("case", REPLAYED)
def test_the_form_comes_near_to_what_replay_finds(case: str) -> None:
    from whet.engine.replay import Material, replay

    sections = {**REPLAYED[case]}
    sections["train"] = {"per_device_train_batch_size": 4, **sections.get("train", {})}
    made = recipe(**sections)
    rows = [Encoded(str(i), (i, *(0,) * 61), (0, 0)) for i in range(4)]
    found: Memory = replay(made, TINY, Material(rows))
    width = 64 if not made.train.packing and not made.train.share_prefix else 256
    formula = predict(TINY, made, Load(4, 256, width, 8))
    assert formula.peak_bytes == pytest.approx(found.peak_bytes, rel=0.1)


def test_weights_of_a_real_model_are_counted_exactly(tiny_base: Path) -> None:
    from transformers import AutoModelForCausalLM

    from whet.budget.resting import weight_bytes
    from whet.data.base_shape import find_shape

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert weight_bytes(find_shape(str(tiny_base)), Model(), "cpu") == sum(p.nbytes for p in model.parameters())
