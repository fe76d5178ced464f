"""Devices: how much memory they have and how fast they are; those that can be bought, by name, and this machine. No torch."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from whet.errors import Problem, UserError

MIB = 1024**2
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
# Multiplications and additions a second that a core of today sustains in float32 over a whole training step. Without a run to
# learn from, times that follow from it are good to a factor of three.
CORE_FLOPS = 3e10
# Share of a GPU's peak that training of a large model sustains: reports lie between 20 and 50 %.
GPU_SHARE = 0.35
# What a process holds beside its tensors: Python with torch, transformers and PEFT, and once it trains the buffers of threads
# and libraries and what the allocator does not give back (measured with torch 2.13 on two cores: 0.37 GiB at the start, 0.8 to
# 0.95 GiB at the end of short trainings of the embedded base); on a GPU the CUDA context with its kernels (0.3 to 0.8 GiB).
CPU_OUTSIDE_BYTES = 900 * MIB
CUDA_OUTSIDE_BYTES = 512 * MIB

Kind = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Device:
    """Where a run would take place.

    Args:
        name: of the GPU or processor.
        kind: which of the two.
        memory_bytes: all that it has.
        flops: what it sustains a second in float32.
        half_flops: the same in bfloat16.
    """

    name: str
    kind: Kind
    memory_bytes: int
    flops: float
    half_flops: float

    @property
    def outside_bytes(self) -> int:
        """What a run takes beside its tensors."""
        return CUDA_OUTSIDE_BYTES if self.kind == "cuda" else CPU_OUTSIDE_BYTES


    def to_json(self) -> dict[str, str]:
        """What a plan says of it."""
        return {"name": self.name, "kind": self.kind}


def _gpu(name: str, memory_mib: int, half_tflops: float, tflops: float) -> Device:
    return Device(name, "cuda", memory_mib * MIB, GPU_SHARE * tflops * 1e12, GPU_SHARE * half_tflops * 1e12)


# Memory as `nvidia-smi` reports it; peak dense rates of 16-bit tensor cores (float32 sums) and of float32, in TFLOP/s, from
# the makers' data sheets.
GPUS: Mapping[str, Device] = {
    gpu.name: gpu
    for gpu in (
        _gpu("T4", 15360, 65, 8.1), _gpu("V100 16GB", 16384, 125, 15.7), _gpu("V100 32GB", 32768, 125, 15.7),
        _gpu("L4", 23034, 121, 30.3), _gpu("A10", 23028, 125, 31.2), _gpu("A10G", 23028, 70, 35.0),
        _gpu("RTX 3060", 12288, 25.5, 12.7), _gpu("RTX 3090", 24576, 71, 35.6), _gpu("RTX 4060 Ti 16GB", 16380, 44, 22.1),
        _gpu("RTX 4070 Ti SUPER", 16376, 88, 44.1), _gpu("RTX 4080", 16376, 97.5, 48.7),
        _gpu("RTX 4090", 24564, 165, 82.6), _gpu("RTX 5090", 32607, 209, 104.8),
        _gpu("A40", 46068, 150, 37.4), _gpu("RTX A6000", 49140, 155, 38.7), _gpu("RTX 6000 Ada", 49140, 364, 91.1),
        _gpu("L40S", 46068, 362, 91.6), _gpu("A100 40GB", 40960, 312, 19.5), _gpu("A100 80GB", 81920, 312, 19.5),
        _gpu("H100 PCIe", 81559, 756, 51), _gpu("H100", 81559, 989, 67), _gpu("H200", 143771, 989, 67),
        _gpu("B200", 183359, 2250, 75),
    )
}  # fmt: skip


def find_device(name: str) -> Device:
    """The device of this name: `cpu` and `this machine`, or a GPU of the table, whatever the case and the blanks.

    Raises:
        UserError: if there is none, with the nearest.

    Example:
        >>> find_device("nvidia a10g").memory_bytes // 2**20, find_device("rtx4090").name
        (23028, 'RTX 4090')
    """
    if _plain(name) in ("thismachine", "here"):
        return this_machine()
    if _plain(name) == "cpu":
        return processor()
    known = {_plain(gpu): device for gpu, device in GPUS.items()}
    wanted = _plain(name)
    if wanted in known:
        return known[wanted]
    sized = [device for plain, device in known.items() if plain.startswith(wanted)]
    near = sized or [known[plain] for plain in difflib.get_close_matches(wanted, known, n=3)]
    do = f"Did you mean {', '.join(d.name for d in near)}?" if near else f"Known are {', '.join(GPUS)}, or give --budget"
    raise UserError(Problem(f"--device {name}", "this device is not known", do))


def parse_bytes(text: str) -> int:
    """A number of bytes written as 16GiB, 24 GB or 800MiB.

    Raises:
        UserError: if it is written otherwise.

    Example:
        >>> parse_bytes("16GiB"), parse_bytes("1.5 GB"), parse_bytes("24g")
        (17179869184, 1500000000, 25769803776)
    """
    units = {unit.lower(): size for unit, size in UNITS.items()} | {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "": 1}
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    size = round(float(found[1]) * units.get(found[2].lower(), 0)) if found else 0
    if not size:
        raise UserError(Problem(f"--budget {text}", "this is no amount of memory", "Write it as 16GiB, 24GB or 800MiB"))
    return size


def this_machine() -> Device:
    """The GPU that a run on this machine would use, or its processor."""
    found = _cuda()
    return processor() if found is None else found


def processor() -> Device:
    """This machine's processor, with the memory that this process may use."""
    import psutil  # type: ignore[import-untyped]

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = min([psutil.virtual_memory().total, *_container_limit()])
    # On a processor bfloat16 is no faster where it is not built in, and a little where it is.
    return Device(_processor_name(), "cpu", memory, cores * CORE_FLOPS, cores * CORE_FLOPS)


def gpu_called(name: str, memory_bytes: int) -> Device:
    """A GPU that calls itself so: as the table knows it, with the memory that it says it has."""
    plain = _plain(name)
    fitting = [device for device in GPUS.values() if _plain(re.sub(r" \d+GB$", "", device.name)) in plain]
    # One that is not in the table is taken for a slow one: better a plan that promises too little than one that promises much.
    nearest = sorted(fitting, key=lambda d: (-len(re.sub(r" \d+GB$", "", d.name)), abs(d.memory_bytes - memory_bytes)))
    like = next(iter(nearest), GPUS["T4"])
    return Device(name, "cuda", memory_bytes, like.flops, like.half_flops)


def _cuda() -> Device | None:
    """The first GPU that torch would see, found without torch; None where there is none, or torch is built without CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not visible.strip(" -1"):
        return None
    try:
        if "+cpu" in metadata.version("torch"):
            return None
        command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (metadata.PackageNotFoundError, OSError, subprocess.SubprocessError):
        return None
    lines = [line.rpartition(",") for line in said.splitlines() if "," in line]
    first = visible.split(",")[0].strip() if visible else "0"
    chosen = lines[int(first) if first.isdigit() and int(first) < len(lines) else 0] if lines else None
    return gpu_called(chosen[0].strip(), int(chosen[2]) * MIB) if chosen and chosen[2].strip().isdigit() else None


def _container_limit() -> list[int]:
    """The memory limit of this process's control group (v2, then v1); empty where there is none."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        return [int(text)] if text.isdigit() else []
    return []


def _processor_name() -> str:
    """What the processor calls itself, and how many of its cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    import platform

    said = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{said}, {cores} core{'' if cores == 1 else 's'}"


def _plain(name: str) -> str:
    """A name without blanks, case and its maker."""
    return re.sub(r"[^a-z0-9]|nvidia|geforce|tesla", "", name.lower())
