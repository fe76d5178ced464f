"""Judging a fine-tune: calibrate on validation, open the test split once, and ask what else would have done the job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.data import tokens as tokenizers
from whet.data.tokens import Encoded
from whet.engine.reader import Reader
from whet.example import Example
from whet.measure import baselines
from whet.measure.calibration import Calibration, fit_temperature, label_mass, softmax
from whet.measure.compare import Difference, compare, paired_difference
from whet.measure.generation import generation_statistics, measure_generation
from whet.measure.intervals import Groups, bootstrap, interval_unit
from whet.measure.metrics import measure, statistics
from whet.measure.perplexity import Sizes, measure_text, text_statistics
from whet.measure.reliability import reliability
from whet.progress import Progress
from whet.prompts import asking
from whet.recipe import Recipe

Floats = NDArray[np.float64]
Splits = Mapping[str, Sequence[Example]]
Base = Callable[[], Reader]  # makes the model as it was before training, once it is needed
BASELINE_NAMES = {
    "majority": "always the most frequent label",
    "tfidf": "TF-IDF + logistic regression",
    "zero_shot": "the base model, prompted",
    "few_shot": "the base model with worked examples in the prompt",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that evaluation writes: `evaluation.json`, `calibration.json` (None for `generate`), `predictions.jsonl`."""

    evaluation: dict[str, Any]
    calibration: Calibration | None
    predictions: list[dict[str, Any]]


def judge_labels(recipe: Recipe, splits: Splits, tuned: Reader, base: Base, progress: Progress) -> Judgement:
    """The Judgement of a `classify` run.

    Args:
        recipe: says which baselines, how many resamples, which seed.
        splits: examples of train, validation and test.
        tuned: the fine-tuned model.
        base: makes the model as it was before training; called only if a baseline or the forgetting check needs it.
        progress: told what is being scored.
    """
    labels, test = tuned.task.labels, splits["test"]
    y = _targets(test, labels)
    calibration = _calibrate(splits["validation"], tuned, progress)
    progress.start("scoring test", len(test), "example")
    scores = tuned.label_scores(_prompts(tuned, test), progress)
    before, after = softmax(scores), calibration.apply(scores, labels)
    others = _baselines(recipe, splits, tuned, base, progress)
    groups = _groups(test)
    seed, resamples = recipe.derive_seed("bootstrap"), recipe.evaluate.bootstrap_samples

    def judged(p: Floats) -> dict[str, Any]:
        spread = bootstrap(statistics(y, p), len(y), groups, seed=seed, resamples=resamples)
        return {**measure(y, p, labels, seed=seed).to_short_json(), "intervals": {k: v.to_json() for k, v in spread.items()}}

    progress.start("resampling for intervals", 1 + len(others))
    whole = {**measure(y, after, labels, seed=seed).to_json(), "intervals": judged(after)["intervals"]}
    progress.advance()
    table = {}
    for name, p in others.items():
        verdict = compare(y, after.argmax(1), p.argmax(1), labels)
        table[name] = {**judged(p), "mcnemar_p": verdict.mcnemar_p, "wins": verdict.wins, "losses": verdict.losses}
        progress.advance()
    mass = label_mass(scores)
    evaluation = {
        "split": "test", **whole, "label_mass": {"mean": float(mass.mean()), "min": float(mass.min())},
        "interval_unit": interval_unit(groups), "before_calibration": measure(y, before, labels, seed=seed).to_short_json(),
        "reliability": {"before": _bins(y, before), "after": _bins(y, after)}, "baselines": table,
        "forgetting": _forgetting(tuned, base, progress), "verdict": _verdict(y, after, others, groups, seed),
    }  # fmt: skip
    return Judgement(evaluation, calibration, _label_rows(test, labels, after, scores, mass, others))


def judge_answers(recipe: Recipe, splits: Splits, tuned: Reader, base: Base, progress: Progress) -> Judgement:
    """The Judgement of a `generate` run: greedy answers against the targets, and against prompting the base model."""
    test, longest = splits["test"], recipe.evaluate.max_new_tokens
    targets = [asking.answer(e) for e in test]
    wanted = [(target, *e.references) for target, e in zip(targets, test, strict=True)]
    seed, resamples, groups = recipe.derive_seed("bootstrap"), recipe.evaluate.bootstrap_samples, _groups(test)

    def judged(answers: Sequence[str]) -> dict[str, Any]:
        spread = bootstrap(generation_statistics(wanted, answers), len(wanted), groups, seed=seed, resamples=resamples)
        return {**measure_generation(wanted, answers).to_json(), "intervals": {k: v.to_json() for k, v in spread.items()}}

    progress.start("answering test", len(test), "example")
    answers = tuned.answers(_prompts(tuned, test), longest, progress)
    others: dict[str, list[str]] = {}
    for name in ("zero_shot", "few_shot"):
        if name in recipe.evaluate.baselines:
            reader = base()
            progress.start(f"answering test: {BASELINE_NAMES[name]}", len(test), "example")
            shown = _demonstrations(recipe, splits["train"], reader, test) if name == "few_shot" else []
            others[name] = reader.answers(_prompts(reader, test, shown), longest, progress)
    whole = judged(answers)
    table = {name: judged(found) for name, found in others.items()}
    best = max(table, key=lambda name: table[name]["rouge_l"], default=None)
    verdict = f"ROUGE-L is {whole['rouge_l']:.3f} after fine-tuning"
    if best is not None:
        verdict += f", {table[best]['rouge_l']:.3f} for {BASELINE_NAMES[best]}"
    evaluation = {
        "split": "test", **whole, "interval_unit": interval_unit(groups), "baselines": table,
        "forgetting": _forgetting(tuned, base, progress), "verdict": f"{verdict}.",
    }  # fmt: skip
    rows = [
        {"id": e.id, "text": e.text, "target": targets[i], "answer": answer, "origin": e.to_json()["origin"], "group": e.group,
         **({"references": list(e.references)} if e.references else {}),
         "baselines": {name: found[i] for name, found in others.items()}}
        for i, (e, answer) in enumerate(zip(test, answers, strict=True))
    ]  # fmt: skip
    return Judgement(evaluation, None, rows)


def judge_text(recipe: Recipe, splits: Splits, tuned: Reader, base: Base, progress: Progress) -> Judgement:
    """The Judgement of a `text` run: how well it goes on with the test documents, against the base before training.

    Every token but the first of a document is scored once, in the same windows as in training.
    """
    test, longest = splits["test"], recipe.train.max_length
    rows = [tokenizers.windows(e, tuned.tokens, longest) for e in test]
    owner = np.repeat(np.arange(len(test)), [len(part) for part in rows])
    sizes = Sizes.of([_text_size(e, part, tuned) for e, part in zip(test, rows, strict=True)])
    seed, resamples, groups = recipe.derive_seed("bootstrap"), recipe.evaluate.bootstrap_samples, _groups(test)

    def scored(reader: Reader, which: str) -> Floats:
        progress.start(f"reading test: {which}", len(owner), "window")
        flat = [row for part in rows for row in part]
        return np.bincount(owner, weights=reader.answer_nats(flat, progress)).astype(np.float64)

    def judged(nats: Floats) -> dict[str, Any]:
        spread = bootstrap(text_statistics(nats, sizes), len(test), groups, seed=seed, resamples=resamples)
        return {**measure_text(nats, sizes).to_json(), "intervals": {k: v.to_json() for k, v in spread.items()}}

    nats = scored(tuned, "the trained model")
    before = scored(base(), "the base before training") if "zero_shot" in recipe.evaluate.baselines else None
    whole = judged(nats)
    verdict = f"Perplexity is {whole['perplexity']:.2f}; nothing was asked to be compared with it."
    if before is not None:
        now, then = (text_statistics(found, sizes)["nats_per_token"] for found in (nats, before))
        verdict = _text_verdict(paired_difference(now, then, len(test), groups, seed=seed), nats, before, sizes)
    evaluation = {
        "split": "test", **whole, "interval_unit": interval_unit(groups),
        "baselines": {} if before is None else {"zero_shot": judged(before)},
        "forgetting": _forgetting(tuned, base, progress), "verdict": verdict,
    }  # fmt: skip
    predictions = [
        {"id": e.id, "tokens": int(sizes.tokens[i]), "characters": int(sizes.characters[i]), "nats": float(nats[i]),
         "origin": e.to_json()["origin"], "group": e.group,
         "baselines": {} if before is None else {"zero_shot": float(before[i])}}
        for i, e in enumerate(test)
    ]  # fmt: skip
    return Judgement(evaluation, None, predictions)


JUDGES = {"classify": judge_labels, "generate": judge_answers, "text": judge_text}


def _text_size(example: Example, rows: Sequence[Encoded], reader: Reader) -> tuple[int, int, int]:
    """Tokens, characters and bytes of a document that are predicted: all but what its first id gives."""
    predicted = example.text[reader.tokens.unread(example.text) :]
    return sum(len(row.completion) for row in rows), len(predicted), len(predicted.encode("utf-8", "surrogatepass"))


def _text_verdict(gap: Difference, nats: Floats, before: Floats, sizes: Sizes) -> str:
    """One honest sentence: does the model go on with such text better than it did before?"""
    now, then = (measure_text(found, sizes).perplexity for found in (nats, before))
    against = f"perplexity {now:.2f} against {then:.2f} for the base before training"
    between = f"(difference {gap.value:+.3f} nats a token, 95 % interval {gap.low:+.3f} to {gap.high:+.3f})"
    if gap.high < 0:
        return f"It learned the text: {against} {between}."
    if gap.low > 0:
        return f"It reads such text worse than before: {against} {between}."
    return f"Training makes no sure difference: {against} {between}."


def _prompts(reader: Reader, examples: Sequence[Example], shown: Sequence[Example] = ()) -> list[str]:
    return [asking.ask(reader.task, e, shown) for e in examples]


def _calibrate(validation: Sequence[Example], tuned: Reader, progress: Progress) -> Calibration:
    """One temperature, fitted on the validation split."""
    progress.start("scoring validation for calibration", len(validation), "example")
    scores = tuned.label_scores(_prompts(tuned, validation), progress)
    split = hashlib.sha256("\n".join(e.id for e in validation).encode()).hexdigest()
    return fit_temperature(_targets(validation, tuned.task.labels), scores, tuned.task.labels, split).cautious()


def _baselines(recipe: Recipe, splits: Splits, tuned: Reader, base: Base, progress: Progress) -> dict[str, Floats]:
    """Test probabilities (N, C) of everything the recipe wants to be compared with."""
    labels, train, test = tuned.task.labels, splits["train"], splits["test"]
    y_train = _targets(train, labels)
    found: dict[str, Floats] = {}
    for name in recipe.evaluate.baselines:
        if name == "majority":
            found[name] = baselines.majority(y_train, len(labels), len(test)).probabilities
        elif name == "tfidf":
            progress.start("fitting TF-IDF + logistic regression")
            learn, choose = ((t, _targets(s, labels)) for s in (train, splits["validation"]) for t in [[e.text for e in s]])
            found[name] = baselines.tfidf(learn, choose, [e.text for e in test], len(labels)).probabilities
        else:
            reader = base()
            shown = _demonstrations(recipe, train, reader, test) if name == "few_shot" else []
            progress.start(f"scoring test: {BASELINE_NAMES[name]}", len(test), "example")
            found[name] = softmax(reader.label_scores(_prompts(reader, test, shown), progress))
    return found


def _demonstrations(recipe: Recipe, train: Sequence[Example], reader: Reader, test: Sequence[Example]) -> list[Example]:
    """Worked examples for the few-shot prompt: seeded, of short text, taking the labels in turn; fewer if the longest
    test prompt would not fit beside them."""
    rng = np.random.default_rng(recipe.derive_seed("few_shot"))
    by_target: dict[str, list[Example]] = {}
    short = sorted(train, key=lambda e: len(e.text))[: max(1, len(train) // 2)]
    for i in rng.permutation(len(short)):
        by_target.setdefault(short[i].target if recipe.task.kind == "classify" else "", []).append(short[i])
    turns = [by_target[t] for t in sorted(by_target)]
    queue = [turns[k % len(turns)][k // len(turns)] for k in range(len(short)) if k // len(turns) < len(turns[k % len(turns)])]
    shown = queue[: recipe.evaluate.few_shot_examples]
    longest = max(test, key=lambda e: len(e.text))
    room = 1 if recipe.task.kind == "classify" else recipe.evaluate.max_new_tokens
    while shown and reader.max_length:
        need = len(reader.tokens.prompt(asking.ask(reader.task, longest, shown)))
        answer = max(len(reader.tokens.completion(asking.completion(e))) for e in shown)
        if need + max(room, answer) + 8 <= reader.max_length:
            break
        shown = shown[:-1]
    return shown


def _forgetting(tuned: Reader, base: Base, progress: Progress) -> dict[str, Any]:
    """What fine-tuning cost in general language: bits per character of plain English, before and after."""
    progress.start("reading plain English, before and after")
    text = (resources.files("whet.base") / "unseen.txt").read_text("utf-8")
    about = f"{len(text):,} characters of public-domain English"
    before, after = base().bits_per_character(text), tuned.bits_per_character(text)
    return {"text": about, "base_bits_per_character": before, "tuned_bits_per_character": after}


def _verdict(y: NDArray[np.int64], tuned: Floats, others: Mapping[str, Floats], groups: Groups | None, seed: int) -> str:
    """One honest sentence: is the fine-tune better than the best of the rest, by macro F1, paired on the same examples?"""
    now = statistics(y, tuned)["macro_f1"]
    rows = np.arange(len(y))
    if not others:
        return f"Macro F1 is {now(rows):.3f}; nothing was asked to be compared with it."
    figures = {name: statistics(y, p)["macro_f1"] for name, p in others.items()}
    best = max(figures, key=lambda name: figures[name](rows))
    gap = paired_difference(now, figures[best], len(y), groups, seed=seed)
    against = f"macro F1 {now(rows):.3f} against {figures[best](rows):.3f} for {BASELINE_NAMES[best]}, the best of the rest"
    between = f"(difference {gap.value:+.3f}, 95 % interval {gap.low:+.3f} to {gap.high:+.3f})"
    if gap.low > 0:
        return f"Fine-tuning was worth it: {against} {between}."
    if gap.high < 0:
        return f"Fine-tuning was not worth it: {against} {between}."
    return f"Fine-tuning makes no sure difference: {against} {between}."


def _bins(y: NDArray[np.int64], p: Floats) -> list[dict[str, float | int]]:
    return [b.to_json() for b in reliability(p.max(1), p.argmax(1) == y)]


def _label_rows(
    test: Sequence[Example], labels: Sequence[str], p: Floats, scores: Floats, mass: Floats, others: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    answers = {name: found.argmax(1) for name, found in others.items()}
    return [
        {
            "id": e.id, "text": e.text, "target": e.target,
            "label": labels[int(p[i].argmax())], "probability": float(p[i].max()),
            "scores": dict(zip(labels, map(float, p[i]), strict=True)),
            "raw_scores": dict(zip(labels, map(float, scores[i]), strict=True)),
            "label_mass": float(mass[i]), "origin": e.to_json()["origin"], "group": e.group,
            "baselines": {name: labels[int(found[i])] for name, found in answers.items()},
        }
        for i, e in enumerate(test)
    ]  # fmt: skip


def _targets(examples: Sequence[Example], labels: Sequence[str]) -> NDArray[np.int64]:
    at = {label: i for i, label in enumerate(labels)}
    return np.array([at[e.target] for e in examples], np.int64)


def _groups(examples: Sequence[Example]) -> list[str | None] | None:
    groups = [e.group for e in examples]
    return None if all(g is None for g in groups) else groups
