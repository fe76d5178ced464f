"""A recipe's model without weights: built from its configuration, with its adapter, its quantized layers of the right size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from whet.budget.resting import Device
from whet.budget.shapes import Shape
from whet.engine.adapters import CHANGING_INITS, START, add_adapter
from whet.engine.model import DTYPES
from whet.engine.quantize import BLOCK, skipped_modules
from whet.errors import ModelError, Problem
from whet.recipe import Recipe

if TYPE_CHECKING:
    from peft import PeftModel

OUTER_BLOCK = 256  # scales that share a scale of their own, under double quantization


def configuration(base: Shape | Path) -> PretrainedConfig:
    """What Transformers builds the model from."""
    if isinstance(base, Path):
        return AutoConfig.from_pretrained(base, local_files_only=True)
    values = base.config()
    return AutoConfig.for_model(values.pop("model_type"), **values)


def skeleton(recipe: Recipe, base: Shape | Path, device: Device) -> PreTrainedModel | PeftModel:
    """The recipe's model on no device at all: every module is there, no weight is.

    Raises:
        ModelError: as loading the base and adding the adapter would.
    """
    try:
        with torch.device("meta"):
            bare: Any = AutoModelForCausalLM.from_config(configuration(base), dtype=DTYPES[recipe.model.dtype]).eval()
    except (OSError, ValueError, KeyError) as error:
        what = f"it cannot be built: {str(error).strip().splitlines()[0]}"
        raise ModelError(Problem(f"[model] base {recipe.model.base}", what, "Name a causal language model")) from error
    if recipe.model.quantize:
        _quantize(bare, recipe, device)
    if recipe.lora is None:
        return bare
    # Inits that take their start out of the base read weights, of which there are none: see `materialize`.
    begun = "default" if recipe.lora.init_lora_weights in CHANGING_INITS else recipe.lora.init_lora_weights
    lora = recipe.lora.model_copy(update={"init_lora_weights": begun})
    return add_adapter(bare, lora, recipe.derive_seed("adapter"))


def materialize(model: torch.nn.Module, recipe: Recipe) -> None:
    """Gives every parameter and buffer a tensor on the CPU, and what a model keeps of its adapter's start; under a
    FakeTensorMode, they have no values."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in made:
                made[id(parameter)] = parameter, _parameter(module, name, parameter)
            if parameter is not None:
                module._parameters[name] = made[id(parameter)][1]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                if id(buffer) not in made:
                    made[id(buffer)] = buffer, torch.empty(buffer.shape, dtype=buffer.dtype)
                module._buffers[name] = made[id(buffer)][1]
    if recipe.lora and recipe.lora.init_lora_weights in CHANGING_INITS:
        begun = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad and "lora_" in name}
        setattr(model, START, begun)


def _parameter(module: Any, name: str, old: torch.nn.Parameter) -> torch.nn.Parameter:
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    if name == "weight" and isinstance(module, Linear4bit):
        return _packed(old)
    if name == "weight" and isinstance(module, Linear8bitLt):
        return _rows_of_bytes(module, old)
    return torch.nn.Parameter(torch.empty(old.shape, dtype=old.dtype), requires_grad=old.requires_grad)


def _quantize(bare: PreTrainedModel, recipe: Recipe, device: Device) -> None:
    """Puts layers of bitsandbytes where loading the base would put them."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    from whet.engine.layers import linear_layers

    model, whole = recipe.model, set(skipped_modules(bare, recipe.model, torch.device(device)))
    compute = getattr(torch, model.bnb_4bit_compute_dtype)
    for name in linear_layers(bare):
        old: Any = bare.get_submodule(name)
        if name in whole:
            continue
        outputs, inputs = old.weight.shape if isinstance(old, torch.nn.Linear) else old.weight.shape[::-1]
        bias = getattr(old, "bias", None) is not None
        new: Any
        if model.quantize == "int8":
            new = Linear8bitLt(inputs, outputs, bias, False, model.llm_int8_threshold, device="meta")
        else:
            new = Linear4bit(inputs, outputs, bias, compute, model.bnb_4bit_use_double_quant, model.quantize, device="meta")
            new.support_avx512bf16_for_cpu = False
        new.weight.requires_grad_(False)
        new.weight.data = old.weight.data if isinstance(old, torch.nn.Linear) else old.weight.data.T.contiguous()
        if bias:
            new.bias = old.bias
        parent, _, child = name.rpartition(".")
        setattr(bare.get_submodule(parent), child, new.eval())


def _packed(old: Any) -> torch.nn.Parameter:
    """Two weights a byte, with the scales of their blocks."""
    from bitsandbytes.functional import QuantState

    count, is_double = old.numel(), old.compress_statistics
    blocks = -(-count // BLOCK)
    new: Any = torch.nn.Parameter(torch.empty(((count + 1) // 2, 1), dtype=torch.uint8), requires_grad=False)
    scales = torch.empty(blocks, dtype=torch.uint8 if is_double else torch.float32)
    new.quant_state = QuantState(scales, old.shape, torch.empty(16), BLOCK, old.quant_type, old.dtype)
    if is_double:
        outer = torch.empty(-(-blocks // OUTER_BLOCK))
        new.quant_state.offset, new.quant_state.nested = torch.empty(()), True
        new.quant_state.state2 = QuantState(outer, code=torch.empty(256), blocksize=OUTER_BLOCK, dtype=torch.float32)
    new.compress_statistics, new.quant_type, new.quant_storage = is_double, old.quant_type, torch.uint8
    new.bnb_quantized, new.blocksize = True, BLOCK
    return new


def _rows_of_bytes(module: Any, old: Any) -> torch.nn.Parameter:
    """A byte a weight, with a scale for each row."""
    new: Any = torch.nn.Parameter(torch.empty(old.shape, dtype=torch.int8), requires_grad=False)
    new.CB, new.SCB, new.has_fp16_weights = new.data, torch.empty(old.shape[0]), False
    return new
