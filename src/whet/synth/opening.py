"""A recipe before anything is sent: what is wrong with its section, its prompts and its seeds; the desk that is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from whet.data.audit.language import LANGUAGES
from whet.data.examples import to_examples
from whet.data.provenance import Tally
from whet.data.read import read_rows
from whet.errors import DataError, Problem, RecipeError
from whet.example import Example, Origin
from whet.recipe import Recipe
from whet.run import Run
from whet.sections import Synth
from whet.synth.aims import read_aims
from whet.synth.candidate import OWN_COLUMNS
from whet.synth.checks import build_checks
from whet.synth.desk import Desk
from whet.synth.judge import read_judged
from whet.synth.methods import METHODS
from whet.synth.methods.needs import NEEDS, unmet
from whet.synth.templates import Prompts


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
