"""What of a model trains, by a recipe and the names in its Shape: the layers that get an adapter, how many weights. No torch."""

from __future__ import annotations

import re

from whet.budget.shapes import Linear, Shape
from whet.errors import ModelError, Problem
from whet.sections import Lora


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
        found = [(name, layer) for name, layer in layers if _is_named(name, wanted) or _matches(wanted, name)]
    else:
        found = [(name, layer) for name, layer in layers if any(_is_named(name, pattern) for pattern in wanted)]
    found = [
        (name, layer) for number, of_layer in enumerate(_by_layer(found, shape)) for name, layer in of_layer
        if (not lora.layers_to_transform or number in lora.layers_to_transform)
        and not any(_is_named(name, pattern) for pattern in lora.exclude_modules)
        and not any(_is_named(name, whole) for whole in lora.modules_to_save)
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


def _by_layer(layers: list[tuple[str, Linear]], shape: Shape) -> list[list[tuple[str, Linear]]]:
    """The same by the number of the transformer layer that they stand in."""
    prefix = f"{shape.kind.path}."
    return [[(n, layer) for n, layer in layers if n.startswith(f"{prefix}{number}.")] for number in range(shape.layers)]


def _is_named(name: str, pattern: str) -> bool:
    """Whether the pattern is the name, or whole parts of it in a row."""
    return f".{pattern}." in f".{name}."


def _matches(pattern: str, name: str) -> bool:
    """Whether the whole name is what this regular expression describes, as in PEFT."""
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        what = f"{pattern!r} is no regular expression: {error}"
        raise ModelError(Problem("[lora] target_modules", what, "Write a list of names, or mend it")) from None
