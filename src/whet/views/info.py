"""The tables of `whet info`: what the named choices of a recipe are, and when to choose which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from whet.views.curve import sparkline

Record = Mapping[str, Any]


def table(topic: str, records: Sequence[Record]) -> Group:
    """The records of a topic of `whet.knobs.facts`, as a table within 80 columns and what to read below it."""
    return TABLES[topic](records)


def _optimizers(records: Sequence[Record]) -> Group:
    drawn = _table(("optim", "left"), ("bytes", "right"), ("bits", "right"), ("by", "left"), ("choose when", "left"))
    arguments = Table.grid(padding=(0, 2))
    for _, members in groupby(records, lambda record: record["family"]):
        for record in members:
            small = "" if record["bits"] == 8 else "dim"
            drawn.add_row(
                Text(record["name"], "bold"), _bytes(record["state_bytes_per_parameter"]), Text(str(record["bits"]), small),
                Text(record["package"], "dim"), record["choose_when"],
            )  # fmt: skip
        drawn.add_section()
    for known, names in _by_arguments(records).items():
        arguments.add_row(Text(", ".join(known)), Text(", ".join(names), "dim"))
    return Group(
        drawn,
        Text("optim_args of", "bold"),
        arguments,
        Text(),
        _note("bytes: what it remembers of a trained parameter, beside the weight and its gradient."),
        _note("bits: of that memory. 8-bit states are for tensors from 4,096 elements on; smaller ones keep 32."),
        _note("weight_decay: of matrices alone. It acts apart from the gradient, but for sgd, rmsprop and adagrad."),
    )


def _schedules(records: Sequence[Record]) -> Group:
    drawn = _table(("lr_scheduler_type", "left"), ("rate", "left"), ("choose when", "left"))
    for record in records:
        curve = Text(sparkline(record["example"]["shares_of_peak"], 16), "cyan")
        known = [f"{name}{'*' if name in record['needs'] else ''}" for name in record["lr_scheduler_kwargs"]]
        when = Text(record["choose_when"]).append(f"\n{', '.join(known)}" if known else "", "dim")
        drawn.add_row(Text(record["name"], "bold"), curve, when)
    return Group(
        drawn,
        Text(),
        _note("rate: over a run whose first tenth is warm-up (warmup_ratio or warmup_steps; constant has none)."),
        _note("Below each: its lr_scheduler_kwargs. * must be given; of min_lr and min_lr_rate, one."),
        _note("No step has a rate of zero: warm-up begins at 1/w of the peak, where Transformers begins at zero."),
    )


def _quantization(records: Sequence[Record]) -> Group:
    drawn = _table(("[model]", "left"), ("bits", "right"), ("error", "right"), ("trains", "left"), ("choose when", "left"))
    for record in records:
        double = record["bits_per_weight_with_double_quant"]
        bits = f"{record['bits_per_weight']:.4g}" + (f"\n{double:.4g}*" if double else "")
        error = f"{record['relative_error']:.1%}" if record["relative_error"] else "0"
        key = Text(f'{record["key"]} = "{record["name"]}"', "bold")
        drawn.add_row(key, bits, error, Text(record["trains"]), Text(record["choose_when"]))
    return Group(
        drawn,
        Text(),
        _note("bits: of a weight, its scales included; * with bnb_4bit_use_double_quant = true, at the same error."),
        _note("error: what is lost of normally distributed weights: its root mean square, relative to theirs."),
        _note("Quantized are the linear layers; embeddings, norms and the output head keep dtype."),
    )


TABLES: Mapping[str, Callable[[Sequence[Record]], Group]] = {
    "optimizers": _optimizers,
    "schedules": _schedules,
    "quantization": _quantization,
}


def _table(*columns: tuple[str, Any]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name, side in columns:
        drawn.add_column(name, justify=side, no_wrap=name not in ("choose when", "trains"))
    return drawn


def _by_arguments(records: Sequence[Record]) -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """The names that share the same arguments, and these, of those that have some."""
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for record in records:
        if record["optim_args"]:
            known = tuple(record["optim_args"])
            shared[known] = (*shared.get(known, ()), record["name"])
    return {names: known for known, names in shared.items()}


def _bytes(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _note(text: str) -> RenderableType:
    return Text(text, "dim")
