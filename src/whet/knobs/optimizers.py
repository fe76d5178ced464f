"""The optimizers by their names in Hugging Face's `TrainingArguments.optim`: what each remembers, and when to choose it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

BITSANDBYTES_FROM = 4096  # tensors with fewer elements keep 32-bit states, whatever the name says


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One optimizer.

    `state_bytes` are bytes per trained parameter, beside the weight and its gradient (Adafactor keeps a row and a column of
    each matrix instead: close to nothing). `arguments` are what `[train] optim_args` may hold. A `paged` one moves its state
    out of the accelerator when memory is short; on a CPU that does nothing.
    """

    name: str
    family: Literal["adamw", "adafactor", "sgd", "rmsprop", "adagrad", "lion", "ademamix", "muon"]
    state_bytes: float
    choose_when: str
    arguments: tuple[str, ...] = ()
    bits: Literal[8, 32] | None = None  # of bitsandbytes; None: torch's or transformers' own
    paged: bool = False


def _bitsandbytes() -> Iterable[Optimizer]:
    """The same few families in 8 and 32 bits, plain and paged."""
    about = {
        "adamw": "AdamW's path at a quarter of its state",
        "lion": "one moment instead of two; try a third of AdamW's rate",
        "ademamix": "long runs: a second, slower first moment",
        "rmsprop": "RMSProp's path at a quarter of its state",
    }
    names: list[tuple[str, Literal["adamw", "lion", "ademamix", "rmsprop"], Literal[8, 32], bool]] = [
        ("adamw_bnb_8bit", "adamw", 8, False), ("adamw_8bit", "adamw", 8, False),
        ("paged_adamw_32bit", "adamw", 32, True), ("paged_adamw_8bit", "adamw", 8, True),
        ("lion_32bit", "lion", 32, False), ("lion_8bit", "lion", 8, False),
        ("paged_lion_32bit", "lion", 32, True), ("paged_lion_8bit", "lion", 8, True),
        ("ademamix", "ademamix", 32, False), ("ademamix_8bit", "ademamix", 8, False),
        ("paged_ademamix_32bit", "ademamix", 32, True), ("paged_ademamix_8bit", "ademamix", 8, True),
        ("rmsprop_bnb", "rmsprop", 32, False), ("rmsprop_bnb_32bit", "rmsprop", 32, False),
        ("rmsprop_bnb_8bit", "rmsprop", 8, False),
    ]  # fmt: skip
    moments = {"adamw": 2, "lion": 1, "ademamix": 3, "rmsprop": 1}
    for name, family, bits, paged in names:
        when = about[family] if bits == 8 or family in ("lion", "ademamix") else "the same, its state in 32 bits"
        when += "; its state leaves a full GPU instead of failing" if paged else ""
        own = ("beta3", "alpha") if family == "ademamix" else ("alpha", "momentum") if family == "rmsprop" else ()
        yield Optimizer(name, family, moments[family] * bits / 8, when, own, bits, paged)


OPTIMIZERS: Mapping[str, Optimizer] = {
    o.name: o
    for o in (
        Optimizer("adamw_torch", "adamw", 8, "the default; everything else is compared with it", ("amsgrad",)),
        Optimizer("adamw_torch_fused", "adamw", 8, "the same in one kernel: faster with many small tensors", ("amsgrad",)),
        Optimizer("adafactor", "adafactor", 0, "full fine-tuning when AdamW's state does not fit", ("clip_threshold", "decay_rate")),
        Optimizer("sgd", "sgd", 0, "least memory; needs a far larger rate. momentum keeps 4 bytes more", ("momentum", "nesterov")),
        Optimizer("rmsprop", "rmsprop", 4, "one moment; noisy objectives", ("alpha", "momentum", "centered")),
        Optimizer("adagrad", "adagrad", 4, "sparse gradients; its rate only ever falls", ("lr_decay", "initial_accumulator_value")),
        Optimizer("muon", "muon", 4, "matrices by orthogonalised momentum, the rest by AdamW: fast full fine-tuning",
                  ("momentum", "nesterov", "ns_steps", "adam_lr_ratio")),
        *_bitsandbytes(),
    )
}  # fmt: skip

# Names of TrainingArguments that whet cannot offer: what each would need.
ELSEWHERE = {
    "galore_": "the package galore_torch", "apollo_": "the package apollo_torch", "lomo": "the package lomo-optim",
    "adalomo": "the package lomo-optim", "grokadamw": "the package grokadamw", "schedule_free_": "the package schedulefree",
    "stable_adamw": "the package torch-optimi", "adamw_torch_4bit": "the package torchao", "adamw_torch_8bit": "the package torchao",
    "adamw_anyprecision": "the package torchdistx", "adamw_apex_fused": "the package apex", "adamw_torch_xla": "a TPU",
    "adamw_torch_npu_fused": "an Ascend NPU",
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
    unknown = sorted(arguments.keys() - set(OPTIMIZERS[name].arguments))
    if unknown:
        known = ", ".join(OPTIMIZERS[name].arguments) or "none"
        return f"optim_args: {name} takes no {', '.join(unknown)}; it takes {known}"
    return None
