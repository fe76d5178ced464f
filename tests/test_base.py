"""The embedded base model: a plain Llama in safetensors, small, offline, and better at English than chance."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from whet.data import tokens as tokenizers
from whet.engine.infer import text_nats

FOLDER = Path(str(resources.files("whet.base") / "whetstone"))


@pytest.fixture(scope="module")
def whetstone() -> torch.nn.Module:
    found: torch.nn.Module = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    return found.eval()


def test_it_is_a_plain_small_llama(whetstone: torch.nn.Module) -> None:
    assert type(whetstone) is LlamaForCausalLM
    assert 5e6 <= sum(p.numel() for p in whetstone.parameters()) <= 10e6
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 20_000_000
    assert AutoModelForCausalLM.from_pretrained(FOLDER).dtype == torch.bfloat16
    assert {f.suffix for f in FOLDER.iterdir()} == {".json", ".safetensors", ".md"}, "nothing that could run"


def test_text_survives_the_tokenizer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    for text in ("We will build 40,000 homes by 2027.", "naïve Zürich – 東京 🚆", "tabs\tand\nlines  and   spaces"):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    digits = tokenizer.convert_ids_to_tokens(tokenizer("2027").input_ids)
    assert digits == ["<|endoftext|>", "2", "0", "2", "7"], "digits stand one by one"


def test_it_reads_english_it_has_not_seen(whetstone: torch.nn.Module) -> None:
    text = (resources.files("whet.base") / "unseen.txt").read_text("utf-8")
    ids = tokenizers.load("whetstone").prompt(text)
    bits = text_nats(whetstone, ids) / math.log(2) / len(text)
    card = (FOLDER / "README.md").read_text("utf-8")
    assert f"{bits:.2f} bits per character on `unseen.txt`" in card, bits
    assert bits < 1.8, "a byte-level guess is 8, a random model of this shape about 4"


def test_it_prefers_sense_to_shuffled_words(whetstone: torch.nn.Module) -> None:
    tokens = tokenizers.load("whetstone")
    pairs = [
        ("The government will build new schools.", "The schools new build government will."),
        ("I have asked the Congress for help.", "I asked have for Congress help the."),
        ("She closed the door and went home.", "She the door closed home and went."),
    ]
    for sense, nonsense in pairs:
        assert text_nats(whetstone, tokens.prompt(sense)) < text_nats(whetstone, tokens.prompt(nonsense))


def test_its_card_names_what_made_it() -> None:
    card = (FOLDER / "README.md").read_text("utf-8")
    assert "tools/build_base.py" in card and "Apache" in card
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["model_type"] == "llama" and "auto_map" not in config
