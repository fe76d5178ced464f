"""What each verb does: call stages, print what they return."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from whet import stages
from whet.cli.progress import console, showing
from whet.errors import Problem, RunError
from whet.example import Prediction
from whet.recipe import load
from whet.run import Run
from whet.series import load_series, pick, run_folder
from whet.views import terminal


def demo(args: Namespace) -> int:
    """Trains on the embedded data, says how good it is, reads the sample speech."""
    recipe = load(Path(str(resources.files("whet.base") / "demo.toml")))
    with showing() as progress:
        made = stages.run(recipe, args.out, progress)
        speech = Path(str(resources.files("whet.base") / "speech.txt"))
        read = list(stages.predict(made, [speech], progress))
    if args.json:
        return _print_json({"run": str(made.path), **made.read_json("evaluation.json")})
    out = console(sys.stdout)
    _print_result(made)
    marked = terminal.marked_speech(speech.read_text("utf-8"), read, "True")
    out.print("", "[bold]A campaign speech, read by this model[/bold]", "", marked, "", sep="\n")
    out.print(f"Your own text: whet predict {made.path} speech.txt", markup=False)
    return 0


def new(args: Namespace) -> int:
    """Writes NAME.toml for a table and says what was guessed."""
    from whet.data import guess

    path = Path(f"{args.name}.toml")
    if path.exists() and not args.force:
        raise RunError(Problem(str(path), "this recipe exists", "Name another, or give --force to write over it"))
    guessed = guess.guess_file(args.table)
    path.write_text(guess.recipe_text(args.name, args.table, guessed), "utf-8")
    talk = console(sys.stderr)
    for sentence in guessed.why:
        talk.print(f"  {sentence}", markup=False)
    talk.print(f"Wrote {path}. Read it, mend the instruction, then: whet run {path}", markup=False)
    return 0


def check(args: Namespace) -> int:
    """Says what the recipe would make of its data, of every stage if it has some."""
    series = load_series(args.recipe, args.overrides)
    found = stages.check_series(series, [pick(series, args.stage, args.recipe.name)] if args.stage else series)
    summaries = {name: made.summary() for name, made in found.items()}
    if args.json:
        return _print_json({"stages": summaries} if len(series) > 1 else next(iter(summaries.values())))
    out = console(sys.stdout)
    for name, summary in summaries.items():
        heading = [f"Stage {name}"] if len(series) > 1 else []
        out.print(*heading, terminal.dropped_summary(summary), "", sep="\n")
    out.print(f"{args.recipe} is good.", markup=False)
    return 0


def prepare(args: Namespace) -> int:
    """Makes the run folder and its dataset, of a stream if processes or Ray are named."""
    made = _prepared(args) if args.processes is None and not args.ray else _streamed(args)
    summary = made.manifest["dataset"]
    return _tell(args, made, {"run": str(made.path), **summary}, terminal.dropped_summary(summary))


def show(args: Namespace) -> int:
    """Prints the tokens of one example."""
    example, tokens = stages.show(_run_of(args), args.number, args.split)
    if args.json:
        shown = [{"id": t.id, "piece": t.piece, "carries_loss": t.carries_loss} for t in tokens]
        return _print_json({**example.to_json(), "tokens": shown})
    out = console(sys.stdout)
    out.print(f"{args.split} {args.number}: {example.origin}\n", markup=False)
    out.print(terminal.token_view([t.piece for t in tokens], [t.id for t in tokens], [t.carries_loss for t in tokens]))
    return 0


def train(args: Namespace) -> int:
    """Trains, or goes on."""
    with showing() as progress:
        made = stages.train(_run_of(args), progress, anyway=args.anyway)
    training = made.manifest["training"]
    best, nll = training["best_step"], training["best_validation_nll"]
    said = f"trained; best after step {best} of {training['steps']} (validation {nll:.3f} nats a token)"
    return _tell(args, made, {"run": str(made.path), **training}, f"{made.path}: {said}")


def evaluate(args: Namespace) -> int:
    """Measures the trained model."""
    made = _run_of(args)
    with showing() as progress:
        found = stages.evaluate(made, progress)
    return _tell(args, made, found, terminal.evaluation_table(found))


def predict(args: Namespace) -> int:
    """Labels the sentences of documents."""
    from whet.data import write

    with showing() as progress:
        read = list(stages.predict(Run.open(args.source), args.documents, progress))
    if args.output:
        write.write_predictions(args.output, read)
        console(sys.stderr).print(f"{len(read):,} passages written to {args.output}", markup=False)
    elif args.json or not sys.stdout.isatty():
        _print_lines([p.to_json() for p in read])
    else:
        _print_marked(read)
    return 0


def report(args: Namespace) -> int:
    """Writes report.html."""
    path = stages.report(_run_of(args))
    return _print_json({"report": str(path)}) if args.json else _print_line(str(path))


def eject(args: Namespace) -> int:
    """Writes a script on TRL and says what it does otherwise."""
    recipe = pick(load_series(args.recipe, args.overrides), args.stage, args.recipe.name)
    path = args.output or Path(f"{recipe.name.replace('/', '-')}_trl.py")
    made = stages.eject(recipe, path, same_order=args.same_order)
    talk = console(sys.stderr)
    talk.print("What whet does and this script does not:", *(f"- {d}" for d in made.differences), sep="\n", markup=False)
    if args.json:
        return _print_json({"script": str(path), "data": str(made.data), "rows": made.rows, "differences": made.differences})
    return _print_line(str(path))


def export(args: Namespace) -> int:
    """Writes a plain model folder and says what it is."""
    with showing() as progress:
        written = stages.export(Run.open(args.source), args.folder, args.dtype, progress)
    if args.json:
        return _print_json({"model": str(args.folder), "dtype": args.dtype, "is": written})
    return _print_line(f"{args.folder}: {written}.")


def run(args: Namespace) -> int:
    """The whole way, through every stage if there are some."""
    series = load_series(args.recipe, args.overrides, args.out)
    with showing() as progress:
        if args.stage:
            recipe = pick(series, args.stage, args.recipe.name)
            made = stages.run(recipe, run_folder(series, recipe, args.out), progress, anyway=args.anyway)
        else:
            made = stages.run_series(series, args.out, progress, anyway=args.anyway)
    if args.json:
        return _print_json({"run": str(made.path), **made.read_json("evaluation.json")})
    _print_result(made)
    return 0


def info(args: Namespace) -> int:
    """Lists the named choices of a recipe."""
    from whet.knobs.facts import facts
    from whet.views.info import table

    known = facts(args.topic)
    if args.json:
        return _print_json(known)
    console(sys.stdout).print(table(args.topic, known[args.topic]))
    return 0


def _prepared(args: Namespace, path: Path | None = None) -> Run:
    file = path or args.recipe
    series = load_series(file, args.overrides, args.out)
    recipe = pick(series, args.stage, file.name)
    with showing() as progress:
        return stages.prepare(recipe, run_folder(series, recipe, args.out), progress)


def _streamed(args: Namespace) -> Run:
    series = load_series(args.recipe, args.overrides, args.out)
    recipe = pick(series, args.stage, args.recipe.name)
    with showing() as progress:
        folder = run_folder(series, recipe, args.out)
        return stages.prepare_stream(recipe, folder, progress, processes=args.processes or 1, ray=args.ray)


def _run_of(args: Namespace) -> Run:
    """The run that the argument names: a folder, or the run of a recipe."""
    if args.source.suffix == ".toml":
        return _prepared(args, args.source)
    if args.overrides or args.out or args.stage:
        what = "--set, --out and --stage go with a recipe, not with a run"
        raise RunError(Problem(str(args.source), what, "Name the recipe instead"))
    return Run.open(args.source)


def _tell(args: Namespace, made: Run, data: Mapping[str, Any], text: Any) -> int:
    if args.json:
        return _print_json(data)
    console(sys.stdout).print(text)
    return 0


def _print_result(made: Run) -> None:
    """The data, the figures and where the report is."""
    data = terminal.dropped_summary(made.manifest["dataset"])
    figures = terminal.evaluation_table(made.read_json("evaluation.json"))
    console(sys.stdout).print(data, "", figures, "", f"Report: {made.path / 'report.html'}", sep="\n")


def _print_marked(read: Sequence[Prediction]) -> None:
    from rich.table import Table

    table = Table("document", "label", "p", "text", box=None, pad_edge=False)
    for p in read:
        table.add_row(p.document, p.label, f"{p.probability:.2f}" if p.probability is not None else "", p.text)
    console(sys.stdout).print(table, markup=False)


def _print_json(value: Mapping[str, Any]) -> int:
    return _print_line(json.dumps(value, ensure_ascii=False, indent=2))


def _print_lines(values: Sequence[Mapping[str, Any]]) -> None:
    for value in values:
        _print_line(json.dumps(value, ensure_ascii=False))


def _print_line(line: str) -> int:
    print(line)
    return 0
