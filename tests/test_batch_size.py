"""Micro-batches that fit: found before the first step, halved when memory runs out, the step always whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_parts import random_rows
from transformers import AutoModelForCausalLM

from whet.engine import loop
from whet.engine.batch_size import free_bytes, is_out_of_memory, largest_fitting
from whet.engine.course import Course
from whet.engine.model import trained_weights
from whet.engine.timetable import Timetable
from whet.errors import RunError
from whet.progress import Silent
from whet.sections import Train

CPU = torch.device("cpu")
ROWS = random_rows(32, seed=8)


class Cramped(torch.nn.Module):
    """A model on a machine that takes `most` examples at a time, from its call number `after` on."""

    def __init__(self, base: Path, most: int, after: int = 0) -> None:
        super().__init__()
        self.inner = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64)
        self.most, self.after, self.calls = most, after, 0

    def forward(self, input_ids: torch.Tensor, **given: object) -> object:
        self.calls += 1
        if len(input_ids) > self.most and self.calls > self.after:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to")
        return self.inner(input_ids=input_ids, **given)


class Listener(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def trained(
    base: Path, folder: Path, size: int | str, most: int = 99, after: int = 0
) -> tuple[dict[str, torch.Tensor], list[str], list[int]]:
    """(weights after two steps of 16, what was said, the micro-batch of each step)."""
    folder.mkdir()
    cramped, listener = Cramped(base, most, after), Listener()
    train = Train(optim="sgd", share_prefix=False, learning_rate=0.1, per_device_train_batch_size=size, num_train_epochs=1)
    loop.train(cramped, Course(ROWS, Timetable(32, train, 1), 1, lambda m: (1.0, None), folder), listener)
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return trained_weights(cramped), listener.said, [line["micro_batch"] for line in log]


def test_auto_takes_the_largest_power_of_two_and_trains_the_same(tiny_base: Path, tmp_path: Path) -> None:
    free, _, sizes = trained(tiny_base, tmp_path / "a", 16)
    tight, said, found = trained(tiny_base, tmp_path / "b", "auto", most=6)
    assert sizes == [16, 16] and found == [4, 4] and said == ["micro-batches of 4 examples, 4 in a step"]
    roomy = trained(tiny_base, tmp_path / "c", "auto")
    assert roomy[2] == [16, 16]
    for name, weight in free.items():
        torch.testing.assert_close(tight[name], weight, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(roomy[0][name], weight, rtol=1e-6, atol=1e-9)


def test_out_of_memory_halves_the_micro_batch_and_the_step_stays_whole(tiny_base: Path, tmp_path: Path) -> None:
    free, _, _ = trained(tiny_base, tmp_path / "a", 16)
    tight, said, sizes = trained(tiny_base, tmp_path / "b", 16, most=5, after=1)
    assert sizes == [16, 4] and [s.split(":")[0] for s in said] == ["out of memory at step 2"] * 2
    assert "micro-batches of 4 examples from here on, the step stays whole" in said[1]
    for name, weight in free.items():
        torch.testing.assert_close(tight[name], weight, rtol=1e-6, atol=1e-9)


def test_one_example_that_does_not_fit_is_an_error_that_says_what_helps(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"one example alone does not fit into memory at step 1 .*max_length.*quantize"):
        trained(tiny_base, tmp_path / "a", 2, most=0)


def test_the_trial_of_the_layout_does_not_run_out_of_memory_itself(tiny_base: Path, tmp_path: Path) -> None:
    """Two examples fit, and the trial takes four: it tries again with fewer, and "auto" goes on from there."""
    listener = Listener()
    train = Train(per_device_train_batch_size="auto", num_train_epochs=1, packing=True)
    loop.train(Cramped(tiny_base, 2), Course(ROWS, Timetable(32, train, 1), 1, lambda m: (1.0, None), tmp_path), listener)
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(log) == 2 and listener.said[0].startswith("the token tree is off: this model cannot be computed that way")


def test_other_errors_are_not_taken_for_memory() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not fit")) and is_out_of_memory(
        torch.OutOfMemoryError("CUDA out of memory")
    )

    def broken(size: int) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        largest_fitting(broken, 8, 0, CPU)


def test_nothing_is_tried_that_is_forecast_not_to_fit() -> None:
    tried: list[int] = []

    def attempt(size: int) -> None:
        tried.append(size)
        torch.ones(size * 2_000_000).sum()

    assert largest_fitting(attempt, 8, 0, CPU) == 8 and tried == [1, 2, 4, 8]
    tried.clear()
    assert largest_fitting(attempt, 8, free_bytes(CPU), CPU) == 1 and tried == [1]


REAL = """
import resource, sys, torch
from pathlib import Path
from whet.engine.batch_size import is_out_of_memory, largest_fitting, free_bytes
import psutil
room = 400 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + room, resource.RLIM_INFINITY))
assert free_bytes(torch.device("cpu")) <= room
def attempt(size): torch.ones(size, 10_000_000)
print(largest_fitting(attempt, 64, 0, torch.device("cpu")))
try:
    attempt(64)
except RuntimeError as error:
    print(is_out_of_memory(error))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux refuses memory at a process's limit")
def test_a_real_allocator_that_refuses() -> None:
    """A process limited to 400 MiB more, examples of 40 MB: 4 or 8 fit (threads take room too), never 16. And torch's own
    refusal is recognised."""
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() in (["4", "True"], ["8", "True"]), done.stderr
