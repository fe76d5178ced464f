"""The Shape of a base: from the table of known models, or from the config.json of a folder, a finished run or a Hub id."""

from __future__ import annotations

import json
from pathlib import Path

from whet.budget.shapes import Shape, known_shape, shape_of
from whet.data import bases
from whet.errors import ModelError, Problem
from whet.sections import Model


def find_shape(base: str) -> Shape:
    """The Shape of a base: the embedded one, of a local folder or finished run, of a model known by its Hub id, or of a Hub id
    whose config.json can be fetched.

    Raises:
        ModelError: if there is no such base, or its family is none of those known here.
    """
    known = known_shape(base)
    if known and not Path(base).is_dir():
        return known
    folder = bases.find(Model(base=base), ("config.json",)).folder
    return read_shape(folder, base)


def read_shape(folder: Path, base: str) -> Shape:
    """The Shape that a folder's config.json describes.

    Raises:
        ModelError: if there is none, or it describes another kind of model.
    """
    where = f"[model] base {base}"
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(Problem(where, f"its config.json cannot be read: {error}", "Name a model folder")) from None
    if not isinstance(config, dict):
        raise ModelError(Problem(where, "its config.json holds no object", "Name a model folder"))
    return shape_of(config, base)
