"""Verdicts and what would help: each suggestion takes what it says, and a recipe that was made to fit fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from whet.budget.devices import GPUS, Device
from whet.budget.estimate import Scale
from whet.budget.remedies import fit, suggest
from whet.budget.shapes import Shape, known_shape
from whet.budget.verdict import CHANGES, Case, verdict
from whet.planning import bare_recipe, plain_rows

LLAMA = "meta-llama/Llama-3.2-3B"
A10G, T4 = GPUS["A10G"], GPUS["T4"]


def shape_of(name: str) -> Shape:
    found = known_shape(name)
    assert found is not None
    return found


def case(device: Device = A10G, sets: Mapping[str, Any] = MappingProxyType({})) -> Case:
    given = {"model.dtype": "bfloat16", "lora.r": 32, "train.per_device_train_batch_size": 4, **sets}
    recipe = bare_recipe(LLAMA, 768, [f"{key}={value}" for key, value in given.items()])
    rows, _ = plain_rows(recipe, 768, 100)
    return Case(recipe, rows, shape_of(LLAMA), device, Scale())


@pytest.mark.parametrize(
    ("needed", "word"), [(84, "fits"), (85, "tight"), (96, "tight"), (97, "does not fit"), (200, "does not fit")]
)
def test_the_bands(needed: int, word: str) -> None:
    assert verdict(needed, 100) == word


def test_each_suggestion_takes_what_it_says_and_they_are_ranked() -> None:
    given = case()
    counted = given.counted()
    found = given.estimate(counted)
    assert given.verdict(found) == "does not fit"
    suggestions = suggest(given, counted, found)
    turned = {key for each in suggestions for key in each.knob.sets}
    assert turned >= {"train.per_device_train_batch_size", "train.gradient_checkpointing", "model.quantize", "lora.r"}
    free = 0.01 * found.time.seconds
    worth = [each.saved_bytes / (each.lost_seconds + free) for each in suggestions]
    assert worth == sorted(worth, reverse=True)
    for each in suggestions:
        made = given.changed(each.knob.sets)
        assert made is not None
        again = made.estimate()
        assert (again.memory.peak_bytes, again.needed_bytes) == (each.peak_bytes, each.needed_bytes)
        assert each.saved_bytes == found.needed_bytes - each.needed_bytes > 0


def test_a_smaller_micro_batch_keeps_the_step() -> None:
    given = case()
    found = suggest(given, given.counted(), given.estimate())
    each = next(s for s in found if "train.per_device_train_batch_size" in s.knob.sets)
    sets = each.knob.sets
    assert sets["train.per_device_train_batch_size"] * sets["train.gradient_accumulation_steps"] == 4
    assert each.knob.changes == "nothing" and each.verdict == "fits"


def test_a_better_prediction_scales_what_is_suggested() -> None:
    given = case()
    counted, found = given.counted(), given.estimate()
    plain, scaled = (suggest(given, counted, found, ratio)[0] for ratio in (1.0, 2.0))
    assert scaled.knob == plain.knob and scaled.peak_bytes == pytest.approx(2 * plain.peak_bytes, abs=2)


@pytest.mark.parametrize(
    ("device", "most"), [(A10G, "nothing"), (T4, "precision"), (replace(T4, memory_bytes=6 * 2**30), "capacity")]
)
def test_what_is_made_to_fit_fits_with_the_least_change(device: Device, most: str) -> None:
    given = case(device)
    found = fit(given, given.estimate())
    assert found is not None
    assert max(CHANGES.index(knob.changes) for knob in found.knobs) == CHANGES.index(most)
    made = given.changed(found.sets)
    assert made is not None and made.verdict(made.estimate()) == found.verdict != "does not fit"


def test_what_cannot_be_made_to_fit_is_said() -> None:
    given = case(replace(T4, memory_bytes=2**30))
    assert fit(given, given.estimate()) is None


def test_a_paged_state_can_leave_a_gpu_and_no_processor() -> None:
    needs = {}
    for optim in ("adamw_torch", "paged_adamw_32bit"):
        for kind in ("cuda", "cpu"):
            given = case(replace(A10G, kind=kind), {"train.optim": optim, "lora.r": 512})
            needs[optim, kind] = given.estimate().needed_bytes
    assert needs["paged_adamw_32bit", "cuda"] < 0.95 * needs["adamw_torch", "cuda"]
    assert needs["paged_adamw_32bit", "cpu"] > 0.95 * needs["adamw_torch", "cpu"]


def test_auto_takes_the_largest_micro_batch_that_fits() -> None:
    sets = {"train.per_device_train_batch_size": "auto", "train.gradient_checkpointing": "true", "model.dtype": "bfloat16"}
    given = case(sets=sets)
    found = given.counted().tokens.micro_batch
    assert 1 < found <= 16 and found & (found - 1) == 0
    assert given.verdict(given.estimate()) != "does not fit"
