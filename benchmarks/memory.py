"""Predicted memory against what a step really takes: `python benchmarks/memory.py [--quick] [--published] [--json FILE]`.

Each cell is a recipe on a tiny model with random weights: three shapes, full / LoRA / int8 / nf4, with and without
checkpointing, two lengths, two micro-batches, token tree or padded, four optimizers, sampled so that every pair of settings
occurs. The truth is torch's own record of every allocation and release on the CPU (torch.profiler) around a step of the loop's
own code, added to what all tensors hold before it; so for validation, and for scoring the base while the result waits. Resident
memory would add Python's own and what the allocator keeps back.

For each cell the height of the whole run (the highest of forward, backward, step and evaluation) as measured, by replay and by
formula. A false "fits" is a cell for which a budget of 1 % above the prediction would not have been enough. Exits 1 if replay
is off by more than 2 % anywhere or says "fits" falsely. Takes 4 minutes of one core. --quick: every sixth cell. --published:
the published peaks instead.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import AutoConfig, AutoModelForCausalLM

from whet.budget.load import Load
from whet.budget.memory import predict
from whet.budget.shapes import shape_of
from whet.budget.tokens import tree_work
from whet.data.tokens import Encoded
from whet.engine import infer, loop
from whet.engine.adapters import add_adapter
from whet.engine.checkpoint import State
from whet.engine.course import Course
from whet.engine.layout import choose_layout
from whet.engine.loss import build_objective
from whet.engine.model import load_base
from whet.engine.optim import build_optimizer
from whet.engine.replay import Material, replay
from whet.engine.timetable import build_timetable
from whet.progress import Silent
from whet.recipe import Recipe, parse

LIMIT, MARGIN = 0.02, 0.01
LABELS = ((5, 0), (6, 7, 0))
SHAPES: dict[str, dict[str, Any]] = {
    "wide vocabulary": {"model_type": "llama", "vocab_size": 6144, "hidden_size": 128, "num_hidden_layers": 3,
                        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 256,
                        "tie_word_embeddings": True},
    "deep": {"model_type": "qwen3", "vocab_size": 1024, "hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 6,
             "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 512, "tie_word_embeddings": False},
    "plain": {"model_type": "gpt_neox", "vocab_size": 2048, "hidden_size": 256, "num_hidden_layers": 4,
              "num_attention_heads": 4, "intermediate_size": 1024, "tie_word_embeddings": False},
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "full": {}, "lora": {"lora": {"r": 16}},
    "int8": {"lora": {"r": 16}, "model": {"quantize": "int8"}}, "nf4": {"lora": {"r": 16}, "model": {"quantize": "nf4"}},
}  # fmt: skip
OPTIMIZERS = ("adamw_torch", "adamw_8bit", "sgd", "adafactor")
LENGTHS, MICRO_BATCHES = (24, 96), (2, 8)
SAMPLED = 12  # of all cells, one in so many, by the sum of the settings' numbers times WEIGHTS
WEIGHTS = (4, 3, 6, 1, 2, 5, 1)


@dataclass(frozen=True, slots=True)
class Cell:
    """One recipe on one shape."""

    shape: str
    method: str
    checkpointing: bool
    length: int
    micro_batch: int
    tree: bool
    optim: str

    def recipe(self, base: Path) -> Recipe:
        """The same as a recipe."""
        method = METHODS[self.method]
        train = {"optim": self.optim, "per_device_train_batch_size": self.micro_batch, "share_prefix": self.tree,
                 "gradient_checkpointing": self.checkpointing, "learning_rate": 1e-4}  # fmt: skip
        values = {"name": "cell", "task": {"instruction": "?", "labels": ["a", "b"]},
                  "data": {"path": "none.csv", "input": "x", "target": "y"}, "train": train,
                  "evaluate": {"batch_size": 8}, **method, "model": {"base": str(base), **method.get("model", {})}}  # fmt: skip
        return parse(values)


@dataclass(frozen=True, slots=True)
class Found:
    """A cell's heights in bytes, by phase."""

    cell: Cell
    measured: dict[str, int]
    replayed: dict[str, int]
    formula: dict[str, int]

    def error(self, predicted: dict[str, int], phase: str | None = None) -> float:
        """How much a prediction is above what was measured, relative to it: of a phase, or of the whole run."""
        if phase:
            return predicted[phase] / self.measured[phase] - 1
        return max(predicted.values()) / max(self.measured.values()) - 1


def cells() -> list[Cell]:
    """One in `SAMPLED` of all, such that every pair of settings occurs."""
    settings: tuple[Iterable[Any], ...] = (SHAPES, METHODS, (False, True), LENGTHS, MICRO_BATCHES, (True, False), OPTIMIZERS)
    every = product(*map(enumerate, settings))
    drawn = [chosen for chosen in every if sum(w * i for w, (i, _) in zip(WEIGHTS, chosen, strict=True)) % SAMPLED == 0]
    return [Cell(*(value for _, value in chosen)) for chosen in drawn]


def make_base(folder: Path, values: dict[str, Any]) -> Path:
    """A model of this configuration with random weights, on disk."""
    torch.manual_seed(0)
    known = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "max_position_embeddings": 512, **values}
    config = AutoConfig.for_model(known.pop("model_type"), **known)
    model: Any = AutoModelForCausalLM
    model.from_config(config).save_pretrained(folder)
    return folder


def make_rows(count: int, length: int) -> list[Encoded]:
    """Rows of up to so many tokens, the first third of which all share."""
    rng = np.random.default_rng(length)
    shared = tuple(range(10, 10 + length // 3))
    own = [
        tuple(rng.integers(8, 1000, int(rng.integers(length // 3, length - len(shared) - 4))).tolist()) for _ in range(count)
    ]
    return [Encoded(str(i), (0, *shared, *ids), LABELS[i % 2]) for i, ids in enumerate(own)]


# -- the truth -----------------------------------------------------------------------------------------------------------


class Marked:
    """Accelerate as the loop uses it, leaving a mark in the record where the backward pass and the step begin."""

    device = torch.device("cpu")

    def backward(self, loss: Any) -> None:
        """The backward pass."""
        with record_function("phase backward"):
            pass
        loss.backward()

    def clip_grad_norm_(self, parameters: list[torch.nn.Parameter], limit: float) -> torch.Tensor:
        """Clipping, with which the step begins."""
        with record_function("phase step"):
            pass
        return torch.nn.utils.clip_grad_norm_(parameters, limit)


def measure(recipe: Recipe, material: Material) -> dict[str, int]:
    """Bytes at the height of each phase of a later step, of validation and of comparing with the base, really allocated."""
    before = held_bytes()  # by what else runs in this process
    model: Any = load_base(recipe)
    if recipe.lora:
        model = add_adapter(model, recipe.lora, recipe.derive_seed("adapter"))
    found = _measure_training(recipe, model, material)
    base = load_base(recipe)  # while the result waits, as in `stages.evaluate`
    comparing = heights(lambda: _score(recipe, base, material), "evaluation")
    whole = {**found, "evaluation": max(found["evaluation"], comparing["evaluation"])}
    return {phase: size - before for phase, size in whole.items()}


def _measure_training(recipe: Recipe, model: Any, material: Material) -> dict[str, int]:
    """The phases of the second step, and of validation after it."""
    train, size = recipe.train, recipe.train.per_device_train_batch_size
    assert isinstance(size, int)
    rows = sorted(material.rows, key=len, reverse=True)[:size] * train.gradient_accumulation_steps
    objective = build_objective(train, [row.completion for row in rows], material.labels)
    course = Course(rows, build_timetable(recipe, rows), 0, lambda _: (0.0, None), Path(), objective)
    if train.gradient_checkpointing:
        model.activation_checkpointing_enable()
    optimizer, marked = build_optimizer(model, train), Marked()
    bench = loop.Bench(model, optimizer, marked, course, choose_layout(model, course, marked.device, Silent()))
    loop.take_step(bench, State(micro_batch=size), Silent())
    found = heights(lambda: loop.take_step(bench, State(micro_batch=size), Silent()), "forward")
    return found | heights(lambda: _score(recipe, model, material), "evaluation")


def _score(recipe: Recipe, model: Any, material: Material) -> None:
    """Scores the heaviest batch."""
    prompts = [row.prompt for row in sorted(material.held, key=len)[-recipe.evaluate.batch_size :]]
    infer.label_scores(model, prompts, material.labels, 0, recipe.evaluate.batch_size)


def heights(run: Callable[[], object], phase: str) -> dict[str, int]:
    """Bytes of all tensors at the height of a call, and of the phases that it marks; `phase` is the first."""
    used = held_bytes()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    found = {phase: used}
    for name, size in _events(record):
        if name.startswith("phase "):
            phase = name.removeprefix("phase ")
        used += size
        found[phase] = max(found.get(phase, 0), used)
    return found


def _events(record: Any) -> Iterator[tuple[str, int]]:
    """(name, bytes) of every allocation (below 0: release) and mark, in order of time."""
    wanted = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]" or e.name().startswith("phase ")]
    for event in sorted(wanted, key=lambda e: e.start_ns()):
        yield event.name(), event.nbytes() if event.name() == "[memory]" else 0


def held_bytes() -> int:
    """What all tensors of this process hold now; fake ones hold nothing."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of the objects of other packages warn when they are looked at
        tensors = [x for x in gc.get_objects() if issubclass(type(x), torch.Tensor) and not issubclass(type(x), FakeTensor)]
    tensors = [x for x in tensors if x.device.type == "cpu"]
    storages = {s._cdata: s.nbytes() for s in (x.untyped_storage() for x in tensors)}
    return sum(storages.values())


# -- predictions and the table -------------------------------------------------------------------------------------------


def judge(cell: Cell, base: Path) -> Found:
    """A cell, measured and predicted twice."""
    recipe, shape = cell.recipe(base), shape_of(json.loads((base / "config.json").read_text("utf-8")), str(base))
    rows = make_rows(16, cell.length)
    material = Material(rows, rows, LABELS)
    predicted = predict(shape, recipe, *loads(rows, cell))
    return Found(cell, measure(recipe, material), replay(recipe, base, material).phases, predicted.phases)


def loads(rows: Sequence[Encoded], cell: Cell) -> tuple[Load, Load]:
    """The heaviest micro-batch and the heaviest batch that is scored."""
    ordered = sorted(rows, key=len)
    trained, scored = ordered[-cell.micro_batch :], ordered[-8:]
    longest, answers = len(ordered[-1]), sum(len(row.completion) for row in trained)
    columns = tree_work([row.prompt + row.completion for row in trained]).columns
    padded = len(trained) * longest
    train = Load(len(trained), *((columns, columns) if cell.tree else (padded, longest)), answers)
    twigs = [row.prompt + label for row in scored for label in LABELS]
    width = tree_work(twigs).columns
    return train, Load(len(twigs), width, width, len(scored) * len({label[:k] for label in LABELS for k in range(len(label))}))


def table(found: Sequence[Found]) -> list[str]:
    """The Markdown table of all cells."""
    lines = [
        "| shape | method | ckpt | length | micro-batch | layout | optim | measured MB | replay | formula |",
        "|" + "---|" * 10,
    ]
    for f in found:
        c, height = f.cell, max(f.measured.values())
        lines.append(
            f"| {c.shape} | {c.method} | {'yes' if c.checkpointing else 'no'} | {c.length} | {c.micro_batch} "
            f"| {'tree' if c.tree else 'padded'} | {c.optim} | {height / 1e6:.2f} "
            f"| {100 * f.error(f.replayed):+.2f} % | {100 * f.error(f.formula):+.1f} % |"
        )
    return lines


def summary(found: Sequence[Found]) -> dict[str, dict[str, float]]:
    """By who predicts: the mean and the largest error of the height and of any phase, and how many false "fits"."""
    made: dict[str, dict[str, float]] = {}
    for name in ("replayed", "formula"):
        errors = np.abs([f.error(getattr(f, name)) for f in found])
        phases = [abs(f.error(getattr(f, name), phase)) for f in found for phase in f.measured]
        made[name] = {
            "mean": float(errors.mean()), "median": float(np.median(errors)), "max": float(errors.max()),
            "mean_of_phases": float(np.mean(phases)), "max_of_phases": float(np.max(phases)),
            "false_fits": sum(f.error(getattr(f, name)) < -MARGIN for f in found),
        }  # fmt: skip
    return made


def main() -> int:
    """Measures, prints the table, returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="every sixth cell")
    parser.add_argument("--published", action="store_true", help="the closed form against published peaks")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args()
    if args.published:
        import published_memory  # type: ignore[import-not-found]  # beside this file

        published_memory.main()
        return 0
    torch.set_num_threads(1)
    chosen = cells()[:: 6 if args.quick else 1]
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder:
        bases = {name: make_base(Path(folder, name), values) for name, values in SHAPES.items()}
        for number, cell in enumerate(chosen, 1):
            found.append(judge(cell, bases[cell.shape]))
            print(f"\r{number} of {len(chosen)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    totals = summary(found)
    print("\n".join(table(found)))
    for name, total in totals.items():
        figures = ", ".join(
            f"{key} {value:.0f}" if key == "false_fits" else f"{key} {100 * value:.2f} %" for key, value in total.items()
        )
        print(f"\n{name}: {len(found)} cells, {figures}")
    print(f"\n{date.today()}, torch {torch.__version__}, {platform.machine()}")
    if args.json:
        args.json.write_text(json.dumps({"cells": [asdict(f) for f in found], "summary": totals}, indent=1) + "\n", "utf-8")
    return int(totals["replayed"]["max"] > LIMIT or totals["replayed"]["false_fits"] > 0)


if __name__ == "__main__":
    sys.exit(main())
