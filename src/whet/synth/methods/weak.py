"""More rows where a finished run is weak: of each label, such as are easily taken for another (see `aims`).

The maker sees training rows of both labels. Rows of validation and test are never shown, and whoever repeats one is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

from whet.synth.candidate import Candidate, Cell, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.reading import read_rows, rows_schema
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock

SHOWN_EXAMPLES, SHOWN_ROWS = 3, 5


class Weak:
    """The method `weak`: a request names a label and what it is taken for."""

    prompts = ("weak",)
    leads_on = False

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """Rows for what is missing, the weakest spots first, in turn."""
        lines = [[cell] * stock.requests_for(cell, self.desk.synth.rows_per_request) for cell in stock.wanted]
        in_turn = [cell for cell in chain(*zip_longest(*lines)) if cell is not None]
        return [self._request(stock, cell, stock.asked + n) for n, cell in enumerate(in_turn[:room])]

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """The rows of an answer."""
        if not answer.is_usable:
            return
        label, other = answer.request.context["cell"]
        marks = {"taken_for": other, "after": answer.request.context["after"]}
        for fields in read_rows(answer, self.desk.columns):
            yield fields if isinstance(fields, Rejection) else Candidate(fields, label, cell=(label, other), marks=marks)

    def learn(self, row: Row) -> None:
        """Nothing: what was accepted is looked up in the stock."""

    def _request(self, stock: Stock, cell: Cell, number: int) -> Request:
        desk, draw, (label, other) = self.desk, self.desk.random("weak", number), cell
        assert desk.aims is not None
        shown = {}
        for name in cell:
            seeds = [seed for seed in desk.seeds if seed.target == name]
            shown[name] = [dict(seed.inputs) for seed in draw.sample(seeds, min(SHOWN_EXAMPLES, len(seeds)))]
        rows = [row for row in stock.of_label(label) if row.candidate.cell == cell]
        count = min(desk.synth.rows_per_request, stock.missing(cell))
        slots = {
            "count": count, "columns": desk.columns, "label": label, "other": other, "examples": shown[label],
            "others": shown[other], "known": [row.candidate.text for row in draw.sample(rows, min(SHOWN_ROWS, len(rows)))],
        }  # fmt: skip
        return desk.request(
            "weak", slots, prompt="weak", number=number, schema=rows_schema(desk.columns, count),
            context={"cell": list(cell), "after": desk.aims.run},
        )  # fmt: skip
