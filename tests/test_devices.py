"""Devices by name, amounts of memory, this machine."""

from __future__ import annotations

import pytest

from whet.budget.devices import GPUS, find_device, gpu_called, parse_bytes, processor, this_machine
from whet.errors import UserError

GIB = 2**30


def test_a_device_is_found_by_how_people_write_it() -> None:
    assert len(GPUS) >= 20
    for name, device in GPUS.items():
        assert find_device(name.lower().replace(" ", "-")) == device
    assert find_device("NVIDIA A10G").name == "A10G" and find_device("Tesla T4").name == "T4"
    assert find_device("cpu").kind == "cpu"


def test_an_unknown_device_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="A100 40GB, A100 80GB"):
        find_device("A100")
    with pytest.raises(UserError, match="RTX 4090"):
        find_device("RTX 4091")
    with pytest.raises(UserError, match="--budget"):
        find_device("abacus")


@pytest.mark.parametrize(
    ("text", "size"), [("16GiB", 16 * GIB), ("24 GB", 24 * 10**9), ("1.5g", 3 * GIB // 2), ("800MiB", 800 * 2**20)]
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "16 apples", "-3GiB", "0GiB"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(UserError, match="16GiB, 24GB or 800MiB"):
        parse_bytes(text)


def test_a_gpu_is_known_by_what_it_calls_itself() -> None:
    found = gpu_called("NVIDIA A100-SXM4-80GB", 81920 * 2**20)
    assert found.half_flops == GPUS["A100 80GB"].half_flops and found.memory_bytes == 81920 * 2**20
    assert gpu_called("Unheard Of 9000", GIB).flops == GPUS["T4"].flops


def test_this_machine_has_memory_and_a_name() -> None:
    here = this_machine()
    assert here.memory_bytes > GIB / 2 and here.name and here.flops > 0
    assert processor().outside_bytes > 2**28
