"""Families of models: which linear layers, norms and biases a layer has, and what they are called. Facts, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Family:
    """How the layers of a family are built.

    Args:
        path: where the layers are, as in `model.layers`.
        ends: the names of the embedding, the last norm and the head; a learned position table last, where there is one.
        attention: the names of the projections to query, key and value (one, if they are one layer) and of that back.
        feed_forward: the names of the projections up (gate and up, or one for both, or one) and down.
        is_gated: whether the feed-forward part multiplies by a gate (SwiGLU, GeGLU).
        norms: the names of the norms over the whole width in a layer.
        head_norms: whether queries and keys have norms of their own: of each head, or of all heads together.
        biases: which linear layers have one.
        norm: RMS norm has a weight, layer norm a bias too.
        is_parallel: whether attention and feed-forward part read the same norm's output.
        activation: of the feed-forward part: one operation, or spelled out in four, each of which keeps what it read.
        drops: whether its models drop attention weights and outputs out in training.
        has_table: whether positions are learned and added, instead of rotating queries and keys.
        caps: whether attention scores are soft-capped, which no fused attention can do.
        attends_in_one: whether the engine computes its attention over a token tree, projections included, as one operation.
    """

    path: str
    ends: tuple[str, ...]
    attention: tuple[str, ...]
    feed_forward: tuple[str, ...]
    is_gated: bool = True
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    head_norms: Literal["none", "each", "all"] = "none"
    biases: Literal["none", "qkv", "all", "all and head"] = "none"
    norm: Literal["rms", "layer"] = "rms"
    is_parallel: bool = False
    activation: Literal["fused", "spelled"] = "fused"
    drops: bool = False
    has_table: bool = False
    caps: bool = False
    attends_in_one: bool = False


_SEPARATE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_ENDS = ("model.embed_tokens", "model.norm", "lm_head")
_FOUR_NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")

FAMILIES: Mapping[str, Family] = {  # by `model_type` of config.json
    "llama": Family("model.layers", _ENDS, _SEPARATE, _GATED, attends_in_one=True),
    "mistral": Family("model.layers", _ENDS, _SEPARATE, _GATED, attends_in_one=True),
    "qwen2": Family("model.layers", _ENDS, _SEPARATE, _GATED, biases="qkv", attends_in_one=True),
    "qwen3": Family("model.layers", _ENDS, _SEPARATE, _GATED, head_norms="each"),
    "gemma": Family("model.layers", _ENDS, _SEPARATE, _GATED),
    "gemma2": Family("model.layers", _ENDS, _SEPARATE, _GATED, norms=_FOUR_NORMS, caps=True),
    "gemma3_text": Family("model.layers", _ENDS, _SEPARATE, _GATED, norms=_FOUR_NORMS, head_norms="each"),
    "olmo2": Family(
        "model.layers", _ENDS, _SEPARATE, _GATED,
        norms=("post_attention_layernorm", "post_feedforward_layernorm"), head_norms="all",
    ),
    "phi3": Family(
        "model.layers", _ENDS, ("self_attn.qkv_proj", "self_attn.o_proj"), ("mlp.gate_up_proj", "mlp.down_proj"),
    ),
    "phi": Family(
        "model.layers", ("model.embed_tokens", "model.final_layernorm", "lm_head"), (*_SEPARATE[:3], "self_attn.dense"),
        ("mlp.fc1", "mlp.fc2"), is_gated=False, norms=("input_layernorm",), biases="all and head", norm="layer",
        is_parallel=True, activation="spelled",
    ),
    "gpt_neox": Family(
        "gpt_neox.layers", ("gpt_neox.embed_in", "gpt_neox.final_layer_norm", "lm_head"),
        ("attention.query_key_value", "attention.dense"), ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"), is_gated=False,
        biases="all", norm="layer", is_parallel=True,
    ),
    "gpt2": Family(
        "transformer.h", ("transformer.wte", "transformer.ln_f", "lm_head", "transformer.wpe"),
        ("attn.c_attn", "attn.c_proj"), ("mlp.c_fc", "mlp.c_proj"), is_gated=False, norms=("ln_1", "ln_2"),
        biases="all", norm="layer", activation="spelled", drops=True, has_table=True,
    ),
}  # fmt: skip
