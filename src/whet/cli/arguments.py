"""What the verbs take: each function here adds an argument, or a few that belong together, to the parser of a verb."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

RECIPE, RUN, EITHER = "a recipe (.toml)", "a run folder", "a recipe (.toml) or the run folder it made"


def positional(name: str, help_: str) -> Callable[[argparse.ArgumentParser], None]:
    def add(p: argparse.ArgumentParser) -> None:
        p.add_argument(name, type=Path, metavar=name.upper(), help=help_)

    return add


def out(p: argparse.ArgumentParser) -> None:
    p.add_argument("--out", type=Path, metavar="RUN", help="the run folder (default: runs/<name of the recipe>)")


def stage(p: argparse.ArgumentParser) -> None:
    p.add_argument("--stage", metavar="NAME", help="the [[stage]] that is meant, of a recipe that has some")


def overrides(p: argparse.ArgumentParser) -> None:
    help_ = "override a key of the recipe, as in --set train.learning_rate=1e-4; may be given again"
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=help_)


def as_json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def planned(p: argparse.ArgumentParser) -> None:
    help_ = f"{RECIPE}; left out: rows without data, of --base and --length"
    p.add_argument("recipe", type=Path, nargs="?", metavar="RECIPE", help=help_)


def device(p: argparse.ArgumentParser) -> None:
    help_ = 'the GPU that is meant, as in "A10G", or cpu (default: what a run on this machine would use)'
    p.add_argument("--device", metavar="NAME", help=help_)
    help_ = "the memory that there is, as in 16GiB, 24GB or 800MiB (default: all that the device has)"
    p.add_argument("--budget", metavar="SIZE", help=help_)


def without_data(p: argparse.ArgumentParser) -> None:
    p.add_argument("--base", metavar="MODEL", help="without a recipe: a Hub id, a local directory or a finished run folder")
    p.add_argument("--length", type=int, metavar="TOKENS", help="without a recipe: tokens of a row, all but the first learned")
    p.add_argument("--rows", type=_count_of_rows, metavar="N", help="without a recipe: how many rows (default: 1000)")


def _count_of_rows(text: str) -> int:
    """A number of rows."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of rows")
    return int(text)


def how(p: argparse.ArgumentParser) -> None:
    help_ = "find the peak by taking the step with tensors that have sizes and no values, instead of by formula"
    p.add_argument("--replay", action="store_true", help=help_)
    help_ = "find the time by really taking a few steps on this machine; nothing is kept of them"
    p.add_argument("--measure", action="store_true", help=help_)


def fit(p: argparse.ArgumentParser) -> None:
    help_ = "write the recipe that fits with the smallest change of meaning, if this one does not"
    p.add_argument("--fit", action="store_true", help=help_)
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="where --fit writes it (default: <recipe>-fits.toml)")


def rates(p: argparse.ArgumentParser) -> None:
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


def anyway(p: argparse.ArgumentParser) -> None:
    p.add_argument("--anyway", action="store_true", help="train even if the plan says that it does not fit into memory")


def stream(p: argparse.ArgumentParser) -> None:
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


def audited(p: argparse.ArgumentParser) -> None:
    help_ = f"{RECIPE}, {RUN}, a table, or a public corpus (a file, a zip or a folder)"
    p.add_argument("source", type=Path, metavar="SOURCE", help=help_)


def against(p: argparse.ArgumentParser) -> None:
    help_ = "a benchmark (a table, a corpus or a text file) whose passages must not stand in the rows; may be given again"
    p.add_argument("--against", type=Path, action="append", default=[], metavar="FILE", help=help_)


def columns(p: argparse.ArgumentParser) -> None:
    help_ = "a column that says which split a row is in, where the table's authors split it"
    p.add_argument("--split-column", metavar="COLUMN", help=help_)
    help_ = "a column (or a pattern, 'human_*') of one person's labels, to measure how far people agree; may be given again"
    p.add_argument("--annotators", action="append", default=[], metavar="COLUMN", help=help_)


def fail_on(p: argparse.ArgumentParser) -> None:
    help_ = "the least severity of a finding that makes the exit code 1 (default: error)"
    p.add_argument("--fail-on", choices=("note", "warning", "error", "never"), default="error", help=help_)


def page(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="write an HTML page that lists the rows")


def before(p: argparse.ArgumentParser) -> None:
    p.add_argument("before", type=Path, metavar="BEFORE", help="the run folder that it is compared with")


def dry_run(p: argparse.ArgumentParser) -> None:
    p.add_argument("--dry-run", action="store_true", help="send nothing: say what it would ask, and take at most")


def from_run(p: argparse.ArgumentParser) -> None:
    help_ = "make rows where this evaluated run is weak: labels that it takes for each other, or is not sure of"
    p.add_argument("--from", type=Path, metavar="RUN", dest="from_run", help=help_)


def pilot(p: argparse.ArgumentParser) -> None:
    p.add_argument("--pilot", action="store_true", help="make the first few rows, and forecast the rest from them")


def topic(p: argparse.ArgumentParser) -> None:
    p.add_argument("topic", choices=("optimizers", "schedules", "quantization"), metavar="TOPIC",
                   help="optimizers, schedules or quantization")  # fmt: skip


def corpus(p: argparse.ArgumentParser) -> None:
    p.add_argument("corpus", metavar="NAME", help="its name in `whet corpus list`")


def sources(p: argparse.ArgumentParser) -> None:
    help_ = (
        "a file, a zip or a folder (gzip and zstd are unpacked on the way); a name in `whet corpus list`; or a Hub id. "
        "alpaca=FILE: the file is a copy of that corpus, and has its licence"
    )
    p.add_argument("sources", nargs="+", metavar="FILE", help=help_)


def form(p: argparse.ArgumentParser) -> None:
    p.add_argument("--format", metavar="NAME", help="the format, where it should not be recognised by the first records")


def tree_options(p: argparse.ArgumentParser) -> None:
    help_ = "of OpenAssistant's trees the best ranked path, or every answer (default: best)"
    p.add_argument("--paths", choices=("best", "all"), default="best", help=help_)
    help_ = "read OpenAssistant's messages in this language only; may be given again"
    p.add_argument("--language", action="append", default=[], metavar="CODE", dest="languages", help=help_)
    help_ = "read OpenAssistant's messages that reviewers refused or that were deleted, too"
    p.add_argument("--unreviewed", action="store_true", help=help_)


def split_of_tasks(p: argparse.ArgumentParser) -> None:
    help_ = "of a data set on the Hub its split (default: train); of Super-NaturalInstructions the tasks of one (default: all)"
    p.add_argument("--split", metavar="NAME", help=help_)


def stated(p: argparse.ArgumentParser) -> None:
    p.add_argument("--licence", metavar="NAME", help="the licence of rows that state none, as in CC-BY-4.0")
    p.add_argument("--maker", metavar="NAME", help="who wrote rows that do not say it: people, rules, or the language model")


def written(p: argparse.ArgumentParser) -> None:
    help_ = "write the examples, and a card: a .jsonl, .jsonl.gz, .jsonl.zst or .parquet file, or a folder for the Hub"
    p.add_argument("-o", "--output", type=Path, metavar="OUT", help=help_)
    p.add_argument("--as", choices=("messages", "alpaca", "prompt-completion"), default="messages", dest="form",
                   help="the form of what is written (default: messages)")  # fmt: skip


def mixed(p: argparse.ArgumentParser) -> None:
    p.add_argument("--cap", type=int, metavar="N", help="a source counts as no larger than N examples")
    p.add_argument("--temperature", type=float, default=1.0, metavar="T",
                   help="sizes count to the power of 1/T: 1 is in proportion (the default), larger is more equal")  # fmt: skip
    p.add_argument("--share", action="append", default=[], metavar="NAME=X", dest="shares",
                   help="the share of a source, by its name (NAME=FILE); for each, instead of cap and temperature")  # fmt: skip
    p.add_argument("--rows", type=int, metavar="N", help="rows in all (default: as many as there can be without one twice)")
    p.add_argument("--seed", type=int, default=7, metavar="N", help="decides what is drawn, and the order (default: 7)")


def use(p: argparse.ArgumentParser) -> None:
    help_ = "commercial: refuse rows that do not allow it, by their licence or by the terms of the model that wrote them"
    p.add_argument("--use", choices=("research", "commercial"), default="research", help=help_)


def max_lost(p: argparse.ArgumentParser) -> None:
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


def name(p: argparse.ArgumentParser) -> None:
    p.add_argument("name", metavar="NAME", help="what the task is called; the recipe is NAME.toml")


def table(p: argparse.ArgumentParser) -> None:
    help_ = "a CSV, TSV, JSONL, JSON or Parquet file"
    p.add_argument("--from", type=Path, required=True, metavar="TABLE", dest="table", help=help_)


def force(p: argparse.ArgumentParser) -> None:
    p.add_argument("--force", action="store_true", help="write over a file of that name")


def number(p: argparse.ArgumentParser) -> None:
    p.add_argument("number", type=int, metavar="N", help="which example, from 1")


def split(p: argparse.ArgumentParser) -> None:
    p.add_argument("--split", choices=("train", "validation", "test"), default="train", help="of which split (default: train)")


def documents(p: argparse.ArgumentParser) -> None:
    p.add_argument("documents", type=Path, nargs="+", metavar="DOCUMENT", help="text files, or folders of them")


def output(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a .csv or .jsonl file instead of printing")


def script(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="the script (default: <name of the recipe>_trl.py)")


def same_order(p: argparse.ArgumentParser) -> None:
    p.add_argument("--same-order", action="store_true", help="take the rows in whet's order instead of TRL's own")


def folder(p: argparse.ArgumentParser) -> None:
    p.add_argument("folder", type=Path, metavar="FOLDER", help="where to; empty or new")


def dtype(p: argparse.ArgumentParser) -> None:
    help_ = "precision of the weights (default: float32)"
    p.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help=help_)


def optional_set(p: argparse.ArgumentParser) -> None:
    p.add_argument("set", nargs="?", metavar="SET", help="one of them, or a file of templates; left out: the list of all")


def template_file(p: argparse.ArgumentParser) -> None:
    help_ = "a set in `whet template list`, a .toml file of our own, promptsource's templates.yaml or FLAN's templates.py"
    p.add_argument("file", metavar="FILE", help=help_)


def task(p: argparse.ArgumentParser) -> None:
    p.add_argument("--task", default="", metavar="NAME", help="of a file that holds several tasks (FLAN's), this one only")


def template(p: argparse.ArgumentParser) -> None:
    p.add_argument("--template", metavar="NAME", help="this template only")


def row(p: argparse.ArgumentParser) -> None:
    p.add_argument("--row", required=True, metavar="JSON", help="the fields of the row, as a JSON object")


def shown(p: argparse.ArgumentParser) -> None:
    help_ = "a worked example that is shown first (few-shot), as a JSON object; may be given again"
    p.add_argument("--shown", action="append", default=[], metavar="JSON", help=help_)


def no_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--no-options", action="store_true", help="leave the Options clause out")


def seed(p: argparse.ArgumentParser) -> None:
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of what is random in a Jinja template (default: 0)")


def rows(p: argparse.ArgumentParser) -> None:
    p.add_argument("--rows", type=Path, metavar="TABLE", help="a table; what its rows become is looked at too")


def toml_file(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the .toml file that is written")


def labels(p: argparse.ArgumentParser) -> None:
    help_ = "what the labels are called, in the order of the answers, with commas between (default: 0,1,...)"
    p.add_argument("--labels", metavar="A,B", help=help_)
