"""The closed form against peaks that others have published: `python benchmarks/memory.py --published`, or this file alone.

Every point of published_memory.csv is a recipe and a micro-batch in which every token carries loss, padded, on CUDA, with
weights in bfloat16. Where the trainer that was measured keeps something that whet does not, or the other way round, the
difference is a term with a name below, computed from the shape of the model; the table shows each. Prints a Markdown table and
the errors.

Sources: litgpt, tutorials/resource-tables.md and config_hub/finetune (README.md, and the .yaml of each row); PEFT,
method_comparison/MetaMathQA/results (accelerator_memory_max); torchtune, README.md (the ladder of Llama-3.2-3B, packed).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whet.budget.load import Load
from whet.budget.memory import predict
from whet.budget.shapes import Shape, known_shape
from whet.budget.targets import adapted_layers
from whet.knobs.layout import LEARNED_TOKENS
from whet.knobs.quantization import BLOCK_SCALES, DOUBLE_SCALES
from whet.recipe import Recipe, parse

POINTS = Path(__file__).with_name("published_memory.csv")
UNITS = {"GB": 10**9, "GiB": 2**30}


@dataclass(frozen=True, slots=True)
class Point:
    """One published peak: where it stands, what was run, how much it took. `is_suspect`: it lies below what its own weights,
    gradients and optimizer states take, so nothing can be learned from it but that a table can be wrong."""

    source: str
    shape: Shape
    recipe: Recipe
    load: Load
    published_bytes: float
    unit: str
    is_suspect: bool
    trains: str

    @property
    def columns(self) -> int:
        """Tokens of the micro-batch, times the layers that they pass through."""
        return self.load.columns * self.shape.layers

    @property
    def terms(self) -> dict[str, float]:
        """Bytes by which the trainer that was measured differs from whet, by the name of the reason."""
        named = {name: term(self) for name, term in LITGPT_TERMS.items()} if self.source.startswith("litgpt") else {}
        return {name: size for name, size in {"all logits": _all_logits(self), **named}.items() if size}

    @property
    def formula_bytes(self) -> int:
        """What the closed form says of the same recipe in whet."""
        return predict(self.shape, self.recipe, self.load, device="cuda").peak_bytes

    @property
    def error(self) -> float:
        """Relative error of the form with the trainer's own terms."""
        return (self.formula_bytes + sum(self.terms.values())) / self.published_bytes - 1

    @property
    def floor_bytes(self) -> int:
        """What lies in memory in the optimizer's step at least: weights, gradients, states."""
        parts = predict(self.shape, self.recipe, self.load, device="cuda").by_phase["step"]
        return sum(parts[name] for name in ("weights", "adapter", "gradients", "optimizer"))


def read_points() -> list[Point]:
    """All published points."""
    with POINTS.open(encoding="utf-8", newline="") as file:
        return [_point(row) for row in csv.DictReader(file)]


def _point(row: dict[str, str]) -> Point:
    shape = known_shape(row["base"])
    assert shape is not None, row["base"]
    rows, width = int(row["rows"]), int(row["width"])
    load = Load(rows, rows * width, width, rows * width)
    published = float(row["published"]) * UNITS[row["unit"]]
    return Point(
        row["source"], shape, _recipe(shape, row), load, published, row["unit"], row["note"] == "suspect", row["trains"]
    )


def _recipe(shape: Shape, row: dict[str, str]) -> Recipe:
    """The recipe that does in whet what was run."""
    (*inward, _), feed_forward = shape.kind.attention, shape.kind.feed_forward
    targets = {"q and v": (inward[0], inward[-1]), "feed-forward": feed_forward, "all linear": "all-linear"}
    model: dict[str, Any] = {"dtype": "bfloat16"}
    if row["quantize"]:
        model |= {"quantize": row["quantize"], "bnb_4bit_use_double_quant": row["double"] == "yes"}
    values: dict[str, Any] = {
        "name": "published", "task": {"kind": "generate", "instruction": "any"}, "model": model,
        "data": {"path": "any.csv", "input": "input", "target": "target"},
        "train": {"share_prefix": False, "per_device_train_batch_size": int(row["rows"]),
                  "gradient_accumulation_steps": int(row["accumulation"])},
    }  # fmt: skip
    if row["trains"] != "full":
        values["lora"] = {"r": int(row["r"]), "lora_dropout": float(row["dropout"]), "use_dora": row["dora"] == "yes",
                          "target_modules": targets[row["trains"]]}  # fmt: skip
    return parse(values)


def _all_logits(point: Point) -> float:
    """No other trainer here takes its logits in chunks: those of all tokens in float32, their logarithms, and the gradient."""
    return 3 * 4.0 * max(0, point.load.answers - LEARNED_TOKENS) * point.shape.vocabulary


# -- what litgpt does otherwise --------------------------------------------------------------------------------------------


def _own_head(point: Point) -> float:
    """It gives a model whose head is tied to the embedding a head of its own."""
    return 2.0 * point.shape.vocabulary * point.shape.width if point.shape.tied else 0


def _quantized_head(point: Point) -> float:
    """It quantizes the head as well: what 4 bits save of one in bfloat16."""
    model = point.recipe.model
    if not model.quantize:
        return 0
    bits = 4 + (DOUBLE_SCALES if model.bnb_4bit_use_double_quant else BLOCK_SCALES)
    return -(2 - bits / 8) * point.shape.vocabulary * point.shape.width


def _bfloat16_adapter(point: Point) -> float:
    """Its adapters are in bfloat16, and those of q, k and v read one copy of their input; PEFT's are in float32, with a copy
    each. Counted where all linear layers have one: on q and v alone it is about what its fused q, k, v keep more."""
    lora = point.recipe.lora
    if lora is None or point.trains != "all linear":
        return 0
    first = f"{point.shape.kind.path}.0."
    layers = [layer for name, layer in adapted_layers(point.shape, lora) if name.startswith(first)]
    inward = set(point.shape.kind.attention[:-1])
    read = {("qkv" if layer.name in inward else layer.name): layer.inputs for layer in layers}
    mask = 1 if lora.lora_dropout else 0
    return float(point.columns * ((2 + mask) * sum(read.values()) - (4 + mask) * sum(layer.inputs for layer in layers)))


def _kept_inputs(point: Point) -> float:
    """The bitsandbytes of its day kept the input of every 4-bit layer, for a gradient of the weights that nobody asks for:
    those of attention (in, out) and of the feed-forward part (in, out). In bfloat16 in the tables; at 4 bytes in the config
    hub: QLoRA less LoRA of the same configuration, less what 4 bits save, leaves 98 KB a token and layer for Llama-2-7B, 72 for
    Phi-3-mini, 60 for phi-2, 46 for TinyLlama; four bytes of these inputs are 93, 70, 61 and 47."""
    if not point.recipe.model.quantize:
        return 0
    kind, shape = point.shape.kind, point.shape
    inward = 1 if kind.is_parallel and len(kind.norms) == 1 else 2  # one norm's output, read by both parts
    number_bytes = 2 if "tables" in point.source else 4
    return float(point.columns * number_bytes * ((inward + 1) * shape.width + shape.ffn))


def _one_gelu(point: Point) -> float:
    """Its GELU is one operation, which keeps its input; that of Transformers for these models is spelled out and keeps four."""
    return -3.0 * 2 * point.columns * point.shape.ffn if point.shape.kind.activation == "spelled" else 0


LITGPT_TERMS: dict[str, Callable[[Point], float]] = {
    "own head": _own_head, "4-bit head": _quantized_head, "bf16 adapter": _bfloat16_adapter,
    "kept inputs": _kept_inputs, "one GELU": _one_gelu,
}  # fmt: skip


def table(points: Sequence[Point]) -> list[str]:
    """A Markdown table of these points."""
    lines = ["| source | model | trains | tokens | published | whet's form | other trainer | error |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for point in points:
        unit, model, lora = UNITS[point.unit], point.recipe.model, point.recipe.lora
        trains = point.trains if lora is None else f"{'DoRA' if lora.use_dora else 'LoRA'} r {lora.r}, {point.trains}"
        quantized = f", {model.quantize}{' dq' if model.bnb_4bit_use_double_quant else ''}" if model.quantize else ""
        terms = ", ".join(f"{name} {size / unit:+.2f}" for name, size in point.terms.items())
        error = f"floor {point.floor_bytes / unit:.2f}" if point.is_suspect else f"{point.error:+.1%}"
        cells = (
            point.source, point.shape.name.partition("/")[2], trains + quantized, f"{point.load.rows} x {point.load.width}",
            f"{point.published_bytes / unit:.2f} {point.unit}", f"{point.formula_bytes / unit:.2f}", terms, error,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def errors(points: Sequence[Point]) -> list[float]:
    """Absolute relative errors of the points that are scored."""
    return [abs(point.error) for point in points if not point.is_suspect]


def main() -> None:
    """Prints the table and the errors."""
    points = read_points()
    found = errors(points)
    print("\n".join(table(points)))
    print(f"\n{len(found)} points: mean error {sum(found) / len(found):.1%}, largest {max(found):.1%}; "
          f"{len(points) - len(found)} below the floor of their own configuration are shown and not scored.")  # fmt: skip


if __name__ == "__main__":
    main()
