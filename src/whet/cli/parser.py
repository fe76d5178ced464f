"""The command line: one sub-parser a verb. Imports nothing that a verb needs, so that --help comes at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any

from whet import __version__

RECIPE, RUN, EITHER = "a recipe (.toml)", "a run folder", "a recipe (.toml) or the run folder it made"


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

    recipe, run, given = _positional("recipe", RECIPE), _positional("source", RUN), _positional("source", EITHER)
    verb("demo", "train and check a promise detector on embedded data, then read a speech with it", _out, _json)
    verb("new", "write a recipe for a table, guessing its columns", _name, _from, _force)
    verb("check", "check a recipe and its data; write nothing", recipe, _stage, _set, _json)
    _adder(verbs, "plan")("plan", "say what a run will take before it runs: memory, time, steps, tokens; 1 if it does not fit",
                          _planned, _device, _without_data, _how, _fit, _rates, _stage, _set, _json)  # fmt: skip
    verb("prepare", "read, clean and split the data into a run folder", recipe, _stream, _out, _stage, _set, _json)
    _adder(verbs, "audit")("audit", "look for leaks, repeats, contradictions and damage in data; 1 where there are some",
                           _audited, _against, _columns, _fail_on, _page, _stage, _set, _json)  # fmt: skip
    verb("show", "show the exact tokens of an example, those that carry loss marked",
         given, _number, _split, _out, _stage, _set, _json)  # fmt: skip
    verb("train", "train, or go on training", given, _anyway, _out, _stage, _set, _json)
    verb("evaluate", "calibrate, measure on the test split, compare with the baselines", given, _out, _stage, _set, _json)
    _adder(verbs, "compare")("compare", "compare a run with an earlier one on the same test rows; 1 where it got worse",
                             run, _before, _json)  # fmt: skip
    verb("predict", "label every sentence of documents", run, _documents, _output, _json)
    verb("report", "write report.html", given, _out, _stage, _set, _json)
    verb("eject", "write the training as a plain script on TRL, its rows beside it",
         recipe, _script, _same_order, _stage, _set, _json)  # fmt: skip
    verb("export", "write the trained model as a plain model folder, adapters merged", run, _folder, _dtype, _json)
    _adder(verbs, "synth")("synth", "have a language model make rows; stopped at any moment, it goes on where it was",
                           recipe, _from_run, _dry_run, _pilot, _out, _stage, _set, _json)  # fmt: skip
    verb("run", "the whole way: prepare, train, evaluate, report", recipe, _anyway, _out, _stage, _set, _json)
    verb("info", "list what a recipe can choose from, and when to choose which", _topic, _json)
    below = _group(verbs, "corpus", "public instruction corpora: what there is, what is in a file, and its examples")
    below("list", "list the corpora that are known, with their size and licence", _json)
    below("info", "say all that is known of one corpus", _corpus, _json)
    below("read", "read corpora and say what became of every record; write them in another form",
          _sources, _format, _tree_options, _split_of_tasks, _stated, _written, _max_lost, _json)  # fmt: skip
    below("mix", "draw rows from several corpora into one data set, shuffled",
          _sources, _mixed, _use, _format, _tree_options, _split_of_tasks, _stated, _written, _max_lost, _json)  # fmt: skip
    below = _group(verbs, "template", "template sets: what there is, what they make of a row, what is wrong with them")
    below("list", "list whet's own template sets, or the templates of one", _optional_set, _task, _json)
    below("render", "render a row with one template, or with all of a set",
          _template_file, _template, _row, _shown, _no_options, _seed, _task, _json)  # fmt: skip
    below("lint", "say what is wrong with a template set; exit code 1 if something is", _template_file, _rows, _task, _json)
    below("import", "write templates of promptsource or FLAN as a file of our own",
          _template_file, _toml_file, _labels, _task, _force, _json)  # fmt: skip
    return parser


def _adder(verbs: Any, module: str) -> Callable[..., None]:
    """A function that adds a verb to these, done by the function of that name in `whet.cli.<module>`."""

    def verb(name: str, help_: str, *arguments: Callable[[argparse.ArgumentParser], None]) -> None:
        sub = verbs.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        for add in arguments:
            add(sub)
        function = f"{name}_" if iskeyword(name) else name
        sub.set_defaults(verb=lambda args: getattr(import_module(f"whet.cli.{module}"), function)(args))

    return verb


def _group(verbs: Any, name: str, help_: str) -> Callable[..., None]:
    """A function that adds verbs below a verb, as in `whet corpus list`; they are done in `whet.cli.<name>`."""
    sub = verbs.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
    return _adder(sub.add_subparsers(metavar="VERB", required=True, title="verbs"), name)


def _positional(name: str, help_: str) -> Callable[[argparse.ArgumentParser], None]:
    def add(p: argparse.ArgumentParser) -> None:
        p.add_argument(name, type=Path, metavar=name.upper(), help=help_)

    return add


def _out(p: argparse.ArgumentParser) -> None:
    p.add_argument("--out", type=Path, metavar="RUN", help="the run folder (default: runs/<name of the recipe>)")


def _stage(p: argparse.ArgumentParser) -> None:
    p.add_argument("--stage", metavar="NAME", help="the [[stage]] that is meant, of a recipe that has some")


def _set(p: argparse.ArgumentParser) -> None:
    help_ = "override a key of the recipe, as in --set train.learning_rate=1e-4; may be given again"
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=help_)


def _json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _planned(p: argparse.ArgumentParser) -> None:
    help_ = f"{RECIPE}; left out: rows without data, of --base and --length"
    p.add_argument("recipe", type=Path, nargs="?", metavar="RECIPE", help=help_)


def _device(p: argparse.ArgumentParser) -> None:
    help_ = 'the GPU that is meant, as in "A10G", or cpu (default: what a run on this machine would use)'
    p.add_argument("--device", metavar="NAME", help=help_)
    help_ = "the memory that there is, as in 16GiB, 24GB or 800MiB (default: all that the device has)"
    p.add_argument("--budget", metavar="SIZE", help=help_)


def _without_data(p: argparse.ArgumentParser) -> None:
    p.add_argument("--base", metavar="MODEL", help="without a recipe: a Hub id, a local directory or a finished run folder")
    p.add_argument("--length", type=int, metavar="TOKENS", help="without a recipe: tokens of a row, all but the first learned")
    p.add_argument("--rows", type=_count_of_rows, metavar="N", help="without a recipe: how many rows (default: 1000)")


def _count_of_rows(text: str) -> int:
    """A number of rows."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of rows")
    return int(text)


def _how(p: argparse.ArgumentParser) -> None:
    help_ = "find the peak by taking the step with tensors that have sizes and no values, instead of by formula"
    p.add_argument("--replay", action="store_true", help=help_)
    help_ = "find the time by really taking a few steps on this machine; nothing is kept of them"
    p.add_argument("--measure", action="store_true", help=help_)


def _fit(p: argparse.ArgumentParser) -> None:
    help_ = "write the recipe that fits with the smallest change of meaning, if this one does not"
    p.add_argument("--fit", action="store_true", help=help_)
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="where --fit writes it (default: <recipe>-fits.toml)")


def _rates(p: argparse.ArgumentParser) -> None:
    p.add_argument("--watts", type=_positive, metavar="W", help="what the device draws, to say the energy")
    p.add_argument("--price-per-hour", type=_positive, metavar="X", help="what it costs, in any currency, to say the price")


def _positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _anyway(p: argparse.ArgumentParser) -> None:
    p.add_argument("--anyway", action="store_true", help="train even if the plan says that it does not fit into memory")


def _stream(p: argparse.ArgumentParser) -> None:
    one = p.add_mutually_exclusive_group()
    help_ = "prepare more rows than fit into memory, by so many processes; the result is the same"
    one.add_argument("--processes", type=_count, metavar="N", help=help_)
    help_ = "the same over the machines of a Ray cluster (RAY_ADDRESS), by Ray Data"
    one.add_argument("--ray", action="store_true", help=help_)


def _count(text: str) -> int:
    """A number of processes."""
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 1024")
    return int(text)


def _audited(p: argparse.ArgumentParser) -> None:
    help_ = f"{RECIPE}, {RUN}, a table, or a public corpus (a file, a zip or a folder)"
    p.add_argument("source", type=Path, metavar="SOURCE", help=help_)


def _against(p: argparse.ArgumentParser) -> None:
    help_ = "a benchmark (a table, a corpus or a text file) whose passages must not stand in the rows; may be given again"
    p.add_argument("--against", type=Path, action="append", default=[], metavar="FILE", help=help_)


def _columns(p: argparse.ArgumentParser) -> None:
    help_ = "a column that says which split a row is in, where the table's authors split it"
    p.add_argument("--split-column", metavar="COLUMN", help=help_)
    help_ = "a column (or a pattern, 'human_*') of one person's labels, to measure how far people agree; may be given again"
    p.add_argument("--annotators", action="append", default=[], metavar="COLUMN", help=help_)


def _fail_on(p: argparse.ArgumentParser) -> None:
    help_ = "the least severity of a finding that makes the exit code 1 (default: error)"
    p.add_argument("--fail-on", choices=("note", "warning", "error", "never"), default="error", help=help_)


def _page(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="write an HTML page that lists the rows")


def _before(p: argparse.ArgumentParser) -> None:
    p.add_argument("before", type=Path, metavar="BEFORE", help="the run folder that it is compared with")


def _dry_run(p: argparse.ArgumentParser) -> None:
    p.add_argument("--dry-run", action="store_true", help="send nothing: say what it would ask, and take at most")


def _from_run(p: argparse.ArgumentParser) -> None:
    help_ = "make rows where this evaluated run is weak: labels that it takes for each other, or is not sure of"
    p.add_argument("--from", type=Path, metavar="RUN", dest="from_run", help=help_)


def _pilot(p: argparse.ArgumentParser) -> None:
    p.add_argument("--pilot", action="store_true", help="make the first few rows, and forecast the rest from them")


def _topic(p: argparse.ArgumentParser) -> None:
    p.add_argument("topic", choices=("optimizers", "schedules", "quantization"), metavar="TOPIC",
                   help="optimizers, schedules or quantization")  # fmt: skip


def _corpus(p: argparse.ArgumentParser) -> None:
    p.add_argument("corpus", metavar="NAME", help="its name in `whet corpus list`")


def _sources(p: argparse.ArgumentParser) -> None:
    help_ = (
        "a file, a zip or a folder (gzip and zstd are unpacked on the way); a name in `whet corpus list`; or a Hub id. "
        "alpaca=FILE: the file is a copy of that corpus, and has its licence"
    )
    p.add_argument("sources", nargs="+", metavar="FILE", help=help_)


def _format(p: argparse.ArgumentParser) -> None:
    p.add_argument("--format", metavar="NAME", help="the format, where it should not be recognised by the first records")


def _tree_options(p: argparse.ArgumentParser) -> None:
    help_ = "of OpenAssistant's trees the best ranked path, or every answer (default: best)"
    p.add_argument("--paths", choices=("best", "all"), default="best", help=help_)
    help_ = "read OpenAssistant's messages in this language only; may be given again"
    p.add_argument("--language", action="append", default=[], metavar="CODE", dest="languages", help=help_)
    help_ = "read OpenAssistant's messages that reviewers refused or that were deleted, too"
    p.add_argument("--unreviewed", action="store_true", help=help_)


def _split_of_tasks(p: argparse.ArgumentParser) -> None:
    help_ = "of a data set on the Hub its split (default: train); of Super-NaturalInstructions the tasks of one (default: all)"
    p.add_argument("--split", metavar="NAME", help=help_)


def _stated(p: argparse.ArgumentParser) -> None:
    p.add_argument("--licence", metavar="NAME", help="the licence of rows that state none, as in CC-BY-4.0")
    p.add_argument("--maker", metavar="NAME", help="who wrote rows that do not say it: people, rules, or the language model")


def _written(p: argparse.ArgumentParser) -> None:
    help_ = "write the examples, and a card: a .jsonl, .jsonl.gz, .jsonl.zst or .parquet file, or a folder for the Hub"
    p.add_argument("-o", "--output", type=Path, metavar="OUT", help=help_)
    p.add_argument("--as", choices=("messages", "alpaca", "prompt-completion"), default="messages", dest="form",
                   help="the form of what is written (default: messages)")  # fmt: skip


def _mixed(p: argparse.ArgumentParser) -> None:
    p.add_argument("--cap", type=int, metavar="N", help="a source counts as no larger than N examples")
    p.add_argument("--temperature", type=float, default=1.0, metavar="T",
                   help="sizes count to the power of 1/T: 1 is in proportion (the default), larger is more equal")  # fmt: skip
    p.add_argument("--share", action="append", default=[], metavar="NAME=X", dest="shares",
                   help="the share of a source, by its name (NAME=FILE); for each, instead of cap and temperature")  # fmt: skip
    p.add_argument("--rows", type=int, metavar="N", help="rows in all (default: as many as there can be without one twice)")
    p.add_argument("--seed", type=int, default=7, metavar="N", help="decides what is drawn, and the order (default: 7)")


def _use(p: argparse.ArgumentParser) -> None:
    help_ = "commercial: refuse rows that do not allow it, by their licence or by the terms of the model that wrote them"
    p.add_argument("--use", choices=("research", "commercial"), default="research", help=help_)


def _max_lost(p: argparse.ArgumentParser) -> None:
    help_ = "the share of a file's records that may give no example before the exit code is 1 (default: 0.01)"
    p.add_argument("--max-lost", type=_fraction, default=0.01, metavar="SHARE", help=help_)


def _fraction(text: str) -> float:
    """The number from 0 to 1 in a text."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value


def _name(p: argparse.ArgumentParser) -> None:
    p.add_argument("name", metavar="NAME", help="what the task is called; the recipe is NAME.toml")


def _from(p: argparse.ArgumentParser) -> None:
    help_ = "a CSV, TSV, JSONL, JSON or Parquet file"
    p.add_argument("--from", type=Path, required=True, metavar="TABLE", dest="table", help=help_)


def _force(p: argparse.ArgumentParser) -> None:
    p.add_argument("--force", action="store_true", help="write over a file of that name")


def _number(p: argparse.ArgumentParser) -> None:
    p.add_argument("number", type=int, metavar="N", help="which example, from 1")


def _split(p: argparse.ArgumentParser) -> None:
    p.add_argument("--split", choices=("train", "validation", "test"), default="train", help="of which split (default: train)")


def _documents(p: argparse.ArgumentParser) -> None:
    p.add_argument("documents", type=Path, nargs="+", metavar="DOCUMENT", help="text files, or folders of them")


def _output(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a .csv or .jsonl file instead of printing")


def _script(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="the script (default: <name of the recipe>_trl.py)")


def _same_order(p: argparse.ArgumentParser) -> None:
    p.add_argument("--same-order", action="store_true", help="take the rows in whet's order instead of TRL's own")


def _folder(p: argparse.ArgumentParser) -> None:
    p.add_argument("folder", type=Path, metavar="FOLDER", help="where to; empty or new")


def _dtype(p: argparse.ArgumentParser) -> None:
    help_ = "precision of the weights (default: float32)"
    p.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help=help_)


def _optional_set(p: argparse.ArgumentParser) -> None:
    p.add_argument("set", nargs="?", metavar="SET", help="one of them, or a file of templates; left out: the list of all")


def _template_file(p: argparse.ArgumentParser) -> None:
    help_ = "a set in `whet template list`, a .toml file of our own, promptsource's templates.yaml or FLAN's templates.py"
    p.add_argument("file", metavar="FILE", help=help_)


def _task(p: argparse.ArgumentParser) -> None:
    p.add_argument("--task", default="", metavar="NAME", help="of a file that holds several tasks (FLAN's), this one only")


def _template(p: argparse.ArgumentParser) -> None:
    p.add_argument("--template", metavar="NAME", help="this template only")


def _row(p: argparse.ArgumentParser) -> None:
    p.add_argument("--row", required=True, metavar="JSON", help="the fields of the row, as a JSON object")


def _shown(p: argparse.ArgumentParser) -> None:
    help_ = "a worked example that is shown first (few-shot), as a JSON object; may be given again"
    p.add_argument("--shown", action="append", default=[], metavar="JSON", help=help_)


def _no_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--no-options", action="store_true", help="leave the Options clause out")


def _seed(p: argparse.ArgumentParser) -> None:
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of what is random in a Jinja template (default: 0)")


def _rows(p: argparse.ArgumentParser) -> None:
    p.add_argument("--rows", type=Path, metavar="TABLE", help="a table; what its rows become is looked at too")


def _toml_file(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the .toml file that is written")


def _labels(p: argparse.ArgumentParser) -> None:
    help_ = "what the labels are called, in the order of the answers, with commas between (default: 0,1,...)"
    p.add_argument("--labels", metavar="A,B", help=help_)
