"""The verdict of a plan: whether a run fits a device; the changes of a recipe that might save memory, and what they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ValidationError

from whet.budget.devices import Device
from whet.budget.estimate import Counted, Estimate, Rows, Scale, count_rows, estimate, micro_batch_of
from whet.budget.shapes import Shape
from whet.budget.tokens import Row
from whet.recipe import Recipe

# Up to the first share of a device's memory a run fits, up to the second it is tight: allocators fragment (reserved is 1.02 to
# 1.25 times what is allocated), and the formula itself is off by a few percent.
FITS, TIGHT = 0.85, 0.97

Word = Literal["fits", "tight", "does not fit"]
# What a knob changes in the meaning of a run, from nothing to much.
Change = Literal["nothing", "rounding", "precision", "capacity", "method"]
CHANGES: tuple[Change, ...] = ("nothing", "rounding", "precision", "capacity", "method")


def verdict(needed_bytes: int, budget_bytes: int) -> Word:
    """Whether so much fits into so much.

    Example:
        >>> verdict(84, 100), verdict(90, 100), verdict(98, 100)
        ('fits', 'tight', 'does not fit')
    """
    share = needed_bytes / budget_bytes
    return "fits" if share < FITS else "tight" if share < TIGHT else "does not fit"


@dataclass(frozen=True, slots=True)
class Knob:
    """A change of the recipe that saves memory: the keys, what it changes in meaning, and that in words."""

    sets: Mapping[str, Any]
    changes: Change
    meaning: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A Knob, and what it gives: the new peak, what the device must then have, and the seconds that the run takes longer."""

    knob: Knob
    peak_bytes: int
    needed_bytes: int
    saved_bytes: int
    lost_seconds: float
    verdict: Word

    @property
    def settings(self) -> str:
        """The change as it is given to --set."""
        return in_words(self.knob.sets)

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` says of it."""
        return {
            "sets": dict(self.knob.sets), "changes": self.knob.changes, "meaning": self.knob.meaning,
            "peak_bytes": self.peak_bytes, "needed_bytes": self.needed_bytes, "saved_bytes": self.saved_bytes,
            "lost_seconds": self.lost_seconds, "verdict": self.verdict,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fit:
    """The settings with which a recipe fits, the knobs that they come from, and what it then takes; `verdict` is never that
    it does not fit."""

    sets: Mapping[str, Any]
    knobs: tuple[Knob, ...]
    peak_bytes: int
    needed_bytes: int
    verdict: Word

    @property
    def settings(self) -> str:
        """The change as it is given to --set."""
        return in_words(self.sets)

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --fit --json` says of it."""
        return {
            "sets": dict(self.sets), "changes": [{"changes": k.changes, "meaning": k.meaning} for k in self.knobs],
            "peak_bytes": self.peak_bytes, "needed_bytes": self.needed_bytes, "verdict": self.verdict,
        }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A recipe, the rows that it trains on, the shape of its base, and the device that it should fit."""

    recipe: Recipe
    rows: Rows
    shape: Shape
    device: Device
    scale: Scale
    _counted: dict[tuple[object, ...], Counted] = field(default_factory=dict, repr=False, compare=False)

    def changed(self, sets: Mapping[str, Any]) -> Case | None:
        """The same with these settings; None if the recipe does not allow them."""
        values = self.recipe.model_dump(exclude_none=True)
        for key, value in sets.items():
            section, _, name = key.partition(".")
            values.setdefault(section, {})[name] = value
        try:
            recipe = Recipe.model_validate(values)
        except ValidationError:
            return None
        length = sets.get("train.max_length")
        rows = replace(self.rows, train=[_cut(row, length) for row in self.rows.train]) if length else self.rows
        return replace(self, recipe=recipe, rows=rows)

    def counted(self) -> Counted:
        """The work in its rows; what was counted once is known to every case that comes of it."""
        micro_batch = micro_batch_of(self.rows, self.recipe, self.shape, self.device, self.scale)
        train = self.recipe.train
        read = (train.max_length, train.share_prefix, train.packing, train.gradient_accumulation_steps)
        key = (micro_batch, *read, self.recipe.evaluate.batch_size)
        if key not in self._counted:
            self._counted[key] = count_rows(self.rows, self.recipe, micro_batch)
        return self._counted[key]

    def estimate(self, counted: Counted | None = None) -> Estimate:
        """What it takes."""
        return estimate(counted or self.counted(), self.recipe, self.shape, self.device, self.scale)

    def verdict(self, found: Estimate) -> Word:
        """Whether that fits the device."""
        return verdict(found.needed_bytes, self.device.memory_bytes)


def _cut(row: Row, length: int) -> Row:
    """The row with its prompt cut so that it has so many tokens."""
    over = len(row.prompt) + len(row.completion) - length
    if over <= 0:
        return row
    return CutRow(row.prompt[: max(1, len(row.prompt) - over)], row.completion[: length - 1])


@dataclass(frozen=True, slots=True)
class CutRow:
    """A row that was cut."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]


def in_words(sets: Mapping[str, Any]) -> str:
    """Settings as they are given to --set.

    Example:
        >>> in_words({"train.gradient_checkpointing": True, "lora.r": 8})
        '--set train.gradient_checkpointing=true --set lora.r=8'
    """
    said = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in sets.items()}
    return " ".join(f"--set {key}={value}" for key, value in said.items())
