"""Checkpoints: a damaged one is detected and passed over, an older one is used, and what is loaded is what was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from whet.engine.checkpoint import Checkpoints, State, Validation
from whet.errors import RunError


def model_and_optimizer(seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def state(step: int, *nlls: float) -> State:
    return State(step, 10 * step, float(step), tuple(Validation(i + 1, nll, None) for i, nll in enumerate(nlls)))


def save(checkpoints: Checkpoints, at: State, seed: int = 0) -> None:
    model, optimizer = model_and_optimizer(seed)
    checkpoints.save(at, dict(model.named_parameters()), optimizer)


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    model, optimizer = model_and_optimizer(1)
    at = state(3, 0.9, 0.8, 0.5)
    checkpoints.save(at, {n: p.detach() for n, p in model.named_parameters()}, optimizer)
    other, other_optimizer = model_and_optimizer(2)
    found, passed = checkpoints.newest()
    assert found == at and passed == []
    checkpoints.load(3, other, other_optimizer)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    before, after = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    assert before.keys() == after.keys() and len(before) == 4
    assert all(torch.equal(before[i][k], after[i][k]) for i in before for k in before[i])


FILES = ("weights.safetensors", "optimizer.safetensors", "state.json", "sums.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fault", ["cut", "flip", "gone"])
def test_any_damage_is_detected_and_the_older_one_used(tmp_path: Path, name: str, fault: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, state(1, 0.5))
    save(checkpoints, state(2, 0.5, 0.6))
    file = tmp_path / "step-000002" / name
    content = bytearray(file.read_bytes())
    if fault == "gone":
        file.unlink()
    elif fault == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    found, passed = checkpoints.newest()
    assert found == state(1, 0.5)
    assert len(passed) == 1 and "step-000002 is not used" in passed[0]
    with pytest.raises(RunError, match="step-000002"):
        checkpoints.load(2, model_and_optimizer(0)[0])


def test_a_checkpoint_whose_best_is_damaged_is_not_used(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for at in (state(1, 0.5), state(2, 0.5, 0.6), state(3, 0.5, 0.6, 0.7)):
        save(checkpoints, at)
    (tmp_path / "step-000001" / "weights.safetensors").write_bytes(b"")
    found, passed = checkpoints.newest()
    assert found is None and len(passed) == 3


def test_the_best_and_the_newest_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    nlls = [0.9, 0.3, 0.8, 0.7, 0.6]
    for step in range(1, 6):
        save(checkpoints, state(step, *nlls[:step]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000002", "step-000004", "step-000005"]


def test_other_weights_are_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, state(1, 0.5))
    with pytest.raises(RunError, match="other weights"):
        checkpoints.load(1, torch.nn.Linear(3, 4))


def test_an_unfinished_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, state(1, 0.5))
    (tmp_path / "step-000001").rename(tmp_path / ".step-000001.new")
    assert checkpoints.newest() == (None, [])
