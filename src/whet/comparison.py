"""One run against another on the same test rows: did what was changed between them help?

Rows are matched by what they read and what they answer, never by their place, and two runs that were tested on different rows
are not compared. Each difference is paired: an interval comes from drawing the same rows for both.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import Problem, RunError
from whet.example import Example
from whet.measure.compare import Comparison, Difference, compare, paired_difference
from whet.measure.generation import generation_statistics, score_answers
from whet.measure.intervals import Statistic, interval_unit
from whet.measure.metrics import statistics
from whet.run import Run

Row = Mapping[str, Any]  # a line of predictions.jsonl
Figures = Mapping[str, Statistic]
# The figure that decides between two runs of a kind; and those of which less is better.
DECIDES = {"classify": "macro_f1", "generate": "rouge_l", "text": "bits_per_character"}
LESS_IS_BETTER = ("nll", "brier", "bits_per_character")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of both runs and its paired difference, `now` minus `before`, with the 95 % interval."""

    now: float
    before: float
    difference: Difference


@dataclass(frozen=True, slots=True)
class Regression:
    """A test row that was answered right before, and is not now."""

    id: str
    text: str
    target: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class RunComparison:
    """What sets a run apart from an earlier one.

    Attributes:
        run, before: the names of the two folders.
        kind: of the task.
        n: rows of the test split.
        unit: what an interval draws: `item`, or `group` where examples share documents.
        settings: recipe keys that differ, as (before, now): what the difference can be due to.
        train_rows: how many rows were trained on, as (before, now).
        figures: by name; the first one decides.
        answers: who was right where; None for `text`, whose rows are neither right nor wrong.
        regressions: the rows that got worse, in the order of the test split.
    """

    run: str
    before: str
    kind: str
    n: int
    unit: str
    settings: Mapping[str, tuple[Any, Any]]
    train_rows: tuple[int, int]
    figures: Mapping[str, Figure]
    answers: Comparison | None
    regressions: Sequence[Regression]

    @property
    def gain(self) -> Difference:
        """The difference that decides, so that more is better."""
        name = DECIDES[self.kind]
        found = self.figures[name].difference
        return Difference(-found.value, -found.high, -found.low) if name in LESS_IS_BETTER else found

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the whole interval is on that side, else `no sure difference`."""
        if self.gain.low > 0:
            return "better"
        return "worse" if self.gain.high < 0 else "no sure difference"

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        figures = {
            name: {"now": f.now, "before": f.before, "difference": f.difference.to_json()} for name, f in self.figures.items()
        }
        return {
            "run": self.run, "before": self.before, "split": "test", "kind": self.kind, "n": self.n,
            "interval_unit": self.unit, "verdict": self.verdict, "decides": DECIDES[self.kind],
            "settings": {key: {"before": pair[0], "now": pair[1]} for key, pair in self.settings.items()},
            "train_rows": {"before": self.train_rows[0], "now": self.train_rows[1]}, "figures": figures,
            "answers": self.answers.to_json() if self.answers else None, "regressions": [asdict(r) for r in self.regressions],
        }  # fmt: skip


def compare_runs(run: Run, before: Run) -> RunComparison:
    """The RunComparison of two evaluated runs.

    Raises:
        RunError: if one of them is not evaluated, or they are of different kinds, labels or test rows.
    """
    kind = run.task.kind
    problems = _unlike(run, before)
    if problems:
        raise RunError(*problems)
    now, then = _matched(run, before)
    seed, groups = run.recipe.derive_seed("compare"), [row["group"] for row in now]
    ours, theirs = _figures(kind, now, run.task.labels), _figures(kind, then, run.task.labels)
    everything = np.arange(len(now))
    figures = {
        name: Figure(
            ours[name](everything), theirs[name](everything),
            paired_difference(ours[name], theirs[name], len(now), groups, seed=seed),
        )
        for name in ours
    }  # fmt: skip
    answers = _answers(kind, now, then, run.task.labels)
    said = "label" if kind == "classify" else "answer"
    regressions = [
        Regression(now[i]["id"], now[i]["text"], now[i]["target"], then[i][said], now[i][said])
        for i in (answers.regressions if answers else ())
    ]
    sizes = (len(before.examples("train")), len(run.examples("train")))
    names = (run.path.resolve().name, before.path.resolve().name)
    unit = interval_unit(groups)
    return RunComparison(*names, kind, len(now), unit, _settings(run, before), sizes, figures, answers, regressions)


def _unlike(run: Run, before: Run) -> list[Problem]:
    """What keeps two runs from being compared, before their rows are looked at."""
    found = []
    for one in (run, before):
        if not one.has("evaluation.json"):
            found.append(Problem(str(one.path), "it is not evaluated yet", "Run `whet evaluate` on it first"))
    if run.path.resolve() == before.path.resolve():
        found.append(Problem(str(run.path), "this is one run, not two", "Name another run"))
    elif run.task.kind != before.task.kind:
        what = f"{run.path} is of kind {run.task.kind}, {before.path} of kind {before.task.kind}"
        found.append(Problem("[task] kind", what, "Compare runs of the same task"))
    elif set(run.task.labels) != set(before.task.labels):
        what = f"{run.path} has {', '.join(run.task.labels)}, {before.path} has {', '.join(before.task.labels)}"
        found.append(Problem("[task] labels", what, "Compare runs of the same task"))
    return found


def _matched(run: Run, before: Run) -> tuple[list[Row], list[Row]]:
    """The predictions of both on the same rows in the same order, that of the first.

    Raises:
        RunError: if they were tested on different rows.
    """
    now, then = _by_content(run), _by_content(before)
    missing, extra = len(then.keys() - now.keys()), len(now.keys() - then.keys())
    if missing or extra:
        same = len(now.keys() & then.keys())
        what = f"they were tested on different rows: {same:,} are the same, {extra:,} only here, {missing:,} only there"
        do = "Give both the same table and seed, or the same test_path; rows that are only trained on go into extra_path"
        raise RunError(Problem(f"{run.path} and {before.path}", what, do))
    return list(now.values()), [then[key] for key in now]


def _by_content(run: Run) -> dict[str, Row]:
    """The predictions on the test split by the SHA-256 of what each row reads and what it is to answer."""
    rows = {row["id"]: row for row in run.read_lines("predictions.jsonl")}
    found: dict[str, Row] = {}
    for example in run.examples("test"):
        if example.id not in rows:
            what = f"predictions.jsonl lacks the test row {example.id}"
            raise RunError(Problem(str(run.path), what, "Delete evaluation.json, and run `whet evaluate` again"))
        key = _content(example)
        while key in found:  # the same row twice, where that is allowed: its second place is the second place there too
            key += "+"
        found[key] = rows[example.id]
    return found


def _content(example: Example) -> str:
    said = [list(message) for message in example.history]
    read = [said, example.instruction, list(example.inputs.values()), example.target, list(example.references)]
    return hashlib.sha256(json.dumps(read, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def _figures(kind: str, rows: Sequence[Row], labels: Sequence[str]) -> Figures:
    """The figures of one run as functions of rows; the one that decides comes first."""
    if kind == "classify":
        scores = [[row["scores"][label] for label in labels] for row in rows]
        found: Figures = statistics(_positions(rows, "target", labels), scores)
        shown: tuple[str, ...] = ("macro_f1", "accuracy", "nll", "brier")
    elif kind == "generate":
        found, shown = generation_statistics(*_pairs(rows)), ("rouge_l", "token_f1", "exact_match")
    else:
        nats, characters = (np.array([row[key] for row in rows], np.float64) for key in ("nats", "characters"))
        found = {"bits_per_character": lambda i: float(nats[i].sum() / characters[i].sum() / math.log(2))}
        shown = ("bits_per_character",)
    return {name: found[name] for name in shown}


def _answers(kind: str, now: Sequence[Row], then: Sequence[Row], labels: Sequence[str]) -> Comparison | None:
    """Who was right where; of written answers, those that equal the target."""
    if kind == "text":
        return None
    if kind == "classify":
        ours, theirs = (_positions(rows, "label", labels) for rows in (now, then))
        return compare(_positions(now, "target", labels), ours, theirs, labels)
    ours, theirs = ((score_answers(*_pairs(rows))["exact_match"] < 1).astype(np.int64) for rows in (now, then))
    return compare(np.zeros(len(now), np.int64), ours, theirs, ["the target", "another answer"])


def _pairs(rows: Sequence[Row]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The answers wanted and given."""
    return [(row["target"], *row.get("references", ())) for row in rows], [row["answer"] for row in rows]


def _positions(rows: Sequence[Row], key: str, labels: Sequence[str]) -> NDArray[np.int64]:
    at = {label: i for i, label in enumerate(labels)}
    return np.array([at[row[key]] for row in rows], np.int64)


def _settings(run: Run, before: Run) -> dict[str, tuple[Any, Any]]:
    """The recipe keys that differ, but for the names. A file counts as what it holds, wherever it lies; where two of one place
    hold something else, the beginnings of their hashes tell them apart."""
    now, then = run.recipe.settings(), before.recipe.settings()
    held_now, held_then = (
        {name: found["sha256"] for name, found in one.manifest["data"].items() if found.get("sha256")} for one in (run, before)
    )
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted((now.keys() | then.keys()) - {"name"}):
        old, new = then.get(key), now.get(key)
        if _as_held(old, held_then) != _as_held(new, held_now):
            found[key] = (old, new) if old != new else (_told_apart(old, held_then), _told_apart(new, held_now))
    return found


def _as_held(value: Any, held: Mapping[str, str]) -> Any:
    """A setting with the hash of its contents in the place of each file that it names."""
    if isinstance(value, list):
        return [_as_held(each, held) for each in value]
    return held.get(value, value) if isinstance(value, str) else value


def _told_apart(value: Any, held: Mapping[str, str]) -> Any:
    """A setting with the beginning of that hash behind each file."""
    if isinstance(value, list):
        return [_told_apart(each, held) for each in value]
    return f"{value} ({held[value][:8]})" if isinstance(value, str) and value in held else value
