"""whet sharpens an open language model for one task: one recipe in, one run folder out.

This module is the menu. A name is looked up when it is first used, so `import whet` loads no other module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whet.data.corpora.reading import read_corpus as read_corpus
    from whet.errors import DataError as DataError
    from whet.errors import Interrupted as Interrupted
    from whet.errors import ModelError as ModelError
    from whet.errors import Problem as Problem
    from whet.errors import RecipeError as RecipeError
    from whet.errors import RunError as RunError
    from whet.errors import UserError as UserError
    from whet.errors import WhetError as WhetError
    from whet.example import Example as Example
    from whet.example import Prediction as Prediction
    from whet.example import Task as Task
    from whet.recipe import Recipe as Recipe
    from whet.recipe import load as load
    from whet.run import Run as Run
    from whet.series import load_series as load_series
    from whet.stages import check as check
    from whet.stages import compare as compare
    from whet.stages import eject as eject
    from whet.stages import evaluate as evaluate
    from whet.stages import export as export
    from whet.stages import plan as plan
    from whet.stages import predict as predict
    from whet.stages import prepare as prepare
    from whet.stages import report as report
    from whet.stages import show as show
    from whet.stages import train as train

__version__ = "0.1.0"

_HOMES = {
    "whet.data.corpora.reading": "read_corpus",
    "whet.errors": "WhetError UserError RecipeError DataError ModelError RunError Interrupted Problem",
    "whet.example": "Example Task Prediction",
    "whet.recipe": "Recipe load",
    "whet.run": "Run",
    "whet.series": "load_series",
    # `run` is not here: whet.run is the room of that name
    "whet.stages": "check plan prepare show train evaluate compare predict export report eject",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """The public object of this name, from the module that it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module 'whet' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    """The menu, for tab completion."""
    return [*__all__, "__version__"]
