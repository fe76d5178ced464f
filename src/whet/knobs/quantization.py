"""The precisions in which a base model can be kept: bits a weight, the error that they bring, when to choose which.

Figures are of normally distributed weights, as those of a trained linear layer nearly are; a test measures them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BLOCK = 64  # 4-bit weights that share one scale in float32
OUTER_BLOCK = 256  # scales that share one scale of their own, under double quantization
ROW = 4096  # of int8, whose rows share a scale: the width of a 7B model

BLOCK_SCALES = 32 / BLOCK
DOUBLE_SCALES = (8 + 32 / OUTER_BLOCK) / BLOCK


@dataclass(frozen=True, slots=True)
class Precision:
    """One way to keep a weight.

    `bits` a weight, its scales included; `double_bits` the same with `bnb_4bit_use_double_quant`. `error` is the root mean
    square of what is lost, relative to that of the weights.
    """

    name: str
    key: str  # of [model]
    bits: float
    error: float
    trains: str
    choose_when: str
    double_bits: float | None = None


PRECISIONS: Mapping[str, Precision] = {
    p.name: p
    for p in (
        Precision("float32", "dtype", 32, 0.0, "all weights or an adapter", "the default, and right on a CPU"),
        Precision("bfloat16", "dtype", 16, 0.0017, "an adapter; all weights lose small updates",
                  "a GPU holds the base in 16 bits"),
        Precision("int8", "quantize", 8 + 32 / ROW, 0.0087, "an adapter", "half of bfloat16, learns like it; slower"),
        Precision("nf4", "quantize", 4 + BLOCK_SCALES, 0.092, "an adapter",
                  "a 7B base in 4 GB (QLoRA): levels for normal weights", 4 + DOUBLE_SCALES),
        Precision("fp4", "quantize", 4 + BLOCK_SCALES, 0.122, "an adapter", "to compare with: nf4 is as small and loses less",
                  4 + DOUBLE_SCALES),
    )
}  # fmt: skip
