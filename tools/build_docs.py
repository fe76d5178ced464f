"""Write the generated pages of docs/ from the code that they describe: recipe.md, cli.md, errors.md.

python tools/build_docs.py            (`make docs`)
python tools/build_docs.py --check    exit 1 and name the pages that would change; a test runs this
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from whet import errors
from whet.cli.parser import build_parser
from whet.knobs.old_names import OLD_NAMES
from whet.recipe import Recipe

DOCS = Path(__file__).resolve().parent.parent / "docs"
GENERATED = "<!-- Written by tools/build_docs.py (`make docs`); do not edit. -->\n"
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}  # the attributes of annotated_types.Ge, Gt, Le, Lt
WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "`true` or `false`"}

RECIPE_INTRO = """\
A recipe is one TOML file: the whole intention of a run. `whet new NAME --from TABLE` writes one to start from; this page
lists every key. A key that is not here is an error that names the nearest one, and all errors of a file are said at once.

`--set SECTION.KEY=VALUE` on the command line overrides a key through the same checks. A file may also list `[[stage]]` tables,
each with a `name` and the keys that differ from the rest of the file: see [Stages](stages.md). The smallest recipe:

```toml
name = "promise-detector"

[task]
instruction = "Decide if the sentence is a political promise."
labels = ["True", "False"]

[data]
path = "speeches.csv"
input = "sentence"
target = "is_promise"
```
"""
CLI_INTRO = """\
What is asked for goes to stdout, talk goes to stderr, and `--json` makes stdout one JSON object. Exit codes: 0 good;
1 the answer is "no"; 2 something for the user to change; 3 our fault; 130 stopped with Ctrl-C (what was done is kept).
"""
ERRORS_INTRO = """\
Every error says where, what, and what to do; several problems of one kind are said at once. In Python, `error.problems` holds
them one by one (`where`, `what`, `do`) and `error.exit_code` is what the command line ends with.
"""


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def prose(text: str | None) -> str:
    """A text for a table's cell: `<` would begin HTML."""
    return (text or "").strip().replace("<", "&lt;")


# -- recipe.md ---------------------------------------------------------------------------------------------------------


def kind(annotation: object) -> str:
    """A type in words: `one of "a", "b"`, `whole number`, `list of texts`."""
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(f"`{json.dumps(a)}`" for a in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(kind(a) for a in arguments if a is not type(None))
    if origin is tuple:
        return f"list of {kind(arguments[0])}"
    if origin is dict:
        return f"table of {kind(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table of " + ", ".join(f"`{name}`" for name in annotation.model_fields)
    return WORDS[typing.cast(type, annotation).__name__]


def bounds(field: FieldInfo) -> str:
    """The range of a number: ` (> 0, < 1)`."""
    found = [f"{sign} {getattr(m, name):g}" for m in field.metadata for name, sign in BOUNDS.items() if hasattr(m, name)]
    return f" ({', '.join(found)})" if found else ""


def default(field: FieldInfo) -> str:
    """The default as it would be written in TOML; `required`, or a dash for left out."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return "–" if value is None or value in ((), {}) else f"`{json.dumps(value)}`"


def sections() -> Iterator[tuple[str, type[BaseModel], dict[str, FieldInfo]]]:
    """Each section: its name ("" for the top), its model, and the fields that are settings."""
    nested: dict[str, type[BaseModel]] = {}
    for name, field in Recipe.model_fields.items():
        for part in typing.get_args(field.annotation) or (field.annotation,):
            if isinstance(part, type) and issubclass(part, BaseModel):
                nested[name] = part
    yield "", Recipe, {n: f for n, f in Recipe.model_fields.items() if n not in nested}
    for name, model in nested.items():
        yield name, model, dict(model.model_fields)


def recipe_page() -> str:
    """docs/recipe.md."""
    parts = [GENERATED, "# The recipe\n", RECIPE_INTRO]
    for name, model, fields in sections():
        about = f"{(model.__doc__ or '').strip()}\n" if name else "Keys outside any section.\n"
        rows = [(f"`{key}`", kind(f.annotation) + bounds(f), default(f), prose(f.description)) for key, f in fields.items()]
        parts += [f"## [{name}]\n" if name else "## At the top\n", about, table(("key", "type", "default", "what it is"), rows)]
    parts += ["## Names from elsewhere\n", "These are not keys; whet answers each with what it is called here.\n"]
    parts.append(table(("old", "now"), [(f"`{name}`", now) for name, now in sorted(OLD_NAMES.items())]))
    return "\n".join(parts)


# -- cli.md ------------------------------------------------------------------------------------------------------------


def verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Each verb: its name (`corpus read` for one below another), its one-line help, its parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, verb in action.choices.items():
                yield name, helps.get(name, ""), verb
                yield from ((f"{name} {below}", about, sub) for below, about, sub in verbs(verb))


def argument(action: argparse.Action) -> str:
    """An argument as it is typed: `FILE...`, `-o, --out RUN`."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        many = {"+": "...", "*": "...", "?": ""}.get(str(action.nargs), "")
        return f"[{value}{many}]" if action.nargs in ("?", "*") else value + many
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def arguments(parser: argparse.ArgumentParser) -> str:
    """The table of a parser's arguments; empty if it has none but --help."""
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    shown = [a for a in parser._actions if not isinstance(a, left_out) and a.help != argparse.SUPPRESS]
    rows = [(f"`{argument(a)}`", prose((a.help or "") % {**vars(a), "prog": parser.prog})) for a in shown]
    return table(("argument", "what it is"), rows) if rows else ""


def cli_page() -> str:
    """docs/cli.md."""
    parser = build_parser()
    parts = [GENERATED, "# The command line\n", CLI_INTRO, arguments(parser)]
    for name, about, verb in verbs(parser):
        parts += [f"## whet {name}\n", f"{verb.description or about}\n", arguments(verb)]
    return "\n".join(part for part in parts if part)


# -- errors.md ---------------------------------------------------------------------------------------------------------


def error_page() -> str:
    """docs/errors.md: the tree as errors.py draws it, and one line an exception."""
    tree = textwrap.dedent((errors.__doc__ or "").partition("\n\n")[2]).rstrip()
    rows = []
    waiting: list[type[errors.WhetError]] = [errors.WhetError]
    while waiting:
        error = waiting.pop(0)
        rows.append((f"`{error.__name__}`", str(error.exit_code), prose(error.__doc__)))
        waiting = error.__subclasses__() + waiting
    listed = table(("exception", "exit code", "what it means"), rows)
    return "\n".join([GENERATED, "# Errors\n", ERRORS_INTRO, f"```text\n{tree}\n```\n", listed])


PAGES = {"recipe.md": recipe_page, "cli.md": cli_page, "errors.md": error_page}


def main(check: bool) -> int:
    """Writes the pages, or only says which would change."""
    stale = []
    for name, build in PAGES.items():
        path, text = DOCS / name, build()
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, "utf-8")
    if check and stale:
        print(f"docs/{', docs/'.join(stale)}: out of date. Run `make docs`.")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
