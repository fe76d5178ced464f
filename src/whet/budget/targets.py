"""What of a model trains, by a recipe and the names in its Shape: which tensors, how large, in what precision. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whet.budget.shapes import Linear, Shape
from whet.errors import ModelError, Problem
from whet.recipe import Recipe
from whet.sections import Lora

PRECISION_BYTES = {"float32": 4, "bfloat16": 2}
ADAPTER_BYTES = 4  # PEFT keeps what it trains in float32, whatever the base is in


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that trains: a matrix of rows x columns, or a vector (one column), and the bytes of one number."""

    rows: int
    columns: int
    number_bytes: int
    is_embedding: bool = False  # or the output head

    @property
    def count(self) -> int:
        """Numbers in it."""
        return self.rows * self.columns

    @property
    def size_bytes(self) -> int:
        """All of them."""
        return self.count * self.number_bytes


def trained(shape: Shape, recipe: Recipe) -> list[tuple[int, Weight]]:
    """(number of the transformer layer, Weight) of everything that trains; -1 is below the layers, their count above them.

    Example:
        >>> from whet.budget.shapes import known_shape
        >>> from whet.recipe import parse
        >>> llama, task = known_shape("meta-llama/Llama-2-7b-hf"), {"labels": ["a", "b"], "instruction": "Which?"}
        >>> data = {"path": "x.csv", "input": "text", "target": "label"}
        >>> of = lambda **more: trained(llama, parse({"name": "x", "task": task, "data": data, **more}))
        >>> sum(weight.count for _, weight in of()), sum(weight.count for _, weight in of(lora={"r": 64}))
        (6738415616, 159907840)
    """
    number_bytes = PRECISION_BYTES[recipe.model.dtype]
    if recipe.lora is None:
        return [(_number(shape, name), weight) for name, weight in _tensors(shape, number_bytes)]
    lora, found = recipe.lora, []
    for name, layer in adapted_layers(shape, lora):
        number = _number(shape, name)
        found += [(number, Weight(lora.r, layer.inputs, ADAPTER_BYTES)), (number, Weight(layer.outputs, lora.r, ADAPTER_BYTES))]
        if lora.use_dora:
            found.append((number, Weight(layer.outputs, 1, ADAPTER_BYTES)))
    return [*found, *_biases(shape, lora, number_bytes), *_whole(shape, lora, number_bytes)]


def adapted_layers(shape: Shape, lora: Lora) -> list[tuple[str, Linear]]:
    """(full name, layer) of every linear layer that gets an adapter, as the engine chooses them.

    Raises:
        ModelError: if a name leads to no layer, or none is left.

    Example:
        >>> from whet.budget.shapes import known_shape
        >>> llama = known_shape("meta-llama/Llama-2-7b-hf")
        >>> len(adapted_layers(llama, Lora(target_modules=("q_proj", "v_proj"), layers_to_transform=(0, 1, 2))))
        6
    """
    wanted, layers = lora.target_modules, list(shape.linear_layers())
    if wanted == "all-linear":
        found = layers
    elif isinstance(wanted, str):
        found = [(name, layer) for name, layer in layers if is_named(name, wanted) or matches(wanted, name)]
    else:
        found = [(name, layer) for name, layer in layers if any(is_named(name, pattern) for pattern in wanted)]
    found = [
        (name, layer) for name, layer in found
        if (not lora.layers_to_transform or _number(shape, name) in lora.layers_to_transform)
        and not any(is_named(name, pattern) for pattern in (*lora.exclude_modules, *lora.modules_to_save))
    ]  # fmt: skip
    if not found:
        ends = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name, _ in layers))
        what = f"target_modules = {wanted!r} leaves no layer to put an adapter on"
        raise ModelError(Problem("[lora]", what, f'Linear layers here: {ends}; or write "all-linear"'))
    return found


def adapter_weights(shape: Shape, lora: Lora) -> int:
    """Weights of the adapter: r for each input and output of its layers, one more for each output with DoRA.

    Example:
        >>> from whet.budget.shapes import known_shape
        >>> adapter_weights(known_shape("meta-llama/Llama-2-7b-hf"), Lora(r=64))
        159907840
    """
    layers = [layer for _, layer in adapted_layers(shape, lora)]
    return sum(lora.r * (layer.inputs + layer.outputs) + lora.use_dora * layer.outputs for layer in layers)


def is_named(name: str, pattern: str) -> bool:
    """Whether the pattern is the name, or whole parts of it in a row.

    Example:
        >>> is_named("model.layers.11.mlp.up_proj", "layers.11"), is_named("model.layers.11.mlp.up_proj", "layers.1")
        (True, False)
    """
    return f".{pattern}." in f".{name}."


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name is what this regular expression describes, as in PEFT."""
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        what = f"{pattern!r} is no regular expression: {error}"
        raise ModelError(Problem("[lora] target_modules", what, "Write a list of names, or mend it")) from None


def _number(shape: Shape, name: str) -> int:
    """Of the transformer layer that a module stands in; -1 for embeddings, the layers' count for what comes behind them."""
    path, (embedding, _, _, *tables) = shape.kind.path, shape.kind.ends
    if name.startswith(f"{path}."):
        return int(name[len(path) + 1 :].split(".")[0])
    return -1 if name in (embedding, *tables) else shape.layers


def _tensors(shape: Shape, number_bytes: int) -> Iterator[tuple[str, Weight]]:
    """(module's name, Weight) of every tensor of the base; a tied head has none."""
    linears, ends = dict(shape.linear_layers()), shape.kind.ends
    for name, count in shape.parts():
        if name in linears:
            layer = linears[name]
            yield name, Weight(layer.outputs, layer.inputs, number_bytes)
            rest = count - layer.weights
        elif name in (ends[0], *ends[2:]):
            rows = shape.positions if name in ends[3:] else shape.vocabulary
            yield name, Weight(rows, shape.width, number_bytes, is_embedding=True)
            rest = count - rows * shape.width
        else:
            rest = count
        if rest:
            yield name, Weight(rest, 1, number_bytes)


def _biases(shape: Shape, lora: Lora, number_bytes: int) -> Iterator[tuple[int, Weight]]:
    """The base's biases that train beside an adapter."""
    if lora.bias == "none":
        return
    adapted = dict(adapted_layers(shape, lora))
    for name, layer in shape.linear_layers():
        if layer.has_bias and (lora.bias == "all" or name in adapted):
            yield _number(shape, name), Weight(layer.outputs, 1, number_bytes)


def _whole(shape: Shape, lora: Lora, number_bytes: int) -> Iterator[tuple[int, Weight]]:
    """The modules that train whole beside an adapter: copies of the base's."""
    if not lora.modules_to_save:
        return
    yield from (
        (_number(shape, name), weight)
        for name, weight in _tensors(shape, number_bytes)
        if _is_saved(name, lora.modules_to_save)
    )
    head = shape.kind.ends[2]
    if shape.tied and _is_saved(head, lora.modules_to_save):  # its copy is tied to nothing
        yield shape.layers, Weight(shape.vocabulary, shape.width, number_bytes, is_embedding=True)


def _is_saved(name: str, patterns: Sequence[str]) -> bool:
    """Whether a module, or one that it stands in, has a name that ends so."""
    parts = name.split(".")
    modules = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return any(f".{module}".endswith(f".{pattern}") for module in modules for pattern in patterns)
