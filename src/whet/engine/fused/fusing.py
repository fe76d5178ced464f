"""Which part of a model is computed in which way. Only instances are touched, and only while a step is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from whet.engine.fused.attention import attend_in_one, attention_part
from whet.engine.fused.feed_forward import feed_forward, gated_layers
from whet.engine.fused.linear import EXACT, Linear, LoraLinear, adapters, plain_projection
from whet.engine.fused.norm import RMSNorm

Tensor = torch.Tensor
Forward = Callable[..., Any]


@contextmanager
def fusing(model: torch.nn.Module) -> Iterator[None]:
    """Lets attention and feed-forward parts, linear layers and norms compute in fewer passes; all is as before afterwards.

    A module that is not of a known kind is left as it is. Backward passes that compute activations again must lie inside too.
    """
    replaced = list(_parts(model))
    for module, fused in replaced:
        module.forward = fused  # the instance's, not the class's
    try:
        yield
    finally:
        for module, _ in replaced:
            del module.forward


def _parts(module: Any) -> Iterator[tuple[Any, Forward]]:
    """Modules of a known kind, and their forward in fewer passes. A step pays for this search, so it does not look into those;
    only attention that is asked for what it does not serve calls its layers."""
    fused = _fused(module)
    if fused:
        yield module, fused
    if fused is None or fused.func is attend_in_one:
        for child in module._modules.values():
            if child is not None:
                yield from _parts(child)


def _fused(module: Any) -> partial[Any] | None:
    """The forward of a module in fewer passes, or None if it is of no known kind."""
    if "forward" in vars(module):
        return None
    if part := attention_part(module):
        return partial(attend_in_one, module.forward, part)
    fused = _on_its_own(module)
    return None if fused is None else partial(_choose, module.forward, fused)


def _on_its_own(module: Any) -> Callable[[Tensor], Tensor] | None:
    """What a module says of its input alone."""
    if type(module).__name__.endswith("MLP") and (layers := gated_layers(module)):
        return lambda x: feed_forward(x, layers)
    if "lora_A" in module._modules and (layer := plain_projection(module)):
        return lambda x: LoraLinear.apply(x, layer, *adapters([layer]))
    if any(weight is not None and weight.dtype not in EXACT for weight in module._parameters.values()):
        return None
    if type(module) is torch.nn.Linear:
        return lambda x: Linear.apply(x, module.weight, module.bias)
    if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return lambda x: RMSNorm.apply(x, module.weight, module.variance_epsilon)
    return None


def _choose(own: Forward, fused: Callable[[Tensor], Tensor], x: Tensor, *more: object, **named: object) -> Tensor:
    """What a module says of x in fewer passes; in its own way in half precision and under autocast, where layers cast."""
    if more or named or x.dtype not in EXACT or torch.is_autocast_enabled(x.device.type):
        found: Tensor = own(x, *more, **named)
        return found
    return fused(x)
