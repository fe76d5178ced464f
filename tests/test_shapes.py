"""Shapes of known models: their parameters are the published ones, exactly; others are read from config.json, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from whet.budget.shapes import known_shape, known_shapes, shape_of
from whet.data.base_shape import find_shape
from whet.errors import ModelError

# All parameters, and those of linear layers without the head, as counted on models built from their own configurations.
COUNTS = {
    "gpt2": (124_439_808, 84_934_656),
    "gpt2-xl": (1_557_611_200, 1_474_560_000),
    "EleutherAI/pythia-160m": (162_322_944, 84_934_656),
    "EleutherAI/pythia-1.4b": (1_414_647_808, 1_207_959_552),
    "EleutherAI/pythia-6.9b": (6_857_302_016, 6_442_450_944),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": (1_100_048_384, 968_884_224),
    "meta-llama/Llama-2-7b-hf": (6_738_415_616, 6_476_005_376),
    "meta-llama/Llama-2-13b-hf": (13_015_864_320, 12_687_769_600),
    "meta-llama/Llama-2-70b-hf": (68_976_648_192, 68_451_041_280),
    "meta-llama/Meta-Llama-3-8B": (8_030_261_248, 6_979_321_856),
    "meta-llama/Llama-3.1-70B": (70_553_706_496, 68_451_041_280),
    "meta-llama/Llama-3.2-1B": (1_235_814_400, 973_078_528),
    "meta-llama/Llama-3.2-3B": (3_212_749_824, 2_818_572_288),
    "mistralai/Mistral-7B-v0.1": (7_241_732_096, 6_979_321_856),
    "Qwen/Qwen2.5-0.5B": (494_032_768, 357_826_560),
    "Qwen/Qwen2.5-1.5B": (1_543_714_304, 1_310_195_712),
    "Qwen/Qwen2.5-7B": (7_615_616_512, 6_525_288_448),
    "Qwen/Qwen2.5-14B": (14_770_033_664, 13_212_057_600),
    "Qwen/Qwen3-0.6B": (596_049_920, 440_401_920),
    "Qwen/Qwen3-1.7B": (1_720_574_976, 1_409_286_144),
    "Qwen/Qwen3-4B": (4_022_468_096, 3_633_315_840),
    "Qwen/Qwen3-8B": (8_190_735_360, 6_945_767_424),
    "google/gemma-2-2b": (2_614_341_888, 2_024_275_968),
    "google/gemma-2-9b": (9_241_705_984, 8_323_596_288),
    "google/gemma-3-270m": (268_098_176, 100_270_080),
    "google/gemma-3-1b-pt": (999_885_952, 697_761_792),
    "microsoft/phi-2": (2_779_683_840, 2_516_582_400),
    "microsoft/Phi-3-mini-4k-instruct": (3_821_079_552, 3_623_878_656),
    "microsoft/phi-4": (14_659_507_200, 13_631_488_000),
    "HuggingFaceTB/SmolLM2-135M": (134_515_008, 106_168_320),
    "HuggingFaceTB/SmolLM2-360M": (361_821_120, 314_572_800),
    "HuggingFaceTB/SmolLM2-1.7B": (1_711_376_384, 1_610_612_736),
    "allenai/OLMo-2-0425-1B": (1_484_916_736, 1_073_741_824),
    "allenai/OLMo-2-1124-7B": (7_298_617_344, 6_476_005_376),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_published_ones(name: str) -> None:
    shape = known_shape(name)
    assert shape is not None and (shape.params, shape.linear_params) == COUNTS[name]


def test_the_table_was_found_and_knows_no_case() -> None:
    assert len(COUNTS) == 34 and len(known_shapes()) >= 38
    assert known_shape("META-LLAMA/llama-2-7B-hf") == known_shape("meta-llama/Llama-2-7b-hf") is not None


def test_a_folder_is_read_from_its_config(tiny_base: Path) -> None:
    from transformers import AutoModelForCausalLM

    shape, model = find_shape(str(tiny_base)), AutoModelForCausalLM.from_pretrained(tiny_base)
    assert shape.params == sum(p.numel() for p in model.parameters()) and shape.layers == 2
    embedded = find_shape("whetstone")
    assert embedded.layers > 2 and embedded.params > 8_000_000


def test_what_is_no_known_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no formula is known for model_type 'rwkv'"):
        shape_of({"model_type": "rwkv"}, "somebody/rwkv")
    with pytest.raises(ModelError, match="says no num_hidden_layers"):
        shape_of({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 100}, "odd")
    (tmp_path / "config.json").write_text(json.dumps([1]), "utf-8")
    with pytest.raises(ModelError):
        find_shape(str(tmp_path))
