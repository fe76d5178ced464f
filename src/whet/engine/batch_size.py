"""The largest micro-batch that fits: found by trial before the first step, halved when memory runs out later."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

MARGIN = 0.9  # of the free memory may be filled by a forecast: allocators fragment, and other programs live too


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on an accelerator or on the CPU (where torch raises a plain RuntimeError).

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"))
        True
    """
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def largest_fitting(attempt: Callable[[int], None], most: int, reserved_bytes: int, device: torch.device) -> int:
    """The largest power of two up to `most` that `attempt` survives, found by doubling.

    Before each doubling the memory of the last size is doubled as a forecast, and nothing is tried that would not fit: a
    CPU that really runs out does not raise, the system ends the process.

    Args:
        attempt: runs a forward and backward pass of that many examples, and leaves no gradients behind.
        most: the examples of a step.
        reserved_bytes: what training will need besides (the optimizer's state).
        device: whose memory counts.
    """
    fits, size = 1, 1
    while size <= most:
        try:
            used = _bytes_of(lambda size=size: attempt(size), device)  # type: ignore[misc]  # bound now, called now
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        fits = size
        if 2 * used + reserved_bytes > MARGIN * free_bytes(device):
            break
        size *= 2
    release()
    return fits


def release() -> None:
    """Gives back what the last failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had: of the accelerator; or of this machine, container and process, the smallest of them."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    import psutil  # type: ignore[import-untyped]

    limits = [psutil.virtual_memory().available]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft - psutil.Process().memory_info().vms)
    limits += _container_bytes()
    return max(0, min(limits))


def _container_bytes() -> list[int]:
    """What the control group of this process (v2, then v1) still allows; empty where there is no limit."""
    for folder, limit, used, cache in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            top, now, stat = (Path(folder, name).read_text() for name in (limit, used, "memory.stat"))
        except OSError:
            continue
        given_back = int(
            dict(line.split() for line in stat.splitlines()).get(cache, 0)
        )  # file cache counts as used, but yields
        return [int(top) - int(now) + given_back] if top.strip().isdigit() else []
    return []


def _bytes_of(run: Callable[[], None], device: torch.device) -> int:
    """The memory that a call needed at its height, beyond what was in use before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    import psutil

    before = psutil.Process().memory_info().rss
    forget_peak()
    run()
    return max(0, peak_bytes() - before)


def forget_peak() -> None:
    """Lets Linux measure the process's peak from now on; elsewhere the highest so far stays, and forecasts are cautious."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The largest memory so far: of the accelerator where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform.startswith("linux"):  # getrusage would count what the parent held when it started this process
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
