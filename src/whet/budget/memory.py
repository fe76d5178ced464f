"""What a run takes in memory, by formula: bytes by phase and component, in milliseconds, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from whet.budget.activations import Flow
from whet.budget.load import Load
from whet.budget.resting import Device, state_bytes, step_bytes, weight_bytes
from whet.budget.shapes import Shape
from whet.budget.targets import Weight
from whet.knobs.layout import LEARNED_TOKENS
from whet.recipe import Recipe

PHASES = ("forward", "backward", "step", "evaluation")
COMPONENTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "workspace")
# cuBLAS takes 8 MiB for itself with its first product: two buffers of 4 MiB and eight of 16 KiB, its default.
CUBLAS_BYTES = 2 * 4096 * 1024 + 8 * 16 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """The height of memory in each phase, and what lies in it: bytes by phase and component. Whoever reads a peak reads the sum
    of its components.

    `forward` ends with the loss, `backward` with all gradients, `step` is the optimizer's, `evaluation` scores or answers.
    """

    by_phase: Mapping[str, Mapping[str, int]]
    source: Literal["formula", "replay"]

    @property
    def phases(self) -> dict[str, int]:
        """Bytes at the height of each phase."""
        return {phase: sum(parts.values()) for phase, parts in self.by_phase.items()}

    @property
    def peak_phase(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self.phases.__getitem__)

    @property
    def peak_bytes(self) -> int:
        """The height of the whole run."""
        return self.phases[self.peak_phase]

    @property
    def components(self) -> dict[str, int]:
        """What lies in memory at that height; the sum is `peak_bytes`."""
        return dict(self.by_phase[self.peak_phase])

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` says of it."""
        return {"peak_bytes": self.peak_bytes, "phases": self.phases, "components": self.components, "source": self.source}


def predict(shape: Shape, recipe: Recipe, load: Load, evaluation: Load | None = None, device: Device = "cpu") -> Memory:
    """The Memory of a recipe's run on a model of this shape.

    Args:
        shape: of the base.
        recipe: its `[model]`, `[lora]` and `[train]` are read.
        load: the largest micro-batch.
        evaluation: the largest batch that is scored; left out, none is.
        device: where it runs.

    Example:
        >>> from whet.budget.shapes import known_shape
        >>> from whet.recipe import parse
        >>> task = {"labels": ["a", "b"], "instruction": "Which?"}
        >>> data = {"path": "x.csv", "input": "text", "target": "label"}
        >>> model = {"dtype": "bfloat16", "quantize": "nf4"}
        >>> recipe = parse({"name": "x", "task": task, "data": data, "model": model, "lora": {"r": 64}})
        >>> memory = predict(known_shape("meta-llama/Llama-2-7b-hf"), recipe, Load(4, 2048, 512, 2048), device="cuda")
        >>> memory.peak_phase, round(memory.components["weights"] / 2**30, 2), round(memory.components["optimizer"] / 2**30, 2)
        ('backward', 3.88, 1.19)
    """
    course = _Course(shape, recipe, load, device)
    phases = {"forward": course.forward(), "backward": course.backward(), "step": course.step()}
    if evaluation:
        phases["evaluation"] = course.evaluation(evaluation)
    return Memory(phases, "formula")


@dataclass(frozen=True)
class _Course:
    """A step, phase by phase."""

    shape: Shape
    recipe: Recipe
    load: Load
    device: Device

    @cached_property
    def flow(self) -> Flow:
        return Flow(self.shape, self.recipe, self.device)

    @property
    def weights(self) -> list[tuple[int, Weight]]:
        return self.flow.weights

    @cached_property
    def gradients(self) -> dict[int, int]:
        """Bytes of the gradients of each layer, and of what is below (-1) and behind (their count) the layers."""
        found: dict[int, int] = dict.fromkeys(range(-1, self.shape.layers + 1), 0)
        for number, weight in self.weights:
            found[number] += weight.size_bytes
        return found

    @cached_property
    def kept(self) -> list[int]:
        """Bytes that each layer keeps for the backward pass."""
        if self.recipe.train.gradient_checkpointing:
            return [self.flow.input_kept(self.load)] * self.shape.layers
        return [self.flow.layer_kept(number, self.load) for number in range(self.shape.layers)]

    @cached_property
    def resting(self) -> dict[str, int]:
        """What lies in memory in every phase."""
        weights = [weight for _, weight in self.weights]
        is_adapter = self.recipe.lora is not None
        return {
            "weights": weight_bytes(self.shape, self.recipe.model, self.device),
            "adapter": sum(weight.size_bytes for weight in weights) if is_adapter else 0,
            "gradients": 0,
            "optimizer": state_bytes(weights, self.recipe.train),
            "activations": 0, "logits": 0,
            "workspace": CUBLAS_BYTES if self.device == "cuda" else 0,
        }  # fmt: skip

    @cached_property
    def carried(self) -> int:
        """Bytes of the gradient that earlier micro-batches of the step left."""
        return sum(self.gradients.values()) if self.recipe.train.gradient_accumulation_steps > 1 else 0

    @property
    def head(self) -> int:
        """Bytes of the head in bfloat16, which autocast makes of one in float32."""
        return 2 * self.shape.vocabulary * self.shape.width if self.recipe.train.bf16 and self.flow.stream == 4 else 0

    def forward(self) -> dict[str, int]:
        """At the loss: all activations, the logits in float32 and their logarithms; or in the last layer."""
        kept = sum(self.kept) + self.flow.last_kept(self.load)
        casts = self.head + self.flow.cached_casts
        at_loss = self._with(gradients=self.carried, activations=kept, logits=self._logits(2), workspace=casts)
        inside = self.flow.output(self.load)
        in_layer = self._with(gradients=self.carried, activations=sum(self.kept), workspace=inside)
        return max(at_loss, in_layer, key=_size)

    def backward(self) -> dict[str, int]:
        """The highest of its stages: the loss, then layer by layer from the last: its activations go, its gradients come."""
        kept = sum(self.kept) + self.flow.last_kept(self.load)
        stages = [self._with(gradients=self.carried, activations=kept, logits=self._logits(3), workspace=self.head)]
        grads = self.carried or self.gradients[self.shape.layers]
        kept -= self.flow.last_kept(self.load)
        embedding = self.gradients[-1]
        waiting = embedding if self.shape.tied else 0  # the gradient of a tied head, for that of the embedding
        largest = max((weight.size_bytes for _, weight in self.weights), default=0)
        for number in reversed(range(self.flow.first_graded, self.shape.layers)):
            again = self.flow.layer_kept(number, self.load) if self.recipe.train.gradient_checkpointing else 0
            inside = self.flow.layer_transient(number, self.load)
            stages.append(self._with(gradients=grads, activations=kept + again, workspace=inside + waiting))
            kept -= self.kept[number]
            grads += 0 if self.carried else self.gradients[number]
        end = max(largest, waiting)
        stages.append(self._with(gradients=self.carried or grads + embedding, activations=kept, workspace=end))
        return max(stages, key=_size)

    def step(self) -> dict[str, int]:
        """The optimizer's: all gradients, and what it makes and drops."""
        transient = step_bytes([weight for _, weight in self.weights], self.recipe.train, self.device)
        return self._with(gradients=sum(self.gradients.values()), workspace=transient)

    def evaluation(self, load: Load) -> dict[str, int]:
        """Nothing is kept but one layer's own and, where answers are written, keys and values; the logits, and in float32.

        While training validates, the optimizer's states lie beside it; when a finished run is evaluated, the base does, which
        it is compared with.
        """
        inside = self.flow.scored(load)
        stream = load.columns * self.shape.width * self.flow.stream
        cache = 2 * self.shape.layers * load.columns * self.shape.key_width * self.flow.product
        held = stream + (cache if self.recipe.task.kind == "generate" else 0)
        in_layer = self._with(activations=held, workspace=inside)
        logit_bytes = 4 + (self.flow.stream if self.flow.stream < 4 else 0)
        at_logits = self._with(activations=held, logits=load.answers * self.shape.vocabulary * logit_bytes)
        scoring = max(in_layer, at_logits, key=_size)
        judging = {**scoring, "weights": 2 * scoring["weights"], "optimizer": 0}
        return max(scoring, judging, key=_size)

    def _logits(self, times: int) -> int:
        """So many tensors of logits, which the loss reads in float32 always; soft-capped ones keep their tanh."""
        capped = self.flow.product if self.shape.kind.caps else 0
        return min(self.load.answers, LEARNED_TOKENS) * self.shape.vocabulary * (4 * times + capped)

    def _with(self, **more: int) -> dict[str, int]:
        """What rests, and this on top."""
        return {name: size + more.get(name, 0) for name, size in self.resting.items()}


def _size(parts: Mapping[str, int]) -> int:
    return sum(parts.values())
