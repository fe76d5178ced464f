"""The traps of the libraries that whet stands on, as they were found by running them: each has a guard, and the guard a test.

Where a test of its own shows the trap, it is named here; the rest stands below.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from whet.data.near import near_duplicates, normal_form
from whet.errors import RecipeError
from whet.recipe import parse
from whet.sections import Train

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).name
TRAPS: dict[str, tuple[str, str, str]] = {
    "1": ("4-bit weights are spoiled by an evaluation on CPUs with avx512_bf16", "test_traps_precision.py",
          "test_trap_1_evaluation_leaves_quantized_weights_alone"),
    "1b": ("the switch that keeps them whole", "test_traps_precision.py",
           "test_trap_1_weights_read_back_the_same_after_an_evaluation"),
    "2": ("unknown quantization settings are swallowed", "test_traps_precision.py", "test_trap_2_old_names_are_not_swallowed"),
    "3": ("constant ignores warm-up", "test_traps_optim.py", "test_trap_3_constant_ignores_warm_up_in_silence"),
    "4": ("the first step of warm-up is spent at zero", "test_traps_optim.py",
          "test_trap_4_the_first_step_of_warm_up_changes_nothing"),
    "5": ("fp16 on a CPU does nothing; TRL turns bf16 and checkpointing on", HERE, "test_precision_is_what_the_recipe_says"),
    "6": ("packed examples see each other", "test_batches.py", "test_packed_logits_equal_padded_ones"),
    "7": ("a loss type that ignores smoothing", HERE, "test_there_is_one_loss_and_it_smooths"),
    "8": ("accelerate launch starts one process of two", HERE, "test_nothing_is_started_by_accelerate_launch"),
    "9": ("transformers serve ignores what it is asked", HERE, "test_nothing_is_served_by_transformers_serve"),
    "10": ("a lock with torch's hashes picks the wrong build", "test_house.py", "test_the_lock_pins_every_package_by_hash"),
    "11": ("torchvision and torchaudio are linked to CUDA", HERE, "test_no_library_that_is_linked_to_cuda"),
    "12": ("texts that differ by a number count as twins", HERE, "test_numbers_make_a_difference"),
    "13": ("accumulation as a mean of means", "test_loop.py", "test_batch_and_accumulation_split_the_same_step"),
}  # fmt: skip


@pytest.mark.parametrize("number", TRAPS)
def test_every_trap_has_its_test(number: str) -> None:
    _, file, name = TRAPS[number]
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_all_fourteen_are_listed() -> None:
    assert list(TRAPS) == ["1", "1b", *map(str, range(2, 14))]


def recipe(**train: Any) -> None:
    parse({"name": "x", "task": {"instruction": "?"}, "data": {"path": "t.csv", "input": "a", "target": "b"}, "train": train})


def test_precision_is_what_the_recipe_says() -> None:
    assert Train().bf16 is False and Train().gradient_checkpointing is False
    with pytest.raises(RecipeError, match=r"\[train\] fp16: there is no such key. It is called \[train\] bf16 now"):
        recipe(fp16=True)


def test_there_is_one_loss_and_it_smooths() -> None:
    """The objective has no other kind (test_loss.py holds its smoothing to the closed forms)."""
    with pytest.raises(RecipeError, match="loss_type: there is no such key"):
        recipe(loss_type="dft")


def calls(words: str) -> list[str]:
    """The files that run such a command."""
    files = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
    assert len(files) > 60
    return [str(f) for f in files if re.search(words, f.read_text("utf-8"))]


def test_nothing_is_started_by_accelerate_launch() -> None:
    assert calls(r"accelerate[\"', ]+launch") == []


def test_nothing_is_served_by_transformers_serve() -> None:
    assert calls(r"transformers[\"', ]+serve") == []


def test_no_library_that_is_linked_to_cuda() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = " ".join(
        [*project["dependencies"], *project["optional-dependencies"]["dev"], (ROOT / "lock.txt").read_text("utf-8")]
    )
    assert not re.search(r"\b(torchvision|torchaudio)==", wanted)


def test_numbers_make_a_difference() -> None:
    one, other = "We will build 40,000 homes by 2027.", "We will build 90,000 homes by 2029."
    assert normal_form(one) != normal_form(other) and near_duplicates([one, other]) == []
