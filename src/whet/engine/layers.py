"""Which layers of a model a recipe means: all linear ones, those of a name, modules that train whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from whet.budget.targets import is_named, matches
from whet.errors import ModelError, Problem
from whet.sections import Lora


def bare(model: Any) -> Any:
    """The Transformers model, inside PEFT's wrapping or bare."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def linear_layers(model: torch.nn.Module) -> list[str]:
    """The names of all linear layers but the output head, in order: what "all-linear" means."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    inner, found, inside = bare(model), [], "\0"
    head = inner.get_output_embeddings()
    for name, module in inner.named_modules():
        if name.startswith(inside):
            continue
        if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)):
            inside = name + "."
        if module is head:
            continue
        is_tuned = isinstance(module, BaseTunerLayer) and isinstance(module.get_base_layer(), (torch.nn.Linear, Conv1D))
        if is_tuned or isinstance(module, (torch.nn.Linear, Conv1D)):
            found.append(name)
    return found


def target_layers(model: torch.nn.Module, lora: Lora, saved: Sequence[str]) -> list[str]:
    """The full names of the layers that get an adapter.

    Args:
        model: a base model, with or without adapters.
        lora: the `[lora]` section.
        saved: full names of modules that train whole; they get none.

    Raises:
        ModelError: if a name or a number leads to no linear layer, or none is left.
    """
    linear = linear_layers(model)
    ends = ", ".join(dict.fromkeys(n.rsplit(".", 1)[-1] for n in linear))
    known = f'Linear layers here: {ends}; or write "all-linear". The head gets none; modules_to_save trains it whole'
    wanted = lora.target_modules
    if wanted == "all-linear":
        found = linear
    elif isinstance(wanted, str):
        found = [n for n in linear if is_named(n, wanted) or matches(wanted, n)]
    else:
        found = all_named(linear, wanted, "[lora] target_modules", known)
    if not found:
        raise ModelError(Problem("[lora] target_modules", f"{wanted!r} is the name of no linear layer", known))
    excluded = all_named(found, lora.exclude_modules, "[lora] exclude_modules", known)
    numbers = {n: int(m[1]) for n in found if (m := re.search(r"\.(\d+)\.", f".{n}."))}
    if unknown := sorted(set(lora.layers_to_transform) - set(numbers.values())):
        have = ", ".join(map(str, sorted(set(numbers.values()))))
        what = f"there is no layer {', '.join(map(str, unknown))} among those chosen"
        raise ModelError(Problem("[lora] layers_to_transform", what, f"Layers here: {have}"))
    kept = [
        n for n in found
        if n not in excluded
        and (not lora.layers_to_transform or numbers.get(n) in lora.layers_to_transform)
        and not any(f"{n}.".startswith(f"{whole}.") for whole in saved)
    ]  # fmt: skip
    if not kept:
        what = "nothing is left to train: every layer is excluded"
        raise ModelError(Problem("[lora] exclude_modules", what, "Exclude less"))
    return kept


def whole_modules(model: torch.nn.Module, patterns: Sequence[str]) -> list[str]:
    """The full names of the modules that these names (or ends of names) lead to, and that are to train whole.

    PEFT itself matches every name that merely ends alike: "norm" would be each input_layernorm too.

    Raises:
        ModelError: if a name leads to no module, or to a quantized one.
    """
    inner = bare(model)
    found = {p: [n for n, _ in inner.named_modules() if n == p or n.endswith(f".{p}")] for p in patterns}
    where = "[lora] modules_to_save"
    for pattern, names in found.items():
        if not names:
            have = ", ".join(dict.fromkeys(n.rsplit(".", 1)[-1] for n, _ in inner.named_modules() if n and not n[-1].isdigit()))
            raise ModelError(Problem(where, f"there is no module {pattern!r}", f"Modules here: {have}"))
        frozen = [n for n in names if any(not p.is_floating_point() for p in inner.get_submodule(n).parameters())]
        if frozen:
            what = f"{frozen[0]} is quantized, and quantized weights cannot be trained"
            raise ModelError(Problem(where, what, "Name it in [model] llm_int8_skip_modules too"))
    return [n for names in found.values() for n in names]


def all_named(names: Sequence[str], patterns: Sequence[str], where: str, known: str) -> list[str]:
    """Those of the names that a pattern leads to; each pattern must lead to one (PEFT would pass over it in silence)."""
    strays = [p for p in patterns if not any(is_named(n, p) for n in names)]
    if strays:
        what = f"{', '.join(map(repr, strays))} is the name of no linear layer"
        raise ModelError(Problem(where, what, known))
    return [n for n in names if any(is_named(n, p) for p in patterns)]
