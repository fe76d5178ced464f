"""The command line: one sub-parser a verb. Imports nothing that a verb needs, so that --help comes at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from keyword import iskeyword
from typing import Any

from whet import __version__
from whet.cli import arguments as add


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint ends with what to do; exit code 2, as for every mistake of the user."""

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"whet: error: {message}. See `{self.prog} --help`.", file=sys.stderr)
        sys.exit(2)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `args.verb(args)` does what was asked and returns the exit code."""
    parser = _Parser(
        prog="whet",
        description="Sharpen an open language model for one task: from a table of examples to a calibrated, checked model.",
        epilog="Begin with `whet demo`, or with `whet new mytask --from table.csv`.",
    )
    parser.add_argument("--version", action="version", version=f"whet {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    verb = _adder(verbs, "verbs")

    recipe, run = add.positional("recipe", add.RECIPE), add.positional("source", add.RUN)
    given = add.positional("source", add.EITHER)
    read = (add.stage, add.overrides, add.as_json)  # what every verb that reads a recipe takes
    verb("demo", "train and check a promise detector on embedded data, then read a speech with it", add.out, add.as_json)
    verb("new", "write a recipe for a table, guessing its columns", add.name, add.table, add.force)
    verb("check", "check a recipe and its data; write nothing", recipe, *read)
    _adder(verbs, "plan")("plan", "say what a run will take before it runs: memory, time, steps, tokens; 1 if it does not fit",
                          add.planned, add.device, add.without_data, add.how, add.fit, add.rates, *read)  # fmt: skip
    verb("prepare", "read, clean and split the data into a run folder", recipe, add.stream, add.out, *read)
    _adder(verbs, "audit")("audit", "look for leaks, repeats, contradictions and damage in data; 1 where there are some",
                           add.audited, add.against, add.columns, add.fail_on, add.page, *read)  # fmt: skip
    verb("show", "show the exact tokens of an example, those that carry loss marked",
         given, add.number, add.split, add.out, *read)  # fmt: skip
    verb("train", "train, or go on training", given, add.anyway, add.out, *read)
    verb("evaluate", "calibrate, measure on the test split, compare with the baselines", given, add.out, *read)
    _adder(verbs, "compare")("compare", "compare a run with an earlier one on the same test rows; 1 where it got worse",
                             run, add.before, add.as_json)  # fmt: skip
    verb("predict", "label every sentence of documents", run, add.documents, add.output, add.as_json)
    verb("report", "write report.html", given, add.out, *read)
    verb("eject", "write the training as a plain script on TRL, its rows beside it", recipe, add.script, add.same_order, *read)
    verb("export", "write the trained model as a plain model folder, adapters merged", run, add.folder, add.dtype, add.as_json)
    _adder(verbs, "synth")("synth", "have a language model make rows; stopped at any moment, it goes on where it was",
                           recipe, add.from_run, add.dry_run, add.pilot, add.out, *read)  # fmt: skip
    verb("run", "the whole way: prepare, train, evaluate, report", recipe, add.anyway, add.out, *read)
    verb("info", "list what a recipe can choose from, and when to choose which", add.topic, add.as_json)
    below = _group(verbs, "corpus", "public instruction corpora: what there is, what is in a file, and its examples")
    below("list", "list the corpora that are known, with their size and licence", add.as_json)
    below("info", "say all that is known of one corpus", add.corpus, add.as_json)
    records = (add.form, add.tree_options, add.split_of_tasks, add.stated, add.written, add.max_lost, add.as_json)
    below("read", "read corpora and say what became of every record; write them in another form", add.sources, *records)
    below("mix", "draw rows from several corpora into one data set, shuffled", add.sources, add.mixed, add.use, *records)
    below = _group(verbs, "template", "template sets: what there is, what they make of a row, what is wrong with them")
    below("list", "list whet's own template sets, or the templates of one", add.optional_set, add.task, add.as_json)
    below("render", "render a row with one template, or with all of a set",
          add.template_file, add.template, add.row, add.shown, add.no_options, add.seed, add.task, add.as_json)  # fmt: skip
    below("lint", "say what is wrong with a template set; exit code 1 if something is",
          add.template_file, add.rows, add.task, add.as_json)  # fmt: skip
    below("import", "write templates of promptsource or FLAN as a file of our own",
          add.template_file, add.toml_file, add.labels, add.task, add.force, add.as_json)  # fmt: skip
    return parser


def _adder(verbs: Any, module: str) -> Callable[..., None]:
    """A function that adds a verb to these, done by the function of that name in `whet.cli.<module>`."""

    def verb(name: str, help_: str, *arguments: Callable[[argparse.ArgumentParser], None]) -> None:
        sub = verbs.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        for argument in arguments:
            argument(sub)
        function = f"{name}_" if iskeyword(name) else name
        sub.set_defaults(verb=lambda args: getattr(import_module(f"whet.cli.{module}"), function)(args))

    return verb


def _group(verbs: Any, name: str, help_: str) -> Callable[..., None]:
    """A function that adds verbs below a verb, as in `whet corpus list`; they are done in `whet.cli.<name>`."""
    sub = verbs.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
    return _adder(sub.add_subparsers(metavar="VERB", required=True, title="verbs"), name)
