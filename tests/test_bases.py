"""Where a base lies: a folder, a run and what stands on it; what changed or is not there is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import recipe, write_table

from whet import stages
from whet.data import bases, tokens
from whet.data.bases import Base
from whet.engine.model import load_base, load_result
from whet.errors import ModelError
from whet.recipe import Recipe, load
from whet.run import Run
from whet.sections import Model

IDS = torch.randint(2, 6000, (2, 9), generator=torch.Generator().manual_seed(0))


def logits(asked: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = asked.eval()(input_ids=IDS).logits
    return found


def wanted(folder: Path, base: Path, **sections: Any) -> Recipe:
    table = write_table(folder / "table.csv", rows=60)
    return recipe(table, base, train={"max_steps": 2, "learning_rate": 1e-2}, **sections)


def trained(path: Path, base: Path, **sections: Any) -> Run:
    return stages.train(stages.prepare(wanted(path.parent, base, **sections), path))


def find(base: Path, *adapters: Path) -> Base:
    return bases.find(Model(base=str(base), adapters=tuple(map(str, adapters))), ())


def test_a_run_is_its_base_with_its_adapters_on_top(tiny_base: Path, tmp_path: Path) -> None:
    """Instruction tuning, then a task on it, then all weights of what came of it; each starts where the last ended."""
    first = trained(tmp_path / "first", tiny_base, lora={"r": 4})
    second = trained(tmp_path / "second", first.path, lora={"r": 2})
    assert find(first.path) == Base(tiny_base, (first.path / "adapter",))
    assert find(second.path) == Base(tiny_base, (first.path / "adapter", second.path / "adapter"))
    assert find(first.path, second.path / "adapter") == find(second.path)
    assert torch.equal(logits(load_base(second.recipe)), logits(load_result(first)))
    assert tokens.load(str(second.path)).folder == tiny_base
    third = trained(tmp_path / "third", second.path)
    assert find(third.path) == Base(third.path / "model") and third.manifest["training"]["method"] == "full"
    start, before = logits(load_base(third.recipe)), logits(load_result(second))
    assert torch.linalg.norm(start - before) < 1e-5 * torch.linalg.norm(before)
    assert torch.equal(logits(load_base(wanted(tmp_path, third.path))), logits(load_result(third)))
    assert tokens.load(str(third.path)).folder == third.path / "model"


def test_a_base_that_changed_below_is_noticed(tiny_base: Path, tmp_path: Path) -> None:
    first, other = (trained(tmp_path / n, tiny_base, lora={"r": r}) for n, r in (("first", 4), ("other", 4)))
    second = trained(tmp_path / "second", first.path, lora={"r": 2})
    file = first.path / "adapter" / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    on_top = wanted(tmp_path, second.path, lora={})
    with pytest.raises(ModelError, match="is not the one this adapter was trained on"):
        load_result(second)
    with pytest.raises(ModelError, match="is not the one this adapter was trained on"):
        load_base(on_top)
    load_result(other)


def test_what_is_no_base_is_said(tiny_base: Path, tmp_path: Path) -> None:
    begun = stages.prepare(wanted(tmp_path, tiny_base, lora={}), tmp_path / "begun")
    with pytest.raises(ModelError, match=r"this run holds no trained model yet\. Run `whet train` first"):
        find(begun.path)
    noise = trained(tmp_path / "noise", tiny_base, lora={"r": 2}, model={"random_weights": True})
    with pytest.raises(ModelError, match=r"random weights, which lie on no disk. Run `whet export .*noise FOLDER`"):
        find(noise.path)
    first = trained(tmp_path / "first", tiny_base, lora={"r": 2})
    with pytest.raises(ModelError, match=r"\[model\] random_weights: the adapters on this base learned on its own weights"):
        load_base(wanted(tmp_path, first.path, model={"random_weights": True}))
    with pytest.raises(ModelError, match=r"this is a run, not an adapter. Name .*noise/adapter, or set base to the run"):
        find(tiny_base, noise.path)


def test_paths_of_models_stand_relative_to_the_recipe(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "tiny").symlink_to(tiny_base)
    (tmp_path / "instructed").mkdir()
    text = wanted(tmp_path, tiny_base).dump().replace(f'base = "{tiny_base}"', 'base = "bases/tiny"')
    (tmp_path / "a.toml").write_text(text.replace("adapters = []", 'adapters = ["instructed", "elsewhere"]'))
    read = load(tmp_path / "a.toml").model
    assert read.base == str(tiny_base.resolve())
    assert read.adapters == (str((tmp_path / "instructed").resolve()), "elsewhere")
    (tmp_path / "whetstone").mkdir()
    (tmp_path / "a.toml").write_text(text.replace("bases/tiny", "whetstone"))
    assert load(tmp_path / "a.toml").model.base == "whetstone", "the embedded base is no folder"
