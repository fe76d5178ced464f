"""The training loop. Losses are summed over answer tokens and divided once a step, so any batch × accumulation split of the
same examples gives the same gradient. Every random choice is a function of the seed and the step."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]

from whet.budget.schedule import learning_rate
from whet.engine.batch_size import is_out_of_memory, largest_fitting, peak_bytes, release
from whet.engine.checkpoint import Checkpoints, State, Validation
from whet.engine.course import Course
from whet.engine.layout import Layout, choose_layout
from whet.engine.loss import summed_loss
from whet.engine.model import device, parameter_counts, trained_weights
from whet.engine.optim import build_optimizer, optimizer_notes
from whet.engine.timetable import Timetable
from whet.errors import Interrupted, Problem, RunError
from whet.knobs.optimizers import OPTIMIZERS
from whet.progress import Progress


@dataclass(frozen=True, slots=True)
class Bench:
    """What a step works with, made once. `trained`: the parameters that train."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    course: Course
    layout: Layout
    trained: tuple[torch.nn.Parameter, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Walks through all modules once; in every step small models would feel it."""
        object.__setattr__(self, "trained", tuple(p for p in self.model.parameters() if p.requires_grad))
        self.model.train()  # all of it: a step asks the outermost module alone


def train(model: torch.nn.Module, course: Course, progress: Progress) -> State:
    """Trains the model to the end of its timetable, from the newest whole checkpoint if there is one.

    The model leaves with the weights of the best validation. Returns the final State.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after a checkpoint is written.
        RunError: if the loss is no longer a finite number, or one example alone does not fit into memory.
    """
    settings, steps = course.timetable.train, course.timetable.steps
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable()  # type: ignore[operator]  # torch types a model's attributes as tensors
    accelerator = Accelerator(cpu=device().type == "cpu")
    model, optimizer = accelerator.prepare(model, build_optimizer(model, settings))
    for note in optimizer_notes(settings, accelerator.device.type):
        progress.say(note)
    checkpoints = Checkpoints(course.folder / "checkpoints")
    state = _resumed(checkpoints, model, optimizer, progress)
    bench = Bench(model, optimizer, accelerator, course, choose_layout(model, course, accelerator.device, progress))
    state = replace(state, micro_batch=state.micro_batch or _micro_batch(bench, progress))
    progress.start("training", steps, "step")
    progress.advance(state.step)
    with _Log(course.folder / "metrics.jsonl", state.step) as log, _stop_signal() as stopped:
        while state.step < steps:
            began = time.monotonic()
            line, micro_batch = take_step(bench, state, progress)
            state = replace(state, step=state.step + 1, tokens=state.tokens + int(line["tokens"]), micro_batch=micro_batch)
            if course.timetable.ends_epoch(state.step) or (settings.eval_steps and state.step % settings.eval_steps == 0):
                nll, accuracy = course.validate(model)
                state = replace(state, validations=(*state.validations, Validation(state.step, nll, accuracy)))
                line |= {"validation_nll": nll, "validation_accuracy": accuracy, "best": state.chosen.step == state.step}
            state = replace(state, seconds=state.seconds + time.monotonic() - began)
            log.write({"step": state.step, "epoch": state.step / course.timetable.steps_per_epoch, **line,
                       "tokens": state.tokens, "seconds": round(state.seconds, 3), "peak_bytes": peak_bytes()})  # fmt: skip
            said = state.step % settings.logging_steps == 0 or "validation_nll" in line
            progress.advance(1, _note(line) if said else "")
            if "validation_nll" in line or stopped() or (settings.save_steps and state.step % settings.save_steps == 0):
                checkpoints.save(state, trained_weights(accelerator.unwrap_model(model)), optimizer)
            if stopped() and state.step < steps:
                what = f"stopped after step {state.step} of {steps}; a checkpoint is written"
                raise Interrupted(Problem(str(course.folder), what, "Give the same command again to go on"))
    checkpoints.load(state.chosen.step, model)
    return state


def summary(model: torch.nn.Module, state: State, timetable: Timetable) -> dict[str, object]:
    """What the manifest keeps of a finished training."""
    trainable, all_ = parameter_counts(model)
    return {
        "method": "lora" if trainable < all_ else "full", "parameters": all_,
        "trainable_parameters": trainable, "steps": state.step, "epochs": state.step / timetable.steps_per_epoch,
        "best_step": state.chosen.step, "best_validation_nll": state.chosen.nll,
        "seconds": round(state.seconds, 1), "tokens": state.tokens,
    }  # fmt: skip


def take_step(bench: Bench, state: State, progress: Progress) -> tuple[dict[str, Any], int]:
    """One optimizer update. Returns the step's line (loss in nats per answer token, lr, grad_norm before clipping, tokens,
    micro_batch) and the micro-batch that fitted: where memory runs out it is halved, and the step begins anew."""
    timetable, optimizer, size = bench.course.timetable, bench.optimizer, state.micro_batch
    while True:
        try:
            nats, tokens = _accumulate(bench, state.step, size)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            optimizer.zero_grad(set_to_none=True)
            if size == 1:
                what = f"one example alone does not fit into memory at step {state.step + 1} ({str(error).splitlines()[0]})"
                do = "Lower [train] max_length, set gradient_checkpointing, or quantize the base"
                raise RunError(Problem(str(bench.course.folder), what, do)) from error
        release()
        size //= 2
        progress.say(
            f"out of memory at step {state.step + 1}: micro-batches of {size} examples from here on, the step stays whole"
        )
    loss = nats / tokens
    if not math.isfinite(loss):
        what = f"the loss is {loss} at step {state.step + 1}"
        raise RunError(Problem(str(bench.course.folder), what, "Lower [train] learning_rate, or set max_grad_norm"))
    lr = learning_rate(state.step, timetable.steps, timetable.train)
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_ratio", 1.0)
    limit = timetable.train.max_grad_norm or math.inf
    norm = bench.accelerator.clip_grad_norm_(bench.trained, limit)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"loss": loss, "lr": lr, "grad_norm": float(norm), "tokens": tokens, "micro_batch": size}, size


def _accumulate(bench: Bench, step: int, size: int) -> tuple[float, int]:
    """The gradient of a whole step, from micro-batches of `size` examples; returns its nats and its answer tokens."""
    course, timetable = bench.course, bench.course.timetable
    drawn = [[course.rows[i] for i in rows] for rows in timetable.micro_batches(step, size)]
    tokens = sum(len(row.completion) for rows in drawn for row in rows)
    if not bench.model.training:
        bench.model.train()
    nats, noise = 0.0, timetable.seed * 1_000_003 + step
    for micro, rows in enumerate(drawn):
        torch.manual_seed(noise * 1_009 + micro)  # dropout: a function of seed, step and micro-batch
        with bench.layout.attending(bench.model):
            for batch in bench.layout.lay(rows):
                with torch.autocast(bench.accelerator.device.type, torch.bfloat16, enabled=timetable.train.bf16):
                    loss = summed_loss(bench.model, batch, course.objective, seed=noise)
                nats += float(loss.detach())
                bench.accelerator.backward(loss / tokens)
    return nats, tokens


def _micro_batch(bench: Bench, progress: Progress) -> int:
    """Examples in a micro-batch: as the recipe says, or under "auto" the largest power of two that fits, by trial."""
    train, timetable = bench.course.timetable.train, bench.course.timetable
    if train.per_device_train_batch_size != "auto":
        return train.per_device_train_batch_size
    longest = sorted(bench.course.rows, key=len, reverse=True)[: timetable.step_size]

    def attempt(size: int) -> None:
        bench.model.train()
        with bench.layout.attending(bench.model):
            for batch in bench.layout.lay(longest[:size]):
                with torch.autocast(bench.accelerator.device.type, torch.bfloat16, enabled=train.bf16):
                    loss = summed_loss(bench.model, batch, bench.course.objective)
                bench.accelerator.backward(loss)
        bench.optimizer.zero_grad(set_to_none=True)

    progress.start("finding the largest micro-batch that fits")
    trained = sum(p.numel() for p in bench.model.parameters() if p.requires_grad)
    reserved = math.ceil(trained * OPTIMIZERS[train.optim].bytes_with(train.optim_args))
    found = largest_fitting(attempt, timetable.step_size, reserved, bench.accelerator.device)
    progress.say(f"micro-batches of {found} examples, {math.ceil(timetable.step_size / found)} in a step")
    return found


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


def _note(line: dict[str, Any]) -> str:
    validated = f" · validation {line['validation_nll']:.3f}" if "validation_nll" in line else ""
    return f"loss {line['loss']:.3f}{validated}"
