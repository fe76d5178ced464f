"""A synth run folder: everything is set up from the recipe and the journal, the work is done, and what came of it is written.

The folder holds recipe.toml (as last given), journal.sqlite, accepted.jsonl (a table for `[data] path`), rejected.jsonl (what
became no row, with its reason) and synth.json; of the method `paraphrase` also templates.toml, a template set.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from whet.errors import ModelError, Problem, RunError
from whet.progress import Progress, Silent
from whet.recipe import Recipe
from whet.run import Run
from whet.sections import Synth
from whet.synth import report
from whet.synth.checks import build_checks
from whet.synth.client import Endpoint, Maker, read_key
from whet.synth.desk import Desk
from whet.synth.embedding import Embedder, LocalEmbedder, Meanings, ServerEmbedder, Unembedded
from whet.synth.filters import Filters, as_candidate
from whet.synth.journal import Journal
from whet.synth.judge import measure_judge, require_agreement
from whet.synth.local import LocalModels
from whet.synth.making import Making
from whet.synth.methods import METHODS
from whet.synth.methods.paraphrase import template_set
from whet.synth.opening import maker_name, open_desk
from whet.synth.pool import Pool
from whet.synth.spending import Budget
from whet.synth.stock import Stock, targets

JOURNAL, ACCEPTED, REJECTED, REPORT = "journal.sqlite", "accepted.jsonl", "rejected.jsonl", "synth.json"
TEMPLATES = "templates.toml"  # of the method `paraphrase`
# What a run's answers were asked for under; anything else may change from call to call.
FIXED = ("seed", "task.", "data.input", "data.target", "data.instruction", "synth.method", "synth.model", "synth.slices",
         "synth.from_run")  # fmt: skip


def make(recipe: Recipe, path: Path, progress: Progress, local: LocalModels, *, pilot: bool = False) -> dict[str, Any]:
    """What `synth.json` holds, after rows were made until there are enough, a cap is met or nothing answers.

    Args:
        recipe: with a [synth] section.
        path: the run folder; one that the same recipe began is gone on with.
        progress: is told of every accepted row.
        local: models in this process, for a recipe without a base_url or an embedding_url.
        pilot: stop after `pilot_rows` rows.

    Raises:
        RecipeError, DataError, RunError: before anything is sent.
        ModelError: if no server answers; what there is is written first.
    """
    desk = open_desk(recipe)
    makers = list(_makers(desk)) or list(local.makers())
    embedder = _embedder(desk.synth, local)
    run = Run(path)
    with run.lock(), _journal(path, recipe) as journal:
        run.write_text("recipe.toml", recipe.dump())
        making = _making(desk, makers, journal, progress, embedder)
        progress.start("making rows", sum(making.stock.wanted.values()), "row")
        stopped = asyncio.run(_recall_and_work(run, making, desk.synth.pilot_rows if pilot else None))
        found = report.summary(recipe, making, stopped, float(journal.fact("seconds")))
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


async def _recall_and_work(run: Run, making: Making, goal: int | None) -> str:
    """Takes in the journal, then works, as `_work`. Whatever ends that, the tables are written."""
    journal, budget = making.pool.journal, making.pool.budget
    try:
        await making.recall()
    except Unembedded:
        what, do = f"rows of earlier calls cannot be embedded ({budget.exhausted})", "Raise the cap"
        raise ModelError(making.pool.broken or Problem("[synth] embedding_model", what, do)) from None
    try:
        return await _work(making, goal)
    finally:
        journal.remember("seconds", float(journal.fact("seconds") or 0.0) + budget.seconds)
        _write_tables(run, making)


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
        if making.meanings:
            await making.meanings.close()
        for number in signals:
            loop.remove_signal_handler(number)


def _making(
    desk: Desk, makers: Sequence[Maker], journal: Journal, progress: Progress, embedder: Embedder | None = None
) -> Making:
    """The core with all its parts."""
    synth, task = desk.synth, desk.rows_task
    budget = Budget(synth, journal.spent())
    pool = Pool(synth.model, synth, makers, journal, budget)
    wanted = desk.aims.targets(synth.rows) if desk.aims else targets(task, synth)
    shown = [*desk.seeds, *desk.unseen]
    meanings = Meanings(synth, pool, embedder, [as_candidate(e).novel_text for e in shown]) if synth.embedding_model else None
    stock, filters = Stock(wanted), Filters(task, synth, shown)
    method, checks = METHODS[synth.method](desk), build_checks(desk)
    return Making(desk, method, checks, filters, stock, pool, progress, meanings=meanings)


def _makers(desk: Desk) -> Iterator[Maker]:
    """A maker for each base_url."""
    key = read_key(desk.synth.api_key_env, "api_key_env")
    for url in desk.synth.base_url:
        yield Endpoint(url, desk.synth.model, key, desk.synth.timeout_seconds)


def _embedder(synth: Synth, local: LocalModels) -> Embedder | None:
    """What embeds rows, where the recipe names a model for it."""
    if synth.embedding_model is None:
        return None
    if synth.embedding_url is None:
        return LocalEmbedder(synth.embedding_model, local.embed_all())
    key = read_key(synth.embedding_key_env, "embedding_key_env")
    return ServerEmbedder(Endpoint(synth.embedding_url, synth.embedding_model, key, synth.timeout_seconds))


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
