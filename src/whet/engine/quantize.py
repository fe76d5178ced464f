"""Bases in 8 and 4 bits, by bitsandbytes: how they are loaded, and what is done so that they stay what they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from whet.engine.layers import all_named, linear_layers
from whet.errors import ModelError, Problem
from whet.sections import Model

# It says for each layer that float32 inputs are computed in float16, which int8 is.
logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


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
    skipped = (*_kept_whole(skeleton), *_skipped(skeleton, model.llm_int8_skip_modules))
    placed: Any = {"": device.index or 0 if device.type == "cuda" else "cpu"}
    if model.llm_int8_enable_fp32_cpu_offload:
        placed = _offloaded(device)
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


def _kept_whole(skeleton: PreTrainedModel) -> list[str]:
    """What is never quantized: the head. Transformers forgets it as soon as modules to skip are named."""
    head = skeleton.get_output_embeddings()
    return [name for name, module in skeleton.named_modules() if head is not None and module is head]


def _skipped(skeleton: PreTrainedModel, patterns: Sequence[str]) -> list[str]:
    """The full names of the linear layers that these names (or parts of names) lead to."""
    linear, where = linear_layers(skeleton), "[model] llm_int8_skip_modules"
    ends = ", ".join(dict.fromkeys(n.rsplit(".", 1)[-1] for n in linear))
    found = all_named(linear, patterns, where, f"Linear layers here: {ends}; the head is skipped anyway")
    if len(found) == len(linear):
        what = "every linear layer is skipped, so nothing would be quantized"
        raise ModelError(Problem(where, what, "Skip less, or leave quantize out"))
    return found


def _offloaded(device: torch.device) -> str:
    """How layers are spread where the CPU takes what does not fit on the accelerator."""
    if device.type == "cpu":
        what = "without an accelerator all layers stay on the CPU in float32, and nothing would be quantized"
        do = "Leave it out; int8 and 4-bit layers work on the CPU too"
        raise ModelError(Problem("[model] llm_int8_enable_fp32_cpu_offload", what, do))
    return "auto"
