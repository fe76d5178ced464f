"""What each method needs of a recipe, and what it does not know. Said before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whet.errors import Problem
from whet.example import Kind
from whet.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method asks of a recipe.

    Attributes:
        kind: of the task; None: `classify` or `generate`.
        seeds: fewest rows of the table `seeds`.
        columns: how many input columns it writes; None: as many as there are.
        instruction: whether rows bring their own, in a column.
        balances: whether it shares rows out over `shares` and `slices`.
        checks_labels: whether its rows can be asked for their label.
        texts_only: whether `seeds` holds nothing but texts, in the target column.
        marks: columns that it adds to the table.
    """

    kind: Kind | None = None
    seeds: int = 0
    columns: int | None = None
    instruction: bool = False
    balances: bool = False
    checks_labels: bool = True
    texts_only: bool = False
    marks: tuple[str, ...] = ()


NEEDS: Mapping[str, Needs] = {
    "description": Needs(balances=True),
    "contrast": Needs("classify", seeds=1, marks=("was",)),
    "self_instruct": Needs("generate", seeds=1, columns=1, instruction=True, marks=("task", "is_classification")),
    "unnatural": Needs("generate", seeds=3, columns=2, instruction=True, marks=("reworded",)),
    "evol": Needs("generate", seeds=1, columns=1, marks=("seed", "round", "operation")),
    "back_instruction": Needs("generate", seeds=1, columns=1, instruction=True, texts_only=True),
    "paraphrase": Needs(checks_labels=False),
    "weak": Needs("classify", marks=("taken_for", "after")),
}


def unmet(recipe: Recipe) -> Iterator[Problem]:
    """What the recipe's method needs and does not get, and what it is given and does not know."""
    synth, task, data = recipe.synth, recipe.task, recipe.data
    assert synth is not None
    method, needs = synth.method, NEEDS[synth.method]
    if needs.kind not in (None, task.kind):
        yield Problem("[synth] method", f"{method} makes rows of a {needs.kind} task", f'Write kind = "{needs.kind}" in [task]')
    if needs.seeds and synth.seeds is None:
        do = "Name a table in seeds, with the columns of [data]"
        yield Problem("[synth] seeds", f"{method} begins with rows of yours", do)
    if needs.columns not in (None, len(data.input)):
        wanted = {1: "one column", 2: "two columns, the input and its constraints"}[needs.columns or 0]
        yield Problem("[data] input", f"{method} writes {wanted}", f"Name {wanted}")
    if needs.instruction and data.instruction is None:
        yield Problem("[data] instruction", f"the rows of {method} bring their own instruction", "Name a column for it")
    if not needs.balances:
        for key in ("shares", "slices"):
            if getattr(synth, key):
                yield Problem(f"[synth] {key}", f"{method} shares nothing out", "Leave it out")
    if synth.check_labels and (task.kind != "classify" or not needs.checks_labels):
        yield Problem("[synth] check_labels", "these rows have no label that could be asked for", "Leave it out")
    if method == "weak" and synth.from_run is None:
        yield Problem("[synth] from_run", "weak aims at the weak spots of a run", "Name it: whet synth RECIPE --from RUN")
