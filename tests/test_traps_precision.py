"""What the libraries under the engine do wrong or in silence, and what keeps it from happening here; numbered as met.

Each test first shows the trap where that is cheap, so that it is known when a new version no longer needs the guard.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import random_rows, recipe
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from whet.data.tokens import Encoded
from whet.engine import infer, loop, model
from whet.engine.adapters import add_adapter, load_adapters, merge_adapters, save_adapter
from whet.engine.course import Course
from whet.engine.quantize import quantized_layers
from whet.engine.timetable import Timetable
from whet.errors import ModelError, RecipeError
from whet.progress import Silent
from whet.sections import Lora, Train

ROWS = random_rows(24, seed=2)
IDS = torch.randint(2, 6000, (2, 9), generator=torch.Generator().manual_seed(0))
QUANTIZED: list[dict[str, Any]] = [
    {"quantize": "nf4"}, {"quantize": "nf4", "bnb_4bit_use_double_quant": True}, {"quantize": "fp4"}, {"quantize": "int8"},
]  # fmt: skip


def load(base: Path, **section: Any) -> Any:
    return model.load_base(recipe(Path("t.csv"), base, model=section, lora={}))


def scored(asked: torch.nn.Module) -> tuple[float, None]:
    """A real validation: label scores with a shared prefix, and nats of answers."""
    prompts = [row.prompt for row in ROWS[:4]]
    infer.label_scores(asked, prompts, [(5, 0), (7, 9, 0)], 1, 2)
    rows = [Encoded(row.id, row.prompt, row.completion) for row in ROWS[:6]]
    return float(infer.answer_nats(asked, rows, 1, 3).sum()), None


def trained(base: Path, folder: Path, section: dict[str, Any], **settings: Any) -> tuple[Any, list[float]]:
    """The model after six steps, and its losses."""
    folder.mkdir()
    tuned = add_adapter(load(base, **section), Lora(r=4), 3)
    plan = Train(**{"learning_rate": 1e-2, "per_device_train_batch_size": 8, "num_train_epochs": 2, **settings})
    loop.train(tuned, Course(ROWS, Timetable(24, plan, 4), 1, scored, folder), Silent())
    return tuned, [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("section", QUANTIZED, ids=lambda s: " ".join(map(str, s.values())))
def test_trap_1_evaluation_leaves_quantized_weights_alone(tiny_base: Path, tmp_path: Path, section: dict[str, Any]) -> None:
    """bitsandbytes repacks 4-bit weights at the first evaluation on CPUs with avx512_bf16; training after it is corrupt."""
    _, plain = trained(tiny_base, tmp_path / "a", section)
    tuned, watched = trained(tiny_base, tmp_path / "b", section, eval_steps=1)
    assert len(plain) == 6 and plain == watched
    if section["quantize"] != "int8":
        layers = [tuned.get_submodule(name) for name in quantized_layers(tuned)]
        assert len(layers) == 12 and not any(layer.support_avx512bf16_for_cpu for layer in layers)


@pytest.mark.parametrize("section", QUANTIZED, ids=lambda s: " ".join(map(str, s.values())))
def test_trap_1_no_gradient_is_lost_after_an_evaluation(tiny_base: Path, section: dict[str, Any]) -> None:
    tuned = add_adapter(load(tiny_base, **section), Lora(r=4), 3)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.02)
    scored(tuned)
    tuned.train()(input_ids=IDS, labels=IDS).loss.backward()
    sizes = [float(p.grad.abs().sum()) for p in tuned.parameters() if p.requires_grad and p.grad is not None]
    assert len(sizes) == 28 and min(sizes) > 0


@pytest.mark.parametrize("section", QUANTIZED, ids=lambda s: " ".join(map(str, s.values())))
def test_trap_1_weights_read_back_the_same_after_an_evaluation(tiny_base: Path, section: dict[str, Any]) -> None:
    from peft.utils.integrations import dequantize_bnb_weight

    exact, coarse = load(tiny_base), load(tiny_base, **section)

    def error() -> float:
        found = []
        for name in quantized_layers(coarse):
            layer, wanted = coarse.get_submodule(name), exact.get_submodule(name).weight.detach()
            weight = dequantize_bnb_weight(layer.weight, getattr(layer, "state", None))
            found.append(float(torch.linalg.norm(weight - wanted) / torch.linalg.norm(wanted)))
        return max(found)

    scored(coarse)
    assert 0.001 < error() < 0.2, "garbage is off by 1.4, quantization by 0.01 (8 bits) or 0.1 (4 bits)"
    state = coarse.state_dict()  # it would unpack, and for some weights wrongly
    assert len(state) > 14 and 0.001 < error() < 0.2


def test_trap_1_merging_goes_into_the_base_before_it_was_quantized(tiny_base: Path, tmp_path: Path) -> None:
    tuned, _ = trained(tiny_base, tmp_path / "a", {"quantize": "nf4"}, eval_steps=1)
    save_adapter(tuned, tmp_path / "adapter")
    with torch.inference_mode():
        beside = load_adapters(load(tiny_base), [], own=tmp_path / "adapter")
        wanted = beside(input_ids=IDS).logits
        merged = merge_adapters(beside)(input_ids=IDS).logits
    assert torch.linalg.norm(merged - wanted) < 1e-5 * torch.linalg.norm(wanted)


def test_trap_2_old_names_are_not_swallowed(tiny_base: Path) -> None:
    swallowed: dict[str, Any] = {"use_4bit": True, "use_nested_quant": True}
    settings: Any = BitsAndBytesConfig
    assert settings(**swallowed).load_in_4bit is False, "the trap: it is taken in silence, and nothing is quantized"
    for name in swallowed:
        with pytest.raises(RecipeError, match=rf"\[model\] {name}: there is no such key"):
            recipe(Path("t.csv"), tiny_base, model={name: True}, lora={})


def test_trap_14_naming_a_module_to_skip_does_not_quantize_the_head(tiny_base: Path) -> None:
    settings: Any = BitsAndBytesConfig
    four_bits = settings(load_in_4bit=True, llm_int8_skip_modules=["q_proj"])
    trap = AutoModelForCausalLM.from_pretrained(tiny_base, quantization_config=four_bits, device_map={"": "cpu"})
    assert type(trap.lm_head).__name__ == "Linear4bit", "the trap"
    assert type(load(tiny_base, quantize="nf4", llm_int8_skip_modules=["q_proj"]).lm_head) is torch.nn.Linear


def test_trap_15_an_init_that_changes_the_base_is_saved_for_the_base(tiny_base: Path, tmp_path: Path) -> None:
    """PEFT's conversion of pissa and olora keeps A and B only: magnitudes and modules trained whole would be lost."""
    lora = Lora(r=4, init_lora_weights="pissa", use_dora=True, modules_to_save=("lm_head",))
    save_adapter(add_adapter(load(tiny_base), lora, 0), tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for kind, count in {"lora_A": 14, "lora_B": 14, "magnitude": 14, "lm_head": 1}.items():
        assert sum(kind in name for name in saved) == count, kind


def test_trap_16_several_active_adapters_do_not_all_train(tiny_base: Path, tmp_path: Path) -> None:
    save_adapter(add_adapter(load(tiny_base), Lora(r=2), 0), tmp_path / "below")
    tuned: Any = add_adapter(load(tiny_base, adapters=[str(tmp_path / "below")]), Lora(r=2), 0)
    tuned_names = [name for name, parameter in tuned.named_parameters() if parameter.requires_grad]
    assert len(tuned_names) == 28 and not any("below" in name for name in tuned_names)
    tuned.base_model.set_adapter(["below0", "default"])
    assert sum(p.requires_grad for p in tuned.parameters()) == 56, "the trap"


def test_trap_17_dora_on_int8_is_refused_on_the_cpu(tiny_base: Path, tmp_path: Path) -> None:
    """PEFT replaces each int8 weight by one without its scale; the next forward pass breaks."""
    with pytest.raises(ModelError, match="DoRA on an int8 base works on an accelerator only"):
        add_adapter(load(tiny_base, quantize="int8"), Lora(r=2, use_dora=True), 0)
    save_adapter(add_adapter(load(tiny_base), Lora(r=2, use_dora=True), 0), tmp_path / "below")
    with pytest.raises(ModelError, match="DoRA on an int8 base works on an accelerator only"):
        load(tiny_base, quantize="int8", adapters=[str(tmp_path / "below")])
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trap = get_peft_model(load(tiny_base, quantize="int8"), LoraConfig(r=2, use_dora=True, target_modules=["q_proj"]))
    with pytest.raises(AttributeError, match="NoneType"):
        trap(input_ids=IDS)
        trap(input_ids=IDS)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_trap_18_four_bits_are_read_back_as_they_were_written(tiny_base: Path, kind: str) -> None:
    """On the CPU, bitsandbytes mistakes where blocks begin in rows that are no multiple of 64; such layers stay whole."""
    import bitsandbytes.functional as functional

    def errors(width: int) -> tuple[float, float]:
        """Relative error by the library, and by the definition: each block's scale times the code's level."""
        weight = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
        packed, state = functional.quantize_4bit(weight, quant_type=kind)
        codes = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], 1).flatten().int()
        read = (state.code[codes].view(-1, 64) * state.absmax[:, None]).view_as(weight)
        both = (functional.dequantize_4bit(packed, state), read)
        return tuple(float(torch.linalg.norm(b - weight) / torch.linalg.norm(weight)) for b in both)  # type: ignore[return-value]

    for width in (64, 128, 320):
        library, definition = errors(width)
        assert library == pytest.approx(definition, rel=1e-4) and definition < 0.13
    assert errors(96)[1] < 0.13
    layers = coarse_layers(tiny_base, kind)
    assert len(layers) == 12 and all(layer.in_features == 64 for layer in layers.values())


@pytest.mark.parametrize("section", QUANTIZED, ids=lambda s: " ".join(map(str, s.values())))
def test_a_quantized_layer_computes_with_its_weights(tiny_base: Path, section: dict[str, Any]) -> None:
    """In evaluation, in training, for one token and for many: x W, of the W that is read back."""
    from peft.utils.integrations import dequantize_bnb_weight

    limit = 0.02 if section["quantize"] == "int8" else 1e-5  # int8 rounds the input too
    for name, layer in coarse_layers(tiny_base, **section).items():
        for rows in (1, 7):
            x = torch.randn(1, rows, layer.in_features, generator=torch.Generator().manual_seed(rows))
            for is_training in (False, True):
                with torch.inference_mode(not is_training):
                    found = layer.train(is_training)(x)
                wanted = x @ dequantize_bnb_weight(layer.weight, getattr(layer, "state", None)).detach().T
                assert torch.linalg.norm(found - wanted) < limit * torch.linalg.norm(wanted), name


def coarse_layers(base: Path, quantize: str, **section: Any) -> dict[str, Any]:
    coarse = load(base, quantize=quantize, **section)
    return {name: coarse.get_submodule(name) for name in quantized_layers(coarse)}


@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_a_quantized_base_says_nothing_on_its_own(
    tiny_base: Path, quantize: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Library code never prints; bitsandbytes would log a line a layer."""
    scored(add_adapter(load(tiny_base, quantize=quantize), Lora(r=2), 0))
    assert "".join(capfd.readouterr()) == "" and not caplog.records
