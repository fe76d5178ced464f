"""What is known of each public corpus: its size, who made it and how, what may be done with it, where it lies."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from whet.errors import DataError, Problem


@dataclass(frozen=True, slots=True)
class Corpus:
    """One public corpus, as its makers describe it. What they do not state is None or empty.

    `rows` counts what `unit` says. `made_by`: rules, templates, LLM, people. `licence` is its SPDX name where it has one, and
    `terms` what is said beyond it. `commercial`: whether its licence allows commercial use; `mixed` where each part has its
    own. `models`: the LLMs that wrote in it. `forbids_competing`: whether the terms of one of these forbid training models
    that compete with it. `hub`: data sets on the Hugging Face Hub. `formats`: what it is stored in, by the names of
    `registry.FORMATS`. `known_from`: what was read to know this, and what was not.
    """

    name: str
    title: str
    unit: str
    maker: str
    made_by: tuple[str, ...]
    year: int
    forbids_competing: Literal["yes", "no", "in part"]
    files: str
    tasks: tuple[str, ...]
    languages: tuple[str, ...]
    formats: tuple[str, ...]
    known_from: str
    rows: int | None = None
    licence: str | None = None
    terms: str = ""
    paper: str | None = None
    commercial: Literal["yes", "no", "mixed"] | None = None
    models: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()
    notes: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@cache
def corpora() -> tuple[Corpus, ...]:
    """Every corpus of the catalogue, in its order."""
    text = (resources.files("whet.data.corpora") / "catalogue.toml").read_text("utf-8")
    return tuple(_corpus(name, facts) for name, facts in tomllib.loads(text).items())


def _corpus(name: str, facts: dict[str, Any]) -> Corpus:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    return Corpus(name=name, **values)


def find_corpus(name: str) -> Corpus:
    """The corpus of this name.

    Raises:
        DataError: there is none, with the nearest names.

    Example:
        >>> find_corpus("lima").licence
        'CC-BY-NC-SA'
    """
    by_name = {corpus.name: corpus for corpus in corpora()}
    if name in by_name:
        return by_name[name]
    near = difflib.get_close_matches(name, by_name, 3, 0.4)
    do = f"Did you mean {' or '.join(near)}?" if near else "`whet corpus list` names all of them"
    raise DataError(Problem(name, "there is no corpus of this name in the catalogue", do))
