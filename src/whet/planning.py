"""Planning: a recipe's data as ids, the shape of its base and the device brought together into a Plan. No torch, no weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whet import ledger
from whet.budget import schedule
from whet.budget.devices import Device, this_machine
from whet.budget.estimate import Rows
from whet.budget.lengths import cuts, lengths
from whet.budget.plan import Ground, Plan, build_plan, replayed, timed
from whet.budget.remedies import fit
from whet.budget.scoring import answers_only, at_once, scoring
from whet.budget.time import Time, forward_flops
from whet.budget.tokens import Row, count
from whet.budget.verdict import Case
from whet.data import bases
from whet.data import tokens as tokenizers
from whet.data.base_shape import find_shape
from whet.data.dataset import Dataset
from whet.data.tokens import Encoded, Tokens
from whet.engine.timetable import build_timetable
from whet.errors import ModelError, Problem, RecipeError, UserError
from whet.example import Drop, Example, Task, Template
from whet.progress import Progress, Silent
from whet.prompts import asking
from whet.recipe import Recipe, override, parse

ASSUMED_ROWS = 1000  # without data, where nobody says how many


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recipe's data: the splits, the task with its labels, the templates, what was dropped or cut."""

    splits: Mapping[str, Sequence[Example]]
    task: Task
    template: Template | None
    drops: Sequence[Drop] = ()


    @classmethod
    def of(cls, made: Dataset, recipe: Recipe) -> Prepared:
        """That of a dataset."""
        task = recipe.task.model_copy(update={"labels": made.labels})
        return cls(made.splits, task, next(iter(made.templates), None), made.drops)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a plan is asked for.

    Args:
        device: where the run would take place; left out, this machine.
        replay: whether the engine takes the step with tensors that have sizes and no values.
        measured_steps: so many steps are really taken, on this machine, to see how long they take.
        watts: of the device under load.
        price_per_hour: in any currency.
        fit: whether the settings are looked for with which the recipe fits.
    """

    device: Device | None = None
    replay: bool = False
    measured_steps: int = 0
    watts: float | None = None
    price_per_hour: float | None = None
    fit: bool = False


# -- of data, and without ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subject:
    """What a plan is made of: the recipe, the base whose shape counts, the rows, the ground; and what real steps need."""

    recipe: Recipe
    base: str
    rows: Rows
    ground: Ground
    task: Task
    tokens: Tokens | None = None


def plan_data(made: Dataset, recipe: Recipe, base: str, wish: Wish, progress: Progress) -> Plan:
    """The Plan of a recipe over its data.

    Args:
        made: the data.
        recipe: the whole of it.
        base: whose tokenizer and shape count.
        wish: what is asked for.
        progress: is told of steps that are measured.
    """
    prepared, tokens, ground = Prepared.of(made, recipe), tokenizers.load(base), ground_of(recipe, base, wish.device)
    plan, rows = plan_rows(recipe, prepared, tokens, ground)
    subject = Subject(recipe, base, rows, ground, asking.in_words(prepared.task, prepared.template), tokens)
    return _as_wished(plan, subject, wish, progress)


def plan_lengths(recipe: Recipe, length: int, number: int | None, wish: Wish) -> Plan:
    """The Plan of a recipe without data, of rows that are all alike.

    Args:
        recipe: as `bare_recipe` makes it.
        length: tokens of a row.
        number: rows; left out, a thousand.
        wish: what is asked for; without data no step can be measured.

    Raises:
        ModelError: nothing is known of the base's shape.
    """
    base = recipe.model.base
    ground = ground_of(recipe, base, wish.device)
    if ground.shape is None and not wish.replay:
        raise ModelError(Problem(f"[model] base {base}", ground.unknown, "Name another, or give --replay"))
    rows, assumed = plain_rows(recipe, length, number)
    plan = replace(build_plan(rows, recipe, ground), assumed=assumed)
    return _as_wished(plan, Subject(recipe, base, rows, ground, recipe.task), wish, Silent())


def _as_wished(plan: Plan, subject: Subject, wish: Wish, progress: Progress) -> Plan:
    """The plan with all that is asked for."""
    if wish.replay:
        plan = replay_plan(plan, subject)
    if wish.measured_steps:
        plan = measure_plan(plan, subject, wish, progress)
    return fitted(priced(plan, wish), subject, wish)


def rows_of(recipe: Recipe, prepared: Prepared, tokens: Tokens) -> Rows:
    """The rows of a run as ids, in the order in which it will take them."""
    encoded = {
        name: tokenizers.encode_all(prepared.splits[name], prepared.task, tokens, recipe.train.max_length)
        for name in ("train", "validation", "test")
    }
    labels = [tokens.completion(text) for text in asking.label_completions(prepared.template, prepared.task.labels)]
    timetable = build_timetable(recipe, encoded["train"])
    examples = {name: len(split) for name, split in prepared.splits.items()}
    return Rows(examples, encoded["train"], timetable.rows, encoded["validation"], encoded["test"], labels)


def ground_of(recipe: Recipe, base: str, device: Device | None) -> Ground:
    """The shape of a base (unknown where no formula is known for it), the device (left out: this machine), what it taught.

    Args:
        recipe: what the speed depends on is read from it.
        base: whose shape counts.
        device: where it would run.
    """
    device = device or this_machine()
    try:
        shape, unknown = find_shape(base), ""
    except ModelError as error:
        shape, unknown = None, "; ".join(f"{problem.what}" for problem in error.problems)
    return Ground(shape, device, ledger.learned(device.name, recipe), unknown)


def plan_rows(recipe: Recipe, prepared: Prepared, tokens: Tokens, ground: Ground) -> tuple[Plan, Rows]:
    """The Plan of a recipe over its data, with the lengths of its rows; and the rows."""
    rows = rows_of(recipe, prepared, tokens)
    plan = build_plan(rows, recipe, ground)
    limit = tokens.longest(recipe.train.max_length)
    found = lengths([len(row.prompt) + len(row.completion) for row in rows.train], limit, _cuts(prepared))
    return replace(plan, lengths=found), rows


def _cuts(prepared: Prepared) -> Sequence[Any]:
    """What max_length did to each label's rows; of a task without labels, to all of them."""
    has_labels = bool(prepared.task.labels)

    def named(targets: Iterable[str]) -> Counter[str]:
        return Counter(target if has_labels else "all rows" for target in targets)

    kept = {str(e.origin): e.target for split in prepared.splits.values() for e in split}
    shortened = [kept[str(d.origin)] for d in prepared.drops if d.reason == "truncated" and str(d.origin) in kept]
    dropped = [d.target for d in prepared.drops if d.reason == "too_long"]
    return cuts(named(kept.values()), named(shortened), named(dropped))


def bare_recipe(base: str, length: int, overrides: Sequence[str]) -> Recipe:
    """A recipe for rows of `length` tokens without data: plain text, all of which is learned.

    Args:
        base: a base model; every other key is as it is by default.
        length: tokens of a row.
        overrides: `key=value`, as --set gives them.

    Raises:
        RecipeError: with every wrong key and value at once.
    """
    if length < 2:
        raise RecipeError(Problem(f"--length {length}", "a row has at least two tokens, one that is read and one learned", ""))
    values: dict[str, Any] = {
        "name": "without-data", "task": {"kind": "text"}, "data": {"path": "none"}, "model": {"base": base},
        "train": {"max_length": max(8, length)},
    }  # fmt: skip
    override(values, overrides)
    return parse(values, where="--base and --set")


def plain_rows(recipe: Recipe, length: int, number: int | None) -> tuple[Rows, str]:
    """Rows that are all alike and share nothing, every token but the first learned; and a sentence that says so.

    Args:
        recipe: how many of them a step and a scored batch take.
        length: tokens of a row.
        number: how many there are; left out, a thousand.
    """
    total = number or ASSUMED_ROWS
    most = min(total, max(schedule.step_size(recipe.train), recipe.evaluate.batch_size))
    some = tuple(Encoded(str(i), (i,), (0,) * (length - 1)) for i in range(most))
    step = range(min(most, schedule.step_size(recipe.train)))
    train = _Repeated(some, total)
    said = f"{total:,} rows of {length:,} tokens each, all but the first learned, no two alike: no data was read"
    held = some[: recipe.evaluate.batch_size]
    return Rows({"train": total}, train, lambda _: step, held, held, most=1), said


class _Repeated(Sequence[Encoded]):
    """A few rows that stand for many, which would fill memory."""

    def __init__(self, rows: Sequence[Encoded], total: int) -> None:
        self.rows, self.total = rows, total

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.total))]
        if not -self.total <= index < self.total:
            raise IndexError(index)
        return self.rows[index % len(self.rows)]


# -- beyond the formula -------------------------------------------------------------------------------------------------


def replay_plan(plan: Plan, subject: Subject) -> Plan:
    """The plan with the memory that the engine's own step takes when its tensors have sizes and no values."""
    from whet.engine.replay import Material, replay

    recipe, rows, ground = subject.recipe, subject.rows, subject.ground
    longest = sorted(range(len(rows.train)), key=lambda i: -len(rows.train[i].prompt) - len(rows.train[i].completion))
    heavy = plan.cost.heavy.rows if plan.cost else longest[: plan.tokens.micro_batch]
    learned, held = [_encoded(rows.train[i]) for i in heavy], [_encoded(row) for row in (*rows.validation, *rows.test)]
    found = {"per_device_train_batch_size": plan.tokens.micro_batch}
    taken = recipe.model_copy(update={"train": recipe.train.model_copy(update=found)})
    shape = ground.shape or bases.find(recipe.model.model_copy(update={"base": subject.base}), ("config.json",)).folder
    memory = replay(taken, shape, Material(learned, held, [tuple(label) for label in rows.labels]), ground.device.kind)
    return replayed(plan, rows, recipe, ground, memory)


def measure_plan(plan: Plan, subject: Subject, wish: Wish, progress: Progress) -> Plan:
    """The plan with its time from steps that were really taken, and a batch that was really scored.

    Raises:
        UserError: it is for another device, or of a base whose shape is unknown.
    """
    from whet.engine.trial import WARM_UP, Sample, take

    recipe, rows, shape = subject.recipe, subject.rows, subject.ground.shape
    if shape is None or plan.cost is None or plan.cost.flops is None or subject.tokens is None or wish.device is not None:
        what = "steps are measured on this machine, of a base whose shape is known"
        raise UserError(Problem("--measure", what, "Leave --device and --budget out"))
    batch = at_once(rows.validation, rows.labels, recipe.evaluate.batch_size)
    held = [_encoded(row) for row in rows.validation[:batch]]
    sample = Sample([_encoded(row) for row in rows.train], held, rows.labels, plan.tokens.micro_batch, wish.measured_steps)
    seconds, scoring_seconds = take(sample, recipe, subject.task, subject.tokens, progress)
    first = WARM_UP if plan.steps > WARM_UP else 0
    done = count(rows.train, lambda step: rows.rows_of(step + first), len(seconds), recipe.train, plan.tokens.micro_batch)
    training = sum(seconds) * plan.tokens.work.columns / done.work.columns
    scored = forward_flops(shape, scoring(held, rows.labels, answers_only(recipe)).work)
    a_flop = scoring_seconds / scored if scored else training / plan.cost.flops.training
    flops = plan.cost.flops
    return timed(plan, Time(training, flops.validation * a_flop, flops.evaluation * a_flop, "measured"))


def fitted(plan: Plan, subject: Subject, wish: Wish) -> Plan:
    """The plan with the settings that make the recipe fit with the smallest change of meaning, where they are wished for.

    Raises:
        ModelError: nothing is known of the base's shape.
    """
    ground = subject.ground
    if not wish.fit or (plan.cost and plan.cost.verdict == "fits"):
        return plan
    if ground.shape is None:
        raise ModelError(Problem(f"[model] base {subject.base}", ground.unknown, "Without its shape nothing is fitted"))
    case = Case(subject.recipe, subject.rows, ground.shape, ground.device, ground.scale)
    return replace(plan, fit=fit(case, case.estimate()))


def priced(plan: Plan, wish: Wish) -> Plan:
    """The plan with what its time costs in energy and money."""
    if plan.cost is None or plan.cost.time is None or (wish.watts is None and wish.price_per_hour is None):
        return plan
    return timed(plan, replace(plan.cost.time, watts=wish.watts, price_per_hour=wish.price_per_hour))


def _encoded(row: Row) -> Encoded:
    return row if isinstance(row, Encoded) else Encoded("", tuple(row.prompt), tuple(row.completion))
