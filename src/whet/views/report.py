"""The Report: one self-contained HTML page from a Run folder. Lays out and formats; every figure was measured elsewhere."""

from __future__ import annotations

import base64
import hashlib
import tomllib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from whet.measure.calibration import softmax
from whet.measure.generation import exact_match
from whet.run import Run
from whet.views import charts, wording
from whet.views.charts import Grain, Row

Json = dict[str, Any]

KEY_FIGURES = {"classify": ("macro_f1", "accuracy", "nll", "ece"), "generate": ("exact_match", "token_f1", "rouge_l")}
COMPARED = {"classify": ("macro_f1", "nll", "brier", "ece"), "generate": ("exact_match", "token_f1", "rouge_l")}
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
LONGEST_TEXT = 20_000
HEAP = 190.0


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
    recipe_text = (run.path / "recipe.toml").read_text("utf-8", "replace") if run.has("recipe.toml") else ""
    recipe = tomllib.loads(recipe_text)
    kind = recipe.get("task", {}).get("kind", "classify")
    evaluation = run.read_json("evaluation.json") if run.has("evaluation.json") else {}
    calibration = run.read_json("calibration.json") if run.has("calibration.json") else {}
    metrics, predictions = run.read_lines("metrics.jsonl"), run.read_lines("predictions.jsonl")
    examples = [_example(i, p, bool(calibration)) for i, p in enumerate(predictions)]
    wrong = sorted((e for e in examples if not e["is_right"]), key=lambda e: -(e["confidence"] or 0))
    if kind == "generate":
        wrong = examples
    manifest = run.manifest
    return {
        "kind": kind, "recipe": recipe, "recipe_text": recipe_text, "highlights": _highlights(recipe),
        "manifest": manifest, "evaluation": evaluation, "calibration": calibration,
        "key_figures": KEY_FIGURES.get(kind, ()), "compared": COMPARED.get(kind, ()), "systems": _systems(evaluation),
        "best": _best_baseline(evaluation, kind), "dropped": _dropped(run.read_lines("dropped.jsonl")),
        "learning": _learning(metrics, manifest.get("training", {})),
        "examples": examples, "wrong": wrong[:MOST_LISTED], "wrong_count": len(wrong),
        "listed_baselines": list(dict.fromkeys(name for p in predictions for name in p.get("baselines", {}))),
        "charts": {**_comparison_charts(evaluation, kind), **_learning_charts(metrics, manifest.get("training", {})),
                   **_calibration_charts(evaluation, calibration, examples)},
        "drawn": min(len(examples), MOST_GRAINS),
    }  # fmt: skip


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
    return [(key, str(value)) for key, value in chosen if value not in (None, False, 0, 0.0)]


def _dropped(drops: Sequence[Json]) -> dict[str, list[Json]]:
    """The dropped rows by reason."""
    by_reason: dict[str, list[Json]] = {}
    for drop in drops:
        by_reason.setdefault(drop["reason"], []).append(drop)
    return by_reason


# -- the examples -----------------------------------------------------------------------------------------------------


def _example(index: int, prediction: Json, is_calibrated: bool) -> Json:
    """One test example as the page shows it: texts made visible, numbers formatted."""
    text = wording.visible(prediction.get("text") or "")
    scores = sorted((prediction.get("scores") or {}).items(), key=lambda item: -item[1])
    before = _before(prediction) if is_calibrated else {}
    origin = prediction.get("origin") or {}
    return {
        "index": index,
        "id": wording.visible(str(prediction["id"])),
        "text": text[:LONGEST_TEXT],
        "cut": max(0, len(text) - LONGEST_TEXT),
        "target": wording.visible(prediction["target"]),
        "label": wording.visible(prediction["label"]),
        "is_right": prediction["label"] == prediction["target"],
        "confidence": prediction.get("probability"),
        "probability": wording.decimal(prediction.get("probability")),
        "before": max(before.values(), default=None),
        "scores": [[wording.visible(k), wording.decimal(v), wording.decimal(before.get(k)), v] for k, v in scores],
        "label_mass": wording.decimal(prediction.get("label_mass")),
        "place": wording.visible(f"{origin['source']}, row {origin['row']}") if origin else "",
        "group": wording.visible(str(prediction.get("group") or "")),
        "baselines": [
            [wording.system(name), wording.visible(said), said == prediction["target"]]
            for name, said in (prediction.get("baselines") or {}).items()
        ],
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
    scored = [m for m in metrics if m.get("validation_nll") is not None]
    if not scored:
        return {"steps": len(metrics)}
    best = next((m for m in scored if m["step"] == training.get("best_step")), None) or min(scored, key=lambda m: m["validation_nll"])
    return {"steps": len(metrics), "scored": len(scored), "best": best, "last": scored[-1],
            "worse": scored[-1]["validation_nll"] - best["validation_nll"]}  # fmt: skip


def _learning_charts(metrics: Sequence[Json], training: Json) -> dict[str, str]:
    """The learning curves: validation NLL with the kept checkpoint, and the training loss of each step."""
    scored = [(m["step"], m["validation_nll"]) for m in metrics if m.get("validation_nll") is not None]
    losses = [(m["step"], m["loss"]) for m in metrics if m.get("loss") is not None]
    best = _learning(metrics, training).get("best", {}).get("step")
    return {
        "validation": charts.curve(scored, f"Validation NLL at {len(scored)} steps; lowest at step {best}", best, dots=True),
        "loss": charts.curve(losses[:: 1 + len(losses) // MOST_STEPS], f"Training loss over {len(losses)} steps"),
    }


def _calibration_charts(evaluation: Json, calibration: Json, examples: Sequence[Json]) -> dict[str, str]:
    """The reliability diagrams before and after calibration, and ECE against what noise alone would show."""
    reliability = evaluation.get("reliability", {})
    if not reliability:
        return {}
    low = 0.5 if len(evaluation.get("labels", [])) == 2 else 0.0
    sides = ("before", "after") if calibration else ("after",)
    grains = {side: _grains(examples, "before" if side == "before" else "confidence") for side in sides}
    heaps = [[g.confidence for g in grains[s] if g.is_right == right] for right in (True, False) for s in sides]
    pitch = charts.pitch_for(heaps, low, HEAP)
    above, below = (
        max(charts.heap_height(heap, low, pitch, HEAP) for heap in half) for half in (heaps[: len(sides)], heaps[len(sides) :])
    )
    drawn = {
        side: charts.reliability(reliability.get(side, []), grains[side], low, pitch, (above, below), _told(side, reliability.get(side, [])))
        for side in sides
    }
    before = evaluation.get("before_calibration", {})
    figures = ([("Before", before)] if calibration and before else []) + [("Calibrated" if calibration else "As it is", evaluation)]
    rows = [
        Row(name, f.get("ece"), f.get("intervals", {}).get("ece"), "after" if f is evaluation else "other", _noise(f))
        for name, f in figures
    ]
    told = "; ".join(f"{r.name} {wording.decimal(r.value)}, noise alone {wording.decimal(r.noise[0] if r.noise else None)}" for r in rows)
    return {**drawn, "floor": charts.dot_plot(rows, f"Expected calibration error against its noise floor: {told}", zero=True)}


def _grains(examples: Sequence[Json], key: str) -> list[Grain]:
    """The examples as grains. Where there are too many to draw, every wrong one and an even share of the others."""
    placed = [Grain(i, e[key], e["is_right"]) for i, e in enumerate(examples) if e[key] is not None]
    if len(placed) <= MOST_GRAINS:
        return placed
    wrong, right = ([g for g in placed if g.is_right == is_right] for is_right in (False, True))
    stride = 1 + len(right) // max(1, MOST_GRAINS - len(wrong))
    return [*wrong, *right[::stride]]


def _noise(figures: Json) -> tuple[float, float] | None:
    floor = figures.get("ece_floor")
    return None if floor is None else (floor, figures.get("ece_floor_p95", floor))


def _told(side: str, bins: Sequence[Json]) -> str:
    """The reliability diagram in words."""
    said = "; ".join(f"{b['n']} at confidence {wording.decimal(b['confidence'], 2)}, {wording.decimal(b['accuracy'], 2)} right"
                     for b in bins if b["n"])  # fmt: skip
    return f"Reliability {'before' if side == 'before' else 'after'} calibration. {said}"


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
