"""What would make a run fit: the knobs of its recipe that save memory, ranked; and those that do, with the least change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whet.budget.estimate import Counted, Estimate
from whet.budget.scoring import at_once
from whet.budget.verdict import CHANGES, Case, Fit, Knob, Suggestion, Word, verdict
from whet.errors import UserError
from whet.knobs.optimizers import OPTIMIZERS

# A knob that costs no time is ranked as if it cost this share of the run, so that of two such the one that saves more is first.
FREE_SHARE = 0.01
SMALLEST_R = 4
SHORTEST = 32  # tokens below which no max_length is proposed
SHORTENED_ROWS = 0.05  # share of the rows that the first proposal of a max_length cuts


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
