"""The report: made from Run folders that are written here, read as HTML and in a real browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from whet.errors import RunError
from whet.measure.calibration import fit_temperature, log_softmax, softmax
from whet.measure.compare import mcnemar
from whet.measure.inputs import FloatArray, IntArray
from whet.measure.intervals import bootstrap
from whet.measure.metrics import measure, statistics
from whet.measure.reliability import reliability
from whet.run import Run
from whet.views import report

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
    bins = {name: [b.to_json() for b in reliability(p.max(1), p.argmax(1) == truth)] for name, p in (("before", before), ("after", after))}
    run.write_json("evaluation.json", {
        "split": "test", **measure(truth, after, labels).to_json(), "intervals": _intervals(truth, after), "interval_unit": "group",
        "label_mass": {"mean": 0.97, "min": 0.612}, "before_calibration": measure(truth, before, labels).to_short_json(),
        "reliability": bins, "baselines": {name: _baseline(answer, said, truth, labels) for name, answer in systems.items()},
        "forgetting": {"text": "400 sentences of public-domain prose", "base_bits_per_character": 2.113, "tuned_bits_per_character": 2.164},
        "verdict": "Fine-tuning was worth it: macro F1 is well above TF-IDF, more than chance explains, and its probabilities can be trusted.",
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
                    "notes": ["4 labels were written in two ways (true, TRUE) and read as True.", "Group speech-7 stands twice."]},
        "training": {"method": "lora", "parameters": 8_100_000, "trainable_parameters": 311_296, "steps": steps, "epochs": 3,
                     "best_step": 160, "best_validation_nll": 0.41, "seconds": 95.2, "tokens": 123_456},
    })  # fmt: skip
    run.write_lines("dropped.jsonl", [
        {"origin": {"source": "speeches.csv", "row": 902 + i}, "reason": "duplicate", "detail": "as speeches.csv, row 214",
         "text": "We will build 40,000 homes by 2027."} for i in range(112)
    ])  # fmt: skip
    validation = {80: 0.46, 120: 0.425, 160: 0.41, 200: 0.421, 240: 0.441}
    run.write_lines("metrics.jsonl", [
        {"step": s, "epoch": s / 80, "loss": 0.35 + 1.4 * np.exp(-s / 30) + rng.normal(0, 0.05), "lr": 5e-4, "grad_norm": 1.0,
         "tokens": 512 * s, "seconds": 0.4 * s, "peak_bytes": 9 * 10**8,
         **({"validation_nll": validation[s], "validation_accuracy": 0.8, "best": s == 160} if s in validation else {})}
        for s in range(1, steps + 1)
    ])  # fmt: skip
    return run


def sentence(rng: np.random.Generator, is_promise: bool) -> str:
    who = rng.choice(["We", "A Labour government", "My ministry", "Our coalition", "This party"])
    what = rng.choice(["40,000 homes", "the northern railway", "free school meals", "a lower rent cap", "the hospital in Kiruna"])
    if is_promise:
        return f"{who} will {rng.choice(['deliver', 'fund', 'bring back', 'finish'])} {what} by {rng.integers(2025, 2032)}."
    return f"{rng.choice(['They promised', 'Nobody believed in', 'I remember', 'It is time we spoke about'])} {what}, and {who.lower()} know it."


def _intervals(truth: IntArray, p: FloatArray) -> dict[str, list[float]]:
    found = bootstrap(statistics(truth, p), len(truth), seed=1, resamples=200)
    return {name: interval.to_json() for name, interval in found.items()}


def _baseline(answer: IntArray, said: IntArray, truth: IntArray, labels: tuple[str, ...]) -> Json:
    p = 0.7 * np.eye(len(labels))[answer] + 0.3 / len(labels)
    wins, losses = int(((said == truth) & (answer != truth)).sum()), int(((said != truth) & (answer == truth)).sum())
    short = measure(truth, p, labels).to_short_json()
    return {**short, "intervals": _intervals(truth, p), "mcnemar_p": mcnemar(wins, losses), "wins": wins, "losses": losses}


# -- in a browser -------------------------------------------------------------------------------------------------------


class Browser:
    """Chromium without a window, spoken to over its debugging pipe; every network request and console line is kept."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        to_it, from_it = os.pipe(), os.pipe()
        quiet = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        flags = [*quiet.split(), "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        # The pipe has to be file descriptors 3 and 4, whatever numbers it has here.
        shell = f'exec "$0" "$@" 3<&{to_it[0]} 4>&{from_it[1]}'
        self.process = subprocess.Popen(["sh", "-c", shell, CHROMIUM, *flags], pass_fds=(to_it[0], from_it[1]), stderr=subprocess.DEVNULL)
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
        message = {"id": self._count, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
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
        return [e for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")]

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        self._out.close()
        self.process.wait(timeout=30)
        self._in.close()
