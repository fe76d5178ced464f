"""What label smoothing does to calibration: `python benchmarks/smoothing.py [--rows 400] [--epochs 3] [--seeds 1,2,3]`.

Fine-tunes whetstone on the first n training rows of recipes/promise-detector.toml (a seeded order) without smoothing, with 0.1
spread over the vocabulary, and with 0.1 spread over the labels, each to the end of its last epoch. Measures the test split as
the model says it, and after a temperature fitted on validation. Prints a Markdown table, mean and range over the seeds;
--json FILE has each run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from whet.data import dataset
from whet.data import tokens as tokenizers
from whet.engine import loop, model, reader
from whet.engine.course import build_course
from whet.example import Example
from whet.measure.calibration import fit_temperature, softmax
from whet.measure.metrics import measure
from whet.progress import Silent
from whet.prompts import plain
from whet.recipe import Recipe, load

RECIPE = Path(__file__).parent.parent / "recipes" / "promise-detector.toml"
SMOOTHINGS = {"none": (0.0, "vocabulary"), "vocabulary 0.1": (0.1, "vocabulary"), "labels 0.1": (0.1, "labels")}
FIGURES = ("accuracy", "macro_f1", "confidence", "nll", "ece", "ece_floor", "temperature")
Splits = dict[str, list[Example]]


def positions(examples: Sequence[Example], labels: Sequence[str]) -> np.ndarray:
    return np.array([labels.index(e.target) for e in examples])


def figures(truth: np.ndarray, probabilities: np.ndarray, labels: Sequence[str], temperature: float) -> dict[str, float]:
    found = measure(truth, probabilities, labels)
    named = {"accuracy": found.accuracy, "macro_f1": found.macro_f1, "nll": found.nll, "ece": found.ece}
    return {**named, "ece_floor": found.ece_floor, "confidence": float(probabilities.max(1).mean()), "temperature": temperature}


def finetune(recipe: Recipe, rows: list[Example], splits: Splits, tokens: tokenizers.Tokens) -> dict[str, dict[str, float]]:
    """The figures of the test split, as the model says it ("plain") and after the temperature of validation."""
    labels, silent = recipe.task.labels, Silent()
    start = model.load_base(recipe)
    asked = reader.Reader(start, recipe.task, tokens, recipe.evaluate.batch_size, tokens.max_length)
    encoded = [tokenizers.encode(e, recipe.task, tokens) for e in rows]
    falling = itertools.count(0, -1)

    def validate(model: torch.nn.Module) -> tuple[float, None]:
        """Ever better, so that the last weights are kept: chosen by NLL, each smoothing would stop at another epoch."""
        return float(next(falling)), None

    with tempfile.TemporaryDirectory() as folder:
        loop.train(start, build_course(recipe, recipe.task, encoded, tokens, validate, Path(folder)), silent)
    scores = {s: asked.label_scores([plain.ask(recipe.task, e) for e in splits[s]], silent) for s in ("validation", "test")}
    fitted = fit_temperature(positions(splits["validation"], labels), scores["validation"], labels)
    truth = positions(splits["test"], labels)
    return {
        "plain": figures(truth, softmax(scores["test"]), labels, 1.0),
        "after temperature": figures(truth, fitted.apply(scores["test"], labels), labels, fitted.temperature),
    }


def table(results: list[dict[str, object]]) -> str:
    """Mean over the seeds, and in brackets the lowest and the highest."""
    lines = ["| smoothing | probabilities | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 2) + "|"]
    for smoothing in SMOOTHINGS:
        for when in ("plain", "after temperature"):
            runs = [r["figures"][when] for r in results if r["smoothing"] == smoothing]  # type: ignore[index]
            cells = []
            for name in FIGURES:
                values = [run[name] for run in runs]
                cells.append(f"{np.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})")
            lines.append(f"| {smoothing} | {when} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    recipe = load(RECIPE)
    tokens = tokenizers.load(recipe.model.base)
    splits = {name: list(rows) for name, rows in dataset.build(recipe, tokens).splits.items()}
    results: list[dict[str, object]] = []
    for seed in map(int, args.seeds.split(",")):
        order = np.random.default_rng(seed).permutation(len(splits["train"]))
        rows = [splits["train"][i] for i in order[: args.rows]]
        for smoothing, (factor, over) in SMOOTHINGS.items():
            changed = {"num_train_epochs": args.epochs, "label_smoothing_factor": factor, "label_smoothing_over": over}
            train = recipe.train.model_copy(update=changed)
            found = finetune(recipe.model_copy(update={"seed": seed, "train": train}), rows, splits, tokens)
            results.append({"seed": seed, "smoothing": smoothing, "figures": found})
            print(json.dumps(results[-1]), flush=True)
            if args.json:
                args.json.write_text(json.dumps(results, indent=1))
    print(table(results))


if __name__ == "__main__":
    main()
