"""The ledger: what earlier runs on this machine were predicted to take, and took. The next plan learns from it.

One JSON file in the user's cache folder, the last runs of each device in it. It holds sizes and times, no text and no data.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from whet.budget.estimate import Scale
from whet.recipe import Recipe
from whet.run import write_atomically

KEPT = 20  # runs of a device; older ones tell of older versions
# Below this a process's own unrest (threads, allocator, libraries) is a large part of what is measured.
LEAST_BYTES = 512 * 1024**2
LEAST_SECONDS = 2.0
MOST_FACTOR = 2.0  # a factor beyond this is no calibration, but a fault to be looked at


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished training: the device, what its speed depends on, bytes predicted and measured, operations and seconds."""

    device: str
    kind: str
    predicted_bytes: int
    measured_bytes: int
    flops: float
    seconds: float


def kind_of(recipe: Recipe) -> str:
    """What the speed of a run depends on besides the device: base, quantization, precision."""
    model = recipe.model
    return " ".join(filter(None, (Path(model.base).name, model.quantize, model.dtype, "bf16" if recipe.train.bf16 else "")))


def place() -> Path:
    """The file: `ledger.json` in the folder WHET_CACHE, or else in `whet` in XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("WHET_CACHE"):
        return Path(own) / "ledger.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whet" / "ledger.json"


def entries() -> list[Entry]:
    """All entries, the oldest first; none of a file that is missing or damaged, for it is only a help."""
    try:
        records = json.loads(place().read_text("utf-8"))
        return [Entry(**record) for record in records]
    except (OSError, ValueError, TypeError):
        return []


def add(entry: Entry) -> None:
    """Adds one run; of its device the last ones are kept. Where the folder cannot be written, nothing is kept."""
    kept = [each for each in entries() if each.device != entry.device]
    same = [each for each in entries() if each.device == entry.device]
    lines = [asdict(each) for each in (*kept, *same[-KEPT + 1 :], entry)]
    try:
        write_atomically(place(), (json.dumps(lines, indent=1) + "\n").encode())
    except OSError:
        return


def learned(device: str, recipe: Recipe) -> Scale:
    """What the runs of a device teach about the next: the median of measured over predicted peaks, the speeds of this kind."""
    same = [entry for entry in entries() if entry.device == device]
    large = [entry.measured_bytes / entry.predicted_bytes for entry in same if entry.predicted_bytes >= LEAST_BYTES]
    factor = min(MOST_FACTOR, max(1 / MOST_FACTOR, median(large))) if large else 1.0
    kind = kind_of(recipe)
    rates = tuple(entry.flops / entry.seconds for entry in same if entry.kind == kind and entry.seconds >= LEAST_SECONDS)
    return Scale(factor, len(large), rates)


def score(plan: Mapping[str, Any], measured: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """What the manifest keeps: predicted against measured peaks and time.

    Args:
        plan: what `plan.json` holds.
        measured: bytes by what was measured, as `engine.peak` says.
        seconds: of the training, validations included.
    """
    predicted = plan["time"]["training_seconds"] + plan["time"]["validation_seconds"]
    # Of a whole process, what it holds beside its tensors is predicted too.
    forecast = {what: plan["needed_bytes" if what == "whole" else "peak_bytes"] for what in measured}
    return {
        "device": plan["device"]["name"], "source": plan["source"],
        "peaks": [{"what": what, "predicted_bytes": forecast[what], "measured_bytes": size, "ratio": size / forecast[what]}
                  for what, size in measured.items()],
        "time": {"predicted_seconds": predicted, "measured_seconds": seconds, "ratio": seconds / predicted,
                 "basis": plan["time"]["basis"]},
    }  # fmt: skip


def keep(plan: Mapping[str, Any], measured: Mapping[str, int], seconds: float, recipe: Recipe) -> None:
    """Enters a finished run: of a GPU what was allocated, of a process what it held beyond what stands beside its tensors."""
    tensors = measured["allocated"] if "allocated" in measured else measured["whole"] - plan["outside_bytes"]
    flops = plan["flops"]["training"] + plan["flops"]["validation"]
    if plan["peak_bytes"] and seconds > 0:
        add(Entry(plan["device"]["name"], kind_of(recipe), plan["peak_bytes"], max(0, tensors), flops, seconds))
