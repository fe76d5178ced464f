"""The `[model]` and `[lora]` sections: what is trained, and in which precision."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from whet.sections.section import Section

EMBEDDED_BASE = "whetstone"
# Which kinds of quantization read a key of [model].
QUANTIZED_BY = {
    "bnb_4bit_use_double_quant": ("nf4", "fp4"), "bnb_4bit_compute_dtype": ("nf4", "fp4"), "llm_int8_threshold": ("int8",),
    "llm_int8_skip_modules": ("int8", "nf4", "fp4"), "llm_int8_enable_fp32_cpu_offload": ("int8", "nf4", "fp4"),
}  # fmt: skip


class Model(Section):
    """The model to sharpen, and the precision of its weights. The `[model]` section."""

    base: str = Field(EMBEDDED_BASE, description="`whetstone` (embedded), a local directory, a finished run folder or a Hub id")
    random_weights: bool = Field(False, description="start from random weights of the same shape: what is pretraining worth?")
    adapters: tuple[str, ...] = Field(
        (), description="PEFT adapter folders that are put on the base first, in this order, and stay as they are"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="precision of the weights that are not quantized; bfloat16 halves them, and full training in it "
        "loses small updates",
    )
    quantize: Literal["int8", "nf4", "fp4"] | None = Field(
        None,
        description="keep the base's linear layers in 8 or 4 bits (bitsandbytes) and train an adapter on top; needs [lora]",
    )
    bnb_4bit_use_double_quant: bool = Field(
        False, description="4-bit: quantize the quantization constants too (0.37 bits less a weight)"
    )
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="4-bit: what the weights are computed with"
    )
    llm_int8_threshold: float = Field(6.0, description="int8: columns with a larger activation stay 16-bit; 0 is off", ge=0)
    llm_int8_skip_modules: tuple[str, ...] = Field((), description="modules that stay unquantized, besides the output head")
    llm_int8_enable_fp32_cpu_offload: bool = Field(
        False, description="layers that do not fit on the accelerator stay on the CPU in float32"
    )

    @model_validator(mode="after")
    def _quantization_fits(self) -> Model:
        if self.quantize and self.random_weights:
            raise ValueError("random_weights has no weights on disk that quantize could read; leave one of them out")
        idle = [
            f"{key} (which goes with {' or '.join(kinds)})"
            for key, kinds in QUANTIZED_BY.items()
            if self.quantize not in kinds and getattr(self, key) != type(self).model_fields[key].default
        ]
        if idle:
            raise ValueError(f"without that quantize, {', '.join(idle)} would do nothing; leave it out, or set quantize")
        return self


class Lora(Section):
    """A low-rank adapter in PEFT's own format. Without the `[lora]` section all weights are trained. The `[lora]` section."""

    r: int = Field(16, description="rank of the update", ge=1)
    lora_alpha: float = Field(32.0, description="the update is scaled by lora_alpha / r", gt=0)
    lora_dropout: float = Field(0.0, description="dropout before the adapter", ge=0, lt=1)
    target_modules: str | tuple[str, ...] = Field(
        "all-linear",
        description="which linear layers get one: all, a list of names or parts of names (q_proj, layers.3), or a regular "
        "expression of whole names; the head never does",
    )
    exclude_modules: tuple[str, ...] = Field((), description="names (or parts of names, as layers.0) of layers that get none")
    layers_to_transform: tuple[int, ...] = Field(
        (), description="numbers of the transformer layers that get one; left out: all"
    )
    use_rslora: bool = Field(False, description="scale by lora_alpha / sqrt(r), which keeps large ranks learning")
    use_dora: bool = Field(False, description="learn magnitude and direction apart (DoRA); slower")
    init_lora_weights: Literal["default", "gaussian", "pissa", "olora", "orthogonal"] = Field(
        "default", description="how A and B begin: B at zero (default, gaussian), or from the base's own weights (pissa, olora)"
    )
    bias: Literal["none", "all", "lora_only"] = Field("none", description="which biases train beside the adapter")
    modules_to_save: tuple[str, ...] = Field(
        (), description="modules trained whole and saved with the adapter, such as lm_head"
    )
