"""The optimizers by their names in Hugging Face's `TrainingArguments.optim`: what each remembers, and when to choose it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from whet.knobs.ranges import COUNT, FRACTION, INSIDE, NEGATIVE, NOT_NEGATIVE, POSITIVE, SWITCH, UNDER_HUNDRED, Range

BITSANDBYTES_FROM = 4096  # tensors with fewer elements keep 32-bit states, whatever the name says
BLOCK = 256  # elements of an 8-bit state that share one 32-bit scale

Family = Literal["adamw", "adafactor", "sgd", "rmsprop", "adagrad", "lion", "ademamix", "muon"]


@dataclass(frozen=True, slots=True)
class Argument:
    """What `[train] optim_args` may hold under a name: its meaning, its range, and what it adds to the state of a parameter."""

    about: str
    range: Range
    state_bytes: float = 0.0  # where the value is not 0


AMSGRAD = Argument("divide by the largest second moment so far", SWITCH, 4)
NESTEROV = Argument("look one step of momentum ahead", SWITCH)
MOMENTUM = Argument("of the gradient's running sum", FRACTION, 4)
EPS = Argument("added to the denominator", POSITIVE)
ALPHA = Argument("decay of the squared gradient's mean; left out: 0.99", INSIDE)

ARGUMENTS: Mapping[Family, Mapping[str, Argument]] = {
    "adamw": {"amsgrad": AMSGRAD},
    "adafactor": {
        "clip_threshold": Argument("largest root mean square of an update; left out: 1", POSITIVE),
        "decay_rate": Argument("power of the step with which the second moment's decay grows; left out: -0.8", NEGATIVE),
    },
    "sgd": {
        "momentum": MOMENTUM, "nesterov": NESTEROV,
        "dampening": Argument("share of the gradient that momentum does not take up", FRACTION),
    },
    "rmsprop": {
        "alpha": ALPHA, "eps": EPS, "momentum": MOMENTUM,
        "centered": Argument("divide by the variance instead of the second moment", SWITCH, 4),
    },
    "adagrad": {
        "lr_decay": Argument("the rate falls as 1 / (1 + steps x lr_decay)", NOT_NEGATIVE), "eps": EPS,
        "initial_accumulator_value": Argument("where the sum of squares begins", NOT_NEGATIVE),
    },
    "lion": {},
    "ademamix": {
        "beta3": Argument("decay of the slow first moment; left out: 0.9999", INSIDE),
        "alpha": Argument("weight of the slow first moment; left out: 5", NOT_NEGATIVE),
        "t_beta3": Argument("steps in which beta3 grows to its value", COUNT),
        "t_alpha": Argument("steps in which alpha grows to its value", COUNT),
    },
    "muon": {
        "momentum": Argument("of the matrices; left out: 0.95", FRACTION), "nesterov": NESTEROV,
        "ns_steps": Argument("Newton-Schulz steps; left out: 5", UNDER_HUNDRED),
        "adam_lr_ratio": Argument("the rate of all that is no matrix, as a share of learning_rate; left out: 1", POSITIVE),
    },
}  # fmt: skip
# bitsandbytes has no amsgrad, and its RMSProp takes a momentum without using it.
BITSANDBYTES_ARGUMENTS: Mapping[Family, Mapping[str, Argument]] = {
    "adamw": {}, "lion": {}, "ademamix": ARGUMENTS["ademamix"], "rmsprop": {"alpha": ALPHA, "eps": EPS},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One optimizer.

    `state_bytes` are bytes per trained parameter, beside the weight and its gradient, with float32 weights and no `optim_args`
    (Adafactor keeps a row and a column of each matrix instead: close to nothing). A `paged` one moves its state out of the
    accelerator when memory is short; on a CPU that does nothing.
    """

    name: str
    family: Family
    state_bytes: float
    choose_when: str
    bits: Literal[8, 32] | None = None  # of bitsandbytes; None: torch's or transformers' own
    paged: bool = False

    @property
    def arguments(self) -> Mapping[str, Argument]:
        """What `[train] optim_args` may hold."""
        return (BITSANDBYTES_ARGUMENTS if self.bits else ARGUMENTS)[self.family]

    @property
    def package(self) -> str:
        """Who wrote it."""
        return "bitsandbytes" if self.bits else "transformers" if self.family == "adafactor" else "torch"

    @property
    def decouples_decay(self) -> bool:
        """Does weight decay act on the weights (as in AdamW), or through the gradient (as an L2 penalty does)?"""
        return self.family not in ("sgd", "rmsprop", "adagrad")

    def bytes_with(self, arguments: Mapping[str, float]) -> float:
        """`state_bytes` with these `optim_args`: momentum of SGD is 4 bytes more.

        Example:
            >>> OPTIMIZERS["sgd"].bytes_with({"momentum": 0.9}), OPTIMIZERS["sgd"].bytes_with({"momentum": 0})
            (4, 0)
        """
        return self.state_bytes + sum(self.arguments[name].state_bytes for name, value in arguments.items() if value)


def _bitsandbytes() -> Iterable[Optimizer]:
    """The same few families in 8 and 32 bits, plain and paged."""
    pages = "its state leaves a full GPU instead of failing"
    names: list[tuple[str, Family, Literal[8, 32], str]] = [
        ("adamw_8bit", "adamw", 8, "nearly AdamW's path at a quarter of its state"),
        ("adamw_bnb_8bit", "adamw", 8, "another name of adamw_8bit"),
        ("paged_adamw_8bit", "adamw", 8, f"adamw_8bit: {pages}"),
        ("paged_adamw_32bit", "adamw", 32, f"AdamW: {pages}"),
        ("lion_32bit", "lion", 32, "one moment instead of two; try a third of AdamW's rate"),
        ("lion_8bit", "lion", 8, "the same at a quarter of its state"),
        ("paged_lion_8bit", "lion", 8, f"lion_8bit: {pages}"),
        ("paged_lion_32bit", "lion", 32, f"lion_32bit: {pages}"),
        ("ademamix", "ademamix", 32, "long runs: a second, slower first moment remembers old gradients"),
        ("ademamix_8bit", "ademamix", 8, "the same at a quarter of its state"),
        ("paged_ademamix_8bit", "ademamix", 8, f"ademamix_8bit: {pages}"),
        ("paged_ademamix_32bit", "ademamix", 32, f"ademamix: {pages}"),
        ("rmsprop_bnb", "rmsprop", 32, "rmsprop, by bitsandbytes"),
        ("rmsprop_bnb_32bit", "rmsprop", 32, "another name of rmsprop_bnb"),
        ("rmsprop_bnb_8bit", "rmsprop", 8, "the same at a quarter of its state"),
    ]
    moments = {"adamw": 2, "lion": 1, "ademamix": 3, "rmsprop": 1}
    for name, family, bits, when in names:
        each = 4.0 if bits == 32 else 1 + 4 / BLOCK
        yield Optimizer(name, family, moments[family] * each, when, bits, paged=name.startswith("paged_"))


_ALL = (
    Optimizer("adamw_torch", "adamw", 8, "the default; everything else is compared with it"),
    Optimizer("adamw_torch_fused", "adamw", 8, "the same in one kernel: faster with many small tensors"),
    Optimizer("adafactor", "adafactor", 0, "full fine-tuning when AdamW's state does not fit"),
    Optimizer("muon", "muon", 4, "full fine-tuning: matrices by orthogonalised momentum, the rest (8 bytes) by AdamW"),
    Optimizer("rmsprop", "rmsprop", 4, "one moment; noisy objectives"),
    *_bitsandbytes(),
    Optimizer("adagrad", "adagrad", 4, "sparse gradients; its rate only ever falls"),
    Optimizer("sgd", "sgd", 0, "least memory (momentum: 4 bytes); needs a far larger rate"),
)
_FAMILIES = tuple(dict.fromkeys(o.family for o in _ALL))
OPTIMIZERS: Mapping[str, Optimizer] = {o.name: o for o in sorted(_ALL, key=lambda o: _FAMILIES.index(o.family))}

# Names of TrainingArguments that whet cannot offer: what each would need.
ELSEWHERE = {
    "galore_": "the package galore_torch", "apollo_": "the package apollo_torch", "lomo": "the package lomo-optim",
    "adalomo": "the package lomo-optim", "grokadamw": "the package grokadamw", "schedule_free_": "the package schedulefree",
    "stable_adamw": "the package torch-optimi", "adamw_torch_4bit": "the package torchao",
    "adamw_torch_8bit": "the package torchao", "adamw_anyprecision": "the package torchdistx",
    "adamw_torch_xla": "a TPU", "adamw_torch_npu_fused": "an Ascend NPU",
}  # fmt: skip


def why_not_optimizer(name: str, arguments: Mapping[str, float]) -> str | None:
    """What speaks against this name with these `optim_args`, with the way out; None if nothing does.

    Example:
        >>> why_not_optimizer("adamw_torch", {}) is None
        True
        >>> why_not_optimizer("galore_adamw", {})
        'optim = "galore_adamw" needs the package galore_torch, which whet does not ship; see `whet info optimizers`'
    """
    if name not in OPTIMIZERS:
        need = next((need for prefix, need in ELSEWHERE.items() if name.startswith(prefix)), None)
        if need:
            return f'optim = "{name}" needs {need}, which whet does not ship; see `whet info optimizers`'
        near = difflib.get_close_matches(name, OPTIMIZERS, n=1)
        return f'optim = "{name}" is no optimizer; ' + (f'did you mean "{near[0]}"?' if near else "see `whet info optimizers`")
    return _why_not_arguments(OPTIMIZERS[name], arguments)


def _why_not_arguments(optimizer: Optimizer, arguments: Mapping[str, float]) -> str | None:
    known = optimizer.arguments
    unknown = sorted(arguments.keys() - known.keys())
    if unknown:
        return f"optim_args: {optimizer.name} takes no {', '.join(unknown)}; it takes {', '.join(known) or 'none'}"
    for name, value in arguments.items():
        if not known[name].range.holds(value):
            return f"optim_args: {name} of {optimizer.name} is {known[name].about}: {known[name].range.words}; not {value:g}"
    plain = not arguments.get("momentum") or arguments.get("dampening")
    if optimizer.family == "sgd" and arguments.get("nesterov") and plain:
        return "optim_args: nesterov of sgd needs a momentum above 0, and no dampening"
    return None
