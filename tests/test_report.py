"""The report: made from Run folders that are written here, read as HTML and in a real browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whet.errors import RunError
from whet.measure.calibration import fit_temperature, log_softmax, softmax
from whet.measure.compare import mcnemar
from whet.measure.generation import generation_statistics, measure_generation
from whet.measure.inputs import FloatArray, IntArray
from whet.measure.intervals import bootstrap
from whet.measure.metrics import measure, statistics
from whet.measure.perplexity import Sizes, measure_text, text_statistics
from whet.measure.reliability import reliability
from whet.run import Run
from whet.views import report, wording

Json = dict[str, Any]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

RECIPE = '''name = "promise-detector"
seed = 7
[task]
kind = "classify"
labels = ["True", "False"]
instruction = """Decide if the sentence is a political promise: tangible, specific, and an action that the
government has the agency to make. Reply 'True' or 'False'."""
[model]
base = "whetstone"
[lora]
r = 16
lora_alpha = 32
[train]
learning_rate = 5e-4
num_train_epochs = 3
label_smoothing_factor = 0.1
'''

# -- run folders, simulated, with figures as `measure` makes them --------------------------------------------------------


def write_run(folder: Path, labels: tuple[str, ...] = ("True", "False"), n: int = 300, temperature: float = 2.4) -> Run:
    """A finished run. Truths are drawn from the very probabilities that the model states before they are sharpened by
    `temperature`: overconfident before calibration, right after it."""
    rng = np.random.default_rng(20)
    logits = rng.normal(0, 1.6, (n + 150, len(labels)))
    truth = np.array([rng.choice(len(labels), p=row) for row in softmax(logits)])
    scores = log_softmax(logits * temperature) + np.log(0.97)
    fit = fit_temperature(truth[n:], scores[n:], labels, "c" * 64)
    truth, scores = truth[:n], scores[:n]
    before, after = softmax(scores), fit.apply(scores, labels)
    said = after.argmax(1)
    systems = {
        "majority": np.zeros(n, int),
        "tfidf": np.where(rng.random(n) < 0.55, truth, rng.integers(0, len(labels), n)),
        "zero_shot": rng.integers(0, len(labels), n),
        "few_shot": np.where(rng.random(n) < 0.4, truth, rng.integers(0, len(labels), n)),
    }
    run = write_trained(folder, labels, n)
    run.write_lines("predictions.jsonl", [
        {"id": f"speeches-{i}", "text": sentence(rng, bool(truth[i])), "target": labels[truth[i]], "label": labels[said[i]],
         "probability": after[i].max(), "scores": dict(zip(labels, after[i], strict=True)),
         "raw_scores": dict(zip(labels, scores[i], strict=True)), "label_mass": 0.97,
         "origin": {"source": "speeches.csv", "row": 12 * i + 3}, "group": f"speech-{i % 31}",
         "baselines": {name: labels[answer[i]] for name, answer in systems.items()}}
        for i in range(n)
    ])  # fmt: skip
    bins = {
        name: [b.to_json() for b in reliability(p.max(1), p.argmax(1) == truth)]
        for name, p in (("before", before), ("after", after))
    }
    run.write_json("evaluation.json", {
        "split": "test", **measure(truth, after, labels).to_json(), "intervals": _intervals(truth, after),
        "interval_unit": "group", "label_mass": {"mean": 0.97, "min": 0.612},
        "before_calibration": measure(truth, before, labels).to_short_json(),
        "reliability": bins, "baselines": {name: _baseline(answer, said, truth, labels) for name, answer in systems.items()},
        "forgetting": {"text": "400 sentences of prose", "base_bits_per_character": 2.113, "tuned_bits_per_character": 2.164},
        "verdict": "Fine-tuning makes no sure difference: macro F1 0.780 against 0.776 for TF-IDF + logistic regression, "
        "the best of the rest (difference +0.004, 95 % interval -0.055 to +0.061).",
    })  # fmt: skip
    run.write_json("calibration.json", fit.to_json())
    return run


def write_trained(folder: Path, labels: tuple[str, ...] = ("True", "False"), n: int = 300, steps: int = 240) -> Run:
    """A run as `train` alone leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    run = Run(folder)
    run.write_text("recipe.toml", RECIPE.replace('["True", "False"]', json.dumps(list(labels))))
    share = {"train": 1036, "validation": 148, "test": n}
    run.write_json("manifest.json", {
        "name": "promise-detector", "whet": "0.1.0", "command": "whet run promises.toml --out runs/promises", "seed": 7,
        "recipe_sha256": "a" * 64, "machine": "Linux x86_64, 2 cores", "started": "2025-06-01T09:30:00+00:00",
        "versions": {"python": "3.11.7", "whet": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.0"},
        "data": {"speeches.csv": {"sha256": "b" * 64, "bytes": 612_000}}, "base": {"name": "whetstone", "sha256": "d" * 64},
        "dataset": {"read": 1611, "kept": 1484, "dropped": {"duplicate": 112, "conflict": 14, "empty_input": 1},
                    "splits": {name: {"n": k, "labels": dict.fromkeys(labels, k // len(labels)), "groups": k // 12}
                               for name, k in share.items()},
                    "notes": ["4 labels were written in two ways and read as True.", "Group speech-7 stands twice."]},
        "training": {"method": "lora", "parameters": 8_100_000, "trainable_parameters": 311_296, "steps": steps, "epochs": 3,
                     "best_step": 160, "best_validation_nll": 0.41, "seconds": 95.2, "tokens": 123_456},
    })  # fmt: skip
    run.write_lines("dropped.jsonl", [
        {"origin": {"source": "speeches.csv", "row": 902 + i}, "reason": "duplicate", "detail": "as speeches.csv, row 214",
         "text": "We will build 40,000 homes by 2027."} for i in range(112)
    ])  # fmt: skip
    validation = {80: 0.46, 120: 0.425, 160: 0.41, 200: 0.421, 240: 0.441}
    run.write_lines("metrics.jsonl", [
        {"step": s, "epoch": s / 80, "loss": 0.35 + 1.4 * np.exp(-s / 30) + rng.normal(0, 0.05), "lr": 5e-4 * s / steps,
         "grad_norm": 1.0, "tokens": 512 * s, "seconds": 0.4 * s, "peak_bytes": 9 * 10**8,
         **({"validation_nll": validation[s], "validation_accuracy": 0.8, "best": s == 160} if s in validation else {})}
        for s in range(1, steps + 1)
    ])  # fmt: skip
    return run


def write_generate(folder: Path, n: int = 40) -> Run:
    """A finished run of a `generate` task: no labels, no probabilities."""
    rng = np.random.default_rng(5)
    run = write_trained(folder)
    run.write_text("recipe.toml", RECIPE.replace('"classify"', '"generate"').replace('labels = ["True", "False"]\n', ""))
    manifest = run.manifest
    for split in manifest["dataset"]["splits"].values():
        del split["labels"]
    run.write_json("manifest.json", manifest)
    targets = [sentence(rng, True) for _ in range(n)]
    answers = [target if i % 3 else sentence(rng, True) for i, target in enumerate(targets)]
    run.write_lines("predictions.jsonl", [
        {"id": f"g-{i}", "text": f"Shorten: {target} It was a long day.", "target": target, "answer": answer,
         "probability": None, "scores": {}, "origin": {"source": "speeches.csv", "row": i}, "group": None,
         "baselines": {"zero_shot": target[:20]}}
        for i, (target, answer) in enumerate(zip(targets, answers, strict=True))
    ])  # fmt: skip
    base = measure_generation(targets, [t[:20] for t in targets]).to_json()
    found = bootstrap(generation_statistics(targets, answers), n, seed=1, resamples=100)
    run.write_json("evaluation.json", {
        "split": "test", **measure_generation(targets, answers).to_json(), "baselines": {"zero_shot": base},
        "intervals": {name: interval.to_json() for name, interval in found.items()},
        "forgetting": None, "verdict": "Fine-tuning was worth it: two answers of three are exactly what was asked for.",
    })  # fmt: skip
    return run


def write_text(folder: Path, n: int = 12) -> Run:
    """A finished run of a `text` task: documents with their nats before and after."""
    rng = np.random.default_rng(6)
    run = write_trained(folder)
    recipe = RECIPE.replace('"classify"', '"text"').replace('labels = ["True", "False"]\n', "")
    run.write_text("recipe.toml", re.sub(r'instruction = """.*?"""\n', "", recipe, flags=re.DOTALL))
    manifest = run.manifest
    for split in manifest["dataset"]["splits"].values():
        del split["labels"]
    run.write_json("manifest.json", manifest)
    sizes = Sizes.of([(int(t), 4 * int(t), 4 * int(t) + 3) for t in rng.integers(100, 900, n)])
    before = sizes.tokens * rng.uniform(3.2, 3.8, n)
    after = before - 0.4 * sizes.tokens
    run.write_lines("predictions.jsonl", [
        {"id": f"talks/{i}{EVIL if not i else ''}.txt", "tokens": int(sizes.tokens[i]), "characters": int(sizes.characters[i]),
         "nats": float(after[i]), "origin": {"source": f"{i}.txt", "row": 1}, "group": None,
         "baselines": {"zero_shot": float(before[i])}}
        for i in range(n)
    ])  # fmt: skip
    found = bootstrap(text_statistics(after, sizes), n, seed=1, resamples=100)
    run.write_json("evaluation.json", {
        "split": "test", **measure_text(after, sizes).to_json(),
        "baselines": {"zero_shot": measure_text(before, sizes).to_json()},
        "intervals": {name: interval.to_json() for name, interval in found.items()},
        "forgetting": None, "verdict": "It learned the text: a test says so.",
    })  # fmt: skip
    return run


EVIL = '</script><script>window.pwned=1</script><img src="http://evil.invalid/x" onerror="window.pwned=2">'
HIDDEN = "pay \u202e\u2066\u200b\ufeff\x1b[31m\x00\u2028\u3164 attention"


def write_nasty(folder: Path) -> Run:
    """A run in which every text that comes from outside is hostile: markup, hidden characters, 10,000 characters, 12 labels."""
    plain = ("", "update", "items", "العربية", "x" * 300, "l")
    labels = (EVIL, HIDDEN.replace("\u2028", ""), *plain, "'\"onload=window.pwned=3", "{{ 7 * 7 }}", "<!--", "&amp;")
    run = write_run(folder, labels, 48)
    predictions = run.read_lines("predictions.jsonl")
    for i, p in enumerate(predictions):
        p["text"] = ("y" * 30_000, "long " * 2000, *[EVIL, HIDDEN, "{{ 7 * 7 }}<!--", ""] * 12)[i]
        p["id"] = f"{EVIL} %{i}\ud800"
        p["origin"] = {"source": f"{EVIL}.csv", "row": i}
        p["group"] = EVIL
        p["baselines"][EVIL] = EVIL
    # In ASCII, as JSON from elsewhere may be: only so can a lone surrogate be written at all.
    run.write_text("predictions.jsonl", "".join(json.dumps(p) + "\n" for p in predictions))
    run.write_lines("dropped.jsonl", [{"origin": {"source": EVIL, "row": 1}, "reason": EVIL, "detail": EVIL, "text": EVIL}])
    manifest = run.manifest
    manifest |= {"name": EVIL, "command": EVIL, "machine": EVIL, "versions": {EVIL: EVIL}}
    manifest["data"] = {EVIL: {"sha256": EVIL, "bytes": 1}}
    manifest["dataset"] |= {"notes": [EVIL, HIDDEN], "dropped": {EVIL: 1}}
    run.write_json("manifest.json", manifest)
    evaluation = run.read_json("evaluation.json")
    run.write_json("evaluation.json", evaluation | {"verdict": EVIL, "baselines": evaluation["baselines"] | {EVIL: {"n": 1}}})
    recipe = f"name = {json.dumps(EVIL)}\n[task]\ninstruction = {json.dumps(EVIL + HIDDEN)}\nlabels = [{json.dumps(EVIL)}]\n"
    run.write_text("recipe.toml", recipe)
    return run


def sentence(rng: np.random.Generator, is_promise: bool) -> str:
    who = rng.choice(["We", "A Labour government", "My ministry", "Our coalition", "This party"])
    what = rng.choice(["40,000 homes", "the northern railway", "free school meals", "a lower rent cap", "the hospital"])
    if is_promise:
        return f"{who} will {rng.choice(['deliver', 'fund', 'bring back', 'finish'])} {what} by {rng.integers(2025, 2032)}."
    return f"{rng.choice(['They promised', 'Nobody believed in', 'I remember'])} {what}, and {who.lower()} know it."


def _intervals(truth: IntArray, p: FloatArray) -> dict[str, list[float]]:
    found = bootstrap(statistics(truth, p), len(truth), seed=1, resamples=100)
    return {name: interval.to_json() for name, interval in found.items()}


def _baseline(answer: IntArray, said: IntArray, truth: IntArray, labels: tuple[str, ...]) -> Json:
    p = 0.7 * np.eye(len(labels))[answer] + 0.3 / len(labels)
    wins, losses = int(((said == truth) & (answer != truth)).sum()), int(((said != truth) & (answer == truth)).sum())
    short = measure(truth, p, labels).to_short_json()
    return {**short, "intervals": _intervals(truth, p), "mcnemar_p": mcnemar(wins, losses), "wins": wins, "losses": losses}


# -- as text ------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page is made of: its elements with their attributes, the text of scripts and styles, the text that is read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self.read = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "input", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.read += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.blocks:
            self.blocks[self._open[-1]].append(data)
        else:
            self.read += data

    def having(self, kind: str) -> list[dict[str, str]]:
        """The attributes of every element of this class."""
        return [a for _, a in self.elements if set(kind.split()) <= set(a.get("class", "").split())]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders `whole`, `nasty`, `trained`, `generate`, `text`, each with its report.html."""
    root = tmp_path_factory.mktemp("runs")
    kinds = {"whole": write_run, "nasty": write_nasty, "trained": write_trained, "generate": write_generate, "text": write_text}
    for name, write in kinds.items():
        (root / name / "report.html").write_text(report.render(write(root / name).path), "utf-8")
    return root


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text("utf-8"))


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", ["whole", "nasty", "trained", "generate", "text"])
def test_page_needs_nothing_and_allows_nothing_else(folders: Path, name: str) -> None:
    page = page_of(folders / name)
    addresses = [a[key] for _, a in page.elements for key in ("src", "href", "action", "data", "xlink:href") if key in a]
    assert addresses and all(address.startswith("#") for address in addresses)
    assert not [a for _, a in page.elements if any(key == "style" or key.startswith("on") for key in a)]
    assert "url(" not in page.blocks["style"][0] and "@import" not in page.blocks["style"][0]

    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    (style,), script = page.blocks["style"], page.blocks["script"][-1]
    digests = [base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in (style, script)]
    allowed = f"style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'"
    assert policy == f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def test_nothing_from_the_data_becomes_markup_or_stays_hidden(folders: Path) -> None:
    nasty, whole = page_of(folders / "nasty"), page_of(folders / "whole")
    assert {tag for tag, _ in nasty.elements} <= {tag for tag, _ in whole.elements} | {"small"}
    assert [len(nasty.blocks[kind]) for kind in ("script", "style")] == [2, 1]
    assert nasty.read.count("<script>window.pwned=1</script>") > 100
    assert "⟨U+202E⟩⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩⟨U+001B⟩[31m⟨U+0000⟩⟨U+2028⟩⟨U+3164⟩" in nasty.read
    text = (folders / "nasty" / "report.html").read_text("utf-8")
    assert wording.visible(text) == text.replace("\t", " ")
    assert nasty.read.count("{{ 7 * 7 }}") >= 10
    examples = json.loads(nasty.blocks["script"][0])
    assert len(examples) == 48 and examples[0]["cut"] == 10_000 and len(examples[0]["text"]) == 20_000


def test_figures_and_their_intervals_are_those_of_the_evaluation(folders: Path) -> None:
    evaluation = Run(folders / "whole").read_json("evaluation.json")
    page = page_of(folders / "whole")
    read = squeezed(page.read)
    assert evaluation["verdict"].replace(": ", ":") in read.replace(": ", ":")
    for key in ("macro_f1", "accuracy", "nll", "ece"):
        low, high = evaluation["intervals"][key]
        best = evaluation["baselines"]["tfidf"][key]
        assert f"{evaluation[key]:.3f} {low:.3f} to {high:.3f} vs {best:.3f} TF-IDF + LR" in read
    assert f"vs {evaluation['ece_floor']:.3f} noise alone" in read
    for name, said in {"majority": "Majority class", "tfidf": "TF-IDF + LR", "zero_shot": "Base, zero-shot"}.items():
        b = evaluation["baselines"][name]
        p = "< 0.001" if b["mcnemar_p"] < 0.001 else f"{b['mcnemar_p']:.3f}"
        assert f"{said} {b['wins']} {b['losses']} {p} " in read
    charts = [a["aria-label"] for a in page.having("plate")]
    assert len(charts) == 10 and charts[0].startswith(f"Macro F1 with 95 % intervals: Tuned {evaluation['macro_f1']:.3f} ")


def test_the_learning_rate_is_drawn_in_a_power_of_ten(folders: Path) -> None:
    page = page_of(folders / "whole")
    assert [a["aria-label"] for a in page.having("plate")].count("Learning rate over 240 steps") == 1
    assert "Learning rate times 10−4, each step" in squeezed(page.read)


def test_every_test_example_is_one_grain_and_every_mistake_one_row(folders: Path) -> None:
    page = page_of(folders / "whole")
    predictions = Run(folders / "whole").read_lines("predictions.jsonl")
    wrong = [i for i, p in enumerate(predictions) if p["label"] != p["target"]]
    right = [i for i in range(300) if i not in wrong]
    assert sorted(int(a["data-i"]) for a in page.having("grain right")) == sorted(right * 2)  # before and after
    assert sorted(int(a["data-i"]) for a in page.having("grain wrong")) == sorted(wrong * 2)
    rows = [int(a["data-i"]) for tag, a in page.elements if tag == "li" and "data-i" in a]
    assert rows == sorted(wrong, key=lambda i: -predictions[i]["probability"])
    for i in wrong:
        assert predictions[i]["text"] in page.read and f"speeches.csv, row {predictions[i]['origin']['row']}" in page.read
    examples = json.loads(page.blocks["script"][0])
    assert [e["id"] for e in examples] == [p["id"] for p in predictions]
    assert all(e["before"] >= e["confidence"] for e in examples)  # temperature above 1 makes each less sure


def test_page_tells_where_the_run_came_from(folders: Path) -> None:
    read = squeezed(page_of(folders / "whole").read)
    manifest = Run(folders / "whole").manifest
    for said in (
        manifest["command"], "a" * 64, "b" * 64, "d" * 64, "torch 2.13.0", "Linux x86_64, 2 cores", "LoRA",
        "1,611 rows read, 1,484 kept, 127 set aside.", "112 duplicate", "14 conflict", "as speeches.csv, row 214",
        "and 107 more", "We will build 40,000 homes by 2027.", "Group speech-7 stands twice.", "Decide if the sentence is",
        "Kept: step 160, with the lowest validation NLL, 0.410. By step 240, the last one, it was 0.031 worse.",
        "resampling whole groups", "label_smoothing_factor", "best, 0.410",
    ):  # fmt: skip
        assert said in read, said


def test_report_after_training_alone_says_what_is_missing(folders: Path) -> None:
    page = page_of(folders / "trained")
    assert "It is trained and not yet evaluated" in page.read and "Kept: step 160" in squeezed(page.read)
    assert not page.having("grain") and not page.having("figures")


def test_report_of_a_generate_task_shows_answers_and_no_labels(folders: Path) -> None:
    page = page_of(folders / "generate")
    evaluation = Run(folders / "generate").read_json("evaluation.json")
    read = squeezed(page.read)
    for name, key in {"Exact match": "exact_match", "ROUGE-L": "rouge_l"}.items():
        assert f"{name} higher is better {evaluation[key]:.3f}" in read
    assert read.count("✗ Base, zero-shot") == 40
    assert read.count("✗ it wrote") == 14 and read.count("✓ it wrote the same") == 26
    assert read.index("✓ it wrote the same") > read.rindex("✗ it wrote")
    assert "Forgetting was not measured." in read
    assert not page.having("grain") and not page.having("confusion") and not page.having("label")


def test_report_of_plain_text_shows_documents_and_no_examples(folders: Path) -> None:
    page = page_of(folders / "text")
    evaluation = Run(folders / "text").read_json("evaluation.json")
    documents = Run(folders / "text").read_lines("predictions.jsonl")
    read = squeezed(page.read)
    assert f"Perplexity lower is better {evaluation['perplexity']:.3f}" in read and "12 test documents" in read
    assert f"vs {evaluation['baselines']['zero_shot']['nats_per_token']:.3f} Base, zero-shot" in read
    hardest = max(documents, key=lambda d: d["nats"] / d["tokens"])
    shown = read[read.index("before training") :]
    assert all(d["id"].split("<")[0] in shown for d in documents)
    perplexities = [math.exp(d["nats"] / d["tokens"]) for d in documents]
    assert f"{hardest['tokens']:,} {max(perplexities):.2f}" in shown
    assert shown.index(f"{max(perplexities):.2f}") < shown.index(f"{min(perplexities):.2f}")
    assert "To go on with plain text: nothing is asked" in read
    assert not page.having("grain") and not page.having("confusion") and not page.having("label")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("calibration.json", "no calibration was fitted"),
        ("predictions.jsonl", "no example can be shown"),
        ("metrics.jsonl", "Nothing is trained yet"),
        ("dropped.jsonl", "dropped.jsonl holds none of these rows"),
        ("recipe.toml", "holds no recipe"),
    ],
)
def test_a_missing_file_is_one_sentence(tmp_path: Path, missing: str, said: str) -> None:
    run = write_run(tmp_path, n=30)
    (tmp_path / missing).unlink()
    assert said in squeezed(Page(report.render(run.path)).read)


def test_prepared_run_and_bare_evaluation_are_enough_for_a_page(tmp_path: Path) -> None:
    run = write_trained(tmp_path, steps=0)
    manifest = run.manifest
    del manifest["training"]
    run.write_json("manifest.json", manifest)
    assert "nothing is trained yet" in Page(report.render(run.path)).read
    bare = {"split": "test", "n": 3, "labels": ["True", "False"], "accuracy": 1.0, "macro_f1": None}
    run.write_json("evaluation.json", bare)
    read = squeezed(Page(report.render(run.path)).read)
    assert "no verdict was written" in read and "No confusion matrix was measured." in read and "No reliability diagram" in read


def test_what_is_left_out_of_a_long_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_GRAINS", 150)
    monkeypatch.setattr(report, "MOST_LISTED", 10)
    run = write_run(tmp_path)
    wrong = sum(p["label"] != p["target"] for p in run.read_lines("predictions.jsonl"))
    page = Page(report.render(run.path))
    read = squeezed(page.read)
    assert f"The first 10 of {wrong} are listed" in read
    assert sum(tag == "li" and "data-i" in a for tag, a in page.elements) == 10
    drawn = len(page.having("grain")) // 2
    assert f"{drawn} of 300 examples are drawn" in read and 100 < drawn <= 150 and len(page.having("grain wrong")) == 2 * wrong


def test_same_run_gives_the_same_bytes(folders: Path) -> None:
    assert report.render(folders / "whole") == (folders / "whole" / "report.html").read_text("utf-8")


def test_no_run_and_damaged_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run here"):
        report.render(tmp_path)
    run = write_trained(tmp_path)
    for name in ("recipe.toml", "evaluation.json"):
        run.write_text(name, '{"n": 3')
        with pytest.raises(RunError, match=f"{name}: it is damaged"):
            report.render(run.path)
        (tmp_path / name).unlink()


# -- in a browser -------------------------------------------------------------------------------------------------------


class Browser:
    """Chromium without a window, spoken to over its debugging pipe; every network request and console line is kept."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        to_it, from_it = os.pipe(), os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
        flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        # The browser reads its file descriptor 3 and writes its 4, whatever numbers the pipes have here.
        start = "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4); os.execv(a[3], a[3:])"
        ends = (to_it[0], from_it[1])
        command = [sys.executable, "-c", start, *map(str, ends), CHROMIUM, *flags]
        self.process = subprocess.Popen(command, pass_fds=ends, stderr=subprocess.DEVNULL)
        os.close(to_it[0])
        os.close(from_it[1])
        self._out, self._in = os.fdopen(to_it[1], "wb"), os.fdopen(from_it[0], "rb")
        self.events: list[Json] = []
        self._session: str | None = None
        self._count = 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Json:
        """The answer to one command; what happens meanwhile is kept in `events`."""
        self._count += 1
        message: Json = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._read()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: Json = answer["result"]
        return result

    def _read(self) -> Json:
        message = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser went away"
            message += byte
        found: Json = json.loads(message)
        return found

    def open(self, address: str) -> None:
        """Loads a page and waits for it; what was kept of the page before is forgotten."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self.events.append(self._read())

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[Json]:
        """Errors, warnings and policy violations of the page."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [e for e in self.events if e["method"] in kinds]

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        self._out.close()
        self.process.wait(timeout=30)
        self._in.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("needs Chromium, which is not installed here")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def slip_of(browser: Browser) -> str:
    return str(browser.ask("document.getElementById('slip').innerText"))


@pytest.mark.parametrize("name", ["whole", "nasty", "trained", "generate", "text"])
@pytest.mark.parametrize("width", [400, 1200])
def test_page_loads_without_a_complaint_or_a_request(browser: Browser, folders: Path, name: str, width: int) -> None:
    address = (folders / name / "report.html").as_uri()
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    browser.open(address)
    assert browser.requests() == [address]
    assert browser.complaints() == []
    assert browser.ask("window.pwned") is None
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")


def test_click_on_a_grain_shows_its_sentence(browser: Browser, folders: Path) -> None:
    predictions = Run(folders / "whole").read_lines("predictions.jsonl")
    browser.open((folders / "whole" / "report.html").as_uri())
    surest = max((p for p in predictions if p["label"] != p["target"]), key=lambda p: p["probability"])
    assert surest["text"] in slip_of(browser)
    for i in (17, 100):
        grain = f"document.querySelectorAll('.grain[data-i=\"{i}\"]')[1]"
        browser.ask(f"{grain}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = browser.ask(f"{grain}.getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            browser.call("Input.dispatchMouseEvent", type=kind, **place)
        assert predictions[i]["text"] in slip_of(browser) and f"row {predictions[i]['origin']['row']}" in slip_of(browser)
        assert browser.ask("location.hash") == f"#e-speeches-{i}"
    assert browser.complaints() == []


def test_link_and_keys_choose_an_example(browser: Browser, folders: Path) -> None:
    predictions = Run(folders / "whole").read_lines("predictions.jsonl")
    browser.open("about:blank")
    browser.open((folders / "whole" / "report.html").as_uri() + "#e-speeches-17")
    assert predictions[17]["text"] in slip_of(browser)
    order = sorted(range(300), key=lambda i: predictions[i]["probability"])
    browser.ask("document.querySelectorAll('svg.grains')[1].focus()")
    for key in ("End", "ArrowLeft"):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
    assert f"row {predictions[order[-2]]['origin']['row']} " in slip_of(browser).replace("\n", " ")


def test_mistakes_can_be_found_and_sorted(browser: Browser, folders: Path) -> None:
    wrong = [p for p in Run(folders / "whole").read_lines("predictions.jsonl") if p["label"] != p["target"]]
    browser.open((folders / "whole" / "report.html").as_uri())
    shown = "[...document.querySelectorAll('.mistakes > li')].filter((row) => !row.hidden)"
    assert browser.ask(f"{shown}.length") == 20
    browser.ask("document.getElementById('more').click()")
    assert browser.ask(f"{shown}.length") == len(wrong)
    fill = "document.querySelector('#filters [name={}]').value = '{}'; filters.dispatchEvent(new Event('input'))"
    browser.ask(fill.format("order", "unsure"))
    assert browser.ask(f"{shown}.map((row) => Number(row.dataset.confidence))") == sorted(p["probability"] for p in wrong)
    browser.ask(fill.format("from", "0.8"))
    assert browser.ask(f"{shown}.length") == sum(p["probability"] >= 0.7995 for p in wrong)
    browser.ask(fill.format("words", "railway"))
    sure = sum(p["probability"] >= 0.7995 and "railway" in p["text"] for p in wrong)
    assert browser.ask("document.querySelector('#filters output').textContent") == f"{sure} of {len(wrong)}" and sure
