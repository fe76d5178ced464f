"""`whet audit`: what is wrong with data, in the terminal, as JSON, as a page."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from whet import stages
from whet.cli.progress import console, showing
from whet.data.audit.material import recipe_of
from whet.errors import Problem, RunError
from whet.recipe import Recipe
from whet.run import Run, write_atomically
from whet.series import load_series, pick
from whet.views import audit as views


def audit(args: Namespace) -> int:
    """Looks for what is wrong; 1 where something is, from --fail-on on."""
    with showing() as progress:
        found = stages.audit(
            _source(args), against=args.against, split_column=args.split_column, annotators=args.annotators, progress=progress
        )
    data = found.to_json()
    if args.output:
        write_atomically(args.output, views.render(data).encode())
        console(sys.stderr).print(f"The rows: {args.output}", markup=False, soft_wrap=True)
    if args.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(views.summary(data))
    return 0 if args.fail_on == "never" else int(bool(found.at_least(args.fail_on)))


def _source(args: Namespace) -> Recipe | Run:
    """What is audited: a recipe, a run folder, or a bare table or corpus, whose recipe is guessed and said."""
    path = args.source
    if path.suffix == ".toml":
        return pick(load_series(path, args.overrides), args.stage, path.name)
    if args.stage:
        raise RunError(Problem(str(path), "--stage goes with a recipe", "Name the recipe instead"))
    if (path / "manifest.json").is_file():
        if args.overrides:
            raise RunError(Problem(str(path), "--set goes with a recipe or a table, not with a run", "Name the recipe instead"))
        return Run.open(path)
    recipe, why = recipe_of(path, args.overrides)
    talk = console(sys.stderr)
    for sentence in why:
        talk.print(f"  {sentence}", markup=False)
    talk.print("Not so? Correct it with --set, as in --set data.input=text", markup=False)
    return recipe
