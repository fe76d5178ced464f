"""What flows through memory in a step: what each layer keeps for the backward pass, and what it holds for a moment. No torch.

Autograd keeps of every operation what its derivative reads. A frozen linear layer reads nothing of its input, one that trains
or carries an adapter does; a norm reads its input in float32; attention reads queries, keys, values and its own output. The
engine's own operations (`engine/fused/`) keep less than the plain ones; where they apply is decided here as there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from whet.budget.load import Load
from whet.budget.resting import Device, quantized_layers
from whet.budget.shapes import Linear, Shape
from whet.budget.targets import PRECISION_BYTES, Weight, adapted_layers, trained
from whet.knobs.layout import TAIL_SHARE
from whet.recipe import Recipe

SPELLED_KEPT = 4  # GELU spelled out keeps x, x/2, the tanh, and one more than it
TREE_COPIES = 8  # queries' widths that attention over a tree holds at a time, on a CPU
FLASH_HEADS = 256  # widest heads for which attention reads shared keys and values without repeating them


@dataclass(frozen=True)
class Flow:
    """The activations of a recipe's step on a model of this shape. All sizes are in bytes."""

    shape: Shape
    recipe: Recipe
    device: Device

    @cached_property
    def weights(self) -> list[tuple[int, Weight]]:
        """(number of its layer, Weight) of everything that trains."""
        return trained(self.shape, self.recipe)

    @cached_property
    def _adapted(self) -> frozenset[str]:
        lora = self.recipe.lora
        return frozenset(name for name, _ in adapted_layers(self.shape, lora)) if lora else frozenset()

    @cached_property
    def _quantized(self) -> frozenset[str]:
        return quantized_layers(self.shape, self.recipe.model, self.device)

    @property
    def layout(self) -> Literal["tree", "packed", "padded"]:
        """How micro-batches are laid out."""
        train = self.recipe.train
        return "tree" if train.share_prefix else "packed" if train.packing else "padded"

    @property
    def stream(self) -> int:
        """Of one number between the layers: the precision of the weights."""
        return PRECISION_BYTES[self.recipe.model.dtype]

    @property
    def _casts(self) -> bool:
        """Whether autocast brings linear layers and attention to bfloat16."""
        return self.recipe.train.bf16

    @property
    def product(self) -> int:
        """Of one number that comes out of a linear layer. A quantized one answers in the precision in which it was asked, but
        for those in 8 bits on a CPU, which autocast reaches."""
        if self._quantized and not (self.recipe.model.quantize == "int8" and self.device == "cpu"):
            return self.stream
        return min(self.stream, 2 if self._casts else 4)

    @property
    def _is_fused(self) -> bool:
        """Whether norms and linear layers run as the engine's own operations."""
        return self.layout == "tree" and self.stream == 4 and not self._casts

    @property
    def _has_plain_adapter(self) -> bool:
        """Whether a layer with an adapter is one of the engine's own operations."""
        lora = self.recipe.lora
        return self._is_fused and not self._quantized and lora is not None and not lora.lora_dropout and not lora.use_dora

    @cached_property
    def first_graded(self) -> int:
        """The first layer that gradients reach: below it nothing trains, and nothing is kept."""
        return max(0, min(number for number, _ in self.weights))

    def layer_kept(self, number: int, load: Load) -> int:
        """What a layer keeps from its forward pass for its backward pass, without checkpointing."""
        if number < self.first_graded:
            return 0
        read = self._read_by_last(number, load)
        name = f"{self.shape.kind.path}.{number}."
        linears = {layer.name: layer for layer in self.shape.linears}
        adapted = {n for n in linears if name + n in self._adapted}
        kept = self._norms(load.columns, read, is_first=number == self.first_graded and self.recipe.lora is not None)
        kept += self._attention(linears, adapted, load, read) + self._feed_forward(linears, adapted, read)
        return kept + self._cast_weights(linears.values())

    @property
    def cached_casts(self) -> int:
        """What autocast's cache of trained weights in bfloat16 holds until the forward pass is over, where checkpointing lets
        go of all else that was computed with them."""
        trains = self.recipe.lora is None and self.recipe.train.gradient_checkpointing
        return self.shape.layers * self._cast_weights(self.shape.linears) if trains else 0

    def input_kept(self, load: Load) -> int:
        """What a checkpointed layer keeps: what it was given. bitsandbytes holds on to the inputs of int8 layers by itself, out
        of reach of checkpointing: those of attention and of the feed-forward part, in and out."""
        kept = self.shape.width * self.stream
        if self._quantized and self.recipe.model.quantize == "int8":
            norms = 1 if self.shape.kind.is_parallel and len(self.shape.kind.norms) == 1 else 2
            kept += norms * self.shape.width * self.stream + (self.shape.query_width + self.shape.ffn) * self.product
        return load.columns * kept

    def last_kept(self, load: Load) -> int:
        """What the norm behind the last layer keeps."""
        return load.columns * self.shape.width * 4

    def layer_transient(self, number: int, load: Load) -> int:
        """What the backward pass of a layer makes and drops: the gradients inside its feed-forward part and of its input, or
        those of its norm in float32; and a quantized weight, unpacked."""
        shape, read = self.shape, self._read_by_last(number, load)
        inside = read * (3 if shape.kind.is_gated else 2) * shape.ffn * self.product
        if self.recipe.train.gradient_checkpointing:  # while a product is computed again, what comes behind it is not yet kept
            inside = max(inside, self._int8_product(load) - load.columns * shape.ffn * self.product)
        # Node by node, attention gathers its five inputs for its three gradients.
        attention = load.columns * TREE_COPIES * shape.query_width * self.product
        inside = max(inside, attention if self._is_on_cpu_tree and read == load.columns else 0)
        norm, around = load.columns * 3 * shape.width * 4, load.columns * 2 * shape.width * self.stream
        return max(inside, norm) + around + self._unpacked()

    def output(self, load: Load) -> int:
        """What the forward pass of a layer that keeps its activations makes and drops: what goes into the last product, what
        comes out of it, and the sum with the stream."""
        shape = self.shape
        inside = load.columns * (shape.ffn * self.product + 2 * shape.width * self.stream)
        return max(inside, self._int8_product(load) - 2 * load.columns * shape.ffn * self.product) + self._unpacked()

    def scored(self, load: Load) -> int:
        """What the forward pass of one layer holds where nothing is kept: its widest part."""
        shape = self.shape
        inside = load.columns * (3 if shape.kind.is_gated else 2) * shape.ffn * self.product
        copies = TREE_COPIES if self._is_on_cpu_tree else 4
        attention = load.columns * copies * shape.query_width * self.product + self._scores(load)
        stream = load.columns * shape.width * self.stream
        return max(inside, attention, self._int8_product(load)) + stream + self._unpacked()

    def _int8_product(self, load: Load) -> int:
        """A product of int8 on a CPU: whole numbers, the same in float32, their scales, and the result: four times 4 bytes."""
        is_int8 = self.device == "cpu" and self.recipe.model.quantize == "int8"
        return 4 * 4 * load.columns * max(layer.outputs for layer in self.shape.linears) if is_int8 else 0

    def _unpacked(self) -> int:
        """The largest quantized weight, as a matrix product reads it."""
        weights = max((layer.weights for layer in self.shape.linears), default=0) if self._quantized else 0
        return weights * self.stream

    def _read_by_last(self, number: int, load: Load) -> int:
        """Columns that a layer's queries and feed-forward part compute: the last one of a tree leaves out what none reads."""
        has_tail = self.layout == "tree" and number == self.shape.layers - 1 and TAIL_SHARE * load.answers <= load.columns
        return load.answers if has_tail else load.columns

    def _norms(self, columns: int, read: int, is_first: bool) -> int:
        """Norms read their input in float32: a copy where the stream is bfloat16. One that trains keeps the result as well; so
        does none of the engine's own."""
        kind, shape = self.shape.kind, self.shape
        trains = self.recipe.lora is None
        copies = 1 if kind.norm == "layer" and kind.is_parallel else len(kind.norms)
        each = 4 + (self.stream if trains and kind.norm == "rms" and not self._is_fused else 0)
        if kind.norm == "layer":
            each = 4 if self._casts else self.stream
        # The input of the first layer needs no gradient, and so its norm keeps nothing.
        kept = (copies - is_first) * columns * shape.width * each
        if kind.head_norms != "none":
            kept += (read * shape.query_width + columns * shape.key_width) * each
        return kept

    def _attention(self, linears: dict[str, Linear], adapted: Collection[str], load: Load, read: int) -> int:
        """Queries, keys and values as attention reads them, its output, a logarithm for each query and head."""
        kind, shape, columns = self.shape.kind, self.shape, load.columns
        *inward, outward = kind.attention
        kept = self._inputs([linears[n] for n in inward], adapted, columns, self.stream, is_kept=False)
        size = 2 if self._casts and not self._is_on_cpu_tree else self.product
        is_repeated = self.layout == "tree" or self._has_mask(load) or shape.head_width > FLASH_HEADS
        if kind.attends_in_one and self._has_plain_adapter and self._is_on_cpu_tree:
            is_repeated = False
        side = shape.query_width if is_repeated else shape.key_width
        if len(inward) > 1 or shape.heads > shape.kv_heads:
            kept += columns * 2 * side * size + read * shape.query_width * size
        else:  # keys and values (and, with learned positions, queries) are views of one tensor, which stays whole
            turned = 0 if kind.has_table else 2 * shape.query_width
            kept += columns * (3 * shape.query_width + turned) * size
        kept += read * (shape.query_width * size + 4 * shape.heads) + self._scores(load)
        if kind.drops:
            kept += 2 * columns * shape.width * (1 if self.device == "cuda" else self.stream)
        return kept + self._inputs([linears[outward]], adapted, read, size, is_kept=True)

    @property
    def _is_on_cpu_tree(self) -> bool:
        """Whether attention runs node by node, without any mask."""
        return self.layout == "tree" and self.device == "cpu" and not self.shape.kind.caps and not self.shape.kind.drops

    def _has_mask(self, load: Load) -> bool:
        """Whether attention reads a mask; one row alone is causal and needs none."""
        return not self._is_on_cpu_tree and (self.layout != "padded" or load.rows > 1)

    def _scores(self, load: Load) -> int:
        """What grows with the square of a row: the mask, as numbers that each layer adds; the scores where they are
        soft-capped, or dropped out on a CPU, because then no attention in blocks can be had."""
        kind, size = self.shape.kind, 2 if self._casts else self.product
        pairs = load.columns * load.width
        if kind.caps:  # the tanh, the softmax in float32, and the same as the product reads it
            return self.shape.heads * pairs * (size + 4 + (size if size < 4 else 0))
        if kind.drops and self.device == "cpu":  # plain products in float32: scores, softmax, dropout, and what they read
            return 4 * (self.shape.heads * pairs * 3 + load.columns * 3 * self.shape.query_width)
        return pairs * size if self._has_mask(load) else 0

    def _feed_forward(self, linears: dict[str, Linear], adapted: Collection[str], columns: int) -> int:
        """A gated part keeps gate, activation and the side that it multiplies; the engine's own drops the activation."""
        kind, ffn = self.shape.kind, self.shape.ffn
        *upward, downward = kind.feed_forward
        kept = self._inputs([linears[n] for n in upward], adapted, columns, self.stream, is_kept=False)
        if kind.is_gated and self._has_plain_adapter and len(upward) == 2:
            lows = self._adapter_bytes(linears[downward], 0) if downward in adapted else 0
            return kept + columns * (2 * ffn * self.product + lows)
        times = 3 if kind.is_gated else SPELLED_KEPT if kind.activation == "spelled" else 1
        kept += columns * times * ffn * self.product
        return kept + self._inputs([linears[downward]], adapted, columns, self.product, is_kept=False)

    def _inputs(self, layers: list[Linear], adapted: Collection[str], columns: int, size: int, *, is_kept: bool) -> int:
        """What linear layers that read the same input keep of it: the input once, if any reads it as it is, and the copies in
        another precision that each makes for itself.

        Args:
            layers: that read it.
            adapted: the names of those that carry an adapter.
            columns: tokens.
            size: bytes of one of its numbers.
            is_kept: whether the input is kept anyway.
        """
        copies, reads_itself = 0, False
        for layer in layers:
            if self.recipe.lora is None:
                own = min(size, self.product)
                copies, reads_itself = copies + (own * layer.inputs if own != size else 0), reads_itself or own == size
            elif layer.name in adapted:
                copies += self._adapter_bytes(layer, size)
                reads_itself = reads_itself or self._is_read_as_it_is(size)
            if self.recipe.model.quantize == "int8" and self._quantized:
                reads_itself = True  # bitsandbytes holds on to the input of every layer in 8 bits
        shared = size * layers[0].inputs if reads_itself and not is_kept else 0
        return columns * (shared + copies)

    def _is_read_as_it_is(self, size: int) -> bool:
        """Whether an adapter reads its layer's input without a copy: in float32 without autocast, or, on a quantized layer
        under it, in bfloat16. PEFT brings all else to the precision of A, autocast from there to its own."""
        lora = self.recipe.lora
        if lora is None or lora.lora_dropout:
            return False
        return (size == 2 and bool(self._quantized)) if self._casts else size == 4

    def _adapter_bytes(self, layer: Linear, size: int) -> int:
        """Of a layer's adapter, for each token: its copy of the input (none if `size` is 0), the mask of its dropout, what
        passes between A and B; with DoRA, both outputs."""
        lora = self.recipe.lora
        assert lora is not None
        read = 2 if self._casts else 4
        kept = read * lora.r
        if size and not self._is_read_as_it_is(size):
            kept += read * layer.inputs
        if lora.lora_dropout:
            # A GPU keeps one byte for each number, a CPU the factor itself.
            kept += layer.inputs * (1 if self.device == "cuda" else size if self._casts and self._quantized else 4)
        return kept + (layer.outputs * (self.product + read) if lora.use_dora else 0)

    def _cast_weights(self, layers: Collection[Linear]) -> int:
        """Copies in bfloat16 that autocast makes of float32 weights, each kept until its layer's backward pass."""
        if not self._casts or self.stream == 2 or self._quantized:
            return 0
        return 2 * sum(layer.weights for layer in layers)
