"""Makes `whetstone`, the embedded base model: `python tools/build_base.py CORPUS_DIR [--out DIR] [--cycle N]`.

Five steps, all seeded: read the corpus (public domain worldwide; two works in a hundred kept aside), train a byte-level BPE,
write exercises (base_tasks.py), pretrain a small Llama with Muon and AdamW, measure bits per character on the works kept
aside. The corpus is JSONL, gzip, one document a line with the keys id, author and text. Interrupted, it goes on from its
last checkpoint.

Pretraining has two cycles, each with its own rates, mix and exercises; the second starts from the weights that the first
wrote (bfloat16, new optimizers) and goes on in the corpus where the first stopped. `--cycle 2` runs the second alone.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from base_tasks import exercises
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 20
VOCAB, DIM, LAYERS, HEADS, FFN = 6144, 320, 5, 5, 864
CONTEXT, ROWS = 256, 32


@dataclass(frozen=True)
class Cycle:
    """One rise and fall of the learning rate. `mix` gives each genre's share at the first and at the last step; how far the
    one has become the other is read off `knots`, steps against fractions."""

    steps: int
    warmup: int
    decay: int
    muon_lr: float
    adam_lr: float
    exercises: int
    knots: tuple[list[int], list[float]]
    mix: dict[str, tuple[float, float]]


# The first: prose first, politics and exercises last. The second: politics above all, and fewer exercises, for those of the
# first left so strong a mark that plain prose went over into them.
CYCLES = {
    1: Cycle(1400, 60, 600, 0.02, 4e-3, 45_000, ([0, 600, 1400], [0.0, 0.3, 1.0]),
             {"book": (0.30, 0.04), "gov": (0.15, 0.08), "pol": (0.50, 0.66), "task": (0.05, 0.22)}),
    2: Cycle(1600, 60, 400, 0.015, 3e-3, 20_000, ([0, 1000], [0.0, 1.0]),
             {"book": (0.16, 0.06), "gov": (0.07, 0.05), "pol": (0.70, 0.80), "task": (0.07, 0.09)}),
}  # fmt: skip
# Authors or translators whose work may still be in copyright where life + 70 years is the rule.
LEFT_OUT = ("Milne", "Agatha Christie", "Bertrand Russell", "Hammett", "Sayers", "Forster", "Remarque", "Hemingway",
            "Helen Keller", "Wodehouse", "Thornton Wilder", "Upton Sinclair", "Du Bois")  # fmt: skip
# What the finished model is asked to go on with, for the reader of the log.
PROMPTS = ("My fellow citizens, in the next four years we will", "The government has decided to", "She opened the door and")


def read_corpus(folder: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(genre, text) documents for training and those kept aside: every fiftieth work by the hash of its id."""
    train: list[tuple[str, str]] = []
    held: list[tuple[str, str]] = []
    for shard in sorted(folder.glob("corpus-*.jsonl.gz")):
        with gzip.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                doc = json.loads(line)
                if any(name in doc["author"] for name in LEFT_OUT):
                    continue
                aside = int(hashlib.sha256(doc["id"].encode()).hexdigest(), 16) % 50 == 0
                (held if aside else train).append((doc["id"].split("/")[0], doc["text"]))
    return train, held


def train_tokenizer(documents: list[tuple[str, str]], seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE that splits digits one by one; a text begins with <|endoftext|>."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=["<|endoftext|>", "<|pad|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    order = np.random.default_rng(seed).permutation(len(documents))
    bpe.train_from_iterator((documents[i][1][:20_000] for i in order), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", pair="<|endoftext|> $A $B", special_tokens=[("<|endoftext|>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|pad|>", model_max_length=1024
    )


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    """All texts as one stream of uint16 ids, each behind its <|endoftext|>."""
    parts = []
    for start in range(0, len(texts), 256):
        encoded = tokenizer.backend_tokenizer.encode_batch(texts[start : start + 256])
        parts += [np.array(e.ids, np.uint16) for e in encoded]
    return np.concatenate(parts)


class Stream:
    """Windows of CONTEXT + 1 ids of one genre, each once before any comes twice, in an order that the seed fixes."""

    def __init__(self, ids: np.ndarray, seed: int) -> None:
        self.ids, self.seed, self.count = ids, seed, (len(ids) - 1) // CONTEXT

    def window(self, k: int) -> np.ndarray:
        epoch, at = divmod(k, self.count)
        if getattr(self, "epoch", None) != epoch:
            self.epoch, self.order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.count)
        start = int(self.order[at]) * CONTEXT
        return self.ids[start : start + CONTEXT + 1]


def schedule(step: int, cycle: Cycle) -> float:
    """Warm up, hold, then fall linearly to zero over the last `decay` steps."""
    return min(1.0, (step + 1) / cycle.warmup, (cycle.steps - step) / cycle.decay)


def draw(number: int, step: int) -> list[str]:
    """The genre of each row of a step."""
    cycle = CYCLES[number]
    turned = np.interp(step, *cycle.knots)
    share = np.array([a + (b - a) * turned for a, b in cycle.mix.values()])
    rng = np.random.default_rng([SEED, step] if number == 1 else [SEED, number, step])
    return [str(genre) for genre in rng.choice(list(cycle.mix), size=ROWS, p=share / share.sum())]


def build_model() -> LlamaForCausalLM:
    """The untrained whetstone: a plain Llama with tied embeddings."""
    torch.manual_seed(SEED)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCAB, hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        intermediate_size=FFN, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
        pad_token_id=1, attention_bias=False,
    ))  # fmt: skip


def pretrain(model: LlamaForCausalLM, streams: dict[str, Stream], number: int, work: Path) -> LlamaForCausalLM:
    """Trains for one cycle's steps of ROWS × CONTEXT tokens, logging nats per token; resumes from `work`."""
    cycle = CYCLES[number]
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [
        torch.optim.Muon(matrices, lr=cycle.muon_lr, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=cycle.adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    base_lrs = [cycle.muon_lr, cycle.adam_lr]

    def loss_of(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
            logits = torch.nn.functional.linear(hidden, model.lm_head.weight)
        return torch.nn.functional.cross_entropy(logits.view(-1, VOCAB).float(), targets.view(-1))

    compiled = torch.compile(loss_of)
    done, saved = 0, work / f"checkpoint-{number}.pt"
    drawn = Counter(
        genre for earlier in range(1, number) for step in range(CYCLES[earlier].steps) for genre in draw(earlier, step)
    )
    drawn["task"] = 0  # each cycle has exercises of its own
    if saved.exists():  # our own scratch file of a moment ago; nothing foreign is ever loaded this way
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        done, drawn = state["done"], Counter(state["drawn"])
    started, total = time.time(), 0.0
    for step in range(done, cycle.steps):
        rows = []
        for genre in draw(number, step):
            rows.append(streams[genre].window(drawn[genre]))
            drawn[genre] += 1
        batch = torch.from_numpy(np.stack(rows).astype(np.int64))
        loss = compiled(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, rate in zip(optimizers, base_lrs, strict=True):
            optimizer.param_groups[0]["lr"] = rate * schedule(step, cycle)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        total += loss.item()
        if (step + 1) % 25 == 0:
            print(f"step {step + 1} loss {total / 25:.3f} {(time.time() - started) / (step + 1 - done):.2f} s/step", flush=True)
            total = 0.0
        if (step + 1) % 200 == 0:
            torch.save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "done": step + 1,
                        "drawn": dict(drawn)}, saved.with_suffix(".new"))  # fmt: skip
            saved.with_suffix(".new").replace(saved)
    return model


@torch.inference_mode()
def bits_per_character(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> float:
    """Nats of all tokens over all characters, in bits; windows of CONTEXT without overlap."""
    ids = encode(tokenizer, texts).astype(np.int64)
    nats, chars = 0.0, 0
    for start in range(0, len(ids) - CONTEXT, CONTEXT):
        window = torch.from_numpy(ids[start : start + CONTEXT + 1])[None]
        logits = model(input_ids=window[:, :-1]).logits.float()
        nats += float(torch.nn.functional.cross_entropy(logits[0], window[0, 1:], reduction="sum"))
        chars += len(tokenizer.decode(window[0, 1:], skip_special_tokens=True))
    return nats / math.log(2) / chars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, default=Path("src/whet/base/whetstone"))
    parser.add_argument("--work", type=Path, default=Path("build/base"))
    parser.add_argument("--cycle", type=int, choices=CYCLES, help="only this one; the second starts from what --out holds")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    train, held = read_corpus(args.corpus)
    print(f"{len(train)} documents to train on, {len(held)} kept aside", flush=True)
    tokenizer_dir = args.work / "tokenizer"
    if not tokenizer_dir.exists():
        train_tokenizer(train, SEED).save_pretrained(tokenizer_dir)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_dir)
    genres: dict[str, list[str]] = {"book": [], "gov": [], "pol": []}
    for genre, text in train:
        genres["pol" if genre == "polbook" else genre].append(text)
    for number in [args.cycle] if args.cycle else CYCLES:
        streams = {}
        for at, name in enumerate([*genres, "task"]):
            file = args.work / (f"task-{number}.npy" if name == "task" else f"{name}.npy")
            if not file.exists():
                count = CYCLES[number].exercises
                texts = genres[name] if name in genres else list(exercises(train, count, SEED + number - 1, number))
                np.save(file, encode(tokenizer, texts))
            streams[name] = Stream(np.load(file), SEED + at)
            print(f"{name}: {len(streams[name].ids):,} tokens", flush=True)
        model = build_model() if number == 1 else LlamaForCausalLM.from_pretrained(args.out, dtype=torch.float32)
        model = pretrain(model, streams, number, args.work).eval().to(torch.bfloat16)
        args.out.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(args.out)
        tokenizer.save_pretrained(args.out)
    model = model.float()
    for name, kinds in {"political": ("pol", "polbook"), "books": ("book",), "guides": ("gov",)}.items():
        texts = [text[:200_000] for genre, text in held if genre in kinds]
        bits = bits_per_character(model, tokenizer, texts)
        print(f"bits per character on {len(texts)} unseen {name} documents: {bits:.3f}", flush=True)
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        written = model.generate(ids, max_new_tokens=40, do_sample=False, repetition_penalty=1.2)[0]
        print(repr(tokenizer.decode(written, skip_special_tokens=True)))


if __name__ == "__main__":
    main()
