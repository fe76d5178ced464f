"""What the engine's tests share: a tiny base model on disk, and a small recipe and run made from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from whet.data.tokens import Encoded
from whet.recipe import Recipe, parse

LABELS = ["False", "True"]
SUBJECTS = ["We", "They", "You", "I", "Nobody", "My party", "Our rivals", "The council"]
VERBS = ["will build", "built", "may see", "will cut", "talked about", "promise to fund", "dream of", "will open"]
OBJECTS = ["homes", "the tax", "schools", "a bridge", "jobs", "the railway", "hope", "the harbour"]


def make_base(folder: Path, tokenizer: Path, **shape: Any) -> Path:
    """A Llama of two layers and 64 dimensions with random weights, saved with the embedded tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = {
        "vocab_size": 6144, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 96, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
        "initializer_range": 0.2,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**{**config, **shape})).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tokenizer / name).read_bytes())
    return folder


def write_table(path: Path, rows: int = 120, seed: int = 0) -> Path:
    """A CSV of short sentences with a label that depends on the verb, and a speech number."""
    rng = np.random.default_rng(seed)
    lines = ["sentence,is_promise,speech"]
    for i in range(rows):
        verb = VERBS[rng.integers(len(VERBS))]
        target = "True" if "will" in verb or "promise" in verb else "False"
        lines.append(f"{SUBJECTS[rng.integers(8)]} {verb} {OBJECTS[rng.integers(8)]} in ward {i}.,{target},{i // 8}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def recipe(table: Path, base: Path | str, **sections: Any) -> Recipe:
    """A recipe for that table; keyword sections are merged over it."""
    values: dict[str, Any] = {
        "name": "tiny", "task": {"instruction": "Is this a promise?", "labels": LABELS},
        "data": {"path": str(table), "input": "sentence", "target": "is_promise", "group": "speech"},
        "model": {"base": str(base)}, "train": {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-3},
        "evaluate": {"bootstrap_samples": 100, "few_shot_examples": 2},
    }  # fmt: skip
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return parse({k: v for k, v in values.items() if v is not None})


def random_rows(count: int, seed: int = 0, vocabulary: int = 6144) -> list[Encoded]:
    """Examples of random ids: prompts of 3 to 20, completions of 1 to 4 with the end token last."""
    rng = np.random.default_rng(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(2, vocabulary, rng.integers(low, high)))

    return [Encoded(str(i), (0, *ids(2, 20)), (*ids(1, 4), 0)) for i in range(count)]
