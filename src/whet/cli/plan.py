"""`whet plan`: what a run will take, whether it fits, and the recipe with which it does."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from whet import stages
from whet.budget.devices import Device, find_device, parse_bytes, this_machine
from whet.budget.plan import Plan
from whet.cli.progress import console, showing
from whet.errors import Problem, RecipeError, RunError
from whet.planning import Wish
from whet.recipe import Recipe, load, read_values
from whet.recipe_text import edited
from whet.series import load_series, pick

MEASURED_STEPS = 4
NOT_FITTING = 1


def plan(args: Namespace) -> int:
    """Says what a run would do; exit code 1 if it does not fit."""
    wish = _wish(args)
    planned = _planned(args, wish)
    written = _write_fitting(args, planned) if args.fit else None
    if args.json:
        print(json.dumps({**planned.to_json(), **({"recipe": str(written)} if written else {})}, ensure_ascii=False, indent=2))
    else:
        from whet.views.plan import plan_summary

        console(sys.stdout).print(plan_summary(planned))
    if args.fit and planned.fit is None and planned.cost and planned.cost.verdict != "fits":
        console(sys.stderr).print("Nothing makes it fit better. Name a smaller base, or a device with more memory.")
    if written:
        console(sys.stderr).print(f"Wrote {written}, which fits.", markup=False)
    return 0 if planned.fits or written else NOT_FITTING


def _planned(args: Namespace, wish: Wish) -> Plan:
    """The plan of the recipe, or of rows of --length tokens."""
    if args.recipe is not None:
        misplaced = [f"--{name}" for name in ("base", "length", "rows") if getattr(args, name) is not None]
        if misplaced:
            do = "Leave the recipe out, or set its keys with --set"
            raise RecipeError(Problem(", ".join(misplaced), "this is for a plan without a recipe", do))
        series = load_series(args.recipe, args.overrides)
        with showing() as progress:
            return stages.plan(pick(series, args.stage, args.recipe.name), series[0].model.base, wish, progress)
    missing = [f"--{name}" for name in ("base", "length") if getattr(args, name) is None]
    misplaced = [f"--{name}" for name in ("fit", "measure", "stage") if getattr(args, name)]
    if missing or misplaced:
        what = f"without a recipe {' and '.join(missing)} is needed" if missing else f"{', '.join(misplaced)} needs a recipe"
        raise RecipeError(Problem("whet plan", what, "Name a recipe, or give --base and --length"))
    return stages.plan_without_data(args.base, args.length, args.rows, args.overrides, wish)


def _wish(args: Namespace) -> Wish:
    """What is asked for."""
    return Wish(_device(args), args.replay, MEASURED_STEPS if args.measure else 0, args.watts, args.price_per_hour, args.fit)


def _device(args: Namespace) -> Device | None:
    """The device that is named, with the memory that is named; None where none of both is."""
    if args.device is None and args.budget is None:
        return None
    device = find_device(args.device) if args.device is not None else this_machine()
    return device if args.budget is None else replace(device, memory_bytes=parse_bytes(args.budget))


def _write_fitting(args: Namespace, planned: Plan) -> Path | None:
    """The recipe that was written, with the settings that make it fit; None if it fits as it is, or nothing makes it fit.

    Raises:
        RecipeError: of a recipe with stages, where a setting may stand in several places.
        RunError: if there is a file already.
    """
    if planned.fit is None:
        return None
    if "stage" in read_values(args.recipe):
        what = "a recipe with stages is not written anew"
        raise RecipeError(Problem(str(args.recipe), what, f"In [[stage]] {args.stage} set: {planned.fit.settings}"))
    path: Path = args.output or args.recipe.with_name(f"{args.recipe.stem}-fits.toml")
    if path.resolve().parent != args.recipe.resolve().parent:
        what = "its paths are relative to the folder of the recipe"
        raise RecipeError(Problem(str(path), what, f"Write it into {args.recipe.resolve().parent}"))
    if path.exists():
        raise RunError(Problem(str(path), "there is a file already", "Name another with -o, or remove it"))
    text = edited(args.recipe.read_text("utf-8-sig"), {**_overridden(args), **planned.fit.sets})
    path.write_text(text, "utf-8")
    _check(path, args, planned)
    return path


def _overridden(args: Namespace) -> dict[str, object]:
    """The settings that --set changed in the file."""
    with_them, without = (load(args.recipe, overrides).settings() for overrides in (args.overrides, ()))
    return {key: value for key, value in with_them.items() if without.get(key) != value}


def _check(path: Path, args: Namespace, planned: Plan) -> Recipe:
    """The written recipe, which must hold what makes it fit."""
    written = load(path)
    settings = written.settings()
    assert planned.fit is not None
    wrong = [key for key, value in planned.fit.sets.items() if settings.get(key) != value]
    if wrong:
        path.unlink()
        what = f"{', '.join(wrong)} could not be set in its text"
        raise RecipeError(Problem(str(args.recipe), what, f"Set it by hand: {planned.fit.settings}"))
    return written
