"""`[data] templates`: the columns of a table become the fields of a template set, and each example gets its template."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    kept, drops, examples = [], [], sifted.examples
    if wording.labels and examples:
        names = wording.label_names
        examples = [replace(e, target=names.get(e.target, e.target)) for e in examples]
        answers = [(e.origin.row, e.target) for e in examples]
        check_labels(f"{examples[0].origin.source}, the answers", answers, wording.labels)
    for example in examples:
        inputs = {field: example.inputs[column] for field, column in wording.columns.items()}
        made = replace(example, inputs=inputs, template=wording.bound.asked)
        reason = asking.why_not(made)
        if reason is None:
            kept.append(made)
        else:
            detail = f"template {wording.bound.asked.name!r}: {reason}"
            drops.append(Drop(example.origin, NO_PROMPT, detail, example.text[:200]))
    if examples and not kept:
        do = "No row can be rendered: mend the template or the columns"
        raise DataError(Problem(str(drops[0].origin), drops[0].detail, do))
    return Sifted(kept, [*sifted.drops, *drops], sifted.notes)


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
    forms = [(form.name, pair[0].name) for pair in wording.bound.forward for form in pair]
    made_of = dict(forms) | {name + shots_in_name(wording.shares.shots): whole for name, whole in forms}
    counts = Counter(made_of.get(e.template.name, e.template.name) for e in given if e.template)
    fewest, most = min(counts.values()), max(counts.values())
    times = f"{fewest:,} times" if fewest == most else f"{fewest:,} to {most:,} times"
    notes = [f"train: asked with {len(counts)} template{'s' if len(counts) > 1 else ''}, each {times}."]
    if kept := sum(new is None for new in dealt):
        instead = f"and are asked with {wording.bound.asked.name!r}"
        notes.append(f"train: {kept:,} examples do not fit their own template, {instead}.")
    return given, notes


def used(splits: Mapping[str, Sequence[Example]], wording: Wording) -> tuple[Template, ...]:
    """Every template that an example has; first the one that stands for all."""
    found = {e.template.name: e.template for examples in splits.values() for e in examples if e.template}
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
