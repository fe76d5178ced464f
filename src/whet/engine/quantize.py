"""Bases in 8 and 4 bits, by bitsandbytes: how they are loaded, and what is done so that they stay what they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from whet.budget.targets import is_named
from whet.engine.layers import all_named, linear_layers
from whet.errors import ModelError, Problem
from whet.sections import Model

# It says for each layer that float32 inputs are computed in float16, which int8 is.
logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)

BLOCK = 64  # weights that share a scale in 4 bits
SHARE = 0.8  # of the free memory goes to weights where the CPU takes the rest: activations and the adapter need room too


def load_quantized(folder: Path, model: Model, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The base with its linear layers in 8 or 4 bits; the head, the embeddings and the norms keep `dtype`.

    Args:
        folder: the model on disk, in full precision.
        model: the `[model]` section, whose `quantize` is set.
        dtype: of what is not quantized.
        device: where it goes.

    Raises:
        ModelError: if a skipped module does not exist, or nothing would be quantized.
    """
    skeleton = _skeleton(folder)
    skipped = skipped_modules(skeleton, model, device)
    if device.type == "cpu" and model.llm_int8_enable_fp32_cpu_offload:
        what = "without an accelerator all layers stay on the CPU in float32, and nothing would be quantized"
        do = "Leave it out; int8 and 4-bit layers work on the CPU too"
        raise ModelError(Problem("[model] llm_int8_enable_fp32_cpu_offload", what, do))
    placed: dict[str, Any] = {"": device.index or 0 if device.type == "cuda" else "cpu"}
    if model.llm_int8_enable_fp32_cpu_offload:
        free, _ = torch.cuda.mem_get_info(device)
        placed = spread(skeleton, {device.index or 0: int(SHARE * free)}, dtype)
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=_settings(model, skipped), dtype=dtype, device_map=placed,
        use_safetensors=True, local_files_only=True,
    )  # fmt: skip
    _never_repack(loaded)
    return loaded


def quantized_layers(model: torch.nn.Module) -> list[str]:
    """The names of the layers that are in 8 or 4 bits."""
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    return [name for name, module in model.named_modules() if isinstance(module, (Linear4bit, Linear8bitLt))]


def weight_count(parameter: torch.nn.Parameter) -> int:
    """How many weights a parameter holds; two of them share a byte in 4 bits."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()


def _settings(model: Model, skipped: Sequence[str]) -> BitsAndBytesConfig:
    """The same in Transformers' words. Only names that it knows: it would swallow others in silence."""
    if model.quantize == "int8":
        return BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_threshold=model.llm_int8_threshold, llm_int8_skip_modules=list(skipped),
            llm_int8_enable_fp32_cpu_offload=model.llm_int8_enable_fp32_cpu_offload,
        )  # fmt: skip
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=model.quantize, bnb_4bit_compute_dtype=model.bnb_4bit_compute_dtype,
        bnb_4bit_use_double_quant=model.bnb_4bit_use_double_quant, llm_int8_skip_modules=list(skipped),
        llm_int8_enable_fp32_cpu_offload=model.llm_int8_enable_fp32_cpu_offload,
    )  # fmt: skip


def _never_repack(model: PreTrainedModel) -> None:
    """Keeps 4-bit weights as they were stored.

    On CPUs with avx512_bf16, bitsandbytes 0.50 lays the weights out anew, in place, at the first forward pass in evaluation
    mode. After that no gradient reaches what lies below the layer, and what is dequantized is garbage (relative error 1.44
    where quantization itself costs 0.09). Each layer has a switch for it; the default follows the CPU.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _skeleton(folder: Path) -> PreTrainedModel:
    """The model's modules without any weight."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def skipped_modules(skeleton: PreTrainedModel, model: Model, device: torch.device) -> list[str]:
    """The full names of the modules that stay whole: the head, those that the recipe names, and those that would be spoilt.

    The head is named here because Transformers forgets it as soon as modules to skip are named.
    """
    linear, head, where = linear_layers(skeleton), skeleton.get_output_embeddings(), "[model] llm_int8_skip_modules"
    ends = ", ".join(dict.fromkeys(n.rsplit(".", 1)[-1] for n in linear))
    named = all_named(linear, model.llm_int8_skip_modules, where, f"Linear layers here: {ends}; the head is skipped anyway")
    spoilt = [] if model.quantize == "int8" or device.type != "cpu" else _spoilt_on_cpu(skeleton, linear)
    if set(named) | set(spoilt) == set(linear):
        why = "every linear layer is skipped" if named else f"no layer's input is a multiple of {BLOCK} wide"
        what = f"nothing would be quantized: {why}"
        raise ModelError(Problem("[model] quantize", what, "Skip less, or leave quantize out"))
    return [*(name for name, module in skeleton.named_modules() if head is not None and module is head), *named, *spoilt]


def _spoilt_on_cpu(skeleton: PreTrainedModel, linear: Sequence[str]) -> list[str]:
    """The layers whose 4-bit weights cannot be read back on the CPU.

    Blocks of 64 weights share a scale, from one row into the next. The AVX-512 code of bitsandbytes 0.50 that reads them
    back begins a block with each row: where rows are no multiple of 64, a relative error of 0.24 instead of 0.09.
    """
    return [name for name in linear if _input_width(skeleton.get_submodule(name)) % BLOCK]


def _input_width(layer: Any) -> int:
    return int(layer.weight.shape[0] if isinstance(layer, Conv1D) else layer.in_features)


def spread(skeleton: PreTrainedModel, room: dict[int | str, int], dtype: torch.dtype) -> dict[str, Any]:
    """Which device each part of the model goes to: as much on accelerators as has room there, the rest on the CPU.

    Args:
        skeleton: the model without weights.
        room: bytes on each accelerator.
        dtype: of what is not quantized; linear layers count a byte a weight.
    """
    from accelerate import infer_auto_device_map  # type: ignore[import-untyped]

    linear = {f"{name}.weight" for name in linear_layers(skeleton)}
    others = {name: dtype for name, _ in skeleton.named_parameters() if name not in linear}
    found: dict[str, Any] = infer_auto_device_map(
        skeleton, max_memory={**room, "cpu": 1 << 62}, no_split_module_classes=skeleton._no_split_modules,
        dtype=torch.int8, special_dtypes=others,
    )  # fmt: skip
    return found


def describe(model: torch.nn.Module) -> str:
    """What is quantized, in words: 30 of 35 linear layers are in 4 bits; down_proj stays as it was."""
    quantized, linear = quantized_layers(model), linear_layers(model)
    bits = 8 if any(p.dtype == torch.int8 for p in model.parameters()) else 4
    whole = dict.fromkeys(n.rsplit(".", 1)[-1] for n in linear if not any(is_named(q, n) for q in quantized))
    kept = f"; {', '.join(whole)} kept whole" if whole else ""
    return f"{len(quantized)} of {len(linear)} linear layers in {bits} bits{kept}"
