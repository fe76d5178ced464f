"""What each verb below `whet template` does: call the prompts room, print what it returns."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from whet.cli.progress import console
from whet.errors import DataError, Problem
from whet.views import templates as views

AS_JSON = """Write it as '{"text": "It rains."}'"""


def list(args: Namespace) -> int:
    """Lists whet's own sets, or the templates of one set."""
    from whet.prompts.library import builtin_names, open_set

    if args.set:
        found = open_set(args.set, args.task)
        records = [template.to_json() for template in found.templates]
        return _tell(args, {"set": found.name, "templates": records}, views.template_table(found))
    sets = [open_set(name) for name in builtin_names()]
    return _tell(args, {"sets": [found.summary() for found in sets]}, views.set_table(sets))


def render(args: Namespace) -> int:
    """Renders a row with one template or with all of a set; 1 if something is wrong with the row or the templates."""
    from whet.prompts.library import open_set
    from whet.prompts.render import Rendered, render_shown

    found = open_set(args.file, args.task)
    row, shown = _row(args.row, "--row"), [_row(text, "--shown") for text in args.shown]
    chosen = found.templates if args.template is None else (found.named(args.template),)
    made = [render_shown(template, row, shown, with_options=not args.no_options, seed=args.seed) for template in chosen]
    if args.json:
        print(json.dumps([each.to_json() for each in made], ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(views.renderings(made))
    return 0 if any(isinstance(each, Rendered) or not each.is_fault for each in made) else 1


def lint(args: Namespace) -> int:
    """Says what is wrong with a set; 1 if something is."""
    from whet.data.read import read_rows
    from whet.prompts import cells
    from whet.prompts.library import open_set
    from whet.prompts.lint import lint as lint_set

    found, rows = open_set(args.file, args.task), []
    if args.rows is not None:
        table = read_rows(args.rows)
        rows = [cells.values(dict(zip(table.columns, row.cells, strict=True))) for row in table.rows]
    report = lint_set(found, rows)
    if len(rows) > report.rows:
        console(sys.stderr).print(f"the first {report.rows:,} of {len(rows):,} rows are looked at", markup=False)
    _tell(args, report.to_json(), views.lint_report(report))
    return 1 if report.findings else 0


def import_(args: Namespace) -> int:
    """Writes a set of another form as a file of our own."""
    from whet.prompts import set_file
    from whet.prompts.library import imported

    if args.output.exists() and not args.force:
        raise DataError(Problem(str(args.output), "there is a file already", "Name another, or give --force to write over it"))
    found = imported(args.file, args.task, tuple(args.labels.split(",")) if args.labels else ())
    args.output.write_text(set_file.write(found), "utf-8")
    for repair in found.repairs:
        console(sys.stderr).print(f"{repair.template}: {repair.evidence}", markup=False, soft_wrap=True)
    jinja = sum(bool(template.jinja) for template in found.templates)
    made = {"file": str(args.output), "templates": len(found.templates), "jinja": jinja, "repaired": len(found.repairs)}
    return _tell(args, made, views.imported(made))


def _row(text: str, option: str) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(Problem(option, f"{text[:60]!r} is not valid JSON ({error})", AS_JSON)) from None
    if not isinstance(row, dict):
        raise DataError(Problem(option, f"{text[:60]!r} is no JSON object", AS_JSON))
    return row


def _tell(args: Namespace, data: Mapping[str, Any], drawn: Any) -> int:
    if args.json:
        print(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        console(sys.stdout).print(drawn)
    return 0
