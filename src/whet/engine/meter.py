"""A meter of memory: counts what tensors take, by what they hold, while they have sizes and no values.

What depends on token ids alone (masks, positions, where examples begin) is really computed, so that a model goes the way that
it would go; all that depends on weights is fake. A number that is asked of a fake tensor is what `Meter.answer` says.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from whet.budget.memory import COMPONENTS
from whet.budget.resting import Device
from whet.engine.bnb_code import own_code

CUDA_BLOCK = 512  # bytes that CUDA's caching allocator rounds up to
NUMBER = torch.ops.aten._local_scalar_dense.default
IN_PLACE = (torch.ops.aten.add.Tensor, torch.ops.aten.index_put.default)


class Meter(TorchDispatchMode):
    """Bytes in use by component, and what they were at their height in each phase.

    Args:
        vocabulary: what is so wide in its last dimension are logits.
        device: whose allocator is followed.
    """

    def __init__(self, vocabulary: int, device: Device) -> None:
        super().__init__()
        self.answer = 1.0
        self.passing = "activations"  # what is made from here on, if it is nothing better known
        self.used: dict[str, int] = dict.fromkeys(COMPONENTS, 0)
        self.heights: dict[str, dict[str, int]] = {}
        self._phase = ""
        self._vocabulary, self._block = vocabulary, CUDA_BLOCK if device == "cuda" else 1
        self._code = {**own_code(device), "aten::logsumexp": _logsumexp}
        self._storages: dict[int, tuple[str, int]] = {}  # component and bytes

    def begin(self, phase: str) -> None:
        """Measures the height of this phase from here on."""
        self._rise()
        self._phase = phase
        self._rise()

    def count(self, tensor: torch.Tensor, component: str) -> None:
        """Counts what this tensor takes as that component."""
        self._add(tensor, component)
        key = tensor.untyped_storage()._cdata
        before, size = self._storages[key]
        self.used[before] -= size
        self.used[component] += size
        self._storages[key] = component, size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._rise()
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if given and not any(isinstance(x, FakeTensor) for x in given):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is NUMBER:
            return self._number(given[0].dtype)
        if code := self._code.get(func.name()):
            with self:
                return code(*args, **kwargs)
        if _is_composite(func):  # in inference mode, these arrive whole
            with self:
                return func.decompose(*args, **kwargs)
        # Autograd writes these into what it has, if that is no view; under a mode it makes another and drops the first.
        is_in_place = func in IN_PLACE and _caller() == "_engine_run_backward" and not given[0]._is_view()
        found = func(*args, **kwargs)
        for made in tree_leaves(found):
            if isinstance(made, torch.Tensor):
                is_logits = made.ndim > 0 and made.shape[-1] == self._vocabulary and self.passing == "activations"
                self._add(made, "logits" if is_logits else self.passing)
        if not is_in_place:
            self._rise()
        return found

    def _number(self, dtype: torch.dtype) -> bool | int | float:
        if dtype == torch.bool:
            return False
        return self.answer if dtype.is_floating_point else int(self.answer)

    def _rise(self) -> None:
        """Keeps what is in use, if it is more than this phase has seen."""
        total = sum(self.used.values())
        if total > sum(self.heights.get(self._phase, {}).values()):
            self.heights[self._phase] = dict(self.used)

    def _add(self, tensor: torch.Tensor, component: str) -> None:
        """Counts a tensor's storage, once, until nobody holds it any more."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        size = -(-storage.nbytes() // self._block) * self._block
        self._storages[key] = component, size
        self.used[component] += size
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        component, size = self._storages.pop(key)
        self.used[component] -= size


def _logsumexp(x: torch.Tensor, dim: list[int], keepdim: bool = False) -> torch.Tensor:
    """As torch computes it: with exponentials as large as x in between, which it does not show."""
    return (x - x.amax(dim, keepdim=True)).exp_().sum(dim, keepdim=keepdim)


def _caller() -> str:
    """The name of the function that asked for the operation, behind torch's own wrappers of a mode."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_name in ("inner", "_fn"):
        frame = frame.f_back
    return frame.f_code.co_name


@cache
def _is_composite(func: Any) -> bool:
    """Whether an operation is made of others, each of which allocates for itself, and is no kernel of its own on a CPU."""
    if func.namespace == "prim":
        return False
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return has_kernel(func.name(), "CompositeImplicitAutograd") and not has_kernel(func.name(), "CPU")


class Blank(TorchFunctionMode):
    """Lets fake tensors be read out as NumPy arrays and lists: of zeros."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.numpy, torch.Tensor.tolist) and isinstance(args[0], FakeTensor):
            zeros = np.zeros(tuple(args[0].shape))
            return zeros if func is torch.Tensor.numpy else zeros.astype(int).tolist()
        return func(*args, **(kwargs or {}))
