"""Checkpoints: everything needed to go on bit for bit, written so that a kill at any moment leaves an older one whole.

A checkpoint is a folder `step-000123` with the trained weights and the optimizer's state in safetensors, what is left in
`state.json`, and `sums.json` (SHA-256 of each file), written last. It is written beside, fsynced and renamed. Data order,
dropout noise and learning rate are functions of the seed and the step, so no generator's state has to be kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from whet.engine.optim import load_state
from whet.errors import Problem, RunError
from whet.run import file_hash, replace_folder


@dataclass(frozen=True, slots=True)
class Validation:
    """The validation split's score after a step: nats per answer token, unsmoothed, and accuracy where there are labels."""

    step: int
    nll: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands: steps done, answer tokens seen, seconds spent, every validation so far, and examples in a
    micro-batch (0: not decided yet)."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    validations: tuple[Validation, ...] = field(default=())
    micro_batch: int = 0

    @property
    def best(self) -> Validation | None:
        """The validation with the lowest NLL, the earliest of equals."""
        return min(self.validations, key=lambda v: (v.nll, v.step), default=None)

    @property
    def chosen(self) -> Validation:
        """The best validation of a run that has had one; a finished run has, for its last step is always validated."""
        assert self.best is not None, "no step of this run has been validated yet"
        return self.best


class Checkpoints:
    """The checkpoints of one run. The best one and the newest two are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, state: State, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Writes the checkpoint of `state.step` and removes those that are no longer needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self._path(state.step)
        beside = self.folder / f".{final.name}.new"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        tensors, scalars = _flatten(optimizer.state_dict()["state"])
        save_file({n: w.contiguous().cpu() for n, w in weights.items()}, beside / "weights.safetensors")
        save_file(tensors, beside / "optimizer.safetensors")
        (beside / "state.json").write_text(json.dumps({**asdict(state), "optimizer": scalars}))
        (beside / "sums.json").write_text(json.dumps({f.name: file_hash(f) for f in sorted(beside.iterdir())}))
        replace_folder(beside, final)
        self._prune(state)

    def newest(self) -> tuple[State | None, list[str]]:
        """The newest checkpoint that is whole, with its best one whole too; and a sentence for each that was passed over."""
        passed: list[str] = []
        for path in sorted(self.folder.glob("step-*"), reverse=True):
            damage = self._damage(path)
            if damage is None:
                state = _read_state(path)
                best = state.best
                if best is None or best.step == state.step or (damage := self._damage(self._path(best.step))) is None:
                    return state, passed
            passed.append(f"checkpoint {path.name} is not used: {damage}")
        return None, passed

    def load(self, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Puts the weights (and the optimizer's state) of a step back in place.

        Raises:
            RunError: if the checkpoint is damaged or belongs to other weights.
        """
        path = self._path(step)
        damage = self._damage(path)
        if damage:
            raise RunError(Problem(str(path), damage, "Delete the folder `checkpoints` and train again"))
        weights = load_file(path / "weights.safetensors")
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        if weights.keys() != trained.keys() or any(weights[n].shape != p.shape for n, p in trained.items()):
            what = "it holds other weights than this recipe trains"
            raise RunError(Problem(str(path), what, "Use another folder with --out"))
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(weights[name])
        if optimizer is not None:
            scalars = json.loads((path / "state.json").read_text())["optimizer"]
            load_state(optimizer, _unflatten(load_file(path / "optimizer.safetensors"), scalars))

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def _damage(self, path: Path) -> str | None:
        """What is wrong with a checkpoint, or None."""
        try:
            sums = json.loads((path / "sums.json").read_text())
            wrong = [name for name, sum_ in sums.items() if file_hash(path / name) != sum_]
        except (OSError, ValueError, AttributeError) as error:
            return f"it is incomplete ({error.__class__.__name__})"
        return f"{', '.join(wrong)} changed since it was written" if wrong else None

    def _prune(self, state: State) -> None:
        steps = sorted(int(p.name.removeprefix("step-")) for p in self.folder.glob("step-*"))
        kept = {*steps[-2:], state.best.step if state.best else state.step}
        for step in set(steps) - kept:
            shutil.rmtree(self._path(step))


def _read_state(path: Path) -> State:
    raw = json.loads((path / "state.json").read_text())
    validations = tuple(Validation(**v) for v in raw["validations"])
    return State(raw["step"], raw["tokens"], raw["seconds"], validations, raw["micro_batch"])


def _flatten(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimizer's state as tensors and as plain values, both by `index.name`."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: dict[str, Any] = {}
    stored: set[int] = set()
    for index, values in state.items():
        for name, value in _unwrapped(values):
            if isinstance(value, torch.Tensor):
                tensor = value.contiguous().cpu()
                place = tensor.untyped_storage().data_ptr()
                # bitsandbytes gives all 8-bit states the same two code tables; safetensors wants each tensor by itself.
                tensors[f"{index}.{name}"] = tensor.clone() if place in stored else tensor
                stored.add(place)
            else:
                scalars[f"{index}.{name}"] = value
    return tensors, scalars


def _unwrapped(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and value; bitsandbytes wraps its tensors in one more dictionary, and loads them without it."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from value.items()
        else:
            yield name, value


def _unflatten(tensors: Mapping[str, torch.Tensor], scalars: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **scalars}.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return state
