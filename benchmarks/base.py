"""What the embedded base model's pretraining is worth: `python benchmarks/base.py [--rows 100,300,1000,all] [--seeds 7]`.

Full fine-tuning on the first n training rows of recipes/pledges.toml (a seeded order, both labels in their true shares),
from whetstone's weights and from random weights of the same shape, beside TF-IDF + logistic regression on the same rows.
The split and the test manifesto are the recipe's. Prints a table and writes JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from whet.data import dataset
from whet.data import tokens as tokenizers
from whet.engine import loop, model, reader
from whet.engine.course import build_course
from whet.example import Example
from whet.measure import baselines
from whet.measure.calibration import fit_temperature
from whet.measure.metrics import measure
from whet.progress import Silent
from whet.recipe import Recipe, load

RECIPE = Path(__file__).parent.parent / "recipes" / "pledges.toml"
EPOCHS = {100: 10, 300: 8, 1000: 4}


def targets(examples: list[Example], labels: tuple[str, ...]) -> np.ndarray:
    return np.array([labels.index(e.target) for e in examples])


Splits = dict[str, list[Example]]


def finetune(recipe: Recipe, rows: list[Example], splits: Splits, tokens: tokenizers.Tokens) -> dict[str, float]:
    """Macro F1, NLL and ECE on test after fine-tuning on these rows; calibrated on validation."""
    labels, silent = recipe.task.labels, Silent()
    start = model.load_base(recipe)
    asked = reader.Reader(start, recipe.task, tokens, recipe.evaluate.batch_size, tokens.max_length)
    encoded, held = ([tokenizers.encode(e, recipe.task, tokens) for e in part] for part in (rows, splits["validation"]))
    validate = partial(reader.validate, asked, splits["validation"], held)
    with tempfile.TemporaryDirectory() as folder:
        state = loop.train(start, build_course(recipe, recipe.task, encoded, tokens, validate, Path(folder)), silent)
    scores = {s: asked.label_scores([e.inputs for e in splits[s]], silent) for s in ("validation", "test")}
    calibration = fit_temperature(targets(splits["validation"], labels), scores["validation"], labels)
    found = measure(targets(splits["test"], labels), calibration.apply(scores["test"], labels), labels)
    best = state.best.step if state.best else 0
    return {"macro_f1": found.macro_f1, "nll": found.nll, "ece": found.ece, "best_step": best, "steps": state.step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="100,300,1000,all")
    parser.add_argument("--seeds", default="7")
    parser.add_argument("--starts", default="tfidf,random,whetstone")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    recipe = load(RECIPE, args.overrides)
    tokens = tokenizers.load(recipe.model.base)
    splits = {name: list(rows) for name, rows in dataset.build(recipe, tokens).splits.items()}
    labels, results = recipe.task.labels, []
    for count in args.rows.split(","):
        for seed in map(int, args.seeds.split(",")):
            order = np.random.default_rng(seed).permutation(len(splits["train"]))
            n = len(order) if count == "all" else int(count)
            rows = [splits["train"][i] for i in order[:n]]
            for start in args.starts.split(","):
                began = time.monotonic()
                if start == "tfidf":
                    learn, choose = (([e.text for e in part], targets(part, labels)) for part in (rows, splits["validation"]))
                    p = baselines.tfidf(learn, choose, [e.text for e in splits["test"]], len(labels)).probabilities
                    metrics = measure(targets(splits["test"], labels), p, labels)
                    found = {"macro_f1": metrics.macro_f1, "nll": metrics.nll, "ece": metrics.ece}
                else:
                    epochs = EPOCHS.get(n, recipe.train.num_train_epochs)
                    train = recipe.train.model_copy(update={"num_train_epochs": epochs})
                    base = recipe.model.model_copy(update={"random_weights": start == "random"})
                    changed = recipe.model_copy(update={"seed": seed, "train": train, "model": base})
                    found = finetune(changed, rows, splits, tokens)
                results.append(
                    {"rows": n, "seed": seed, "start": start, "seconds": round(time.monotonic() - began, 1), **found}
                )
                print(json.dumps(results[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
