"""The Run: one folder on disk. All that is written to it is written beside, fsynced and renamed; one writer at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import whet
from whet.errors import Problem, RunError
from whet.example import Drop, Example, Task, Template
from whet.measure.calibration import Calibration
from whet.recipe import Recipe, load


class Run:
    """One run folder. Its parts are files with fixed names; `path` is the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # -- opening --------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, recipe: Recipe, data_hashes: Mapping[str, Any], command: str) -> Run:
        """The run folder for this recipe and data: a new one, or the one that the same recipe began.

        Raises:
            RunError: if the folder holds a run of another recipe or other data (each differing key is named), or
                something that is no run at all.
        """
        run = cls(path)
        if run.has("manifest.json"):
            run._refuse_other(recipe, data_hashes)
            return run
        if path.exists() and any(p.name != "run.lock" for p in path.iterdir()):
            raise RunError(Problem(str(path), "this folder is not empty and holds no run", "Name another with --out"))
        path.mkdir(parents=True, exist_ok=True)
        run.write_text("recipe.toml", recipe.dump())
        run.write_json("manifest.json", {
            "name": recipe.name, "whet": whet.__version__, "command": command, "seed": recipe.seed,
            "recipe_sha256": recipe.fingerprint(), "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(), "versions": versions(), "data": dict(data_hashes),
        })  # fmt: skip
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in this folder.

        Raises:
            RunError: if there is none.
        """
        run = cls(path)
        if not run.has("manifest.json"):
            raise RunError(Problem(str(path), "there is no run here", "Name a folder that `whet prepare` or `whet run` made"))
        return run

    def _refuse_other(self, recipe: Recipe, data_hashes: Mapping[str, Any]) -> None:
        before, now = self.recipe.settings(), recipe.settings()
        elsewhere = "Use another folder with --out, or undo the change"
        problems = [
            Problem(
                f"{self.path}, {key}",
                f"this run was begun with {before.get(key)!r}, the recipe now says {now.get(key)!r}",
                elsewhere,
            )
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
        old = self.manifest["data"]
        changed = {recipe.model.base: "the run that this one starts from"}
        problems += [
            Problem(f"{self.path}, {name}", f"{changed.get(name, 'the data')} changed since this run was begun", elsewhere)
            for name in sorted(old.keys() | data_hashes.keys())
            if old.get(name, {}).get("sha256") != data_hashes.get(name, {}).get("sha256")
        ]
        if problems:
            raise RunError(*problems)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder for one writing process; the kernel lets go when the process ends, however it ends.

        Raises:
            RunError: if another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "run.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                what = f"{holder} is working on this run"
                raise RunError(Problem(str(self.path), what, "Wait for it, or end it")) from None
            file.truncate(0)
            file.write(f"process {os.getpid()}")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    # -- reading --------------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Is this file or folder there?"""
        return (self.path / name).exists()

    @property
    def recipe(self) -> Recipe:
        """The recipe that the run was begun with."""
        return load(self.path / "recipe.toml")

    @property
    def manifest(self) -> dict[str, Any]:
        """Who, what, when, from which data; grows from stage to stage."""
        return self.read_json("manifest.json")

    @property
    def task(self) -> Task:
        """The recipe's task, with the labels that the data showed where the recipe named none."""
        recipe = self.recipe
        labels = recipe.task.labels or tuple(self.manifest.get("dataset", {}).get("labels", ()))
        return recipe.task.model_copy(update={"labels": labels})

    def calibration(self) -> Calibration | None:
        """The fitted calibration, or None before `evaluate` (or for `generate`)."""
        return Calibration.from_json(self.read_json("calibration.json")) if self.has("calibration.json") else None

    def read_json(self, name: str) -> dict[str, Any]:
        """The object in a JSON file of the run.

        Raises:
            RunError: if it is missing (and says which stage writes it) or damaged.
        """
        try:
            value: dict[str, Any] = json.loads((self.path / name).read_text("utf-8", "surrogatepass"))
            return value
        except FileNotFoundError:
            verb = {"calibration.json": "evaluate", "evaluation.json": "evaluate"}.get(name, "prepare")
            raise RunError(Problem(f"{self.path}", f"{name} is not there yet", f"Run `whet {verb}` first")) from None
        except json.JSONDecodeError as error:
            what = f"it is damaged ({error})"
            raise RunError(Problem(f"{self.path / name}", what, "Delete it and run the stage again")) from None

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """The records of a JSONL file of the run; [] if it is not there. A last line that a kill cut short is no record."""
        file = self.path / name
        if not file.exists():
            return []
        *lines, _ = file.read_text("utf-8", "surrogatepass").split("\n")  # not splitlines: U+2028 may stand inside a text
        return [json.loads(line) for line in lines]

    def examples(self, split: str) -> list[Example]:
        """The examples of one split, in the dataset's order."""
        if not self.has(f"dataset/{split}.jsonl"):
            raise RunError(Problem(str(self.path), "it holds no prepared data yet", "Run `whet prepare` first"))
        templates = {template.name: template for template in self.templates}
        return [Example.from_json(r, templates) for r in self.read_lines(f"dataset/{split}.jsonl")]

    @property
    def templates(self) -> tuple[Template, ...]:
        """What the examples are asked with, the first of which stands for all; none where they are asked plainly."""
        if not self.has("templates.json"):
            return ()
        return tuple(Template.from_json(record) for record in self.read_json("templates.json")["templates"])

    @property
    def template(self) -> Template | None:
        """What a new text is asked with; None: plainly."""
        return next(iter(self.templates), None)

    # -- writing --------------------------------------------------------------------------------------------------

    def write_text(self, name: str, text: str) -> None:
        """Writes a file whole or not at all."""
        write_atomically(self.path / name, text.encode("utf-8", "surrogatepass"))

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes one object as JSON."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def write_lines(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes records as JSONL."""
        self.write_text(name, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))

    def take(self, name: str, path: Path) -> None:
        """Makes a finished file on the same disk a part of the run."""
        final = self.path / name
        final.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(final)
        sync_folder(final.parent)

    def write_dropped(self, drops: Iterable[Drop]) -> None:
        """Writes `dropped.jsonl`: one line for every row that was dropped or changed, with its reason."""
        self.write_lines("dropped.jsonl", (d.to_json() for d in drops))

    def update_manifest(self, **parts: Any) -> None:
        """Adds or replaces parts of the manifest."""
        self.write_json("manifest.json", {**self.manifest, **parts})


def write_atomically(path: Path, content: bytes) -> None:
    """Writes beside, fsyncs, renames, fsyncs the folder: readers see the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def replace_folder(beside: Path, final: Path) -> None:
    """Puts a finished folder in its place: files fsynced, the old one moved away, the new one renamed in, the old removed."""
    for file in beside.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    sync_folder(beside)
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    beside.rename(final)
    sync_folder(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine() -> str:
    """The machine in words: system, processor family, cores."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """The versions that results depend on."""
    found = {"python": platform.python_version(), "whet": whet.__version__}
    for name in ("torch", "transformers", "peft", "accelerate", "tokenizers", "numpy", "scikit-learn"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def command_line() -> str:
    """The command that was typed."""
    import shlex

    program = Path(sys.argv[0]).name
    return shlex.join(["whet" if program == "__main__.py" else program, *sys.argv[1:]])
