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
from whet.series import load_series, pick
from whet.views import made


def synth(args: Namespace) -> int:
    """Makes rows, or says what making them would take. Exit code 1: fewer than were wanted."""
    recipe = pick(load_series(args.recipe, args.overrides), args.stage, args.recipe.name)
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
    table = folder / "accepted.jsonl"
    if Path(recipe.data.path).resolve() != table.resolve():
        console(sys.stderr).print(f'To train on these rows: [data] path = "{table}"', markup=False)
    return 0 if found["rows"] >= found["wanted"] or found["stopped"] == "pilot" else 1


def _tell(args: Namespace, data: Mapping[str, Any], text: Any) -> int:
    if args.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(text)
    return 0
