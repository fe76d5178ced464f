"""What the optimizers and schedules of other libraries do wrong or in silence, and what keeps it from happening here.

Each test first shows the trap, so that it is known when a new version no longer needs the guard; `trap N` is its number in the
list that the work on the engine began with.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest
import torch
import transformers

from whet.budget import schedule
from whet.engine.optim import build_optimizer
from whet.knobs.optimizers import why_not_optimizer
from whet.sections import Train

bnb: Any = importlib.import_module("bitsandbytes.optim")
Adafactor: Any = transformers.Adafactor


def transformers_rates(name: str, steps: int, warmup: int, **arguments: Any) -> list[float]:
    """The learning rate of each step, as Transformers sets it; the peak is 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    built: Any = transformers.get_scheduler(name, optimizer, warmup, steps, scheduler_specific_kwargs=arguments)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        built.step()
    return rates


def rates(steps: int, **train: Any) -> list[float]:
    settings = Train(learning_rate=1.0, **train)
    return [schedule.learning_rate(step, steps, settings) for step in range(steps)]


def test_trap_3_constant_ignores_warm_up_in_silence() -> None:
    assert transformers_rates("constant", 4, 2) == [1, 1, 1, 1]
    for warmup in ({"warmup_steps": 2}, {"warmup_ratio": 0.5}):
        with pytest.raises(ValueError, match='"constant" ignores warm-up; write "constant_with_warmup"'):
            Train(lr_scheduler_type="constant", **warmup)
    assert rates(4, lr_scheduler_type="constant_with_warmup", warmup_steps=2) == [0.5, 1, 1, 1]


def test_trap_4_the_first_step_of_warm_up_changes_nothing() -> None:
    assert transformers_rates("linear", 5, 2) == pytest.approx([0, 1 / 2, 1, 2 / 3, 1 / 3])
    assert rates(5, warmup_steps=2) == pytest.approx([1 / 2, 1, 1, 2 / 3, 1 / 3])


def test_restarts_restart_only_where_they_are_asked_to() -> None:
    assert transformers_rates("cosine_with_restarts", 8, 0) == pytest.approx(transformers_rates("cosine", 8, 0))
    cycles = rates(8, lr_scheduler_type="cosine_with_restarts", lr_scheduler_kwargs={"num_cycles": 2})
    assert cycles[4] == 1.0 and cycles != pytest.approx(rates(8, lr_scheduler_type="cosine"))


def test_polynomial_survives_a_run_that_is_all_warm_up() -> None:
    with pytest.raises(ZeroDivisionError):
        transformers_rates("polynomial", 3, 3)
    assert rates(3, lr_scheduler_type="polynomial", warmup_steps=3) == pytest.approx([1 / 3, 2 / 3, 1])


def trained(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> torch.Tensor:
    """A parameter after three steps down its own square."""
    for _ in range(3):
        parameter.grad = 2 * parameter.detach()
        optimizer.step()
    return parameter.detach()


def weight(elements: int = 64) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(0.1, 1, elements))


def test_rmsprop_of_bitsandbytes_takes_a_momentum_and_does_not_use_it() -> None:
    one, two = weight(), weight()
    assert torch.equal(trained(bnb.RMSprop([one], momentum=0.0), one), trained(bnb.RMSprop([two], momentum=0.9), two))
    assert "takes no momentum" in (why_not_optimizer("rmsprop_bnb_8bit", {"momentum": 0.9}) or "")


@pytest.mark.parametrize("optim", ["paged_ademamix_8bit", "paged_ademamix_32bit"])
def test_paged_ademamix_on_a_cpu_is_ademamix(optim: str) -> None:
    """It asks for paged memory even where there is none; from 100,000 elements on, that is an error from inside."""
    large = weight(100_000)
    with pytest.raises((AttributeError, RuntimeError, AssertionError)):
        trained(bnb.AdEMAMix([large], is_paged=True), large)
    plain = torch.nn.ParameterList([weight(100_000)])
    paged = torch.nn.ParameterList([weight(100_000)])
    results = [
        trained(build_optimizer(model, Train(optim=name)), model[0])
        for model, name in ((paged, optim), (plain, optim.removeprefix("paged_").removesuffix("_32bit")))
    ]
    assert torch.equal(*results)


def test_paging_on_a_cpu_warns_no_one() -> None:
    small = weight()
    with pytest.warns(UserWarning, match="not supported on CPU"):
        trained(bnb.AdamW([small], is_paged=True), small)
    model = torch.nn.ParameterList([weight()])
    trained(build_optimizer(model, Train(optim="paged_adamw_32bit")), model[0])  # a warning would fail the test


def test_loading_a_state_casts_what_was_kept_in_float32() -> None:
    """Adafactor keeps float32 moments of bfloat16 weights; the guard is `load_state`, which the checkpoints use."""
    parameter = torch.nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))

    def adafactor() -> Any:
        return Adafactor([parameter], lr=1e-3, scale_parameter=False, relative_step=False)

    optimizer = adafactor()
    trained(optimizer, parameter)
    assert optimizer.state[parameter]["exp_avg_sq_row"].dtype == torch.float32
    resumed = adafactor()
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.state[parameter]["exp_avg_sq_row"].dtype == torch.bfloat16


def test_bitsandbytes_asks_for_no_optional_kernel() -> None:
    """On some CPUs its import complains of a package that whet does not use, on stderr."""
    script = "import whet.engine, bitsandbytes, peft.tuners.lora"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""
