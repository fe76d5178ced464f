"""Contrast pairs: each seed edited as little as possible, so that its right answer becomes another label.

A model that reads both learns what decides. The pair shares its group, so that it never straddles two splits.

Source: Gardner et al. 2020, "Evaluating models' local decision boundaries via contrast sets"; Kaushik, Hovy & Lipton 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.reading import read_rows, rows_schema
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock

MOST_CHANGED = 0.5  # of the words: beyond it the row is another text, and no contrast


class Contrast:
    """The method `contrast`: one request for each seed and each label that it does not have."""

    prompts = ("contrast",)
    leads_on = False

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._seeds = {str(seed.origin): seed for seed in desk.seeds}
        labels = desk.recipe.task.labels
        # Label by label in turn, so that a cap in the middle leaves the labels even.
        self._todo = [(id_, label) for id_, seed in self._seeds.items() for label in labels if label != seed.target]

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """The pairs that are still to be asked for, those of full labels left out."""
        wanted = [(id_, label) for id_, label in self._todo if stock.missing((label,))]
        return [self._request(id_, label, stock.asked + n) for n, (id_, label) in enumerate(wanted[:room])]

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """The edited row."""
        context = answer.request.context
        label, seed = context["label"], context["seed"]
        if (seed, label) in self._todo:
            self._todo.remove((seed, label))
        for fields in read_rows(answer, self.desk.columns) if answer.is_usable else ():
            if isinstance(fields, Rejection):
                yield fields
                continue
            marks = {"was": context["was"]}
            made = Candidate(fields, label, cell=(label,), parents=(seed,), group=context["group"], marks=marks)
            changed = share_changed(context["inputs"], fields)
            yield Rejection("not_minimal", f"{changed:.0%} of the words changed", made) if changed > MOST_CHANGED else made

    def learn(self, row: Row) -> None:
        """Nothing: each seed is asked about once."""

    def _request(self, id_: str, label: str, number: int) -> Request:
        seed, columns = self._seeds[id_], self.desk.columns
        known = {"seed": id_, "inputs": dict(seed.inputs), "was": seed.target, "group": seed.group or seed.id, "label": label}
        return self.desk.request(
            "contrast", {"columns": columns, "inputs": seed.inputs, "label": seed.target, "other": label}, prompt="contrast",
            number=number, schema=rows_schema(columns, 1), context={**known, "cell": [label]},
        )  # fmt: skip


def share_changed(before: Mapping[str, str], after: Mapping[str, str]) -> float:
    """The share of the words that an edit replaced, took out or put in, of the longer side.

    Example:
        >>> share_changed({"text": "We will build homes."}, {"text": "We will sell homes."})
        0.25
    """
    old, new = (" ".join(inputs.values()).split() for inputs in (before, after))
    return float(Levenshtein.normalized_distance(old, new))
