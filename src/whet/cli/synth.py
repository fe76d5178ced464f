"""`whet synth`: rows from a model, what they took, what was rejected."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet import stages
from whet.cli.progress import console, showing
from whet.errors import Interrupted, Problem
from whet.recipe import Recipe
from whet.series import load_series, pick
from whet.views import made


def synth(args: Namespace) -> int:
    """Makes rows, or says what making them would take. Exit code 1: fewer than were wanted."""
    overrides = [*args.overrides, *_aimed(args.from_run)]
    recipe = pick(load_series(args.recipe, overrides), args.stage, args.recipe.name)
    if args.dry_run:
        ahead = stages.synth_ahead(recipe, args.out)
        return _tell(args, ahead, made.ahead(ahead))
    with showing() as progress:
        found = stages.synth(recipe, args.out, progress, pilot=args.pilot)
    folder = args.out or stages.synth_folder(recipe)
    if found["stopped"] == "interrupted":
        what = f"stopped with {found['rows']:,} of {found['wanted']:,} rows; every answer is kept"
        raise Interrupted(Problem(str(folder), what, "Give the same command again to go on"))
    _tell(args, found, made.summary(found))
    if where := _what_to_write(recipe, folder):
        console(sys.stderr).print(where, markup=False, soft_wrap=True)
    return 0 if found["rows"] >= found["wanted"] or found["stopped"] == "pilot" else 1


def _aimed(run: Path | None) -> list[str]:
    """What a recipe is told so that it aims at the weak spots of a run."""
    return [] if run is None else ["synth.method=weak", f"synth.from_run={json.dumps(str(run.resolve()))}"]


def _what_to_write(recipe: Recipe, folder: Path) -> str:
    """The line of a recipe that uses what was made; empty where it stands there already."""
    assert recipe.synth is not None
    if recipe.synth.method == "paraphrase":
        return f'To ask in these ways: [data] templates = "{folder / "templates.toml"}"'
    table = folder / "accepted.jsonl"
    if recipe.synth.from_run:
        return f'To train on these rows too: [data] extra_path = "{table}"'
    is_path = Path(recipe.data.path).resolve() == table.resolve()
    return "" if is_path else f'To train on these rows: [data] path = "{table}"'


def _tell(args: Namespace, data: Mapping[str, Any], text: Any) -> int:
    if args.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(text)
    return 0
