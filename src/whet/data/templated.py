"""`[data] templates`: the columns of a table become the fields of a template set, and each example gets its template."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from whet.data.examples import check_labels
from whet.data.table import Sifted
from whet.errors import DataError, Problem
from whet.example import Drop, Example, Task, Template
from whet.prompts import asking
from whet.prompts.deal import Bound, Shares, bind, called_alike, deal, shots_in_name
from whet.prompts.library import imported
from whet.recipe import Recipe

NO_PROMPT = "no_prompt"
FIXED = "="  # a value of [data.template_fields] that begins so is no column, but a text


@dataclass(frozen=True, slots=True)
class Wording:
    """How the examples of a recipe are put into words: its templates, and which column each of their fields is."""

    bound: Bound
    shares: Shares
    columns: Mapping[str, str]
    labels: tuple[str, ...]  # of the set; empty where the task has them, or where the answer is any text
    label_names: Mapping[str, str]  # what a cell is called as such a label

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers label by label of which templates are dealt, in their order; empty where all rows are one label."""
        return tuple(sorted(self.bound.asked.answers))

    @property
    def fields_read(self) -> tuple[str, ...]:
        """For each column a field that holds what was read there."""
        return tuple({column: field for field, column in self.columns.items()}.values())


def open_wording(recipe: Recipe, labels: tuple[str, ...]) -> Wording | None:
    """The templates of a recipe, bound to its task and columns; None if it has none.

    Raises:
        DataError: with everything because of which they do not fit.
    """
    data, task = recipe.data, recipe.task.model_copy(update={"labels": labels})
    if data.templates is None:
        return None
    found = imported(data.templates)
    fixed = {field: text.removeprefix(FIXED) for field, text in data.template_fields.items() if text.startswith(FIXED)}
    shares = Shares(data.options_fraction, data.inverted_fraction, data.few_shot_fraction, data.shots)
    if data.label_names and task.kind == "generate" and not found.labels:
        raise DataError(Problem("[data.label_names]", f"the templates of {found.name} have no labels", "Leave it out"))
    bound = bind(found, task, shares, data.template, fixed)
    columns = _columns(bound, recipe, fixed)
    _require_one_wording(bound, recipe, task)
    return Wording(bound, shares, columns, found.labels if task.kind == "generate" else (), data.label_names)


def dress(sifted: Sifted, wording: Wording) -> Sifted:
    """The examples with the fields of the set, asked with the template that stands for all; of what makes no prompt, a Drop.

    Raises:
        DataError: the set has labels, and answers are none of them.
    """
    kept, drops = list[Example](), list[Drop]()
    dressed = [put(example, wording) for example in sifted.examples]
    require_labels(dressed, wording)
    for read, made in zip(sifted.examples, dressed, strict=True):
        if drop := unasked(read, made):
            drops.append(drop)
        else:
            kept.append(made)
    if dressed and not kept:
        raise none_asked(str(drops[0].origin), drops[0].detail)
    return Sifted(kept, [*sifted.drops, *drops], sifted.notes)


def put(example: Example, wording: Wording) -> Example:
    """An example as it was read, with the fields of the set, asked with the template that stands for all."""
    inputs = {field: example.inputs[column] for field, column in wording.columns.items()}
    target = wording.label_names.get(example.target, example.target) if wording.labels else example.target
    return replace(example, inputs=inputs, target=target, template=wording.bound.asked)


def unasked(read: Example, made: Example) -> Drop | None:
    """The Drop of an example of which its template makes no prompt, as it was read and with its template; None if it does."""
    reason, name = asking.why_not(made), made.template.name if made.template else ""
    return Drop(read.origin, NO_PROMPT, f"template {name!r}: {reason}", read.text[:200]) if reason is not None else None


def require_labels(dressed: Sequence[Example], wording: Wording) -> None:
    """Raise if the set has labels, and answers are none of them."""
    if wording.labels and dressed:
        answers = [(e.origin.row, e.target) for e in dressed]
        check_labels(f"{dressed[0].origin.source}, the answers", answers, wording.labels)


def none_asked(where: str, why: str) -> DataError:
    """The error that no row of a file makes a prompt; where the first one is, and why it makes none."""
    return DataError(Problem(where, why, "No row can be rendered: mend the template or the columns"))


def deal_out(
    train: Sequence[Example], wording: Wording, seed: int, fits: Callable[[Example], bool]
) -> tuple[tuple[Example, ...], list[str]]:
    """The training examples, each with its own template, and notes on how they were dealt.

    Args:
        train: asked with the template that stands for all.
        wording: the recipe's.
        seed: of the deal.
        fits: whether an example is not too long for the model. One that is, or of which its template makes nothing, keeps the
            template that stands for all.
    """
    dealt = [e if asking.why_not(e) is None and fits(e) else None for e in deal(train, wording.bound, wording.shares, seed)]
    given = tuple(new or old for new, old in zip(dealt, train, strict=True))
    names = Counter(e.template.name for e in given if e.template)
    return given, deal_notes(names, sum(new is None for new in dealt), wording)


def deal_notes(names: Counter[str], kept: int, wording: Wording) -> list[str]:
    """What a person should know of how templates were dealt.

    Args:
        names: how many training examples have each.
        kept: how many of them kept the one that stands for all, because they do not fit their own.
        wording: the recipe's.
    """
    forms = [(form.name, pair[0].name) for pair in wording.bound.forward for form in pair]
    made_of = dict(forms) | {name + shots_in_name(wording.shares.shots): whole for name, whole in forms}
    counts = Counter[str]()
    for name, times in names.items():
        counts[made_of.get(name, name)] += times
    fewest, most = min(counts.values()), max(counts.values())
    often = f"{fewest:,} times" if fewest == most else f"{fewest:,} to {most:,} times"
    notes = [f"train: asked with {len(counts)} template{'s' if len(counts) > 1 else ''}, each {often}."]
    if kept:
        instead = f"and are asked with {wording.bound.asked.name!r}"
        notes.append(f"train: {kept:,} examples do not fit their own template, {instead}.")
    return notes


def used(templates: Iterable[Template], wording: Wording) -> tuple[Template, ...]:
    """Every template once, of those that examples have; first the one that stands for all."""
    found = {template.name: template for template in templates}
    first = wording.bound.asked
    return (first, *(template for name, template in sorted(found.items()) if name != first.name))


def _columns(bound: Bound, recipe: Recipe, fixed: Mapping[str, str]) -> dict[str, str]:
    """The column of each field."""
    data, fields = recipe.data, bound.fields
    named = {field: column for field, column in data.template_fields.items() if field not in fixed}
    where, problems = "[data.template_fields]", []
    for field in data.template_fields:
        if field not in {*fields, *fixed}:
            problems.append(Problem(where, f"the templates have no field {field!r}", f"They have {', '.join(fields)}"))
    problems += [
        Problem(where, f"{column!r} is no column of [data] input", f"Name one of {', '.join(data.input)}, or add it")
        for column in named.values()
        if column not in data.input
    ]
    for field in fields:
        if field not in named and field in data.input:
            named[field] = field
    if len(fields) == len(data.input) == 1 and not named:
        named = {fields[0]: data.input[0]}
    for field in fields:
        if field not in named:
            near = difflib.get_close_matches(field, data.input, 1)
            do = f'Write {field} = "{near[0] if near else data.input[0]}" under {where}, if that is the column'
            problems.append(Problem(f"[data] templates {data.templates}", f"no column stands for the field {field!r}", do))
    unread = [column for column in data.input if column not in named.values()]
    if unread and not problems:
        what = f"no template reads {', '.join(map(repr, unread))}"
        problems.append(Problem("[data] input", what, "Leave it out, or name its field under [data.template_fields]"))
    if problems:
        raise DataError(*problems)
    return {field: named[field] for field in sorted(named, key=lambda field: data.input.index(named[field]))}


def _require_one_wording(bound: Bound, recipe: Recipe, task: Task) -> None:
    """Raise where something counts answers as labels, and each template calls the labels by other names."""
    train = recipe.train
    counting = [key for key, value in (("class_balance", train.class_balance != "none"),
                                       ("label_smoothing_over", train.label_smoothing_over == "labels")) if value]  # fmt: skip
    if counting and task.kind == "classify" and not called_alike(bound):
        what = f"the templates call the labels by different names, and [train] {' and '.join(counting)} needs one name for each"
        raise DataError(Problem(f"[data] templates {recipe.data.templates}", what, "Name one with [data] template"))
