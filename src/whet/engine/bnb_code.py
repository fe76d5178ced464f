"""What bitsandbytes holds in between: its operations that are written in torch, as code that runs on tensors without values.

The others are kernels: they take what they return and nothing else, and their sizes are known to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from whet.budget.resting import Device

Tensor = torch.Tensor
Code = Callable[..., Any]


def own_code(device: Device) -> Mapping[str, Code]:
    """The operations of bitsandbytes that hold more than they return on this device, by name.

    On CUDA a product in 4 bits of more than a few rows dequantizes the weight as on a CPU; the rest are kernels there.
    """
    return {f"bitsandbytes::{name}": code for name, code in (EVERYWHERE | (ON_CPU if device == "cpu" else ON_CUDA)).items()}


def _gemm_4bit(*args: Any, **kwargs: Any) -> Tensor:
    from bitsandbytes.backends.default.ops import _gemm_4bit_default_impl

    return _gemm_4bit_default_impl(*args, **kwargs)


def _update_32bit(*args: Any, **kwargs: Any) -> None:
    from bitsandbytes.backends.cpu.ops import _optimizer_update_32bit_cpu

    _optimizer_update_32bit_cpu(*args, **kwargs)


def _update_8bit(*args: Any, **kwargs: Any) -> None:
    from bitsandbytes.backends.cpu.ops import _optimizer_update_8bit_blockwise_cpu

    with torch.no_grad():
        _optimizer_update_8bit_blockwise_cpu(*args, **kwargs)


def _int8_mixed_scaled_mm(
    A: Tensor, CA: Tensor, CB: Tensor, SCA: Tensor, SCB: Tensor, outliers: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A product of which no input column is an outlier: those of real weights are few."""
    product: Tensor = torch.ops.bitsandbytes.int8_scaled_mm(CA, CB, SCA, SCB, bias, A.dtype)
    return product, A.new_empty(0)


def _int8_scaled_mm(
    A: Tensor, B: Tensor, row_stats: Tensor, col_stats: Tensor, bias: Tensor | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    whole = torch.ops.bitsandbytes.int8_linear_matmul(A, B)
    scales = row_stats.reshape(-1, 1) * col_stats.reshape(1, -1)
    out = whole.float().mul(scales) * 6.2e-05  # on a CPU, a product of two types begins with a copy of one
    if bias is not None:
        out += bias
    return out.to(dtype or torch.float16)


def _int8_linear_matmul(A: Tensor, B: Tensor) -> Tensor:
    """In float32 on processors without AVX-512, as bitsandbytes decides."""
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        return A.new_empty((*A.shape[:-1], B.shape[0]), dtype=torch.int32)
    return torch.matmul(A.float(), B.float().t()).to(torch.int32)


def _int8_vectorwise_quant(A: Tensor, threshold: float = 0.0) -> tuple[Tensor, Tensor, Tensor | None]:
    """Without outliers; that there are none is found out as bitsandbytes does."""
    mask = A.abs() >= threshold if threshold else None
    scale = torch.max(A.abs(), dim=1).values.float()
    out = torch.round(A * (127.0 / scale.unsqueeze(-1))).to(torch.int8)
    return out, scale, None if mask is None else A.new_empty(0, dtype=torch.int64)


def _int8_kernel(A: Tensor, threshold: float = 0.0) -> tuple[Tensor, Tensor, Tensor | None]:
    """What the kernel on CUDA returns where there are no outliers; torch knows no size of it where there might be."""
    rows: Sequence[int] = (A.numel() // A.shape[-1],)
    nothing = A.new_empty(0, dtype=torch.int64) if threshold else None
    return torch.empty_like(A, dtype=torch.int8), A.new_empty(rows, dtype=torch.float32), nothing


EVERYWHERE: dict[str, Code] = {"gemm_4bit": _gemm_4bit, "int8_mixed_scaled_mm": _int8_mixed_scaled_mm}
ON_CUDA: dict[str, Code] = {"int8_vectorwise_quant": _int8_kernel}
ON_CPU: dict[str, Code] = {
    "int8_scaled_mm": _int8_scaled_mm, "int8_linear_matmul": _int8_linear_matmul,
    "int8_vectorwise_quant": _int8_vectorwise_quant,
    "optimizer_update_32bit": _update_32bit, "optimizer_update_8bit_blockwise": _update_8bit,
}  # fmt: skip
