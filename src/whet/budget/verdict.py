"""The verdict of a plan: whether a run fits, and what would make it fit: knobs, each with what it saves and changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ValidationError

from whet.budget.devices import Device
from whet.budget.estimate import Counted, Estimate, Rows, Scale, count_rows, estimate, micro_batch_of
from whet.budget.scoring import at_once
from whet.budget.shapes import Shape
from whet.budget.tokens import Row
from whet.errors import UserError
from whet.knobs.optimizers import OPTIMIZERS
from whet.recipe import Recipe

# Up to the first share of a device's memory a run fits, up to the second it is tight: allocators fragment (reserved is 1.02 to
# 1.25 times what is allocated), and the formula itself is off by a few percent.
FITS, TIGHT = 0.85, 0.97
# A knob that costs no time is ranked as if it cost this share of the run, so that of two such the one that saves more is first.
FREE_SHARE = 0.01
SMALLEST_R = 4
SHORTEST = 32  # tokens below which no max_length is proposed
SHORTENED_ROWS = 0.05  # share of the rows that the first proposal of a max_length cuts

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


def suggest(case: Case, counted: Counted, found: Estimate, ratio: float = 1.0) -> tuple[Suggestion, ...]:
    """What would help, best first: ranked by bytes saved per second lost.

    Args:
        case: that does not fit, or only just.
        counted: the work in its rows.
        found: what it takes, by formula.
        ratio: of a better prediction of its peak to the formula's, which then holds for the others too.
    """
    gains = [(each, _gain(case, counted, found, each, ratio)) for each in knobs(case, found)]
    return tuple(gain for _, gain in sorted(gains, key=lambda pair: -_worth(pair[1], found)) if gain and gain.saved_bytes > 0)


def fit(case: Case, found: Estimate) -> Fit | None:
    """The settings with which it fits, of all the ones that change least in meaning; None if none do.

    Knobs that change nothing come first, then those that change rounding, and so on; among those of a kind the one that saves
    most for the time that it costs. What turned out not to be needed is taken back.
    """
    aims: tuple[tuple[Word, ...], ...] = (("fits",), ("fits", "tight"))
    for wanted in aims:
        turned = _turned(case, found, wanted)
        if turned is not None:
            kept = _needed(case, turned, wanted)
            sets = _together(kept)
            made = case.changed(sets)
            assert made is not None  # each of its knobs was allowed
            gives = made.estimate()
            return Fit(sets, tuple(kept), gives.memory.peak_bytes, gives.needed_bytes, made.verdict(gives))
    return None


def knobs(case: Case, found: Estimate) -> Iterator[Knob]:
    """Every change that might save memory here, one of each kind."""
    recipe, train = case.recipe, case.recipe.train
    yield from _smaller_micro_batch(case, found)
    if not train.gradient_checkpointing:
        yield Knob({"train.gradient_checkpointing": True}, "nothing", "activations are computed twice instead of being kept")
    if not train.share_prefix and not train.packing:
        yield Knob({"train.share_prefix": True}, "nothing", "what the rows of a micro-batch share is computed once, no padding")
    scored = at_once((*case.rows.validation, *case.rows.test), case.rows.labels, recipe.evaluate.batch_size)
    if found.memory.peak_phase == "evaluation" and scored > 1:
        half = scored // 2
        yield Knob({"evaluate.batch_size": half}, "nothing", f"{half} examples are scored at a time")
    yield from _other_optimizers(case)
    if not train.bf16:
        yield Knob({"train.bf16": True}, "rounding", "the forward pass in bfloat16; weights and their updates stay as they are")
    if recipe.lora and recipe.model.dtype == "float32":
        which = "frozen weights that are not quantized" if recipe.model.quantize else "frozen weights"
        yield Knob({"model.dtype": "bfloat16"}, "precision", f"{which} keep 8 bits of their digits; the adapter keeps all")
    if recipe.lora and recipe.model.quantize in (None, "int8") and not recipe.model.random_weights:
        sets = {"model.quantize": "nf4", "model.bnb_4bit_use_double_quant": True, "model.bnb_4bit_compute_dtype": "bfloat16"}
        yield Knob(sets, "precision", "the frozen weights are kept in 4 bits (QLoRA)")
    yield from _smaller_capacity(case)


def _smaller_micro_batch(case: Case, found: Estimate) -> Iterator[Knob]:
    """The largest part of the micro-batch with which it fits, or single rows; the step keeps its rows."""
    train = case.recipe.train
    size, accumulation = train.per_device_train_batch_size, train.gradient_accumulation_steps
    if size == "auto" or found.memory.peak_phase == "evaluation":
        return
    last = None
    while size % 2 == 0:
        size, accumulation = size // 2, accumulation * 2
        sets = {"train.per_device_train_batch_size": size, "train.gradient_accumulation_steps": accumulation}
        last = Knob(sets, "nothing", f"micro-batches of {size}, {accumulation} in a step: the step keeps its examples")
        smaller = case.changed(sets)
        if smaller and smaller.verdict(smaller.estimate()) == "fits":
            break
    if last:
        yield last


def _other_optimizers(case: Case) -> Iterator[Knob]:
    """The same optimizer with its states in 8 bits, and with states that can leave a GPU."""
    now = OPTIMIZERS[case.recipe.train.optim]
    alike = [o for o in OPTIMIZERS.values() if o.family == now.family and o.bits]
    smaller = next((o.name for o in alike if o.bits == 8 and o.paged == now.paged), None)
    if now.bits != 8 and smaller:
        yield Knob({"train.optim": smaller}, "rounding", "the optimizer's states are kept in 8 bits")
    paged = next((o.name for o in alike if o.paged and (o.bits == 8) == (now.bits == 8)), None)
    if case.device.kind == "cuda" and not now.paged and paged:
        yield Knob({"train.optim": paged}, "nothing", "the optimizer's states move to the main memory when the GPU is full")


def _smaller_capacity(case: Case) -> Iterator[Knob]:
    """What learns less: shorter rows, a smaller adapter, an adapter instead of all weights."""
    recipe, lora = case.recipe, case.recipe.lora
    lengths = sorted(len(row.prompt) + len(row.completion) for row in case.rows.train)
    enough = lengths[int((1 - SHORTENED_ROWS) * (len(lengths) - 1))]
    length = max(SHORTEST, -(-min(enough, lengths[-1] * 3 // 4) // 8) * 8)
    if length < lengths[-1]:
        cut = sum(n > length for n in lengths)
        sets: dict[str, Any] = {"train.max_length": length}
        told = f"windows of {length} tokens"
        if recipe.task.kind != "text":
            sets["train.too_long"] = "truncate"
            told = f"{cut:,} of {len(lengths):,} rows are cut to {length} tokens"
        yield Knob(sets, "capacity", told)
    if lora and lora.r >= 2 * SMALLEST_R:
        alpha = lora.lora_alpha / 2  # the update keeps its scale, lora_alpha / r
        yield Knob({"lora.r": lora.r // 2, "lora.lora_alpha": alpha}, "capacity", f"the adapter has rank {lora.r // 2}")
    if not lora:
        yield Knob({"lora.r": 16}, "method", "an adapter (LoRA) is trained instead of all weights")


def _gain(case: Case, counted: Counted, found: Estimate, each: Knob, ratio: float) -> Suggestion | None:
    """What a knob gives; None if the recipe does not allow it."""
    made = case.changed(each.sets)
    if made is None:
        return None
    recounted = {"per_device_train_batch_size", "max_length", "share_prefix", "batch_size"}
    turned = {key.partition(".")[2] for key in each.sets}
    is_same_work = not turned & recounted and made.recipe.train.per_device_train_batch_size != "auto"
    try:
        gives = made.estimate(counted if is_same_work else None)
    except UserError:
        return None
    outside = case.device.outside_bytes
    before, after = (round((e.needed_bytes - outside) * ratio) + outside for e in (found, gives))
    lost = max(0.0, gives.time.seconds - found.time.seconds)
    peak = round(gives.memory.peak_bytes * ratio)
    return Suggestion(each, peak, after, before - after, lost, verdict(after, case.device.memory_bytes))


def _worth(gain: Suggestion | None, found: Estimate) -> float:
    """Bytes saved per second lost."""
    return gain.saved_bytes / (gain.lost_seconds + FREE_SHARE * found.time.seconds) if gain else 0.0


def _turned(case: Case, found: Estimate, wanted: Sequence[Word]) -> list[Knob] | None:
    """The knobs in the order in which they were turned until it fits; None if all of them together do not do."""
    turned: list[Knob] = []
    for change in CHANGES:
        while case.verdict(found) not in wanted:
            counted = case.counted()
            gains = [_gain(case, counted, found, each, 1.0) for each in knobs(case, found) if each.changes == change]
            best = max((g for g in gains if g and g.saved_bytes > 0), key=lambda g: _worth(g, found), default=None)
            made = case.changed(best.knob.sets) if best else None
            if best is None or made is None:
                break
            turned.append(best.knob)
            case, found = made, made.estimate()
    return turned if case.verdict(found) in wanted else None


def _needed(case: Case, turned: Sequence[Knob], wanted: Sequence[Word]) -> list[Knob]:
    """Those of the knobs without which it would not fit; the first ones, which change least, are kept longest."""
    kept = list(turned)
    for each in reversed(turned):
        fewer = [knob for knob in kept if knob is not each]
        without = case.changed(_together(fewer))
        if without is not None and without.verdict(without.estimate()) in wanted:
            kept = fewer
    return kept


def _together(turned: Sequence[Knob]) -> dict[str, Any]:
    """All their settings; a later one of a key wins."""
    return {key: value for knob in turned for key, value in knob.sets.items()}


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
