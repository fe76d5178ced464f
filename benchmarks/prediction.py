"""What scoring labels costs: `python benchmarks/prediction.py [--quick] [--rows 32] [--json FILE]`.

A classification task with an instruction that all rows share and four labels of one to three tokens, on a model with random
weights, four ways: whet (the shared prompt once, rows on branches, labels on twigs), `model.generate` in padded batches of 16
(greedy, three tokens), and each (row, label) pair as a row of its own with all its logits, as evaluation harnesses do, padded
in batches of 16. Taken in turns, medians, two threads. The naive scores are what whet's are held to. Exits 1 below the floors.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from training_worker import base

from whet.engine.infer import label_scores

PADDING, END, BATCH = 1, 0, 16
CASES = (("15 M", 300, 4.0, 35.0), ("15 M", 60, 0.0, 0.0), ("135 M", 300, 0.0, 0.0), ("135 M", 60, 0.0, 0.0))


def padded(rows: list[list[int]], left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of rows side by side."""
    width = max(map(len, rows))
    fill = [[PADDING] * (width - len(row)) for row in rows]
    mask = [[0] * len(f) for f in fill]
    ones = [[1] * len(row) for row in rows]
    ids = [f + r if left else r + f for f, r in zip(fill, rows, strict=True)]
    seen = [m + o if left else o + m for m, o in zip(mask, ones, strict=True)]
    return torch.tensor(ids), torch.tensor(seen)


@torch.inference_mode()
def generated(model: Any, prompts: list[list[int]]) -> None:
    """Three greedy tokens for each prompt."""
    for i in range(0, len(prompts), BATCH):
        ids, mask = padded(prompts[i : i + BATCH], left=True)
        model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=3, do_sample=False, pad_token_id=PADDING)


@torch.inference_mode()
def naive(model: Any, prompts: list[list[int]], labels: list[list[int]]) -> np.ndarray:
    """log P(label | prompt), each pair a row of its own: (N, C)."""
    pairs = [(prompt, label) for prompt in prompts for label in labels]
    scores = []
    for i in range(0, len(pairs), BATCH):
        part = pairs[i : i + BATCH]
        ids, mask = padded([prompt + label for prompt, label in part], left=False)
        logs = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
        for k, (prompt, label) in enumerate(part):
            places = torch.arange(len(prompt) - 1, len(prompt) + len(label) - 1)
            scores.append(float(logs[k, places, torch.tensor(label)].sum()))
    return np.array(scores).reshape(len(prompts), len(labels))


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(shape: str, instruction: int, count: int, rounds: int) -> dict[str, Any]:
    """Median milliseconds a row of each way, and how far whet's scores are from the naive ones."""
    rng = random.Random(0)

    def ids(count: int) -> list[int]:
        return [rng.randrange(2, 6000) for _ in range(count)]

    model: Any = base(shape)
    shared, labels = [END, *ids(instruction)], [[*ids(1 + i % 3), END] for i in range(4)]
    prompts = [[*shared, *ids(rng.randint(20, 60))] for _ in range(count)]
    ways: dict[str, Callable[[], object]] = {
        "whet": lambda: label_scores(model, prompts, labels, PADDING, 32),
        "generate": lambda: generated(model, prompts),
        "naive": lambda: naive(model, prompts, labels),
    }
    wanted = naive(model, prompts, labels)
    gap = float(np.abs(label_scores(model, prompts, labels, PADDING, 32) - wanted).max())
    taken = {name: list[float]() for name in ways}
    generated(model, prompts[:BATCH])
    for _ in range(rounds):
        for name, work in ways.items():
            taken[name].append(seconds(work))
    return {"gap": gap, **{name: 1000 * median(times) / count for name, times in taken.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first case")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{date.today()}, {platform.processor() or platform.machine()}, {args.threads} threads, {args.rows} rows, 4 labels\n")
    print("| case | whet, ms a row | faster than generate | than row by label | largest difference |\n|---|---|---|---|---|")
    rows, missed = [], []
    for shape, instruction, over_generate, over_naive in CASES[:1] if args.quick else CASES:
        found = measure(shape, instruction, args.rows, args.rounds)
        name = f"{shape}, {instruction}-token instruction"
        ratios = {way: found[way] / found["whet"] for way in ("generate", "naive")}
        rows.append({"case": name, **found, "ratios": ratios})
        print(
            f"| {name} | {found['whet']:.1f} | {ratios['generate']:.1f} | {ratios['naive']:.1f} | {found['gap']:.1e} |",
            flush=True,
        )
        floors = {"generate": over_generate, "naive": over_naive}
        missed += [f"{name}: {way} {ratios[way]:.1f} < {floor:g}" for way, floor in floors.items() if ratios[way] < floor]
        missed += [f"{name}: a score is off by {found['gap']:.1e}"] if found["gap"] > 1e-5 * 20 else []
    if args.json:
        args.json.write_text(json.dumps({"date": str(date.today()), "threads": args.threads, "rows": rows}, indent=1), "utf-8")
    if missed:
        print("\nBELOW: " + "; ".join(missed))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
