"""A synth run folder: everything is set up from the recipe and the journal, the work is done, and what came of it is written.

The folder holds recipe.toml (as last given), journal.sqlite, accepted.jsonl (a table for `[data] path`), rejected.jsonl (what
became no row, with its reason) and synth.json; of the method `paraphrase` also templates.toml, a template set.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from whet.data.audit.language import LANGUAGES
from whet.data.examples import to_examples
from whet.data.provenance import Tally
from whet.data.read import read_rows
from whet.errors import DataError, ModelError, Problem, RecipeError, RunError
from whet.example import Example, Origin
from whet.progress import Progress, Silent
from whet.recipe import Recipe
from whet.run import Run
from whet.sections import Synth
from whet.synth import report
from whet.synth.aims import read_aims
from whet.synth.candidate import OWN_COLUMNS
from whet.synth.checks import build_checks
from whet.synth.client import Endpoint, Maker, read_key
from whet.synth.desk import Desk
from whet.synth.filters import Filters
from whet.synth.journal import Journal
from whet.synth.judge import measure_judge, read_judged, require_agreement
from whet.synth.making import Making
from whet.synth.methods import METHODS
from whet.synth.methods.needs import NEEDS, unmet
from whet.synth.methods.paraphrase import template_set
from whet.synth.pool import Pool
from whet.synth.spending import Budget
from whet.synth.stock import Stock, targets
from whet.synth.templates import Prompts

JOURNAL, ACCEPTED, REJECTED, REPORT = "journal.sqlite", "accepted.jsonl", "rejected.jsonl", "synth.json"
TEMPLATES = "templates.toml"  # of the method `paraphrase`
# What a run's answers were asked for under; anything else may change from call to call.
FIXED = ("seed", "task.", "data.input", "data.target", "data.instruction", "synth.method", "synth.model", "synth.slices",
         "synth.from_run")  # fmt: skip
LocalMakers = Callable[[], Sequence[Maker]]


def open_desk(recipe: Recipe) -> Desk:
    """The desk of a recipe, everything on it checked.

    Raises:
        RecipeError, DataError: with all that is wrong with the section, the prompts and the seeds.
    """
    problems = list(_problems(recipe))
    if problems:
        raise RecipeError(*problems)
    synth = recipe.synth
    assert synth is not None
    wanted = {"temperature": synth.temperature, "max_tokens": synth.max_tokens}
    prompts = Prompts(synth.prompts, {key: value for key, value in wanted.items() if value is not None})
    seeds = read_seeds(recipe) if synth.seeds else []
    if len(seeds) < NEEDS[synth.method].seeds:
        what = f"it holds {len(seeds)} rows, and {synth.method} needs {NEEDS[synth.method].seeds}"
        raise RecipeError(Problem(f"[synth] seeds {synth.seeds}", what, "Add some"))
    if synth.judge_human:
        read_judged(recipe)
    desk = Desk(recipe, prompts, seeds)
    if synth.from_run:
        run = Run.open(Path(synth.from_run))
        _require_same_task(recipe, run)
        desk = replace(
            desk, seeds=[*run.examples("train"), *seeds], unseen=[*run.examples("validation"), *run.examples("test")],
            aims=read_aims(run),
        )  # fmt: skip
    prompts.check([*METHODS[synth.method](desk).prompts, *(name for check in build_checks(desk) for name in check.prompts)])
    return desk


def _require_same_task(recipe: Recipe, run: Run) -> None:
    """Raises a RecipeError with what keeps rows for this recipe from being rows for a run."""
    of_run, wanted = run.recipe, [("[task] labels", recipe.task.labels, run.task.labels)]
    wanted += [("[data] input", recipe.data.input, of_run.data.input)]
    problems = [
        Problem(where, f"{', '.join(here)} is not what {run.path} has: {', '.join(there)}", "Write the same")
        for where, here, there in wanted
        if here != there
    ]
    if problems:
        raise RecipeError(*problems)


def read_seeds(recipe: Recipe) -> list[Example]:
    """The examples of the table `[synth] seeds`, which has the columns of [data]; for some methods its texts alone.

    Raises:
        DataError: if it cannot be read, or holds a row that is no example.
    """
    data, synth = recipe.data, recipe.synth
    assert synth is not None and synth.seeds is not None
    table = read_rows(synth.seeds, encoding=data.encoding, delimiter=data.delimiter, header=data.header)
    if NEEDS[synth.method].texts_only:
        found = to_examples(table, input=[data.target or ""], target=None, kind="text")
    else:
        found = to_examples(
            table, input=data.input, target=data.target, instruction=data.instruction, fallback=recipe.task.instruction,
            labels=recipe.task.labels, label_names=data.label_names, kind=recipe.task.kind,
        )  # fmt: skip
    if found.drops:
        raise DataError(*(Problem(str(d.origin), d.detail, "Mend the row, or take it out") for d in found.drops[:20]))
    return found.examples


def make(recipe: Recipe, path: Path, progress: Progress, local: LocalMakers, *, pilot: bool = False) -> dict[str, Any]:
    """What `synth.json` holds, after rows were made until there are enough, a cap is met or nothing answers.

    Args:
        recipe: with a [synth] section.
        path: the run folder; one that the same recipe began is gone on with.
        progress: is told of every accepted row.
        local: makes the makers of a recipe without a base_url.
        pilot: stop after `pilot_rows` rows.

    Raises:
        RecipeError, DataError, RunError: before anything is sent.
        ModelError: if no server answers; what there is is written first.
    """
    desk = open_desk(recipe)
    makers = list(_makers(desk)) or list(local())
    run = Run(path)
    with run.lock(), _journal(path, recipe) as journal:
        run.write_text("recipe.toml", recipe.dump())
        making = _making(desk, makers, journal, progress)
        progress.start("making rows", sum(making.stock.wanted.values()), "row")
        asyncio.run(making.recall())
        try:
            stopped = asyncio.run(_work(making, desk.synth.pilot_rows if pilot else None))
        finally:
            seconds = float(journal.fact("seconds") or 0.0) + making.pool.budget.seconds
            journal.remember("seconds", seconds)
            _write_tables(run, making)
        found = report.summary(recipe, making, stopped, seconds)
        run.write_json(REPORT, found)
    if making.pool.broken is not None:
        raise ModelError(making.pool.broken)
    return found


def look_ahead(recipe: Recipe, path: Path) -> dict[str, Any]:
    """What a run would take at most, and the forecast from what was made of it so far; nothing is sent or written.

    Raises:
        RecipeError, DataError, RunError: as `make`.
    """
    desk = open_desk(recipe)
    with TemporaryDirectory() as nowhere, _journal(path if (path / JOURNAL).exists() else Path(nowhere), recipe) as journal:
        making = _making(desk, [], journal, Silent())
        asyncio.run(making.recall())
        found = report.most_it_can_take(making)
        return {**found, "forecast": report.forecast(making, float(journal.fact("seconds") or 0.0))}


async def _work(making: Making, goal: int | None) -> str:
    """Works until there is a reason to stop, which it returns. The first Ctrl-C or SIGTERM lets what is under way arrive."""
    loop = asyncio.get_running_loop()
    stops: set[asyncio.Task[None]] = set()  # holds on to the task

    def stop() -> None:
        making.progress.say("stopping: what is under way is waited for. Once more stops at once.")
        for number in signals:
            loop.remove_signal_handler(number)
        stops.add(loop.create_task(making.pool.budget.stop("interrupted")))

    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        for sentence in await making.pool.open():
            making.progress.say(sentence)
        if making.desk.synth.judge_human:
            making.judge = await measure_judge(making.desk, making.pool)
            if not making.desk.synth.judge_unmeasured:
                require_agreement(making.judge, making.desk.synth.judge_kappa)
        return await making.work(goal)
    finally:
        await making.pool.close()
        for number in signals:
            loop.remove_signal_handler(number)


def _making(desk: Desk, makers: Sequence[Maker], journal: Journal, progress: Progress) -> Making:
    """The core with all its parts."""
    synth, task = desk.synth, desk.rows_task
    budget = Budget(synth, journal.spent())
    pool = Pool(synth.model, synth, makers, journal, budget)
    wanted = desk.aims.targets(synth.rows) if desk.aims else targets(task, synth)
    stock, filters = Stock(wanted), Filters(task, synth, [*desk.seeds, *desk.unseen])
    return Making(desk, METHODS[synth.method](desk), build_checks(desk), filters, stock, pool, progress)


def _makers(desk: Desk) -> Iterator[Maker]:
    """A maker for each base_url."""
    key = read_key(desk.synth.api_key_env)
    for url in desk.synth.base_url:
        yield Endpoint(url, desk.synth.model, key, desk.synth.timeout_seconds)


@contextmanager
def _journal(path: Path, recipe: Recipe) -> Iterator[Journal]:
    """The journal of a run folder, new or of the same recipe; closed at the end.

    Raises:
        RunError: if it was begun by a recipe that asks for something else, naming each key.
    """
    if path.exists() and not (path / JOURNAL).exists() and any(p.name != "run.lock" for p in path.iterdir()):
        raise RunError(Problem(str(path), "this folder is not empty and holds no synth run", "Name another with --out"))
    journal = Journal(path / JOURNAL)
    try:
        asked = {key: value for key, value in recipe.settings().items() if key.startswith(FIXED)}
        begun = journal.fact("asked")
        if begun is None:
            journal.remember("asked", asked)
        elif begun != asked:
            raise RunError(*_differences(path, begun, asked))
        yield journal
    finally:
        journal.close()


def _differences(path: Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[Problem]:
    """What a recipe asks for that the run in this folder does not."""
    for key in sorted(begun.keys() | asked.keys()):
        if begun.get(key) != asked.get(key):
            what = f"this run was begun with {begun.get(key)!r}, the recipe now says {asked.get(key)!r}"
            yield Problem(f"{path}, {key}", what, "Use another folder with --out, or undo the change")


def _write_tables(run: Run, making: Making) -> None:
    """Writes the accepted and the rejected rows."""
    recipe, maker = making.desk.recipe, maker_name(making.desk.synth)
    run.write_lines(ACCEPTED, (report.row_record(recipe, row, maker) for row in making.stock.rows))
    run.write_lines(REJECTED, report.rejected_records(recipe, making))
    if making.desk.synth.method == "paraphrase" and making.stock.rows:
        wordings = {f"wording_{n}": row.candidate.instruction or "" for n, row in enumerate(making.stock.rows, 1)}
        run.write_text(TEMPLATES, template_set(recipe, wordings))


def maker_name(synth: Synth) -> str:
    """What the maker is called on a row: the model's name; of a folder on this machine its last part."""
    return synth.model if synth.base_url or not Path(synth.model).is_dir() else Path(synth.model).name


def _problems(recipe: Recipe) -> Iterator[Problem]:
    """What keeps a recipe from being made rows for."""
    synth, data = recipe.synth, recipe.data
    if synth is None:
        yield Problem("recipe", "it has no [synth] section", "Add one: which model makes the rows, and how many")
        return
    if recipe.task.kind == "text":
        yield Problem("[task] kind", 'kind = "text" has no rows of question and answer', "Choose classify or generate")
    if recipe.task.kind == "classify" and not recipe.task.labels:
        yield Problem("[task] labels", "whet cannot make rows of labels that it is not told", "List them")
    yield from unmet(recipe)
    if synth.judge_rubric and synth.method == "paraphrase":
        yield Problem("[synth] judge_rubric", "paraphrase makes no rows that could be judged", "Leave it out")
    if synth.judge_rubric and not synth.judge_human and not synth.judge_unmeasured:
        what = "nobody knows how far this judge agrees with people"
        do = "Name rows that people judged with judge_human, or let it reject all the same with judge_unmeasured = true"
        yield Problem("[synth] judge_rubric", what, do)
    if synth.language is not None and synth.language not in LANGUAGES:
        yield Problem("[synth] language", f"whet cannot tell {synth.language!r}", f"Choose one of {', '.join(LANGUAGES)}")
    for label in synth.shares.keys() - set(recipe.task.labels):
        yield Problem("[synth] shares", f"{label!r} is no label of the task", f"Its labels are {', '.join(recipe.task.labels)}")
    terms = Origin("[synth] model", 1, synth.licence, maker_name(synth))
    of_maker = Tally([Example("", {}, "", None, terms)]).refused(data.use)
    yield from (replace(problem, where=f"[synth] model {synth.model}") for problem in of_maker)
    columns = [*data.input, *(name for name in (data.target, data.instruction, data.group) if name)]
    own = {*OWN_COLUMNS, *NEEDS[synth.method].marks, *(["judge_score"] if synth.judge_rubric else [])}
    for name in sorted({*columns, *synth.slices} & own):
        yield Problem("[data]", f"the column {name!r} is one that whet writes itself", "Give it another name")
    for name in sorted(set(columns) & synth.slices.keys()):
        yield Problem("[synth] slices", f"{name!r} is a column of [data] too", "Give the slice another name")
