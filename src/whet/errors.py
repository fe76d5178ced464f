"""The exception tree. Every error says where, what, and what to do; several problems are said at once.

WhetError                 exit 3: ours
└── UserError             exit 2: the user must change something
    ├── RecipeError       a key, a value or a combination in the recipe
    ├── DataError         a file, a row, a label
    ├── ModelError        a base model or tokenizer that cannot be had or used
    ├── RunError          a run folder that does not match, is locked, incomplete or damaged
    └── Interrupted       exit 130: the user stopped it; says how to go on
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `where` it is, `what` it is, what to `do` about it."""

    where: str
    what: str
    do: str

    def __str__(self) -> str:
        sentence = f"{self.where}: {self.what}. {self.do}".rstrip(". ")
        return sentence if sentence.endswith(("?", "!")) else f"{sentence}."


class WhetError(Exception):
    """An error that whet explains itself. `problems` holds everything that was found, not only the first."""

    exit_code = 3

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(p) for p in problems))

    @classmethod
    def at(cls, where: str, what: str, do: str) -> WhetError:
        """The error with one problem."""
        return cls(Problem(where, what, do))

    def __reduce__(self) -> tuple[type[WhetError], tuple[Problem, ...]]:
        return type(self), self.problems


class UserError(WhetError):
    """Something the user can change. Never shown with a traceback."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe that cannot be followed."""


class DataError(UserError):
    """A file, a row or a label that cannot be used as it is."""


class ModelError(UserError):
    """A base model or tokenizer that cannot be had or used."""


class RunError(UserError):
    """A run folder that does not match its recipe or data, is in use, incomplete or damaged."""


class Interrupted(UserError):
    """The user stopped the work; what was done is kept."""

    exit_code = 130
