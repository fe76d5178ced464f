"""Unnatural Instructions: three examples call forth a fourth, a greedy answer completes it, other wordings multiply it.

An example is an instruction, an input and constraints that name what answers there may be ("None." where any will do); they
stand in the two input columns of `[data]`. The answer is a step of its own, at temperature 0, so that the model's best one is
learned.

Source: Honovich et al. 2023, "Unnatural Instructions: tuning language models with (almost) no human labor", section 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.filters import Filters
from whet.synth.reading import read_fields, read_text, rows_schema
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock

SHOWN_EXAMPLES = 3


class Unnatural:
    """The method `unnatural`: a fourth example, its answer, its rewordings."""

    prompts = ("fourth", "follow", "reword")
    leads_on = True

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._known = Filters(desk.rows_task, desk.synth, desk.seeds)
        self._unanswered: list[dict[str, Any]] = []
        self._to_reword: list[dict[str, Any]] = []
        self._ids: dict[str, str] = {}  # of accepted rows, by their request: ids may change from call to call, keys do not

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """Answers to the examples that wait, rewordings of the rows that have none, then new examples."""
        made = [self._follow(made, stock.asked + n) for n, made in enumerate(self._unanswered[:room])]
        wordings, awaited = self.desk.synth.rewordings, len(self._unanswered)
        for row in self._to_reword[: room - len(made)]:
            if awaited < stock.missing(()):
                made.append(self._reword(row, stock.asked + len(made)))
                awaited += wordings
        more = min(stock.requests_for((), 1 + wordings, awaited), room - len(made))
        return made + [self._fourth(stock.asked + len(made) + n) for n in range(more)]

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """A new example without its answer, a row, or rewordings of one."""
        purpose, context = answer.request.purpose, answer.request.context
        if purpose == "fourth":
            yield from self._take_fourth(answer) if answer.is_usable else ()
            return
        waiting = self._unanswered if purpose == "follow" else self._to_reword
        made = dict(context["example"])
        if made in waiting:
            waiting.remove(made)
        if answer.is_usable:
            yield from self._take_answer(answer, made) if purpose == "follow" else self._take_rewordings(answer, made)

    def learn(self, row: Row) -> None:
        """A row with an instruction of its own is reworded next."""
        self._ids[row.request] = row.id
        made = row.candidate
        if made.marks["reworded"] == "false" and self.desk.synth.rewordings:
            known = {"instruction": made.instruction, "inputs": dict(made.inputs), "target": made.target, "group": made.group}
            self._to_reword.append({**known, "from": row.request})

    # -- a fourth example ---------------------------------------------------------------------------------------------

    def _fourth(self, number: int) -> Request:
        seeds, columns = self.desk.seeds, self.desk.columns
        shown = [
            {"instruction": seed.instruction or self.desk.recipe.task.instruction, **seed.inputs}
            for seed in self.desk.random("fourth", number).sample(seeds, SHOWN_EXAMPLES)
        ]
        slots = {"examples": shown, "input": columns[0], "constraints": columns[1]}
        schema = rows_schema(["instruction", *columns], 1)
        return self.desk.request("fourth", slots, prompt="fourth", number=number, schema=schema, context={"cell": []})

    def _take_fourth(self, answer: Answer) -> Iterator[Rejection | Step]:
        """The new example: none of its three fields may be missing, and it repeats nothing."""
        columns = self.desk.columns
        for n, fields in enumerate(read_fields(answer, ["instruction", *columns])):
            if isinstance(fields, Rejection):
                yield fields
                continue
            name, inputs = f"{answer.key[:10]}-{n}", {column: fields[column] for column in columns}
            candidate = Candidate(inputs, "", fields["instruction"])
            rejection = self._known.judge(candidate)
            if rejection is None:
                self._known.learn(candidate, f"example {name}")
                self._unanswered.append({"instruction": fields["instruction"], "inputs": inputs, "group": name})
            yield rejection or Step()

    # -- its answer ---------------------------------------------------------------------------------------------------

    def _follow(self, made: Mapping[str, Any], number: int) -> Request:
        column, constraints = self.desk.columns
        inputs = made["inputs"]
        slots = {"text": made["instruction"], "input": inputs[column], "constraints": inputs[constraints]}
        return self.desk.request("follow", slots, prompt="follow", number=number, context={"example": dict(made)})

    def _take_answer(self, answer: Answer, made: Mapping[str, Any]) -> Iterator[Candidate | Rejection]:
        said = read_text(answer)
        if isinstance(said, Rejection):
            yield said
        else:
            marks = {"reworded": "false"}
            yield Candidate(dict(made["inputs"]), said, made["instruction"], group=made["group"], marks=marks)

    # -- its rewordings -----------------------------------------------------------------------------------------------

    def _reword(self, row: Mapping[str, Any], number: int) -> Request:
        count = self.desk.synth.rewordings
        return self.desk.request(
            "reword", {"text": row["instruction"], "count": count}, prompt="reword", number=number,
            schema=rows_schema(["instruction"], count, 1), context={"example": dict(row)},
        )  # fmt: skip

    def _take_rewordings(self, answer: Answer, row: Mapping[str, Any]) -> Iterator[Candidate | Rejection]:
        """The row again under other instructions, as many as `rewordings` says."""
        parent = self._ids.get(row["from"])
        kept = 0
        for fields in read_fields(answer, ["instruction"]):
            if isinstance(fields, Rejection):
                yield fields
                continue
            parents = (parent,) if parent else ()
            made = Candidate(
                dict(row["inputs"]), row["target"], fields["instruction"], parents=parents, group=row["group"],
                marks={"reworded": "true"},
            )  # fmt: skip
            if parent is None:
                yield Rejection("rolled_back", "the row that it rewords is out", made)
            elif kept == self.desk.synth.rewordings:
                yield Rejection("surplus_wording", f"its row has {kept} already", made)
            else:
                kept += 1
                yield made
