"""The LLM judge: a score from 1 to 10 by a rubric in the user's words; what is below the threshold is no row.

A judge is only let near the rows once it is known how far it agrees with people: it scores rows that people have judged, and
Cohen's kappa of "good enough" or not has to reach `judge_kappa`. Where it leans, label by label, is said as well.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whet.data.examples import to_examples
from whet.data.read import read_rows
from whet.errors import DataError, ModelError, Problem, RecipeError
from whet.example import Example
from whet.measure.agreement import cohen_kappa
from whet.measure.intervals import bootstrap
from whet.recipe import Recipe
from whet.synth import answers
from whet.synth.candidate import Candidate, Rejection
from whet.synth.desk import Desk
from whet.synth.pool import Pool
from whet.synth.request import Answer, Request

LOWEST, HIGHEST = 1, 10
VERDICT_COLUMN = "good"
VERDICTS: Mapping[str, bool] = {
    "true": True, "yes": True, "1": True, "good": True, "false": False, "no": False, "0": False, "bad": False
}  # fmt: skip
FEWEST = 20  # rows that people judged: with fewer, kappa says nothing
SCHEMA = {
    "type": "object", "required": ["score"], "additionalProperties": False,
    "properties": {"score": {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}},
}  # fmt: skip


class Judge:
    """The check: a row keeps its score in the column `judge_score`."""

    purpose = "judge"
    prompts = ("judge",)

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def ask(self, candidate: Candidate, number: int) -> Request:
        """The request for a row's score."""
        recipe = self.desk.recipe
        own = {"instruction": candidate.instruction} if candidate.instruction is not None else {}
        row = {**own, **candidate.inputs, recipe.data.target or "answer": candidate.target}
        slots = {"row": row, "rubric": (self.desk.synth.judge_rubric or "").strip(), "lowest": LOWEST, "highest": HIGHEST}
        return self.desk.request(self.purpose, slots, prompt="judge", number=number, schema=SCHEMA)

    def judge(self, candidate: Candidate, answer: Answer) -> Candidate | Rejection:
        """The candidate with its score; `no_answer` where there is none, `judged_bad` where it is too low."""
        score = read_score(answer.text) if answer.is_usable else None
        if score is None:
            said = repr(answer.text[:80]) if answer.is_usable else answer.reply.outcome
            return Rejection("no_answer", f"asked for a score from {LOWEST} to {HIGHEST}, it says {said}", candidate)
        scored = replace(candidate, marks={**candidate.marks, "judge_score": f"{score:g}"})
        least = self.desk.synth.judge_threshold
        return scored if score >= least else Rejection("judged_bad", f"{score:g} of {HIGHEST}, less than {least:g}", scored)


def read_score(text: str) -> float | None:
    """The score in an answer: the number of a JSON object, or a number that stands alone. None: there is none in the range.

    Example:
        >>> read_score('{"score": 8}'), read_score("7"), read_score("8 or 9"), read_score('{"score": 11}')
        (8.0, 7.0, None, None)
    """
    said = answers.FENCE.sub("", answers.THINKING.sub("", text, count=1)).strip()
    if "{" in said:
        objects = answers.read_objects(said).objects
        said = str(objects[0].get("score", "")) if len(objects) == 1 else ""
    try:
        score = float(said)
    except ValueError:
        return None
    return score if LOWEST <= score <= HIGHEST else None


@dataclass(frozen=True, slots=True)
class LabelBias:
    """Of the rows of one label (or of all): how many there are, and what share people and judge call good."""

    rows: int
    people: float
    judge: float


@dataclass(frozen=True, slots=True)
class Measured:
    """How far the judge agrees with people on rows that they judged.

    `kappa` is None where chance alone would have them agree on all; `interval` is its 95 % interval, by drawing rows again.
    `unread` rows have no score that could be read, and count as bad. `bias` is by label, under "" of all rows.
    """

    rows: int
    unread: int
    agreement: float
    kappa: float | None
    interval: Sequence[float] | None
    bias: Mapping[str, LabelBias]

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return asdict(self)


def read_judged(recipe: Recipe) -> list[tuple[Example, bool]]:
    """The rows of the table `[synth] judge_human` and whether people found them good.

    Raises:
        DataError: if it cannot be read, has too few rows, or rows without a verdict.
    """
    synth, data = recipe.synth, recipe.data
    assert synth is not None and synth.judge_human is not None
    table = read_rows(synth.judge_human, encoding=data.encoding, delimiter=data.delimiter, header=data.header)
    if VERDICT_COLUMN not in table.columns:
        do = "Add it, with yes or no for each row"
        raise DataError(Problem(table.source, f"there is no column {VERDICT_COLUMN!r} with what people said of the rows", do))
    found = to_examples(
        table, input=data.input, target=data.target, instruction=data.instruction, fallback=recipe.task.instruction,
        labels=recipe.task.labels, label_names=data.label_names, kind=recipe.task.kind,
    )  # fmt: skip
    said = {row.number: row.cells[table.columns.index(VERDICT_COLUMN)] or "" for row in table.rows}
    verdicts = {number: VERDICTS.get(cell.strip().casefold()) for number, cell in said.items()}
    problems = [Problem(str(drop.origin), drop.detail, "Mend the row, or take it out") for drop in found.drops]
    problems += [
        Problem(f"{table.source}, row {number}", f"{said[number]!r} is no verdict", "Write yes or no")
        for number, verdict in verdicts.items()
        if verdict is None
    ]
    if len(found.examples) < FEWEST:
        what = f"people have judged {len(found.examples)} rows, and fewer than {FEWEST} say nothing about a judge"
        problems.append(Problem(table.source, what, "Let them judge more"))
    elif len(set(verdicts.values()) - {None}) == 1:
        what = "people say the same of every row, so that nothing can be learned about the judge"
        problems.append(Problem(table.source, what, "Add rows of the other kind"))
    if problems:
        raise DataError(*problems[:20])
    return [(example, bool(verdicts[example.origin.row])) for example in found.examples]


async def measure_judge(desk: Desk, pool: Pool) -> Measured:
    """How far the judge agrees with people. What was scored before comes from the journal.

    Raises:
        ModelError: if a row has no answer.
    """
    judge, judged = Judge(desk), read_judged(desk.recipe)
    requests = [
        judge.ask(Candidate(dict(e.inputs), e.target, e.instruction), number) for number, (e, _) in enumerate(judged)
    ]  # fmt: skip
    replies = [reply for reply, _ in await asyncio.gather(*map(pool.ask_whole, requests))]
    parked = next((reply.detail for reply in replies if reply.outcome == "parked"), None)
    if parked is not None:
        what = f"the judge could not be measured: {parked}"
        raise ModelError(Problem("[synth] judge_human", what, "See to it, then give the same command again"))
    scores = [read_score(reply.text) if reply.outcome == "ok" else None for reply in replies]
    least = desk.synth.judge_threshold
    said = [score is not None and score >= least for score in scores]
    labels = [example.target if desk.rows_task.kind == "classify" else "" for example, _ in judged]
    seed = desk.recipe.derive_seed("judge")
    return measured([verdict for _, verdict in judged], said, labels, unread=scores.count(None), seed=seed)


def measured(people: Sequence[bool], judge: Sequence[bool], labels: Sequence[str], *, unread: int, seed: int) -> Measured:
    """The agreement of two lists of verdicts.

    Args:
        people: (N,) whether a row is good, as people say.
        judge: (N,) likewise.
        labels: (N,) of the rows, "" where they have none.
        unread: rows whose score could not be read.
        seed: of the interval's draws.

    Example:
        >>> found = measured([True] * 6 + [False] * 4, [True] * 5 + [False] * 5, [""] * 10, unread=0, seed=1)
        >>> found.agreement, round(found.kappa or 0, 2), found.bias[""]
        (0.9, 0.8, LabelBias(rows=10, people=0.6, judge=0.5))
    """
    ours, theirs = [["bad", "good"][verdict] for verdict in people], [["bad", "good"][verdict] for verdict in judge]
    kappa = cohen_kappa(ours, theirs)

    def drawn(rows: Any) -> float:
        found = cohen_kappa([ours[i] for i in rows], [theirs[i] for i in rows])
        return 1.0 if found is None else found  # a draw of one verdict only, on which both agree

    interval = bootstrap({"kappa": drawn}, len(people), seed=seed)["kappa"].to_json() if kappa is not None else None
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        rows[""].append(i)
        if label:
            rows[label].append(i)
    bias = {
        label: LabelBias(len(at), sum(people[i] for i in at) / len(at), sum(judge[i] for i in at) / len(at))
        for label, at in rows.items()
    }
    agreement = sum(a == b for a, b in zip(people, judge, strict=True)) / len(people)
    return Measured(len(people), unread, agreement, kappa, interval, bias)


def require_agreement(found: Measured, least: float) -> None:
    """Raises a RecipeError if the judge agrees with people too little to throw out rows."""
    if found.kappa is None or found.kappa < least:
        kappa = "cannot be told" if found.kappa is None else f"is {found.kappa:.2f}"
        agreement = f"on {found.rows} rows (agreement {found.agreement:.0%})"
        what = f"the judge's kappa with people {kappa} {agreement}, and {least:g} is wanted"
        do = "Mend the rubric, take another model, or let it filter all the same with judge_unmeasured = true"
        raise RecipeError(Problem("[synth] judge_kappa", what, do))
