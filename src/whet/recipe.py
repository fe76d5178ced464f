"""The Recipe: the whole intention in one TOML file, read, checked and said back."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from whet.errors import Problem, RecipeError
from whet.example import Task
from whet.knobs.old_names import OLD_NAMES
from whet.sections import EMBEDDED_BASE, Data, Evaluate, Lora, Model, Section, Synth, Train

EMBEDDED_DATA = "embedded:"  # a data path that begins so names a file shipped with whet
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
TOLD = ("instruction", "definition", "constraints", "positive_examples", "negative_examples")  # what [task] says in words
SECTIONS: dict[str, type[BaseModel]] = {
    "task": Task, "data": Data, "model": Model, "lora": Lora, "train": Train, "evaluate": Evaluate,
    "synth": Synth,
}  # fmt: skip


class Recipe(Section):
    """The whole intention: task, data, model, how to train and how to judge."""

    name: str = Field(description="the run's name; its folder is runs/<name>", pattern=rf"^{NAME}(/{NAME})?$")
    seed: int = Field(7, description="every random choice derives from it", ge=0)
    task: Task
    data: Data
    model: Model = Field(default_factory=lambda: Model())
    lora: Lora | None = Field(None, description="left out: full fine-tuning")
    train: Train = Field(default_factory=lambda: Train())
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate())
    synth: Synth | None = Field(None, description="left out: `whet synth` has nothing to do")

    @model_validator(mode="after")
    def _labels_fit(self) -> Recipe:
        labels = self.task.labels
        if self.task.kind != "classify" and labels:
            raise ValueError('[task] labels belong to kind = "classify"; leave them out')
        if len(set(labels)) != len(labels):
            raise ValueError("[task] labels holds a label twice")
        if len(labels) == 1:
            raise ValueError("[task] labels needs at least two")
        unknown = sorted(set(self.data.label_names.values()) - set(labels)) if labels else []
        if unknown:
            raise ValueError(f"[data.label_names] leads to {', '.join(unknown)}, which [task] labels does not hold")
        if self.data.label_names and self.task.kind != "classify" and not self.data.templates:
            raise ValueError('[data.label_names] belongs to kind = "classify", or to templates that have labels; leave it out')
        return self

    @model_validator(mode="after")
    def _knobs_go_together(self) -> Recipe:
        if self.model.quantize and self.lora is None:
            raise ValueError(f'[model] quantize = "{self.model.quantize}" trains no weights by itself; add a [lora] section')
        if self.task.kind != "classify":
            if self.train.label_smoothing_over == "labels":
                raise ValueError('[train] label_smoothing_over = "labels" belongs to kind = "classify"; write "vocabulary"')
            if self.train.class_balance != "none":
                raise ValueError('[train] class_balance belongs to kind = "classify"; leave it out')
        return self

    @model_validator(mode="after")
    def _corpus_keys_fit(self) -> Recipe:
        data = self.data
        if not data.format:
            return self
        if self.task.kind == "text":
            raise ValueError('[data] format names a corpus of answers, and kind = "text" learns none; leave it out')
        columns = ("input", "target", "instruction", "group", "encoding", "delimiter", "extra_path")
        if misplaced := [key for key in columns if getattr(data, key)]:
            raise ValueError(f"[data] {', '.join(misplaced)}: these describe a table, and `format` a corpus; leave them out")
        return self

    @model_validator(mode="after")
    def _text_keys_fit(self) -> Recipe:
        data, is_text = self.data, self.task.kind == "text"
        answers = {key: getattr(data, key) for key in ("target", "instruction", "templates", "extra_path")}
        texts = {"mix_path": data.mix_path, "document_characters": data.document_characters}
        misplaced = [key for key, value in (answers if is_text else texts).items() if value]
        if misplaced:
            whose = 'kind = "text" answers nothing' if is_text else 'that belongs to kind = "text"'
            raise ValueError(f"[data] {', '.join(misplaced)}: {whose}; leave it out")
        told = [key for key in TOLD if getattr(self.task, key)]
        if is_text and told and not data.mix_path:
            raise ValueError(f'[task] {", ".join(told)}: kind = "text" reads plain text, without one; leave it out')
        return self

    def dump(self) -> str:
        """The recipe as TOML, every setting written out."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def fingerprint(self) -> str:
        """SHA-256 of all settings: equal for equal intentions, however the file was written."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def derive_seed(self, use: str) -> int:
        """The seed of one use, so that no two uses share a stream: SHA-256 of the recipe's seed and the use's name."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{use}".encode()).digest()[:4], "big")

    def settings(self) -> dict[str, Any]:
        """All settings, flat: `{"train.learning_rate": 0.0005, ...}`."""
        return dict(_flat(self.model_dump(mode="json")))


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, with `key=value` overrides parsed as TOML values.

    Args:
        path: the file; relative data paths in it are taken from its folder.
        overrides: such as `train.learning_rate=1e-4`; what is no TOML value counts as a string.

    Raises:
        RecipeError: with everything that is wrong, each with the nearest known key; or if the file holds stages, of which
            `series.load_series` reads all.
    """
    values = read_values(path)
    if "stage" in values:
        what = "it is a series of stages, and one recipe is wanted here"
        raise RecipeError(Problem(path.name, what, "Name one with --stage; in Python, use whet.load_series"))
    override(values, overrides)
    return anchored(parse(values, where=path.name), path.parent)


def read_values(path: Path) -> dict[str, Any]:
    """What a recipe's TOML file holds, unchecked.

    Raises:
        RecipeError: if it cannot be read as TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        do = "Write one with `whet new NAME --from TABLE`"
        raise RecipeError(Problem(str(path), "there is no such recipe", do)) from None
    except IsADirectoryError:
        raise RecipeError(Problem(str(path), "this is a folder, not a recipe", "Name the .toml file in it")) from None
    except UnicodeDecodeError as error:
        raise RecipeError(Problem(str(path), f"it is not UTF-8 text (byte {error.start})", "Save it as UTF-8")) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(Problem(str(path), f"it is not valid TOML: {error}", "Mend that line")) from None


def parse(values: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """The recipe that these values make.

    Raises:
        RecipeError: with every wrong key and value at once.
    """
    problems = [
        Problem(f"{where}, [{section}] {key}", "this key is missing", f"Add it: {_help(section, key)}")
        for section, key in _missing(values)
    ]
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(*(_problem(where, e) for e in error.errors(include_url=False)), *problems) from None
    if problems:
        raise RecipeError(*problems)
    return recipe


def _missing(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Section and key of what this kind of task cannot do without: `text` needs no answer and no instruction, rows that bring
    their own instruction need none of the task's, and those of a corpus bring all."""
    task, data = ({} if values.get(name) is None else values[name] for name in ("task", "data"))
    if not isinstance(task, Mapping) or not isinstance(data, Mapping) or task.get("kind") == "text":
        return
    if data.get("format"):
        return
    said = [task.get("instruction"), task.get("definition"), data.get("instruction"), data.get("templates")]
    if "task" in values and not any(said):
        yield "task", "instruction"
    if "data" in values:
        yield from (("data", key) for key in ("input", "target") if not data.get(key))


def known_keys() -> dict[str, list[str]]:
    """Section name ("" for the top) to the keys it knows."""
    sections: dict[str, type[BaseModel]] = {"": Recipe, **SECTIONS}
    return {name: list(section.model_fields) for name, section in sections.items()}


def _problem(where: str, error: Any) -> Problem:
    """One pydantic error as where + what + do."""
    loc = [str(part) for part in error["loc"]]
    section, key = (loc[0], loc[1]) if len(loc) > 1 else ("", loc[0] if loc else "")
    place = f"{where}, [{section}] {key}" if section else f"{where}, {key}" if key else where
    if error["type"] == "extra_forbidden":
        return Problem(place, "there is no such key", _nearest(section, key))
    if error["type"] == "missing":
        needs = f"the section [{key}] is missing" if key in ("task", "data") and not section else "this key is missing"
        return Problem(place, needs, f"Add it: {_help(section, key)}")
    if error["type"] == "value_error":
        return Problem(place, str(error["ctx"]["error"]), "")
    message = error["msg"][0].lower() + error["msg"][1:]
    meant = _help(section, key)
    return Problem(place, f"{error['input']!r} does not do: {message}", f"It is {meant}" if meant else "")


def _help(section: str, key: str) -> str:
    known: dict[str, type[BaseModel]] = {"": Recipe, **SECTIONS}
    field = known[section].model_fields.get(key) if section in known else None
    return (field.description or "") if field else ""


def _nearest(section: str, key: str) -> str:
    """What the writer probably meant: a current name of an old one, or the known key spelled most alike."""
    if key in OLD_NAMES:
        return f"It is called {OLD_NAMES[key]} now"
    known = known_keys()
    here = difflib.get_close_matches(key, known.get(section, []), n=1)
    if here:
        return f"Did you mean `{here[0]}`?"
    anywhere = {k: s for s, keys in known.items() for k in keys}
    close = difflib.get_close_matches(key, anywhere, n=1)
    if close:
        home = anywhere[close[0]]
        return f"Did you mean `{close[0]}` {f'in [{home}]' if home else 'at the top'}?"
    return f"Known here: {', '.join(known.get(section, known['']))}"


def override(values: dict[str, Any], texts: Sequence[str]) -> None:
    """Sets each `section.key=value` in the raw values.

    Raises:
        RecipeError: for a text of another form.
    """
    for text in texts:
        key, sign, raw = text.partition("=")
        parts = key.strip().split(".")
        if not sign or not all(parts):
            do = "Write it as in --set train.learning_rate=1e-4"
            raise RecipeError(Problem(f"--set {text}", "it is not of the form key=value", do))
        try:
            value = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            value = raw.strip()
        place = values
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise RecipeError(Problem(f"--set {text}", f"{part} is not a section", "Name a key as section.key"))
        place[parts[-1]] = value


def anchored(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with its paths absolute, where they name files or folders; a Hub id stays what it is."""

    def anchor(name: str | None) -> str | None:
        if name is None or name.startswith(EMBEDDED_DATA):
            return name
        file = (folder / name).expanduser()
        return str(file.resolve()) if file.exists() or file.suffix else name

    def anchor_folder(name: str) -> str:
        file = (folder / name).expanduser()
        return str(file.resolve()) if file.is_dir() else name

    named = ("path", "validation_path", "test_path", "mix_path", "templates")
    paths: dict[str, Any] = {key: anchor(getattr(recipe.data, key)) for key in named}
    paths["extra_path"] = tuple(map(anchor, recipe.data.extra_path))
    models: dict[str, Any] = {"adapters": tuple(anchor_folder(name) for name in recipe.model.adapters)}
    if recipe.model.base != EMBEDDED_BASE:
        models |= {"base": anchor_folder(recipe.model.base)}
    changed: dict[str, Any] = {
        "data": recipe.data.model_copy(update=paths), "model": recipe.model.model_copy(update=models)
    }  # fmt: skip
    if recipe.synth is not None:
        synth = recipe.synth
        places = {key: anchor(getattr(synth, key)) for key in ("seeds", "judge_human")}
        places |= {key: anchor_folder(name) if (name := getattr(synth, key)) else None for key in ("prompts", "from_run")}
        maker = synth.model if synth.base_url or synth.model == EMBEDDED_BASE else anchor_folder(synth.model)
        changed["synth"] = synth.model_copy(update={**places, "model": maker})
    return recipe.model_copy(update=changed)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value and prefix + key != "data.label_names":
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
