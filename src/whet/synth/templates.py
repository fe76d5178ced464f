"""The prompts that models are asked with: TOML files with slots, which a user can read and replace one by one.

A file `NAME.toml` holds `user` (and, if wanted, `system`), texts in Jinja's notation whose slots the method fills, and a table
`[parameters]` with how the answer is drawn; `fixed = true` keeps these as they are, whatever the recipe says, for a question
whose answer is no row. A file of that name in the folder `[synth] prompts` stands in for whet's own.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from whet.errors import Problem, RecipeError
from whet.synth.request import Message, Parameters

SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One template: where it stands, its two texts and the parameters that it is asked with."""

    where: str
    system: str
    user: str
    parameters: Parameters

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its texts and parameters."""
        said = [self.system, self.user, self.parameters.to_json()]
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()

    def fill(self, slots: Mapping[str, Any]) -> tuple[Message, ...]:
        """The messages with every slot filled.

        Raises:
            RecipeError: if the text is no template, or has a slot that the method does not fill.
        """
        texts = [("system", self.system), ("user", self.user)]
        try:
            filled = [(role, _compiled(text).render(slots).strip()) for role, text in texts]
        except TemplateError as error:
            do = f"Mend it; the slots here are {', '.join(sorted(slots))}"
            raise RecipeError(Problem(self.where, f"{type(error).__name__}: {error}", do)) from None
        return tuple(Message(role, text) for role, text in filled if text)


class Prompts:
    """The templates by name: those of a folder before whet's own, read once.

    Args:
        folder: the recipe's `[synth] prompts`.
        overrides: parameters of the recipe that win over those of every template that does not fix its own.
    """

    def __init__(self, folder: str | None = None, overrides: Mapping[str, Any] | None = None) -> None:
        self.folder, self.overrides = Path(folder) if folder else None, dict(overrides or {})
        self._read: dict[str, Prompt] = {}

    def __getitem__(self, name: str) -> Prompt:
        if name not in self._read:
            self._read[name] = self._load(name)
        return self._read[name]

    def check(self, names: Sequence[str]) -> None:
        """Raises one RecipeError with all that is wrong with these templates, and with files that replace none."""
        problems: list[Problem] = []
        for name in names:
            try:
                self[name]
            except RecipeError as error:
                problems += error.problems
        if self.folder is not None and not self.folder.is_dir():
            problems.append(Problem(f"[synth] prompts {self.folder}", "there is no such folder", "Mend the path"))
        known = set(template_names())
        for file in sorted(self.folder.glob("*")) if self.folder and self.folder.is_dir() else []:
            if file.stem not in known or file.suffix != SUFFIX:
                do = f"Call it one of {', '.join(sorted(known))}, with the ending {SUFFIX}"
                problems.append(Problem(str(file), "whet asks with no prompt of this name", do))
        if problems:
            raise RecipeError(*problems)

    def _load(self, name: str) -> Prompt:
        own = self.folder / (name + SUFFIX) if self.folder else None
        if own is not None and own.is_file():
            where, text = str(own), own.read_text("utf-8")
        else:
            where, text = f"prompt {name}", (_folder() / (name + SUFFIX)).read_text("utf-8")
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(Problem(where, f"it is not valid TOML: {error}", "Mend that line")) from None
        problems = _problems(where, values)
        if problems:
            raise RecipeError(*problems)
        given = Parameters.from_json(values.get("parameters", {}))
        drawn = given if values.get("fixed") else replace(given, **self.overrides)
        return Prompt(where, values.get("system", ""), values["user"], drawn)


def template_names() -> list[str]:
    """The names of whet's own templates."""
    return sorted(file.name.removesuffix(SUFFIX) for file in _folder().iterdir() if file.name.endswith(SUFFIX))


@cache
def _compiled(text: str) -> Template:
    """A text in Jinja's notation, ready to be filled; what a template may do is bounded by the sandbox."""
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text)


def _folder() -> Any:
    return resources.files("whet.synth") / "prompts"


def _problems(where: str, values: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the values of a template file."""
    known = {"system": str, "user": str, "fixed": bool, "parameters": dict}
    problems = [
        Problem(where, f"there is no such key as {key!r}", f"A prompt has {', '.join(known)}")
        for key in values.keys() - known.keys()
    ]
    for key, type_ in known.items():
        if key in values and not isinstance(values[key], type_):
            do = {bool: "Write true or false", dict: "Write a table [parameters]"}.get(type_, "Write a text")
            problems.append(Problem(f"{where}, {key}", "it is of the wrong kind", do))
    if "user" not in values:
        problems.append(Problem(where, "it has no `user` text", "Write what the model is asked"))
    names = [f.name for f in fields(Parameters)]
    if isinstance(values.get("parameters"), dict):
        for key in values["parameters"].keys() - set(names):
            problems.append(Problem(f"{where}, [parameters] {key}", "it is no parameter", f"Known here: {', '.join(names)}"))
    return problems
