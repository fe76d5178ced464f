"""A series: a recipe file with several `[[stage]]` tables, each a Recipe of its own that starts from the run before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whet.errors import Problem, RecipeError
from whet.recipe import Recipe, anchored, override, parse, read_values


def load_series(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> tuple[Recipe, ...]:
    """The Recipe of every stage in a TOML file, in order; of a file without stages, the one.

    A stage holds what is different from the rest of the file. Its Recipe is called `series/stage`, and from the second on its
    base is the run folder of the stage before.

    Args:
        path: the file; relative data paths in it are taken from its folder.
        overrides: `key=value`, for every stage.
        out: the folder that the runs lie in, one for each stage; left out, runs/<name of the series>.

    Raises:
        RecipeError: with everything that is wrong in any stage; what is wrong in all of them is said once.
    """
    values = read_values(path)
    stages = values.pop("stage", None)
    if stages is None:
        override(values, overrides)
        return (anchored(parse(values, where=path.name), path.parent),)
    names = _stage_names(stages, path.name)
    shared = _merged(values, {})
    override(shared, overrides)
    recipes, problems = [], []
    for number, (name, own) in enumerate(zip(names, stages, strict=True)):
        wanted = _merged(values, {key: value for key, value in own.items() if key != "name"})
        override(wanted, overrides)
        wanted |= {"name": f"{shared['name']}/{name}"} if "name" in shared else {}
        try:
            recipe = anchored(parse(wanted, where=path.name), path.parent)
            recipes.append(recipe if not number else _starting_from(recipe, names[number - 1], out))
        except RecipeError as error:
            problems += [(name, problem) for problem in error.problems]
        model = own.get("model")
        if number and isinstance(model, Mapping) and "base" in model:
            what = f"a stage starts from the one before it, here {names[number - 1]}"
            problems.append((name, Problem(f"{path.name}, [model] base", what, "Leave base out")))
    if problems:
        raise RecipeError(*_told(problems, len(stages), path.name))
    return tuple(recipes)


def stage_name(recipe: Recipe) -> str:
    """What a stage is called inside its series."""
    return recipe.name.rpartition("/")[2]


def pick(series: Sequence[Recipe], stage: str | None, where: str) -> Recipe:
    """The Recipe of one stage, or the only one.

    Args:
        series: what `load_series` gave.
        stage: its name; None where there are no stages.
        where: the recipe file, for the error.

    Raises:
        RecipeError: if none or another is named, with the names that there are.
    """
    names = [stage_name(recipe) for recipe in series]
    listed = ", ".join(names)
    if len(series) == 1 and stage is not None:
        raise RecipeError(Problem(where, f"--stage {stage}: it has no stages", "Leave --stage out"))
    if len(series) > 1 and stage is None:
        raise RecipeError(Problem(where, f"it has the stages {listed}, and one is wanted here", "Name it with --stage"))
    if len(series) > 1 and stage not in names:
        raise RecipeError(Problem(where, f"there is no stage {stage!r}", f"Its stages are {listed}"))
    return series[0] if stage is None else series[names.index(stage)]


def run_folder(series: Sequence[Recipe], recipe: Recipe, out: Path | None) -> Path:
    """Where the run of a Recipe of the series lies: runs/<name>; or `out`, in which each stage has a folder of its own."""
    if out is None:
        return Path("runs") / recipe.name
    return out / stage_name(recipe) if len(series) > 1 else out


def _stage_names(stages: Any, where: str) -> list[str]:
    """The name of every stage.

    Raises:
        RecipeError: if `stage` is no list of tables that have a name each.
    """
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise RecipeError(Problem(f"{where}, [stage]", "stages are a list of tables", "Write each as [[stage]]"))
    problems = [
        Problem(f"{where}, [[stage]] number {number}", "it has no name", 'Give it one: name = "pretrain"')
        for number, stage in enumerate(stages, 1)
        if not isinstance(stage.get("name"), str)
    ]
    names = [str(stage.get("name")) for stage in stages]
    if len(names) == 1:
        problems.append(Problem(f"{where}, [[stage]]", "one stage is no series", "Write its sections at the top of the file"))
    twice = [name for name, count in Counter(names).items() if count > 1] if not problems else []
    problems += [Problem(f"{where}, [[stage]] {name}", "two stages have this name", "Give each its own") for name in twice]
    if problems:
        raise RecipeError(*problems)
    return names


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The shared values with a stage's own over them, table by table; lists are replaced."""
    both = {key: _merged(value, {}) if isinstance(value, Mapping) else value for key, value in shared.items()}
    for key, value in own.items():
        below = both.get(key)
        both[key] = _merged(below if isinstance(below, dict) else {}, value) if isinstance(value, Mapping) else value
    return both


def _starting_from(recipe: Recipe, earlier: str, out: Path | None) -> Recipe:
    """The Recipe on the run of the stage before, which holds all that its own base and adapters were."""
    folder = out if out is not None else Path("runs") / recipe.name.rpartition("/")[0]
    base = {"base": str((folder / earlier).resolve()), "random_weights": False, "adapters": ()}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=base)})


def _told(problems: Sequence[tuple[str, Problem]], stages: int, where: str) -> list[Problem]:
    """The problems with their stages' names; one that every stage has stands at the top of the file and is said once."""
    counts = Counter(problem for _, problem in problems)
    once = [problem for problem, count in counts.items() if count == stages]
    told = [
        Problem(f"{where}, [[stage]] {name}{problem.where.removeprefix(where)}", problem.what, problem.do)
        for name, problem in problems
        if counts[problem] < stages
    ]
    return once + told
