"""A small Llama as a GGUF file, so that a real llama.cpp server can be asked in a test. Written by hand from the format's page.

Source: the GGUF specification of ggml (version 3): a header, key-value metadata, tensor descriptions, aligned tensor data.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

ALIGNMENT = 32
UINT32, FLOAT32, BOOL, STRING, ARRAY, INT32 = 4, 6, 7, 8, 9, 5
Tensor = NDArray[np.float32]


def write_llama(folder: Path, out: Path, chat_template: str | None = None) -> Path:
    """Writes the Llama in a model folder (config.json, model.safetensors, a byte-level BPE tokenizer.json) as float32 GGUF."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    weights = {name: value.float().numpy() for name, value in load_file(folder / "model.safetensors").items()}
    tensors = dict(_renamed(weights, config))
    facts = {**_shape(config), **_tokenizer(folder, config)}
    if chat_template:
        facts["tokenizer.chat_template"] = chat_template
    with out.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts)))
        for key, value in facts.items():
            file.write(_string(key) + _value(value))
        offset = 0
        for name, tensor in tensors.items():
            dims = tensor.shape[::-1]
            file.write(_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, offset))
            offset += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        for tensor in tensors.values():
            file.write(tensor.tobytes())
            file.write(b"\0" * (-tensor.nbytes % ALIGNMENT))
    return out


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    theta = config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta", 10000.0)
    return {
        "general.architecture": "llama", "general.name": "test", "general.alignment": ALIGNMENT, "general.file_type": 0,
        "llama.context_length": config["max_position_embeddings"], "llama.embedding_length": width,
        "llama.block_count": config["num_hidden_layers"], "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": heads, "llama.attention.head_count_kv": config.get("num_key_value_heads", heads),
        "llama.attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]), "llama.rope.freq_base": float(theta),
        "llama.rope.dimension_count": config.get("head_dim") or width // heads, "llama.vocab_size": config["vocab_size"],
    }  # fmt: skip


def _tokenizer(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The vocabulary: kinds are 1 (normal) and 3 (control)."""
    found = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    model = found["model"]
    assert model["type"] == "BPE", "llama.cpp reads byte-level BPE here"
    added = {token["id"]: token for token in found["added_tokens"]}
    by_id = {number: token for token, number in model["vocab"].items()} | {n: t["content"] for n, t in added.items()}
    size = config["vocab_size"]
    end = config["eos_token_id"]
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [by_id.get(n, f"<unused{n}>") for n in range(size)],
        "tokenizer.ggml.token_type": [3 if n in added and added[n]["special"] else 1 for n in range(size)],
        "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in model["merges"]],
        "tokenizer.ggml.bos_token_id": config.get("bos_token_id") or 0, "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.padding_token_id": config.get("pad_token_id") or end, "tokenizer.ggml.add_bos_token": True,
    }  # fmt: skip


LAYER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def _renamed(weights: dict[str, Tensor], config: dict[str, Any]) -> list[tuple[str, Tensor]]:
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    found = [("token_embd.weight", weights["model.embed_tokens.weight"]), ("output_norm.weight", weights["model.norm.weight"])]
    found.append(("output.weight", weights.get("lm_head.weight", weights["model.embed_tokens.weight"])))
    for name, value in weights.items():
        if name.startswith("model.layers."):
            number, _, rest = name.removeprefix("model.layers.").partition(".")
            part, _, kind = rest.rpartition(".")
            value = (
                _interleaved(value, heads if ".q_proj" in name else kv_heads) if part[-6:] in ("q_proj", "k_proj") else value
            )
            found.append((f"blk.{number}.{LAYER_NAMES[part]}.{kind}", value))
    return found


def _interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of each head as llama.cpp rotates them: in pairs of neighbours, where Transformers rotates halves."""
    rows = weight.shape[0]
    return np.ascontiguousarray(
        weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def _string(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    assert isinstance(value, list)
    head = struct.pack("<IIQ", ARRAY, STRING if isinstance(value[0], str) else INT32, len(value))
    return head + b"".join(_string(v) if isinstance(v, str) else struct.pack("<i", v) for v in value)
