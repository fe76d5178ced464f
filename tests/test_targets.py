"""What trains, counted from a Shape: the same layers and numbers as on a model with a real adapter on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whet.budget.shapes import known_shapes
from whet.budget.targets import _tensors, adapted_layers, adapter_weights, trained
from whet.data.base_shape import find_shape
from whet.errors import ModelError
from whet.recipe import parse
from whet.sections import Lora

SETTINGS: dict[str, dict[str, Any]] = {
    "all linear": {},
    "names": {"target_modules": ["q_proj", "v_proj"]},
    "a regular expression": {"target_modules": r".*layers\.1\..*(up|down)_proj"},
    "one layer": {"layers_to_transform": [1]},
    "without": {"exclude_modules": ["mlp"]},
    "dora": {"use_dora": True},
    "whole modules": {"modules_to_save": ["lm_head", "model.norm"]},
    "a layer that trains whole has no adapter": {"modules_to_save": ["layers.0.mlp"]},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_trains_as_on_a_real_model(setting: str, tiny_base: Path) -> None:
    from transformers import AutoModelForCausalLM

    from whet.engine import adapters

    lora, shape = Lora(r=4, **SETTINGS[setting]), find_shape(str(tiny_base))
    model = adapters.add_adapter(AutoModelForCausalLM.from_pretrained(tiny_base), lora, 0)
    assert [name for name, _ in adapted_layers(shape, lora)] == adapters.adapted_layers(model)
    task = {"labels": ["a", "b"], "instruction": "Which?"}
    data = {"path": "x.csv", "input": "text", "target": "label"}
    recipe = parse({"name": "x", "task": task, "data": data, "lora": {"r": 4, **SETTINGS[setting]}})
    found = sorted(weight.size_bytes for _, weight in trained(shape, recipe))
    assert found == sorted(p.nbytes for p in model.parameters() if p.requires_grad)
    if "modules_to_save" not in SETTINGS[setting]:
        assert sum(found) == 4 * adapter_weights(shape, lora)


def test_the_tensors_of_every_known_model_are_all_its_parameters() -> None:
    shapes = known_shapes()
    assert len(shapes) >= 38
    for shape in shapes:
        assert sum(weight.count for _, weight in _tensors(shape, 4)) == shape.params, shape.name


def test_what_leads_to_no_layer_is_refused(tiny_base: Path) -> None:
    shape = find_shape(str(tiny_base))
    with pytest.raises(ModelError, match="leaves no layer to put an adapter on"):
        adapted_layers(shape, Lora(target_modules=("query",)))
    with pytest.raises(ModelError, match="is no regular expression"):
        adapted_layers(shape, Lora(target_modules="(q_proj"))
