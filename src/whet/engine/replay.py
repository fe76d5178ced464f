"""Replay: what a run will take in memory, found by taking its own step with tensors that have sizes and no values.

The model is built from its configuration alone and gets the recipe's adapter, quantized layers, layout, loss and optimizer
from the modules that train with them; `loop.take_step` is the step.

What is assumed: the longest rows come together in a micro-batch; a layout that the model takes is exact for it; on CUDA,
attention keeps what that of the CPU keeps. What is left out: trying the layouts before the first step, for which
`choose_layout` takes as few examples as fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from whet.budget.memory import COMPONENTS, PHASES, Memory
from whet.budget.resting import Device
from whet.budget.shapes import Shape
from whet.data.tokens import Encoded
from whet.engine import infer, loop
from whet.engine.adapters import START
from whet.engine.checkpoint import State
from whet.engine.course import Course
from whet.engine.fakes import materialize, skeleton
from whet.engine.layout import choose_layout
from whet.engine.loss import Objective, build_objective
from whet.engine.meter import Blank, Meter
from whet.engine.optim import build_optimizer
from whet.engine.timetable import build_timetable
from whet.progress import Silent
from whet.recipe import Recipe

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What a run reads.

    Args:
        rows: that it learns from.
        held: that it scores or answers, of validation and test.
        labels: the ids of each label with its end token; empty where there is no label set.
    """

    rows: Sequence[Encoded]
    held: Sequence[Encoded] = ()
    labels: Sequence[Ids] = ()


def plain_rows(count: int, length: int) -> list[Encoded]:
    """Rows without data: so many tokens each, all but the first carry loss, and none share a beginning."""
    return [Encoded(str(i), (i,), (0,) * (length - 1)) for i in range(count)]


def replay(recipe: Recipe, base: Shape | Path, material: Material, device: Device = "cpu") -> Memory:
    """The Memory of the recipe's run (source "replay"), phase by phase.

    Args:
        recipe: all of it counts.
        base: a Shape, or the folder of a model, of which config.json is read and no weight.
        material: what the run reads; of it the heaviest micro-batch and the heaviest batch that is scored are taken.
        device: where it would run.

    Raises:
        ModelError: if the base cannot be built, or a setting does not go with it.
    """
    model: Any = skeleton(recipe, base, device)
    meter = Meter(model.config.get_text_config().vocab_size, device)
    with FakeTensorMode(allow_non_fake_inputs=True), meter, Blank():
        materialize(model, recipe)
        _count_weights(meter, model)
        optimizer = _train(recipe, model, material, meter)
        if material.held:
            meter.begin("validating")
            _score(recipe, model, material)
            meter.begin("")
            del optimizer
            with model.disable_adapter() if recipe.lora else nullcontext():
                meter.begin("comparing")
                _compare(recipe, model, material)
                meter.begin("")
    return Memory({**{phase: meter.heights[phase] for phase in PHASES[:3]}, "evaluation": _evaluation(meter.heights)}, "replay")


def _evaluation(heights: Mapping[str, Mapping[str, int]]) -> Mapping[str, int]:
    """The height of evaluation: while a run validates, or afterwards, when the base is scored while the result waits."""
    if "comparing" not in heights:
        return dict.fromkeys(COMPONENTS, 0)
    comparing = {**heights["comparing"], "weights": 2 * heights["comparing"]["weights"]}
    return max(heights["validating"], comparing, key=lambda parts: sum(parts.values()))


class _Watched:
    """Accelerate as the loop uses it, telling the meter where the backward pass and the step begin."""

    def __init__(self, meter: Meter) -> None:
        self.device, self._meter = torch.device("cpu"), meter

    def backward(self, loss: torch.Tensor) -> None:
        """The backward pass."""
        self._meter.begin("backward")
        loss.backward()

    def clip_grad_norm_(self, parameters: list[torch.nn.Parameter], limit: float) -> torch.Tensor:
        """Clipping, with which the step begins."""
        self._meter.begin("step")
        self._meter.passing = "workspace"
        return torch.nn.utils.clip_grad_norm_(parameters, limit)


def _train(recipe: Recipe, model: Any, material: Material, meter: Meter) -> Any:
    """Takes a step as every step after the first is: the optimizer has its state, other micro-batches have left gradients.
    Returns the optimizer."""
    train = recipe.train
    size = _micro_batch(recipe, len(material.rows))
    rows = sorted(material.rows, key=len, reverse=True)[:size]
    one = recipe.model_copy(update={"train": train.model_copy(update={"gradient_accumulation_steps": 1})})
    objective = _objective(recipe, material)
    course = Course(rows, build_timetable(one, rows), 0, lambda _: (0.0, None), Path(), objective)
    if train.gradient_checkpointing:
        model.activation_checkpointing_enable()
    optimizer = build_optimizer(model, train)
    meter.answer = 0.0  # of two layouts, the difference
    layout = choose_layout(model, course, torch.device("cpu"), Silent())
    meter.answer = 1.0
    trained = [p for p in model.parameters() if p.requires_grad]
    _remember(meter, optimizer, trained)
    if train.gradient_accumulation_steps > 1:
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
            meter.count(parameter.grad, "gradients")

    def graded(parameter: torch.Tensor) -> None:
        meter.count(cast("torch.Tensor", parameter.grad), "gradients")

    hooks = [parameter.register_post_accumulate_grad_hook(graded) for parameter in trained]
    bench = loop.Bench(model, optimizer, _Watched(meter), course, layout)
    meter.begin("forward")
    loop.take_step(bench, State(micro_batch=size), Silent())
    meter.begin("")
    meter.passing = "activations"
    for hook in hooks:
        hook.remove()
    return optimizer


def _objective(recipe: Recipe, material: Material) -> Objective:
    """What is minimised; over the vocabulary and unweighted where the rows do not answer with labels."""
    train, answers = recipe.train, [row.completion for row in material.rows]
    if not set(answers) <= set(material.labels):
        train = train.model_copy(update={"label_smoothing_over": "vocabulary", "class_balance": "none"})
    return build_objective(train, answers, material.labels)


def _remember(meter: Meter, optimizer: Any, trained: Sequence[torch.nn.Parameter]) -> None:
    """Lets the optimizer make its state."""
    meter.begin("")
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                meter.count(value, "optimizer")


def _micro_batch(recipe: Recipe, rows: int) -> int:
    """Examples in a micro-batch; one where the run itself finds out how many fit."""
    wanted = recipe.train.per_device_train_batch_size
    return min(rows, 1 if wanted == "auto" else wanted)


def _count_weights(meter: Meter, model: torch.nn.Module) -> None:
    """Tells weights from what trains, if that is not all of them."""
    parameters = list(model.named_parameters())
    for name, parameter in parameters:
        meter.count(parameter.data, "adapter" if "lora_" in name or "modules_to_save" in name else "weights")
        state = getattr(parameter, "quant_state", None)
        for tensor in (getattr(parameter, "SCB", None), *(_scales(state) if state else ())):
            if tensor is not None:
                meter.count(tensor, "weights")
    for buffer in model.buffers():
        meter.count(buffer, "weights")
    for tensor in getattr(model, START, {}).values():
        meter.count(tensor, "adapter")


def _scales(state: Any) -> list[torch.Tensor | None]:
    outer = state.state2
    return [state.absmax, state.code, *((outer.absmax, outer.code, state.offset) if outer else ())]


def _score(recipe: Recipe, model: Any, material: Material) -> None:
    """Scores the heaviest batch, as validation does."""
    size, padding = recipe.evaluate.batch_size, 0
    rows = sorted(material.held, key=len)[-size:]
    if recipe.task.kind == "classify":
        infer.label_scores(model, [row.prompt for row in rows], material.labels, padding, size)
    else:
        parts = infer.batches_of(rows, size)
        heaviest = max(parts, key=lambda part: len(part) * len(rows[part[-1]]))  # each is in order of length
        infer.answer_nats(model, [rows[i] for i in heaviest], padding, size)


def _compare(recipe: Recipe, model: Any, material: Material) -> None:
    """What evaluation asks of the result and of the base: scores, or answers where the task is to write."""
    if recipe.task.kind == "generate":
        rows = sorted(material.held, key=lambda row: len(row.prompt))[-recipe.evaluate.batch_size :]
        _write(model, rows, recipe.evaluate.max_new_tokens)
    else:
        _score(recipe, model, material)


@torch.inference_mode()
def _write(model: Any, rows: Sequence[Encoded], new_tokens: int) -> None:
    """Reads the prompts as `generate` does, then takes its last step: with the keys and values of all tokens before."""
    from transformers import DynamicCache

    model.eval()
    width = max(len(row.prompt) for row in rows)
    read = _prompts(rows, width)
    cache = model(input_ids=read, attention_mask=torch.ones_like(read), use_cache=True, logits_to_keep=1).past_key_values
    full = DynamicCache(config=model.config)
    for number, layer in enumerate(cache.layers):
        for_all = [*layer.keys.shape[:2], width + new_tokens - 2, layer.keys.shape[3]]
        full.update(layer.keys.new_empty(for_all), layer.values.new_empty(for_all), number)
    del cache, layer
    mask = read.new_ones((len(rows), width + new_tokens - 1))
    model(input_ids=read[:, -1:], attention_mask=mask, past_key_values=full, use_cache=True, logits_to_keep=1)


def _prompts(rows: Sequence[Encoded], width: int) -> torch.Tensor:
    return torch.tensor([[0] * (width - len(row.prompt)) + list(row.prompt) for row in rows])
