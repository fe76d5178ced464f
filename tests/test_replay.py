"""Replay against what a step really allocates: the truth and the cells are those of benchmarks/memory.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from engine_parts import recipe

from whet.budget.memory import COMPONENTS, PHASES
from whet.budget.shapes import Shape, known_shape
from whet.engine.fakes import configuration
from whet.engine.replay import Material, plain_rows, replay
from whet.errors import ModelError

ROOT = Path(__file__).resolve().parent.parent
TINY = Shape("tiny", "llama", 2, 64, 4, 2, 16, 96, 512)
LABELS = ((5, 0), (6, 7, 0))


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """benchmarks/memory.py."""
    spec = importlib.util.spec_from_file_location("memory_benchmark", ROOT / "benchmarks" / "memory.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def bases(bench: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Its three models."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: bench.make_base(folder / name, values) for name, values in bench.SHAPES.items()}


@pytest.mark.parametrize(
    "cell",
    [
        ("wide vocabulary", "full", False, 24, 2, True, "adamw_torch"),
        ("deep", "full", True, 24, 8, False, "adamw_8bit"),
        ("plain", "full", False, 96, 2, True, "adafactor"),
        ("plain", "lora", True, 24, 8, True, "sgd"),
        ("wide vocabulary", "lora", False, 96, 2, False, "adamw_torch"),
        ("deep", "nf4", False, 24, 2, True, "adamw_8bit"),
        ("plain", "nf4", True, 96, 2, False, "adamw_torch"),
        ("wide vocabulary", "int8", False, 24, 8, True, "adamw_torch"),
        ("deep", "int8", True, 96, 2, True, "sgd"),
    ],
    ids=lambda cell: " ".join(map(str, cell)),
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_height_of_every_phase_is_what_is_really_allocated(bench: ModuleType, bases: dict[str, Path], cell: Any) -> None:
    found = bench.Cell(*cell)
    rows = bench.make_rows(16, found.length)
    made, material = found.recipe(bases[found.shape]), Material(rows, rows, LABELS)
    measured, replayed = bench.measure(made, material), replay(made, bases[found.shape], material).phases
    assert set(measured) == set(PHASES)
    for phase, size in measured.items():
        assert abs(replayed[phase] / size - 1) < 0.02, (phase, size, replayed[phase])


def test_a_budget_of_every_component_adds_up() -> None:
    rows = plain_rows(4, 24)
    found = replay(recipe(Path("none.csv"), "tiny", lora={"r": 4}), TINY, Material(rows, rows, LABELS))
    assert found.source == "replay" and tuple(found.by_phase) == PHASES
    assert all(tuple(parts) == COMPONENTS and min(parts.values()) >= 0 for parts in found.by_phase.values())
    adapter = 4 * TINY.lora_params(4)  # float32
    assert found.by_phase["step"]["adapter"] == found.by_phase["step"]["gradients"] == adapter
    assert adapter * 2 <= found.by_phase["forward"]["optimizer"] < adapter * 2.1  # two moments, and a counter for each tensor
    assert found.by_phase["forward"]["weights"] == pytest.approx(4 * TINY.params, rel=0.01)
    assert found.by_phase["evaluation"]["weights"] == 2 * found.by_phase["forward"]["weights"]  # the base is compared with


@pytest.mark.parametrize(
    "change",
    [
        {"lora": {"r": 32}}, {"lora": {"r": 4, "use_dora": True}}, {"lora": {"r": 4, "modules_to_save": ["lm_head"]}},
        {"lora": {"r": 4, "init_lora_weights": "pissa"}},
        {"lora": {"r": 4}, "train": {"gradient_checkpointing": True}}, {"lora": {"r": 4}, "train": {"bf16": True}},
        {"lora": {"r": 4}, "model": {"quantize": "nf4", "bnb_4bit_use_double_quant": False}},
        {"lora": {"r": 4}, "train": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}},
        {"lora": {"r": 4}, "train": {"label_smoothing_factor": 0.1, "label_smoothing_over": "vocabulary"}},
        {"lora": {"r": 4}, "train": {"neftune_noise_alpha": 5.0}}, {"lora": {"r": 4}, "train": {"optim": "muon"}},
        {"lora": {"r": 4}, "train": {"share_prefix": False, "packing": True}},
    ],
    ids=str,
)  # fmt: skip
def test_settings_count(change: dict[str, Any]) -> None:
    rows = plain_rows(8, 24)
    material = Material(rows)
    plain = replay(recipe(Path("none.csv"), "tiny", lora={"r": 4}), TINY, material)
    assert replay(recipe(Path("none.csv"), "tiny", **change), TINY, material).by_phase != plain.by_phase


def test_answers_are_written_with_keys_and_values_in_memory() -> None:
    rows = plain_rows(4, 24)
    task: dict[str, Any] = {"task": {"kind": "generate", "labels": [], "instruction": "Answer."}}
    heights = [
        replay(recipe(Path("none.csv"), "tiny", evaluate={"max_new_tokens": new}, **task), TINY, Material(rows, rows))
        for new in (2000, 4000)
    ]
    cached = 2 * TINY.layers * 4 * TINY.key_width * 4  # of a token: keys and values, four rows, float32
    grown = heights[1].phases["evaluation"] - heights[0].phases["evaluation"]
    assert grown >= 2000 * cached


def test_cuda_rounds_up_and_its_optimizers_are_kernels() -> None:
    material = Material(plain_rows(4, 24))
    made = recipe(Path("none.csv"), "tiny", train={"optim": "adamw_8bit"})
    on_cpu, on_cuda = (replay(made, TINY, material, device) for device in ("cpu", "cuda"))
    assert on_cuda.by_phase["step"]["workspace"] < on_cpu.by_phase["step"]["workspace"]
    assert all(size % 512 == 0 for parts in on_cuda.by_phase.values() for size in parts.values())


def test_rows_without_data_share_nothing_and_carry_loss() -> None:
    rows = plain_rows(3, 10)
    assert [len(row) for row in rows] == [10, 10, 10] and len({row.prompt for row in rows}) == 3
    assert all(len(row.completion) == 9 for row in rows)


def test_rows_without_labels_are_smoothed_over_the_vocabulary() -> None:
    train = {"label_smoothing_factor": 0.1, "label_smoothing_over": "labels", "class_balance": "weights"}
    rows = plain_rows(4, 24)
    assert replay(recipe(Path("none.csv"), "tiny", train=train), TINY, Material(rows, (), LABELS)).peak_bytes > 0


def test_a_shape_builds_its_configuration() -> None:
    llama = known_shape("meta-llama/Llama-2-7b-hf")
    assert llama
    made = configuration(llama)
    assert (made.model_type, made.hidden_size, made.num_hidden_layers) == ("llama", 4096, 32)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be built"):
        replay(recipe(Path("none.csv"), tmp_path), tmp_path, Material(plain_rows(1, 8)))
