"""What rests in memory through a step: weights by precision, gradients, what the optimizer remembers. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from whet.budget.shapes import Shape
from whet.budget.targets import PRECISION_BYTES, Weight, is_named
from whet.knobs.optimizers import BITSANDBYTES_FROM, OPTIMIZERS, Family
from whet.knobs.quantization import BLOCK, OUTER_BLOCK
from whet.sections import Model, Train

Device = Literal["cpu", "cuda"]
CODE_BYTES = 64 + 4  # the 16 levels of a 4-bit layer, and the mean of its scales
OUTER_CODE_BYTES = 1024  # the 256 levels of its scales, under double quantization
ORTHOGONAL_COPIES = 2.5  # of a matrix, in Muon's step: the update in float32, and three of bfloat16 in Newton-Schulz

# Copies of a float32 tensor that an optimizer's step makes and drops: AdamW's square root and the same divided, ...
COPIES: dict[Family, float] = {"adamw": 2, "adafactor": 2, "sgd": 0, "rmsprop": 1, "adagrad": 1, "muon": ORTHOGONAL_COPIES}


def weight_bytes(shape: Shape, model: Model, device: Device) -> int:
    """Bytes of the base's weights, in the precision in which they are loaded.

    Example:
        >>> from whet.budget.shapes import known_shape
        >>> llama = known_shape("meta-llama/Llama-2-7b-hf")
        >>> weight_bytes(llama, Model(dtype="bfloat16"), "cuda"), weight_bytes(llama, Model(dtype="float32"), "cpu")
        (13476831232, 26953662464)
    """
    quantized = quantized_layers(shape, model, device)
    whole = shape.params - shape.layers * sum(layer.weights for layer in shape.linears)
    total = whole * PRECISION_BYTES[model.dtype]
    for name, layer in shape.linear_layers():
        if name not in quantized:
            total += layer.weights * PRECISION_BYTES[model.dtype]
        elif model.quantize == "int8":
            total += layer.weights + 4 * layer.outputs  # a scale in float32 for each row
        else:
            total += _four_bit_bytes(layer.weights, model.bnb_4bit_use_double_quant)
    return total


def quantized_layers(shape: Shape, model: Model, device: Device) -> frozenset[str]:
    """The full names of the layers in 8 or 4 bits, as the engine chooses them: the head, the embeddings and the norms never
    are; on a CPU, neither are 4-bit layers whose rows are no whole blocks."""
    if model.quantize is None:
        return frozenset()
    needs_blocks = model.quantize != "int8" and device == "cpu"
    return frozenset(
        name for name, layer in shape.linear_layers()
        if not any(is_named(name, skipped) for skipped in model.llm_int8_skip_modules)
        and not (needs_blocks and layer.inputs % BLOCK)
    )  # fmt: skip


def _four_bit_bytes(weights: int, is_double: bool) -> int:
    """Two weights share a byte, 64 a scale in float32; doubly quantized, a scale is a byte and 256 of them share one."""
    scales = math.ceil(weights / BLOCK)
    if not is_double:
        return math.ceil(weights / 2) + 4 * scales + CODE_BYTES
    return math.ceil(weights / 2) + scales + 4 * math.ceil(scales / OUTER_BLOCK) + CODE_BYTES + OUTER_CODE_BYTES


def state_bytes(weights: Sequence[Weight], train: Train) -> int:
    """Bytes of what the optimizer remembers of these weights.

    Example:
        >>> full = [Weight(1000, 7_000_000, 4)]
        >>> [state_bytes(full, Train(optim=name)) / 1e9 for name in ("adamw_torch", "adamw_8bit", "sgd")]
        [56.0, 14.21875, 0.0]
    """
    return sum(_state_bytes(weight, train) for weight in weights)


def _state_bytes(weight: Weight, train: Train) -> int:
    """Of one tensor. torch keeps states in the precision of the weight, bitsandbytes in its own."""
    fact = OPTIMIZERS[train.optim]
    each = fact.bytes_with(train.optim_args)
    if fact.bits == 8 and weight.count < BITSANDBYTES_FROM:
        each = {"adamw": 8, "lion": 4, "ademamix": 12, "rmsprop": 4}[fact.family]
    if fact.family == "adafactor":  # a mean for each row and each column
        return weight.number_bytes * (weight.rows + weight.columns if weight.columns > 1 else weight.rows)
    if fact.family == "muon" and (weight.columns == 1 or weight.is_embedding):
        each = 8  # AdamW's
    return round(weight.count * each * (1 if fact.bits else weight.number_bytes / 4))


def step_bytes(weights: Sequence[Weight], train: Train, device: Device) -> int:
    """Bytes that the optimizer's step makes and drops: copies of one tensor after the other, or of all at once where torch runs
    one kernel over all of them (`foreach`, its default on a GPU)."""
    fact = OPTIMIZERS[train.optim]
    copies: float
    if fact.bits:  # on a GPU one kernel in place; on a CPU the formulas in torch, 8-bit moments unpacked
        copies = 2 + {"adamw": 1, "lion": 1, "rmsprop": 1, "ademamix": 2}[fact.family] + (2 if fact.bits == 8 else 0)
        return 0 if device == "cuda" else round(copies * max((w.count * 4 for w in weights), default=0))
    if fact.name == "adamw_torch_fused" or not weights:
        return 0
    copies = COPIES[fact.family]
    if fact.family == "sgd":
        # Weight decay, or a look ahead, adds to a copy of the gradient.
        copies = 1.0 if train.weight_decay or train.optim_args.get("nesterov") else 0.0
    if device == "cuda" and fact.family in ("adamw", "sgd", "rmsprop", "adagrad"):
        matrices = sum(w.size_bytes for w in weights if w.columns > 1)
        vectors = sum(w.size_bytes for w in weights if w.columns == 1)
        return round(min(copies, 1) * max(matrices, vectors))  # the division is in place there
    if fact.family == "muon":  # AdamW's on what is no matrix
        return max(round((COPIES["adamw"] if w.is_embedding or w.columns == 1 else copies) * w.size_bytes) for w in weights)
    # The last copy of one tensor lives on until the next one's is made.
    before = [0, *(w.size_bytes if copies else 0 for w in weights[:-1])]
    return max(round(copies * w.size_bytes) + size for w, size in zip(weights, before, strict=True))
