"""The table of contents. Each verb of whet is one function here, and each reads as what it does.

check → prepare → train → evaluate → report          run = all of them; run_series = all of them for each stage
     ↘ plan  ↘ show                 ↘ predict
     ↘ audit           ↘ export     ↘ compare          synth = an LLM makes the data
     ↘ eject
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from whet.data import dataset, documents
from whet.data import tokens as tokenizers
from whet.errors import Problem, RecipeError, RunError, UserError
from whet.example import Example, Prediction
from whet.progress import Progress, Silent
from whet.prompts import asking
from whet.recipe import Recipe
from whet.run import Run, command_line
from whet.series import run_folder, stage_name

if TYPE_CHECKING:
    from whet.budget.plan import Plan
    from whet.comparison import RunComparison
    from whet.data.audit.finding import Audit
    from whet.ejection import Ejected
    from whet.planning import Wish

LOCAL_BATCH = 16  # requests that a model in this process answers at once


def check(recipe: Recipe) -> dataset.Dataset:
    """The dataset that the recipe would make; everything is read and checked, nothing is written.

    Raises:
        UserError: with the problems of the base model's tokenizer and of the data together.
    """
    try:
        tokens = tokenizers.load(recipe.model.base)
    except UserError as wrong_base:
        try:
            dataset.read(recipe)
        except UserError as wrong_data:
            raise UserError(*wrong_base.problems, *wrong_data.problems) from None
        raise
    return dataset.build(recipe, tokens)


def check_series(series: Sequence[Recipe], chosen: Sequence[Recipe] = ()) -> dict[str, dataset.Dataset]:
    """The dataset that each stage (or each of the chosen ones) would make, by the stage's name.

    None of them need be trained: their tokenizer is that of the first base, which is handed on.

    Raises:
        UserError: with the problems of all stages.
    """
    if len(series) == 1:
        return {series[0].name: check(series[0])}
    found, problems = {}, []
    for recipe in chosen or series:
        base = recipe.model.model_copy(update={"base": series[0].model.base})
        try:
            found[stage_name(recipe)] = check(recipe.model_copy(update={"model": base}))
        except UserError as error:
            problems += [Problem(f"[[stage]] {stage_name(recipe)}, {p.where}", p.what, p.do) for p in error.problems]
    if problems:
        raise UserError(*problems)
    return found


def audit(
    source: Recipe | Run,
    *,
    against: Sequence[Path] = (),
    split_column: str | None = None,
    annotators: Sequence[str] = (),
    progress: Progress | None = None,
) -> Audit:
    """The Audit of a recipe's data as they are before anything is dropped, or of a run's splits as they were made.

    Args:
        source: the recipe, or the run.
        against: benchmarks, whose passages must not stand in the rows.
        split_column: a column of the recipe's table that says which split a row is in.
        annotators: columns (or patterns, `human_*`) of the recipe's table that each hold one person's labels.
        progress: is told of every check.

    Raises:
        UserError: the data, a benchmark or a column cannot be read.
    """
    from whet.data.audit import annotators as people
    from whet.data.audit import checks, material
    from whet.data.read import read_rows

    if isinstance(source, Run) and (split_column or annotators):
        what = "a run's splits are its own, and it holds no other columns"
        raise RunError(Problem(str(source.path), what, "Audit the recipe instead"))
    recipe = source.recipe if isinstance(source, Run) else source
    given = None
    if annotators:
        data = recipe.data
        table = read_rows(dataset.location(data.path), encoding=data.encoding, delimiter=data.delimiter, header=data.header)
        given = people.read_annotations(table, annotators)
    rows = material.from_run(source) if isinstance(source, Run) else material.from_recipe(source, split_column)
    read = next(iter(recipe.data.input), None)
    return checks.audit(rows, benchmarks=against, annotations=given, text_column=read, progress=progress)


def plan(
    recipe: Recipe, tokenizer_of: str | None = None, wish: Wish | None = None, progress: Progress | None = None
) -> Plan:
    """The Plan of the recipe's training, counted on its data before any weight is loaded; nothing is written.

    Args:
        recipe: whose data are read as `check` reads them.
        tokenizer_of: the base whose tokenizer counts, where the recipe's own is a run still to come; left out: its own.
        wish: for which device, and how it is found out; left out: for this machine, by formula.
        progress: is told of steps that are measured.

    Raises:
        UserError: with the problems of the base model's tokenizer and of the data together.
    """
    from whet import planning

    base = tokenizer_of or recipe.model.base
    made = check(recipe.model_copy(update={"model": recipe.model.model_copy(update={"base": base})}))
    return planning.plan_data(made, recipe, base, wish or planning.Wish(), progress or Silent())


def plan_without_data(
    base: str, length: int, rows: int | None = None, overrides: Sequence[str] = (), wish: Wish | None = None
) -> Plan:
    """The Plan of a training on rows that are all alike, every token of them learned.

    Args:
        base: of which no file is read where its shape is in the table.
        length: tokens of a row.
        rows: how many; left out, a thousand.
        overrides: `key=value` for every other key of a recipe.
        wish: as for `plan`.
    """
    from whet import planning

    return planning.plan_lengths(planning.bare_recipe(base, length, overrides), length, rows, wish or planning.Wish())


def synth(
    recipe: Recipe, out: Path | None = None, progress: Progress | None = None, *, pilot: bool = False
) -> dict[str, Any]:
    """What `synth.json` holds: the rows that an LLM made, what they cost and what was rejected. Given again, it goes on.

    Args:
        recipe: with a [synth] section. Its [data] names the columns of the rows; no data are read.
        out: the run folder; left out, runs/<name>-synth.
        progress: is told of every accepted row.
        pilot: stop after `pilot_rows` rows, from which the rest is forecast.

    Raises:
        UserError: with all that is wrong with the recipe, before anything is sent; or if no server answers.
    """
    from whet.synth import workshop
    from whet.synth.embedding import EmbedAll
    from whet.synth.local import LocalMaker, LocalModels

    def makers() -> list[LocalMaker]:
        from whet.engine.generate import Generator

        return [LocalMaker(recipe.synth.model if recipe.synth else "", Generator(recipe).answer_all, LOCAL_BATCH)]

    def embed_all() -> EmbedAll:
        from whet.engine.embed import TextEmbedder

        return TextEmbedder((recipe.synth and recipe.synth.embedding_model) or "").embed_all

    local = LocalModels(makers, embed_all)
    return workshop.make(recipe, out or synth_folder(recipe), progress or Silent(), local, pilot=pilot)


def synth_ahead(recipe: Recipe, out: Path | None = None) -> dict[str, Any]:
    """What `synth` would ask and what it would take at most, and a forecast from the rows that there are; nothing is sent."""
    from whet.synth import workshop

    return workshop.look_ahead(recipe, out or synth_folder(recipe))


def synth_folder(recipe: Recipe) -> Path:
    """Where the rows of a recipe are made: not in the run's own folder, which begins with data."""
    aimed_at = recipe.synth.from_run if recipe.synth else None
    return Path("runs") / (f"{recipe.name}-after-{Path(aimed_at).name}" if aimed_at else f"{recipe.name}-synth")


def prepare(recipe: Recipe, out: Path | None = None, progress: Progress | None = None) -> Run:
    """The Run with its data read, cleaned, split and written down: `dataset/`, `dropped.jsonl`, the manifest's counts."""
    from whet import run_plan

    progress, path = progress or Silent(), out or Path("runs") / recipe.name
    recipe = recipe.model_copy(update={"synth": None})  # the data are what they are, however they were made
    made = None
    if not (path / "manifest.json").exists():
        # Checked before a folder is made: whoever mends a faulty table and tries again has begun no run yet.
        progress.start(f"reading and cleaning {Path(recipe.data.path).name}")
        made = check(recipe)
    run = Run.create(path, recipe, dataset.hashes(recipe), command_line())
    with run.lock():
        if "dataset" in run.manifest:
            return run
        made = made or check(recipe)  # a kill may have fallen between the folder and its dataset
        for split, examples in made.splits.items():
            run.write_lines(f"dataset/{split}.jsonl", (e.to_json() for e in examples))
        if made.templates:
            run.write_json("templates.json", {"templates": [template.to_json() for template in made.templates]})
        run.write_dropped(made.drops)
        run.update_manifest(dataset=made.summary())
        run_plan.plan_run(run, made.drops)
    return run


def prepare_stream(
    recipe: Recipe, out: Path | None = None, progress: Progress | None = None, *, processes: int = 1, ray: bool = False
) -> Run:
    """The Run that `prepare` makes, of rows that do not fit into memory: decided over files, by several processes.

    Args:
        recipe: of a table or a public corpus, with answers.
        out: the run folder; left out, runs/<name>. Beside it lies, while this goes on, a hidden folder four times the size of
            the data.
        progress: is told of every batch of rows.
        processes: of this machine; the result is the same byte for byte.
        ray: the machines of a Ray cluster instead.

    Raises:
        RecipeError: the recipe's data are not read as a stream.
        RunError: another process prepares this run.
        DataError: what `prepare` raises; or Ray is not installed.
    """
    from whet.data.scale import prepare as scale
    from whet.data.scale import workers
    from whet.data.scale.workplace import workplace

    progress, path = progress or Silent(), out or Path("runs") / recipe.name
    recipe = recipe.model_copy(update={"synth": None})
    if problems := scale.unsupported(recipe):
        raise RecipeError(*problems)
    if (path / "manifest.json").exists() and "dataset" in Run.create(path, recipe, dataset.hashes(recipe), "").manifest:
        return Run.open(path)
    tokenizers.load(recipe.model.base)  # what is wrong with it is said before anything is read
    mapped = workers.on_ray() if ray else workers.in_processes(processes) if processes > 1 else workers.in_this_process
    with workplace(path) as folder:
        made = scale.prepare(recipe, folder, mapped, progress)
        run = Run.create(path, recipe, dataset.hashes(recipe), command_line())
        with run.lock():
            for name, file in made.files.items():
                run.take(name, file)
            if made.templates:
                run.write_json("templates.json", {"templates": [template.to_json() for template in made.templates]})
            run.update_manifest(dataset=made.summary)
    return run


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token of an example as the model sees it."""

    id: int
    piece: str
    carries_loss: bool


def show(run: Run, number: int, split: str = "train") -> tuple[Example, list[ShownToken]]:
    """Example `number` (from 1) of a split and its exact tokens, in order (of plain text: window for window); those that carry
    loss are marked."""
    examples = run.examples(split)
    if not 1 <= number <= len(examples):
        what = f"there is no example {number} in {split}"
        raise RunError(Problem(str(run.path), what, f"Name one from 1 to {len(examples)}"))
    example, tokens = examples[number - 1], tokenizers.load(run.recipe.model.base)
    rows = tokenizers.encode_all([example], run.task, tokens, run.recipe.train.max_length)
    marked = [(t, carries) for row in rows for part, carries in ((row.prompt, False), (row.completion, True)) for t in part]
    return example, [ShownToken(t, tokens.piece(t), carries) for t, carries in marked]


def train(run: Run, progress: Progress | None = None, *, anyway: bool = False) -> Run:
    """The Run with its model trained: from the newest checkpoint if there is one, to the weights of the best validation.

    Args:
        run: with its data prepared.
        progress: is told of every step.
        anyway: train even if the plan says that it cannot fit.

    Raises:
        RunError: if it cannot fit by its plan, or memory runs out.
    """
    from whet import run_plan
    from whet.engine import adapters, loop, model, quantize, reader
    from whet.engine.course import build_course
    from whet.engine.peak import Peak

    progress, recipe = progress or Silent(), run.recipe
    with run.lock():
        if "training" in run.manifest:
            return run
        with run_plan.planned(run, anyway=anyway) as plan:
            peak = Peak.start()
            progress.start("loading the base model")
            tokens = tokenizers.load(recipe.model.base)
            encode = partial(tokenizers.encode_all, task=run.task, tokens=tokens, max_length=recipe.train.max_length)
            rows, held = encode(run.examples("train")), encode(run.examples("validation"))
            untrained = model.load_base(recipe)
            run.update_manifest(base={"name": recipe.model.base, "sha256": model.base_hash(recipe)})
            trained = untrained
            if recipe.model.quantize:
                progress.say(quantize.describe(untrained))
            if recipe.lora:
                trained = adapters.add_adapter(untrained, recipe.lora, recipe.derive_seed("adapter"))
                run.update_manifest(adapter={"layers": adapters.adapted_layers(trained)})
                progress.say(adapters.describe(trained))
            asked = reader.open_reader(run, trained, tokens)
            validate = partial(reader.validate, asked, run.examples("validation"), held)
            course = build_course(recipe, asking.in_words(run.task, run.template), rows, tokens, validate, run.path)
            state = loop.train(trained, course, progress)
            model.save_result(trained, run, tokens.folder)
            run.update_manifest(
                training=loop.summary(trained, state, course.timetable),
                score=run_plan.score(plan, recipe, peak.read(), state.seconds),
            )
    return run


def evaluate(run: Run, progress: Progress | None = None) -> dict[str, Any]:
    """What `evaluation.json` holds: calibrated on validation, measured once on test, compared with the baselines."""
    from whet import evaluation
    from whet.engine import model, reader

    progress, recipe = progress or Silent(), run.recipe
    with run.lock():
        if run.has("evaluation.json"):
            return run.read_json("evaluation.json")
        progress.start("loading the fine-tuned model")
        tokens = tokenizers.load(recipe.model.base)
        tuned = reader.open_reader(run, model.load_result(run), tokens)
        base = cache(lambda: reader.open_reader(run, model.load_base(recipe), tokens, is_trained=False))
        splits = {split: run.examples(split) for split in ("train", "validation", "test")}
        found = evaluation.JUDGES[recipe.task.kind](recipe, splits, tuned, base, progress)
        run.write_lines("predictions.jsonl", found.predictions)
        if found.calibration:
            run.write_json("calibration.json", found.calibration.to_json())
        run.write_json("evaluation.json", found.evaluation)
    return found.evaluation


def compare(run: Run, before: Run) -> RunComparison:
    """The RunComparison of two evaluated runs on the same test rows: what is better now, what is worse, and is it chance?

    Raises:
        RunError: if they are of different tasks or were tested on different rows.
    """
    from whet.comparison import compare_runs

    return compare_runs(run, before)


def eject(recipe: Recipe, path: Path, *, same_order: bool = False) -> Ejected:
    """The recipe's training as a plain script on TRL, written to `path`, and what the script does otherwise than whet.

    Args:
        recipe: of a task with answers.
        path: the script; the rows and what else it reads go into a folder beside it.
        same_order: whether it takes the rows in whet's order instead of its own.

    Raises:
        RecipeError: for `text`, which is learned in windows and not as prompts and completions.
        RunError: if there is a script already, which somebody may have changed.
    """
    from whet.ejection import write_script

    if recipe.task.kind == "text":
        what = 'kind = "text" is learned in windows, and the script knows prompts and completions only'
        raise RecipeError(Problem("[task] kind", what, "Train it with whet, and eject the task that stands on it"))
    if path.exists():
        raise RunError(Problem(str(path), "there is a file already, and you may have changed it", "Name another, or remove it"))
    return write_script(recipe, check(recipe), path, same_order=same_order)


def predict(run: Run, paths: Sequence[Path], progress: Progress | None = None) -> Iterator[Prediction]:
    """A Prediction for every passage of these documents (files or folders of them), in order."""
    from whet.engine import model, reader

    progress, recipe = progress or Silent(), run.recipe
    if recipe.task.kind == "text":
        what = 'this run learned to go on with plain text (kind = "text"), and answers nothing'
        raise RunError(Problem(str(run.path), what, "Train a task on it, with this folder as [model] base, and name that run"))
    found = documents.read_documents(paths)
    progress.start("loading the fine-tuned model")
    tokens = tokenizers.load(recipe.model.base)
    asked = reader.open_reader(run, model.load_result(run), tokens)
    calibrate = run.calibration()
    progress.start("reading", sum(len(d.passages) for d in found), "passage")
    for document in found:
        if not document.passages:
            progress.say(f"{document.name} holds no sentence with a word in it")
        answers = reader.read_passages(asked, [p.text for p in document.passages], recipe, calibrate, progress)
        for number, (passage, answer) in enumerate(zip(document.passages, answers, strict=True), 1):
            id_ = f"{document.name}:{number}"
            yield Prediction(id_, passage.text, *answer, document=document.name, start=passage.start, end=passage.end)


def export(run: Run, folder: Path, dtype: Literal["float32", "bfloat16"] = "float32", progress: Progress | None = None) -> str:
    """What was written to `folder`, in a sentence: the trained model as Transformers loads it, without PEFT or whet.

    Args:
        run: a trained run.
        folder: where to; empty or new.
        dtype: of the weights.

    Raises:
        RunError: if the folder is not empty.
    """
    from whet.engine import model

    (progress or Silent()).start("merging" if run.has("adapter") else "copying")
    model.export_model(run, folder, dtype)
    merged = ", its adapters merged into the base" if run.has("adapter") else ""
    quantize = run.recipe.model.quantize
    what_changed = (
        f". The run was trained and measured with its base in {quantize}; here the base is as it was before, so answers differ "
        "by the quantization error, and probabilities are no longer those that were calibrated"
    )
    return f"the trained model in {dtype}{merged}{what_changed if quantize else ''}"


def report(run: Run) -> Path:
    """The path of `report.html`, written from what the run folder holds."""
    from whet.views.report import render

    run.write_text("report.html", render(run.path))
    return run.path / "report.html"


def run(recipe: Recipe, out: Path | None = None, progress: Progress | None = None, *, anyway: bool = False) -> Run:
    """The whole way: prepare, train, evaluate, report. Given again, it goes on where it stopped."""
    made = prepare(recipe, out, progress)
    train(made, progress, anyway=anyway)
    evaluate(made, progress)
    report(made)
    return made


def run_series(
    series: Sequence[Recipe], out: Path | None = None, progress: Progress | None = None, *, anyway: bool = False
) -> Run:
    """The Run of the last stage, after all before it were run, each starting from the last."""
    progress = progress or Silent()
    for number, recipe in enumerate(series, 1):
        if len(series) > 1:
            what = f"{recipe.task.kind}, from {Path(recipe.model.base).name}"
            progress.say(f"stage {number} of {len(series)}, {stage_name(recipe)}: {what}")
        made = run(recipe, run_folder(series, recipe, out), progress, anyway=anyway)
    return made
