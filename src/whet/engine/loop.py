"""The training loop. Losses are summed over answer tokens and divided once a step, so any batch × accumulation split of the
same examples gives the same gradient. Every random choice is a function of the seed and the step."""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]

from whet.data.tokens import Encoded
from whet.engine.batches import Timetable, collate
from whet.engine.checkpoint import Checkpoints, State, Validation
from whet.engine.loss import summed_loss
from whet.engine.model import device, trained_weights
from whet.engine.optim import build_optimizer, learning_rate
from whet.errors import Interrupted, Problem, RunError
from whet.progress import Progress


@dataclass(frozen=True, slots=True)
class Course:
    """What the loop needs beside the model: the rows, their timetable, how to validate, and where things go."""

    rows: Sequence[Encoded]
    timetable: Timetable
    padding: int
    validate: Callable[[torch.nn.Module], tuple[float, float | None]]
    folder: Path


def train(model: torch.nn.Module, course: Course, progress: Progress) -> State:
    """Trains the model to the end of its timetable, from the newest whole checkpoint if there is one.

    The model leaves with the weights of the best validation. Returns the final State.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after a checkpoint is written.
        RunError: if the loss is no longer a finite number.
    """
    settings, steps = course.timetable.train, course.timetable.steps
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable()  # type: ignore[operator]  # torch types a model's attributes as tensors
    accelerator = Accelerator(cpu=device().type == "cpu")
    model, optimizer = accelerator.prepare(model, build_optimizer(model, settings))
    checkpoints = Checkpoints(course.folder / "checkpoints")
    state = _resumed(checkpoints, model, optimizer, progress)
    progress.start("training", steps, "step")
    progress.advance(state.step)
    with _Log(course.folder / "metrics.jsonl", state.step) as log, _stop_signal() as stopped:
        while state.step < steps:
            began = time.monotonic()
            line: dict[str, Any] = _step(model, optimizer, accelerator, course, state.step)
            state = replace(state, step=state.step + 1, tokens=state.tokens + int(line["tokens"]))
            if not math.isfinite(line["loss"]):
                what = f"the loss is {line['loss']} at step {state.step}"
                raise RunError(Problem(str(course.folder), what, "Lower [train] learning_rate, or set max_grad_norm"))
            if course.timetable.ends_epoch(state.step) or (settings.eval_steps and state.step % settings.eval_steps == 0):
                nll, accuracy = course.validate(model)
                state = replace(state, validations=(*state.validations, Validation(state.step, nll, accuracy)))
                line |= {"validation_nll": nll, "validation_accuracy": accuracy, "best": state.chosen.step == state.step}
            state = replace(state, seconds=state.seconds + time.monotonic() - began)
            log.write({"step": state.step, "epoch": state.step / course.timetable.steps_per_epoch, **line,
                       "tokens": state.tokens, "seconds": round(state.seconds, 3), "peak_bytes": _peak_bytes()})  # fmt: skip
            progress.advance(1, _note(line))
            if "validation_nll" in line or stopped() or (settings.save_steps and state.step % settings.save_steps == 0):
                checkpoints.save(state, trained_weights(accelerator.unwrap_model(model)), optimizer)
            if stopped() and state.step < steps:
                what = f"stopped after step {state.step} of {steps}; a checkpoint is written"
                raise Interrupted(Problem(str(course.folder), what, "Give the same command again to go on"))
    checkpoints.load(state.chosen.step, model)
    return state


def summary(model: torch.nn.Module, state: State, timetable: Timetable) -> dict[str, object]:
    """What the manifest keeps of a finished training."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    trainable = sum(n for n, trains in counts if trains)
    return {
        "method": "lora" if trainable < sum(n for n, _ in counts) else "full", "parameters": sum(n for n, _ in counts),
        "trainable_parameters": trainable, "steps": state.step, "epochs": state.step / timetable.steps_per_epoch,
        "best_step": state.chosen.step, "best_validation_nll": state.chosen.nll,
        "seconds": round(state.seconds, 1), "tokens": state.tokens,
    }  # fmt: skip


def _step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator, course: Course, step: int
) -> dict[str, float]:
    """One optimizer update; returns loss (nats per answer token), lr, grad_norm (before clipping) and tokens."""
    timetable = course.timetable
    settings = timetable.train
    drawn = [[course.rows[i] for i in micro_batch] for micro_batch in timetable.micro_batches(step)]
    batches = [collate(rows, course.padding, accelerator.device) for rows in drawn]
    tokens = sum(b.target_tokens for b in batches)
    lr = learning_rate(step, timetable.steps, settings)
    for group in optimizer.param_groups:
        group["lr"] = lr
    model.train()
    nats = 0.0
    for micro, batch in enumerate(batches):
        torch.manual_seed((timetable.seed * 1_000_003 + step) * 1_009 + micro)  # dropout: a function of seed, step, micro-batch
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.bf16):
            loss = summed_loss(model, batch)
        nats += float(loss.detach())
        accelerator.backward(loss / tokens)
    limit = settings.max_grad_norm or math.inf
    norm = float(accelerator.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], limit))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"loss": nats / tokens, "lr": lr, "grad_norm": norm, "tokens": tokens}


def _resumed(checkpoints: Checkpoints, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> State:
    """The state to start from: that of the newest whole checkpoint, loaded, or a fresh one."""
    state, passed = checkpoints.newest()
    for sentence in passed:
        progress.say(sentence)
    if state is None:
        return State()
    checkpoints.load(state.step, model, optimizer)
    progress.say(f"going on from step {state.step}")
    return state


class _Log:
    """metrics.jsonl: one line a step, lines behind the checkpoint that a run goes on from cut off."""

    def __init__(self, path: Path, step: int) -> None:
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept), "utf-8")
        self.file = path.open("a", encoding="utf-8")

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, record: dict[str, object]) -> None:
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a flag that the loop reads between steps; a second one ends at once."""
    caught: list[int] = []

    def catch(number: int, _: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {s: signal.signal(s, catch) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs us there stops us in their own way
        before = {}
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _peak_bytes() -> int:
    """The largest memory so far: of the accelerator where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _note(line: dict[str, Any]) -> str:
    validated = f" · validation {line['validation_nll']:.3f}" if "validation_nll" in line else ""
    return f"loss {line['loss']:.3f}{validated}"
