"""What the embedded base model's pretraining is worth: `python benchmarks/base.py [--rows 100,300,1000,all] [--test all]`.

Sentences of election manifestos, each manifesto in turn the test split (leave one out), a seeded tenth of the others (n rows at
most) for validation, the first n of the rest to learn from. Full fine-tuning by recipes/pledges.toml, from whetstone's weights
and from random weights of the same shape, beside TF-IDF + logistic regression on the same rows, and whetstone untrained.
Prints one JSON line a run and a table of means at the end; --json FILE keeps them. `--set` changes the recipe.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from whet.data import dataset
from whet.data import tokens as tokenizers
from whet.engine import loop, model, reader
from whet.engine.course import build_course
from whet.example import Example
from whet.measure import baselines
from whet.measure.balance import prior_shift
from whet.measure.calibration import fit_temperature, softmax
from whet.measure.metrics import measure
from whet.progress import Silent
from whet.prompts import plain
from whet.recipe import Recipe, load

RECIPE = Path(__file__).parent.parent / "recipes" / "pledges.toml"
EPOCHS = {100: 12, 300: 8, 1000: 4}  # few rows need more passes; the best one is kept, as in every run
VALIDATION_SHARE = 0.1
Splits = dict[str, list[Example]]


def leave_one_out(examples: Sequence[Example], wanted: str, seed: int) -> Iterator[tuple[str, Splits]]:
    """(manifesto, splits) with each manifesto as the test split."""
    groups = sorted({e.group for e in examples if e.group})
    for number, group in enumerate(groups):
        if wanted != "all" and str(number) not in wanted.split(","):
            continue
        others = [e for e in examples if e.group != group]
        order = np.random.default_rng([seed, number]).permutation(len(others))
        held = round(VALIDATION_SHARE * len(others))
        yield (
            group,
            {
                "validation": [others[i] for i in order[:held]],
                "train": [others[i] for i in order[held:]],
                "test": [e for e in examples if e.group == group],
            },
        )


def targets(examples: Sequence[Example], labels: tuple[str, ...]) -> np.ndarray:
    return np.array([labels.index(e.target) for e in examples])


def figures(y: np.ndarray, p: np.ndarray, labels: tuple[str, ...]) -> dict[str, float]:
    found = measure(y, p, labels)
    return {"macro_f1": found.macro_f1, "nll": found.nll, "ece": found.ece, "auc": float(roc_auc_score(y, p[:, 1]))}


def finetune(recipe: Recipe, splits: Splits, tokens: tokenizers.Tokens) -> dict[str, Any]:
    """What a fine-tune on the train split scores on test; calibrated on validation."""
    labels, silent, task = recipe.task.labels, Silent(), recipe.task
    start = model.load_base(recipe)
    shift = None
    if recipe.train.class_balance != "none":
        shift = prior_shift(np.bincount(targets(splits["train"], labels), minlength=len(labels)).tolist())
    asked = reader.Reader(start, task, tokens, recipe.evaluate.batch_size, tokens.max_length, shift)
    encoded, held = ([tokenizers.encode(e, task, tokens) for e in splits[part]] for part in ("train", "validation"))
    validate = partial(reader.validate, asked, splits["validation"], held)
    with tempfile.TemporaryDirectory() as folder:
        state = loop.train(start, build_course(recipe, task, encoded, tokens, validate, Path(folder)), silent)
    scores = {s: asked.label_scores([plain.ask(task, e) for e in splits[s]], silent) for s in ("validation", "test")}
    calibration = fit_temperature(targets(splits["validation"], labels), scores["validation"], labels).cautious()
    best = state.best.step if state.best else 0
    return {**figures(targets(splits["test"], labels), calibration.apply(scores["test"], labels), labels), "best_step": best}


def untrained(recipe: Recipe, splits: Splits, tokens: tokenizers.Tokens) -> dict[str, Any]:
    """What the base scores on test when it is only prompted."""
    asked = reader.Reader(model.load_base(recipe), recipe.task, tokens, recipe.evaluate.batch_size, tokens.max_length)
    scores = asked.label_scores([plain.ask(recipe.task, e) for e in splits["test"]], Silent())
    return figures(targets(splits["test"], recipe.task.labels), softmax(scores), recipe.task.labels)


def tfidf(recipe: Recipe, splits: Splits) -> dict[str, Any]:
    """What TF-IDF + logistic regression scores on test."""
    labels = recipe.task.labels
    learn, choose = (([e.text for e in splits[s]], targets(splits[s], labels)) for s in ("train", "validation"))
    p = baselines.tfidf(learn, choose, [e.text for e in splits["test"]], len(labels)).probabilities
    return figures(targets(splits["test"], labels), p, labels)


def run(recipe: Recipe, start: str, splits: Splits, tokens: tokenizers.Tokens) -> dict[str, Any]:
    if start == "tfidf":
        return tfidf(recipe, splits)
    if start == "untrained":
        return untrained(recipe, splits, tokens)
    epochs = EPOCHS.get(len(splits["train"]), recipe.train.num_train_epochs)
    train = recipe.train.model_copy(update={"num_train_epochs": epochs})
    base = recipe.model.model_copy(update={"random_weights": start == "random"})
    return finetune(recipe.model_copy(update={"train": train, "model": base}), splits, tokens)


def means(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a number of rows and a start: the mean over the manifestos."""
    found = []
    for rows, start in dict.fromkeys((r["asked"], r["start"]) for r in results):
        same = [r for r in results if (r["asked"], r["start"]) == (rows, start)]
        mean = {key: round(float(np.mean([r[key] for r in same])), 3) for key in ("macro_f1", "auc", "nll", "ece")}
        found.append({"rows": rows, "start": start, "manifestos": len(same), **mean})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="100,300,1000,all")
    parser.add_argument("--test", default="all", help="numbers of the manifestos to leave out, as in 0,2; all")
    parser.add_argument("--starts", default="tfidf,untrained,random,whetstone")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    recipe = load(RECIPE, args.overrides)
    tokens = tokenizers.load(recipe.model.base)
    examples = [e for rows in dataset.build(recipe, tokens).splits.values() for e in rows]
    results: list[dict[str, Any]] = []
    for group, splits in leave_one_out(examples, args.test, recipe.seed):
        for asked in args.rows.split(","):
            n = None if asked == "all" else int(asked)  # whoever has few rows has no more to validate on
            part = {**splits, "train": splits["train"][:n], "validation": splits["validation"][:n]}
            for start in args.starts.split(","):
                began = time.monotonic()
                found = run(recipe, start, part, tokens)
                seconds = round(time.monotonic() - began, 1)
                results.append({"asked": asked, "test": group, "start": start, "seconds": seconds, **found})
                print(json.dumps(results[-1]), flush=True)
    for line in means(results):
        print(json.dumps(line))
    if args.json:
        args.json.write_text(json.dumps({"runs": results, "means": means(results)}, indent=1))


if __name__ == "__main__":
    main()
