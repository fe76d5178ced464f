"""The Shape of a model: what its size and the memory of its training follow from. Known by name, or read from a config.json."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

from whet.budget.families import FAMILIES, Family
from whet.errors import ModelError, Problem


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer: its name inside the transformer layer, its widths, whether it has a bias."""

    name: str
    inputs: int
    outputs: int
    has_bias: bool = False

    @property
    def weights(self) -> int:
        """Weights of its matrix."""
        return self.inputs * self.outputs

    @property
    def params(self) -> int:
        """Weights and biases."""
        return self.weights + (self.outputs if self.has_bias else 0)


@dataclass(frozen=True)
class Shape:
    """The sizes of a causal language model.

    `width` is that of the residual stream, `ffn` that inside the feed-forward part, `heads` x `head_width` that of the queries,
    `kv_heads` x `head_width` that of the keys and of the values. `positions` are the rows of a learned position table, `window`
    the tokens that a sliding-window layer looks back (0: none).

    Example:
        >>> llama = known_shape("meta-llama/Llama-2-7b-hf")
        >>> llama.params, llama.linear_params, llama.lora_params(64)
        (6738415616, 6476005376, 159907840)
    """

    name: str
    family: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    ffn: int
    vocabulary: int
    tied: bool = False
    positions: int = 0
    window: int = 0

    @property
    def kind(self) -> Family:
        """What is common to its family."""
        return FAMILIES[self.family]

    @property
    def query_width(self) -> int:
        """Width of the queries of all heads."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Width of the keys of all heads, and of the values."""
        return self.kv_heads * self.head_width

    @cached_property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of one transformer layer, in the model's order."""
        kind, biases = self.kind, self.kind.biases
        sides = (self.query_width, self.key_width, self.key_width)
        *inward, outward = kind.attention
        *upward, downward = kind.feed_forward
        into = sides if len(inward) == 3 else (sum(sides),)
        up = 2 * self.ffn // len(upward) if kind.is_gated else self.ffn
        return (
            *(Linear(n, self.width, side, biases != "none") for n, side in zip(inward, into, strict=True)),
            Linear(outward, self.query_width, self.width, biases.startswith("all")),
            *(Linear(n, self.width, up, biases.startswith("all")) for n in upward),
            Linear(downward, self.ffn, self.width, biases.startswith("all")),
        )

    @property
    def linear_params(self) -> int:
        """Weights of all linear layers but the head: what is quantized."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def params(self) -> int:
        """All parameters; a tied head counts once."""
        return sum(count for _, count in self.parts())

    def parts(self) -> Iterator[tuple[str, int]]:
        """(full name, parameters) of every module that has some; a tied head has none of its own."""
        kind = self.kind
        norm = self.width * (2 if kind.norm == "layer" else 1)
        embedding, last_norm, head, *tables = kind.ends
        yield embedding, self.vocabulary * self.width
        yield from ((table, self.positions * self.width) for table in tables)
        attention = kind.attention[0].split(".")[0]
        alone = {"none": (), "each": (self.head_width,) * 2, "all": (self.query_width, self.key_width)}[kind.head_norms]
        for number in range(self.layers):
            layer = f"{kind.path}.{number}"
            yield from ((f"{layer}.{linear.name}", linear.params) for linear in self.linears)
            yield from ((f"{layer}.{name}", norm) for name in kind.norms)
            yield from zip((f"{layer}.{attention}.q_norm", f"{layer}.{attention}.k_norm"), alone, strict=False)
        yield last_norm, norm
        if not self.tied:
            yield head, self.vocabulary * (self.width + (kind.biases == "all and head"))

    def linear_layers(self) -> Iterator[tuple[str, Linear]]:
        """(full name, layer) of every linear layer but the head, in the model's order."""
        for number in range(self.layers):
            yield from ((f"{self.kind.path}.{number}.{linear.name}", linear) for linear in self.linears)

    def lora_params(self, r: int) -> int:
        """Weights of an adapter of rank r on all linear layers."""
        return self.layers * sum(r * (linear.inputs + linear.outputs) for linear in self.linears)

    def config(self) -> dict[str, Any]:
        """What Transformers builds this model from, `model_type` included."""
        if self.family == "gpt2":
            own: dict[str, Any] = {"n_embd": self.width, "n_layer": self.layers, "n_head": self.heads, "n_inner": self.ffn,
                   "n_positions": self.positions}  # fmt: skip
        else:
            own = {"hidden_size": self.width, "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                   "intermediate_size": self.ffn, "num_key_value_heads": self.kv_heads, "head_dim": self.head_width,
                   "sliding_window": self.window or None}  # fmt: skip
        tokens = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
        return {"model_type": self.family, "vocab_size": self.vocabulary, "tie_word_embeddings": self.tied, **tokens, **own}


def shape_of(config: Mapping[str, Any], base: str) -> Shape:
    """The Shape that the values of a config.json describe.

    Raises:
        ModelError: if it is of no known family, or a size is missing.
    """
    where, family = f"[model] base {base}", str(config.get("model_type"))
    known = f"Known are {', '.join(FAMILIES)}; for others, see `whet plan --replay`"
    if family not in FAMILIES:
        raise ModelError(Problem(where, f"no formula is known for model_type {family!r}", known))
    kind = FAMILIES[family]
    odd = [key for key, usual in (("attention_bias", kind.biases != "none"), ("mlp_bias", kind.biases == "all"))
           if key in config and bool(config[key]) != usual]  # fmt: skip
    if odd:
        raise ModelError(Problem(where, f"no formula is known for a {family} model with this {', '.join(odd)}", known))
    short = {"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
    found = {}
    for key in (*short, "vocab_size"):
        found[key] = config.get(key, config.get(short.get(key, key)))
    missing = [key for key, value in found.items() if not isinstance(value, int) or value < 1]
    if missing:
        raise ModelError(Problem(where, f"its config.json says no {', '.join(missing)}", "Name a causal language model"))
    width, heads = found["hidden_size"], found["num_attention_heads"]
    return Shape(
        base, str(family), found["num_hidden_layers"], width, heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_width=config.get("head_dim") or width // heads,
        ffn=config.get("intermediate_size") or config.get("n_inner") or 4 * width,
        vocabulary=found["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", family in ("gpt2", "gemma", "gemma2", "gemma3_text"))),
        positions=config.get("n_positions", 0) if family == "gpt2" else 0,
        window=_window(config),
    )  # fmt: skip


def _window(config: Mapping[str, Any]) -> int:
    """The tokens that sliding-window layers look back; 0 where there are none."""
    return int(config.get("sliding_window") or 0) if config.get("use_sliding_window", True) else 0


def known_shape(base: str) -> Shape | None:
    """The Shape of a model in the table, whatever the case of its letters; None if it is not there.

    Example:
        >>> known_shape("Meta-Llama/LLAMA-2-7B-HF").layers, known_shape("someone/else")
        (32, None)
    """
    return _by_name().get(base.lower())


def known_shapes() -> tuple[Shape, ...]:
    """Every model that is known by name, under its first name."""
    return tuple(dict.fromkeys(_by_name().values()))


@cache
def _by_name() -> dict[str, Shape]:
    return dict(_table())


def _table() -> Iterator[tuple[str, Shape]]:
    """(name in lower case, Shape) for every name in shapes.csv: sizes from each model's own config.json, facts."""
    text = resources.files("whet.budget").joinpath("shapes.csv").read_text("utf-8")
    for row in csv.DictReader(io.StringIO(text)):
        names, family = row.pop("names").split(), row.pop("family")
        sizes = {key: int(value) for key, value in row.items()}
        shape = Shape(names[0], family, tied=bool(sizes.pop("tied")), **sizes)
        yield from ((name.lower(), shape) for name in names)
