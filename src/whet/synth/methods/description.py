"""From a task's description alone: rows of each label that is missing, or inputs first and their labels afterwards.

Output-first, a request names the label (and the slice) and asks for texts that have it: balance is planned. Input-first, texts
are written without one and labelled one by one: closer to what the task will meet, but what comes is what comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

from whet.synth import answers
from whet.synth.candidate import Candidate, Cell, Rejection, Row, Step
from whet.synth.checks import label_request
from whet.synth.desk import Desk
from whet.synth.reading import read_rows, rows_schema
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock

SHOWN_EXAMPLES, SHOWN_ROWS = 3, 5


class Description:
    """The method `description`."""

    prompts = ("rows", "inputs", "label")

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.is_classify = desk.recipe.task.kind == "classify"
        self.leads_on = self.is_classify and desk.synth.output_first_fraction < 1
        self._unlabelled: list[tuple[dict[str, str], Cell]] = []  # input-first: inputs (and slices) that wait for a label

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """Labels for the texts that wait, then rows for what is missing, cell by cell in turn."""
        made = [
            label_request(self.desk, "label", inputs, stock.asked + n, slices=list(slices))
            for n, (inputs, slices) in enumerate(self._unlabelled[:room])
        ]
        size = self.desk.synth.rows_per_request
        lines = [[cell] * stock.requests_for(cell, size) for cell in stock.wanted]
        in_turn = [cell for cell in chain(*zip_longest(*lines)) if cell is not None]
        unlabelled = len(self._unlabelled)
        for n, cell in enumerate(in_turn, stock.asked + len(made)):
            if len(made) == room:
                break
            if self._is_output_first(n):
                made.append(self._rows(stock, cell, n))
            elif unlabelled < sum(map(stock.missing, stock.wanted)):
                made.append(self._inputs(stock, cell, n))
                unlabelled += size
        return made

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """The rows of an answer; of an input-first one, its texts are kept until they have their label."""
        purpose, context = answer.request.purpose, answer.request.context
        if purpose == "label":
            yield from self._labelled(answer)
        elif answer.is_usable:
            cell = tuple(context["cell"])
            for fields in read_rows(answer, self.desk.columns, self._target(purpose)):
                if isinstance(fields, Rejection):
                    yield fields
                elif purpose == "inputs":
                    self._unlabelled.append((fields, cell[1:]))
                    yield Step()
                else:
                    target = cell[0] if self.is_classify else fields.pop(self._target(purpose))
                    yield Candidate(fields, target, cell=cell, marks=self._marks(cell))

    def _labelled(self, answer: Answer) -> Iterator[Candidate | Rejection]:
        """The row that an input and its label make."""
        inputs, slices = dict(answer.request.context["inputs"]), tuple(answer.request.context["slices"])
        if (inputs, slices) in self._unlabelled:
            self._unlabelled.remove((inputs, slices))
        if answer.is_usable:
            label = answers.read_label(answer.text, self.desk.recipe.task.labels)
            if label is None:
                unlabelled = Candidate(inputs, "", cell=("", *slices))
                yield Rejection("no_answer", f"asked for its label, it says {answer.text[:80]!r}", unlabelled)
            else:
                yield Candidate(inputs, label, cell=(label, *slices), marks=self._marks((label, *slices)))

    def learn(self, row: Row) -> None:
        """Nothing: what was accepted is looked up in the stock."""

    def _is_output_first(self, number: int) -> bool:
        fraction = self.desk.synth.output_first_fraction
        return not self.is_classify or math.floor((number + 1) * fraction) > math.floor(number * fraction)

    def _target(self, purpose: str) -> str:
        """The column of the answer, where the maker has to write it."""
        return "" if self.is_classify or purpose == "inputs" else self.desk.recipe.data.target or ""

    def _rows(self, stock: Stock, cell: Cell, number: int) -> Request:
        label = cell[0] if self.is_classify else ""
        return self._request("rows", stock, cell, number, label=label, target=self._target("rows"))

    def _inputs(self, stock: Stock, cell: Cell, number: int) -> Request:
        return self._request("inputs", stock, cell, number)

    def _request(self, purpose: str, stock: Stock, cell: Cell, number: int, **slots: Any) -> Request:
        """A request for rows of a cell, with a few examples and a few of the rows that there are."""
        draw = self.desk.random(purpose, number)
        label = slots.get("label") or None
        seeds = [seed for seed in self.desk.seeds if label is None or seed.target == label]
        rows = stock.of_label(label) if label else stock.rows
        count = min(self.desk.synth.rows_per_request, stock.missing(cell))
        columns, target = self.desk.columns, slots.get("target", "")
        shown = [
            {**seed.inputs, **({target: seed.target} if target else {})}
            for seed in draw.sample(seeds, min(SHOWN_EXAMPLES, len(seeds)))
        ]
        known = [row.candidate.text for row in draw.sample(rows, min(SHOWN_ROWS, len(rows)))]
        return self.desk.request(
            purpose,
            {"count": count, "columns": columns, "slices": self._marks(cell), "examples": shown, "known": known, **slots},
            prompt=purpose,
            number=number,
            schema=rows_schema([*columns, *([target] if target else [])], count),
            context={"cell": list(cell)},
        )

    def _marks(self, cell: Cell) -> dict[str, str]:
        """The slices of a cell by name."""
        return dict(zip(self.desk.synth.slices, cell[1:] if self.is_classify else cell, strict=True))
