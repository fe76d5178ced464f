"""Other ways to ask: templates that put the recipe's task into other words, with a slot for each input column.

No rows are made. What comes of it is a template set (`templates.toml` in the run folder) for `[data] templates`, whose first
template is the recipe's own wording; the table holds the wordings as a column `instruction`.

Source: Wei et al. 2022, "Finetuned language models are zero-shot learners" (ten templates a task); Sanh et al. 2022 (P3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from whet.example import Template
from whet.prompts import set_file, slots
from whet.prompts.sets import TemplateSet, require_sound
from whet.recipe import Recipe
from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.reading import read_fields, rows_schema
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock

OPTIONS = "options"
SHOWN_WORDINGS = 12


class Paraphrase:
    """The method `paraphrase`: templates, none of which leaves an input out."""

    prompts = ("templates",)
    leads_on = False

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """Wordings unlike those that there are."""
        size = self.desk.synth.rows_per_request
        return [self._request(stock, stock.asked + n) for n in range(min(room, stock.requests_for((), size)))]

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """The templates of an answer that can be filled."""
        for fields in read_fields(answer, ["template"]) if answer.is_usable else ():
            if isinstance(fields, Rejection):
                yield fields
                continue
            made = Candidate({}, "", fields["template"])
            reason, detail = why_no_template(fields["template"], self.desk.columns, self._is_classify)
            yield Rejection(reason, detail, made) if reason else made

    def learn(self, row: Row) -> None:
        """Nothing: what was accepted is looked up in the stock."""

    @property
    def _is_classify(self) -> bool:
        return self.desk.recipe.task.kind == "classify"

    def _request(self, stock: Stock, number: int) -> Request:
        desk = self.desk
        count = min(desk.synth.rows_per_request, stock.missing(()))
        rows = desk.random("templates", number).sample(stock.rows, min(SHOWN_WORDINGS, len(stock.rows)))
        slots_ = {
            "count": count, "columns": desk.columns, "options": self._is_classify,
            "known": [row.candidate.instruction for row in rows],
        }  # fmt: skip
        schema = rows_schema(["template"], count)
        return desk.request("templates", slots_, prompt="templates", number=number, schema=schema, context={"cell": []})


def why_no_template(text: str, columns: Sequence[str], has_options: bool) -> tuple[str, str]:
    """Reason and detail why a text is no template over these columns; both empty if it is one.

    Example:
        >>> why_no_template("Praise or blame? {text}", ["text"], True), why_no_template("{text}: {label}?", ["text"], True)[0]
        (('', ''), 'unknown_slot')
    """
    try:
        found = slots.slots(text)
    except ValueError as error:
        return "bad_template", str(error)
    if missing := [name for name in columns if name not in found]:
        return "dropped_field", f"it has no slot {{{missing[0]}}}"
    if unknown := [name for name in found if name not in columns and not (has_options and name == OPTIONS)]:
        return "unknown_slot", f"{{{unknown[0]}}} is no column of [data]"
    return "", ""


def template_set(recipe: Recipe, wordings: Mapping[str, str]) -> str:
    """The text of a template set: the recipe's own wording first, then these (name to template)."""
    data, task = recipe.data, recipe.task
    named = ["Text"] if len(data.input) == 1 else [name.replace("_", " ").capitalize() for name in data.input]
    lines = "\n".join(f"{title}: {{{name}}}" for title, name in zip(named, data.input, strict=True))
    own = f"{slots.escape(task.instruction.strip())}\n\n{lines}"
    templates = tuple(Template(name, text, target=data.target or "") for name, text in {"own": own, **wordings}.items())
    about = task.instruction.strip().split("\n")[0]
    assert task.kind != "text"
    made = TemplateSet(recipe.name, about, task.kind, tuple(data.input), data.target or "", (), templates)
    require_sound(made, "templates.toml")
    return set_file.write(made)
