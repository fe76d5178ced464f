"""Where template sets come from: whet's own, one for each kind of task, and files of three forms."""

from __future__ import annotations

import difflib
from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from whet.errors import DataError, Problem
from whet.example import Template
from whet.prompts import flan, promptsource, set_file
from whet.prompts.sets import TemplateSet, template_fields

SUFFIX = ".toml"


def builtin_names() -> list[str]:
    """The names of whet's own sets."""
    return sorted(file.name.removesuffix(SUFFIX) for file in _folder().iterdir() if file.name.endswith(SUFFIX))


def open_set(source: str | Path, task: str = "") -> TemplateSet:
    """The template set in a file (ours, promptsource's YAML, FLAN's Python, a run's templates.json), or whet's own set.

    Nothing of a file is run: Python is read as a syntax tree, and Jinja is rendered in a sandbox when its time comes.

    Args:
        source: a name in `whet template list`, or a path.
        task: which task, of a file that holds several; left out: all of them.

    Raises:
        DataError: there is no such set, or the file does not hold what it should: everything that is wrong.

    Example:
        >>> open_set("nli").labels
        ('entailment', 'neutral', 'contradiction')
    """
    file = Path(source)
    if str(source) in builtin_names() and not file.is_file():
        found = set_file.read((_folder() / f"{source}{SUFFIX}").read_text("utf-8"), str(source), str(source))
    else:
        text = _text(file, str(source))
        if file.suffix in (".yaml", ".yml"):
            found = promptsource.read(text, file.name)
        elif file.suffix == ".py":
            found = flan.read(text, file.name)
        elif file.suffix == ".json":
            found = set_file.read_run(text, file.name)
        elif file.suffix == SUFFIX:
            found = set_file.read(text, file.stem, file.name)
        else:
            do = "Name a .toml file of our own, promptsource's templates.yaml, or FLAN's templates.py"
            raise DataError(Problem(file.name, f"whet reads no templates from {file.suffix or 'files without a suffix'}", do))
    return found.of_task(task) if task else found


def imported(source: str | Path, task: str = "", labels: tuple[str, ...] = ()) -> TemplateSet:
    """The set as a file of our own can hold it: with slots wherever they say what the template says.

    Args:
        source: as in `open_set`.
        task: likewise.
        labels: what the labels are called, in the order of the answers; left out, promptsource's are numbers from 0.

    Raises:
        DataError: as `open_set`, or if there are more or fewer labels.
    """
    found = promptsource.simplified(open_set(source, task))
    if not labels:
        return found
    if len(labels) != len(found.labels):
        what = f"{len(labels)} labels are given, and its templates choose from {len(found.labels)} answers"
        raise DataError(Problem(str(source), what, "Name one for each answer, in their order, with commas between"))
    called = dict(zip(found.labels, labels, strict=True))
    numbers = {label: number for number, label in called.items()}

    def named(template: Template) -> Template:
        if not template.jinja:
            return replace(template, answers={called[number]: text for number, text in template.answers.items()})
        reads_it = found.target in template_fields(template)
        return replace(template, target=found.target, answers=numbers) if reads_it else template

    return replace(found, labels=labels, templates=tuple(map(named, found.templates)))


def _text(file: Path, source: str) -> str:
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        near = difflib.get_close_matches(source, builtin_names(), 1)
        do = f"Did you mean {near[0]!r}?" if near else "Name a file, or one of the sets in `whet template list`"
        raise DataError(Problem(source, "there is no such template set", do)) from None
    except IsADirectoryError:
        raise DataError(Problem(source, "this is a folder, not a file", "Name the file in it")) from None
    except UnicodeDecodeError as error:
        raise DataError(Problem(source, f"it is not UTF-8 text (byte {error.start})", "Save it as UTF-8")) from None


def _folder() -> Traversable:
    return resources.files("whet.prompts") / "sets"
