"""The plan of a run: written into its folder, held against the machine before it trains, and what it took against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from whet import ledger
from whet.budget.devices import this_machine
from whet.budget.verdict import in_words
from whet.data import tokens as tokenizers
from whet.errors import Problem, RunError
from whet.example import Drop
from whet.planning import Prepared, ground_of, plan_rows
from whet.recipe import Recipe
from whet.run import Run
from whet.views.wording import size


def plan_run(run: Run, drops: Sequence[Drop] = ()) -> dict[str, Any]:
    """What `plan.json` holds: the plan of a run on this machine, made now unless it was made for this machine before.

    Args:
        run: with its data prepared.
        drops: what was dropped or cut.
    """
    device, recipe = this_machine(), run.recipe
    if run.has("plan.json"):
        found = run.read_json("plan.json")
        if (found.get("device"), found.get("budget_bytes")) == (device.to_json(), device.memory_bytes):
            return found
    splits = {split: run.examples(split) for split in ("train", "validation", "test")}
    prepared, base = Prepared(splits, run.task, run.template, drops), recipe.model.base
    plan, _ = plan_rows(recipe, prepared, tokenizers.load(base), ground_of(recipe, base, device))
    run.write_json("plan.json", {"device": device.to_json(), "budget_bytes": device.memory_bytes, **plan.to_json()})
    return run.read_json("plan.json")


@contextmanager
def planned(run: Run, *, anyway: bool) -> Iterator[dict[str, Any]]:
    """Gives the plan of a run to what is done inside; where memory runs out in there, the plan stands beside the error.

    Args:
        run: with its data prepared.
        anyway: go on even if it cannot fit.

    Raises:
        RunError: if it cannot fit, or does not.
    """
    plan = plan_run(run)
    if not anyway:
        refuse(plan, run)
    with out_of_memory_answered(plan, run):
        yield plan


def score(plan: Mapping[str, Any], recipe: Recipe, measured: Mapping[str, int], seconds: float) -> dict[str, Any] | None:
    """What the manifest keeps of a run: predicted against measured. The ledger keeps it too, for the next plan."""
    if plan["fits"] is None:
        return None
    ledger.keep(plan, measured, seconds, recipe)
    return ledger.score(plan, measured, seconds)


def refuse(plan: Mapping[str, Any], run: Run) -> None:
    """Raises a RunError if the plan of a run says that it cannot fit: with the peak, what there is, and what helps most."""
    if plan["fits"] is False and not run.recipe.model.llm_int8_enable_fp32_cpu_offload:
        raise RunError(Problem(str(run.path), f"this run does not fit: {said(plan)}", f"{helps(plan)}. Or give --anyway"))


@contextmanager
def out_of_memory_answered(plan: Mapping[str, Any], run: Run) -> Iterator[None]:
    """Raises a RunError with the plan beside it where memory runs out."""
    from whet.engine.batch_size import is_out_of_memory

    try:
        yield
    except RunError as error:
        if error.__cause__ is None or not is_out_of_memory(error.__cause__):
            raise
        raise RunError(*error.problems, Problem(str(run.path), f"the plan: {said(plan)}", helps(plan))) from error.__cause__
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        what = f"memory ran out ({str(error).splitlines()[0]}). The plan: {said(plan)}"
        raise RunError(Problem(str(run.path), what, helps(plan))) from error


def said(plan: Mapping[str, Any]) -> str:
    """The memory of a plan in words."""
    if plan["fits"] is None:
        return str(plan["unknown"])
    most = sorted(plan["components"].items(), key=lambda part: -part[1])[:3]
    phase = max(plan["phases"], key=plan["phases"].__getitem__)
    has = f"it needs {size(plan['needed_bytes'])}, and {plan['device']['name']} has {size(plan['budget_bytes'])}"
    return f"{has}; the peak, in {phase}, is {size(plan['peak_bytes'])} ({', '.join(f'{name} {size(n)}' for name, n in most)})"


def helps(plan: Mapping[str, Any]) -> str:
    """The first suggestion of a plan in words."""
    for each in plan.get("suggestions", ()):
        gives = f"{each['meaning']}; it then needs {size(each['needed_bytes'])}"
        return f"What saves most for the time that it costs: {in_words(each['sets'])} ({gives})"
    return "Lower [train] max_length, set gradient_checkpointing, or quantize the base"
