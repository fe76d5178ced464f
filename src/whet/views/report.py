"""The Report: one self-contained HTML page from a Run folder. Lays out and formats; every figure was measured elsewhere."""

from __future__ import annotations

import base64
import hashlib
import math
import tomllib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from whet.errors import Problem, RunError
from whet.measure.calibration import softmax
from whet.measure.generation import exact_match
from whet.run import Run
from whet.views import charts, grains, wording
from whet.views.charts import Row
from whet.views.cost import cost
from whet.views.grains import Grain

Json = dict[str, Any]

KEY_FIGURES = {
    "classify": ("macro_f1", "accuracy", "nll", "ece"), "generate": ("rouge_l", "token_f1", "exact_match"),
    "text": ("perplexity", "nats_per_token", "bits_per_character"),
}  # fmt: skip
COMPARED = {
    "classify": ("macro_f1", "nll", "brier", "ece"), "generate": ("rouge_l", "token_f1", "exact_match"),
    "text": ("nats_per_token", "bits_per_character"),
}  # fmt: skip
HIGHLIGHTS = {
    "model": ("base", "random_weights", "quantize"),
    "lora": ("r", "lora_alpha", "lora_dropout"),
    "train": (
        "learning_rate", "lr_scheduler_type", "num_train_epochs", "max_steps", "per_device_train_batch_size",
        "gradient_accumulation_steps", "label_smoothing_factor", "neftune_noise_alpha", "max_length",
    ),
}  # fmt: skip

MOST_LISTED = 500
MOST_GRAINS = 3000
MOST_STEPS = 2000
MOST_SCORES = 6
LONGEST_TEXT = 20_000


def render(folder: Path) -> str:
    """The report of a run as one HTML page that needs nothing else: no network, no other file.

    What the run does not hold yet is said in a sentence; the page can be made from `prepare` on.

    Args:
        folder: a Run folder; `evaluation.json` and the rest may be missing.

    Raises:
        RunError: if the folder holds no run, or one of its files is damaged.
    """
    from jinja2 import ChainableUndefined, Environment
    from markupsafe import Markup

    page = resources.files("whet.views") / "page"
    style, script = ((page / name).read_text("utf-8") for name in ("style.css", "script.js"))
    environment = Environment(
        autoescape=True, undefined=ChainableUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    formats = (wording.decimal, wording.interval, wording.p_value, wording.count, wording.size, wording.duration)
    environment.filters.update({f.__name__: _or_none(f) for f in formats})
    environment.globals.update(metric=wording.metric, system=wording.system, reason=wording.reason)
    environment.globals["bar"] = lambda shares, label: Markup(charts.bar(shares, label))
    template = environment.from_string((page / "report.html").read_text("utf-8"))
    parts = _parts(Run.open(folder))
    drawn = {name: Markup(svg) for name, svg in parts.pop("charts").items()}
    assets = {"style": Markup(style), "script": Markup(script), "style_hash": _hash(style), "script_hash": _hash(script)}
    return template.render(**parts, **assets, charts=drawn)


def _parts(run: Run) -> Json:
    """All that the template shows."""
    recipe_text, recipe = _recipe(run)
    kind = recipe.get("task", {}).get("kind", "classify")
    evaluation = run.read_json("evaluation.json") if run.has("evaluation.json") else {}
    calibration = run.read_json("calibration.json") if run.has("calibration.json") else {}
    metrics, predictions = run.read_lines("metrics.jsonl"), run.read_lines("predictions.jsonl")
    examples = [] if kind == "text" else [_example(i, p, kind, bool(calibration)) for i, p in enumerate(predictions)]
    if kind == "text":
        listed = sorted(map(_document, predictions), key=lambda d: -d["perplexity"])
    elif kind == "generate":
        listed = sorted(examples, key=lambda e: e["is_right"])
    else:
        listed = sorted((e for e in examples if not e["is_right"]), key=lambda e: -(e["confidence"] or 0))
    manifest = run.manifest
    taken = cost(run.read_json("plan.json") if run.has("plan.json") else {}, manifest.get("score") or {})
    return {
        "kind": kind, "recipe": recipe, "recipe_text": recipe_text, "highlights": _highlights(recipe),
        "manifest": manifest, "evaluation": evaluation, "calibration": calibration,
        "key_figures": KEY_FIGURES.get(kind, ()), "compared": COMPARED.get(kind, ()), "systems": _systems(evaluation),
        "best": _best_baseline(evaluation, kind), "dropped": _dropped(run.read_lines("dropped.jsonl")),
        "learning": _learning(metrics, manifest.get("training", {})),
        "examples": examples, "listed": listed[:MOST_LISTED], "listable": len(listed),
        "charts": {**_comparison_charts(evaluation, kind), **_learning_charts(metrics, manifest.get("training", {})),
                   **_calibration_charts(evaluation, calibration, examples), **taken["charts"]},
        "drawn": len(_grains(examples, "confidence")), "cost": {key: taken[key] for key in ("parts", "rows", "cuts")},
    }  # fmt: skip


def _recipe(run: Run) -> tuple[str, Json]:
    """The recipe as text and as values, read without today's rules: it may be older than this version."""
    text = (run.path / "recipe.toml").read_text("utf-8", "replace") if run.has("recipe.toml") else ""
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what = f"it is damaged ({error})"
        raise RunError(Problem(str(run.path / "recipe.toml"), what, "Put the recipe of this run back")) from None


def _systems(evaluation: Json) -> dict[str, Json]:
    """The tuned model and the baselines, by name, the tuned one first."""
    return {"tuned": evaluation, **evaluation.get("baselines", {})} if evaluation else {}


def _best_baseline(evaluation: Json, kind: str) -> str | None:
    """The baseline with the highest first key figure."""
    first = KEY_FIGURES.get(kind, ("macro_f1",))[0]
    measured = {name: b[first] for name, b in evaluation.get("baselines", {}).items() if b.get(first) is not None}
    return max(measured, key=lambda name: measured[name]) if measured else None


def _highlights(recipe: Json) -> list[tuple[str, str]]:
    """The settings of the recipe that say most about the run."""
    chosen = [(key, recipe.get(section, {}).get(key)) for section, keys in HIGHLIGHTS.items() for key in keys]
    return [(key, f"{value:g}" if isinstance(value, float) else str(value)) for key, value in chosen if value]


def _dropped(drops: Sequence[Json]) -> dict[str, list[Json]]:
    """The dropped rows by reason."""
    by_reason: dict[str, list[Json]] = {}
    for drop in drops:
        by_reason.setdefault(drop["reason"], []).append(drop)
    return by_reason


# -- the examples -----------------------------------------------------------------------------------------------------


def _example(index: int, prediction: Json, kind: str, is_calibrated: bool) -> Json:
    """One test example as the page shows it: texts made visible, numbers formatted."""
    text = wording.visible(prediction.get("text") or "")
    scores = sorted((prediction.get("scores") or {}).items(), key=lambda item: -item[1])
    before = _before(prediction) if is_calibrated else {}
    origin = prediction.get("origin") or {}
    target, said = prediction["target"], prediction["answer" if kind == "generate" else "label"]

    def is_right(answer: str) -> bool:
        return exact_match(target, answer) == 1 if kind == "generate" else answer == target

    return {
        "index": index,
        "id": wording.visible(str(prediction["id"])),
        "text": text[:LONGEST_TEXT],
        "cut": max(0, len(text) - LONGEST_TEXT),
        "target": wording.visible(target),
        "said": wording.visible(said),
        "is_right": is_right(said),
        "confidence": prediction.get("probability"),
        "probability": wording.decimal(prediction.get("probability")),
        "before": max(before.values(), default=None),
        "scores": [
            [wording.visible(name), wording.decimal(score), wording.decimal(before.get(name)), score]
            for name, score in scores[:MOST_SCORES]
        ],
        "others": max(0, len(scores) - MOST_SCORES),
        "label_mass": wording.decimal(prediction.get("label_mass")),
        "place": wording.visible(f"{origin['source']}, row {origin['row']}") if origin else "",
        "group": wording.visible(str(prediction.get("group") or "")),
        "baselines": [
            [wording.system(name), wording.visible(answer), is_right(answer)]
            for name, answer in (prediction.get("baselines") or {}).items()
        ],
    }


def _document(prediction: Json) -> Json:
    """One test document of a `text` run as the page shows it, with its perplexity after and before training."""
    before = (prediction.get("baselines") or {}).get("zero_shot")
    return {
        "name": wording.visible(str(prediction["id"])),
        "tokens": prediction["tokens"],
        "perplexity": math.exp(prediction["nats"] / prediction["tokens"]),
        "before": None if before is None else math.exp(before / prediction["tokens"]),
    }


def _before(prediction: Json) -> dict[str, float]:
    """The probabilities over the label set before calibration: where a grain lay then."""
    raw = prediction.get("raw_scores") or {}
    return dict(zip(raw, softmax([list(raw.values())])[0].tolist(), strict=True)) if raw else {}


# -- the charts -------------------------------------------------------------------------------------------------------


def _comparison_charts(evaluation: Json, kind: str) -> dict[str, str]:
    """One dot plot for each compared metric: the tuned model and every baseline with its interval."""
    drawn = {}
    for key in COMPARED.get(kind, ()):
        rows = [
            Row(wording.system(name), s.get(key), s.get("intervals", {}).get(key), "tuned" if name == "tuned" else "other")
            for name, s in _systems(evaluation).items()
        ]
        told = "; ".join(f"{r.name} {wording.decimal(r.value)} {wording.interval(r.interval)}".rstrip() for r in rows)
        if rows:
            drawn[key] = charts.dot_plot(rows, f"{wording.metric(key).name} with 95 % intervals: {told}")
    return drawn


def _learning(metrics: Sequence[Json], training: Json) -> Json:
    """What is said of the learning curve: which checkpoint was kept, and how much worse the last one was."""
    scored = [m for m in metrics if _is_number(m.get("validation_nll"))]
    drawn = {"steps": len(metrics), "power": _power(metrics)}
    if not scored:
        return drawn
    lowest, last = min(scored, key=lambda m: m["validation_nll"]), scored[-1]
    best = next((m for m in scored if m["step"] == training.get("best_step")), lowest)
    return {**drawn, "best": best, "last": last, "worse": last["validation_nll"] - best["validation_nll"]}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _learning_charts(metrics: Sequence[Json], training: Json) -> dict[str, str]:
    """The learning curves: validation NLL with the kept checkpoint, the training loss and the learning rate of each step."""
    keys = ("validation_nll", "loss", "lr")
    scored, losses, rates = ([(m["step"], m[key]) for m in metrics if _is_number(m.get(key))] for key in keys)
    best = _learning(metrics, training).get("best", {}).get("step")
    unit = 10 ** _power(metrics)
    every = 1 + len(metrics) // MOST_STEPS
    return {
        "validation": charts.curve(scored, f"Validation NLL at {len(scored)} steps, lowest at step {best}", best, dots=True),
        "loss": charts.curve(losses[::every], f"Training loss over {len(losses)} steps"),
        "rate": charts.curve([(s, r / unit) for s, r in rates[::every]], f"Learning rate over {len(rates)} steps"),
    }


def _power(metrics: Sequence[Json]) -> int:
    """The power of ten that the learning rates are drawn in: that of the highest of them."""
    highest = max((m["lr"] for m in metrics if _is_number(m.get("lr"))), default=0)
    return math.floor(math.log10(highest)) if highest > 0 else 0


def _calibration_charts(evaluation: Json, calibration: Json, examples: Sequence[Json]) -> dict[str, str]:
    """The reliability diagrams before and after calibration, and ECE against what noise alone would show."""
    measured: Json = evaluation.get("reliability") or {}
    if not measured:
        return {}
    places = {"before": "before", "after": "confidence"} if calibration else {"after": "confidence"}
    lying = {side: _grains(examples, place) for side, place in places.items()}
    sand = grains.settle(list(lying.values()), low=0.5 if len(evaluation["labels"]) == 2 else 0.0)
    bins = {side: measured.get(side) or [] for side in places}
    drawn = {side: grains.reliability(bins[side], lying[side], sand, _told(side, bins[side])) for side in places}
    return {**drawn, "floor": _floor_chart(evaluation, bool(calibration))}


def _floor_chart(evaluation: Json, is_calibrated: bool) -> str:
    """ECE before and after calibration, each on the range that noise alone would reach."""
    rows = [_floor_row("Before", evaluation.get("before_calibration") or {}, "other")] if is_calibrated else []
    rows.append(_floor_row("Calibrated" if is_calibrated else "As it is", evaluation, "after"))
    told = [f"{r.name} {wording.decimal(r.value)}, noise alone {wording.decimal(r.noise and r.noise[0])}" for r in rows]
    return charts.dot_plot(rows, f"Expected calibration error against its noise floor: {'; '.join(told)}", from_zero=True)


def _floor_row(name: str, figures: Json, kind: str) -> Row:
    floor = figures.get("ece_floor")
    noise = None if floor is None else (floor, figures.get("ece_floor_p95"))
    return Row(name, figures.get("ece"), figures.get("intervals", {}).get("ece"), kind, noise)


def _grains(examples: Sequence[Json], place: str) -> list[Grain]:
    """The examples as grains. Where there are too many to draw, every wrong one and an even share of the others."""
    placed = [Grain(e["index"], e[place], e["is_right"]) for e in examples if e[place] is not None]
    if len(placed) <= MOST_GRAINS:
        return placed
    wrong, right = ([g for g in placed if g.is_right == is_right] for is_right in (False, True))
    stride = math.ceil(len(right) / max(1, MOST_GRAINS - len(wrong)))
    return [*wrong, *right[::stride]]


def _told(side: str, bins: Sequence[Json]) -> str:
    """The reliability diagram in words."""
    said = [
        f"{b['n']} at confidence {wording.decimal(b['confidence'], 2)}: {wording.decimal(b['accuracy'], 2)} right"
        for b in bins
        if b["n"]
    ]
    return f"Reliability {'before' if side == 'before' else 'after'} calibration. {'; '.join(said)}"


# -- the page ---------------------------------------------------------------------------------------------------------


def _hash(text: str) -> str:
    """The content hash by which the page's policy knows its own style and script, and refuses any other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shown(value: object) -> object:
    """What the template prints: text from anywhere, with what is hidden in it made visible. Markup is our own and stays."""
    return wording.visible(value) if type(value) is str else value


def _or_none(write: Callable[..., str]) -> Callable[..., str]:
    """The same way of writing for a template, where a value that is missing is undefined."""
    from jinja2 import Undefined

    def written(value: object, *arguments: object) -> str:
        return write(None if isinstance(value, Undefined) else value, *arguments)

    return written
