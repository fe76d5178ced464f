"""Self-Instruct: from a few tasks that people wrote, new tasks; from each task, its instances.

Tasks are asked for with eight shown, two of them the maker's own once there are some. One that is not new is thrown out before
anything is paid for it. Of each it is asked whether it is a classification: then the answers come first and the inputs after,
since a model that writes inputs first writes them all for one class.

Source: Wang et al. 2023, "Self-Instruct: aligning language models with self-generated instructions", section 2.2.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from whet.synth import answers
from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.filters import Filters
from whet.synth.reading import choice_schema, read_fields, rows_schema
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock

SHOWN_TASKS, SHOWN_MADE = 8, 2
TASKS_PER_REQUEST = 8
YES_NO = ("Yes", "No")


@dataclass(frozen=True, slots=True)
class _Task:
    """A new task: its name (of the request that it came from), and what the classification test said (None: not yet)."""

    name: str
    instruction: str
    is_classification: bool | None = None

    def to_json(self) -> dict[str, str | bool | None]:
        """The record as plain JSON values."""
        return {"name": self.name, "instruction": self.instruction, "is_classification": self.is_classification}


class SelfInstruct:
    """The method `self_instruct`: tasks, the classification test, instances."""

    prompts = ("tasks", "is_classification", "instances", "class_instances")
    leads_on = True

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._known = Filters(desk.rows_task, desk.synth, desk.seeds)
        self._made: list[str] = []
        self._waiting: list[_Task] = []  # for their test, or for their instances

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """Instances and tests of the tasks that wait, then new tasks for what is still missing (each gives a row or more)."""
        # Tested ones first: they are nearest to a row.
        waiting = sorted(self._waiting, key=lambda task: task.is_classification is None)
        made = [self._follow_up(task, stock.asked + n) for n, task in enumerate(waiting[:room])]
        more = min(stock.requests_for((), TASKS_PER_REQUEST, len(waiting)), room - len(made))
        return made + [self._tasks(stock.asked + len(made) + n) for n in range(more)]

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """New tasks, a verdict on one, or the rows of one."""
        purpose, context = answer.request.purpose, answer.request.context
        if purpose == "tasks":
            yield from self._take_tasks(answer) if answer.is_usable else ()
            return
        task = _Task(**context["task"])
        if task in self._waiting:
            self._waiting.remove(task)
        if not answer.is_usable:
            return
        if purpose == "is_classification":
            said = answers.read_label(answer.text, YES_NO)
            if said is None:
                yield Rejection("no_answer", f"asked whether it is a classification, it says {answer.text[:80]!r}",
                                Candidate({}, "", task.instruction))  # fmt: skip
            else:
                self._waiting.append(_Task(task.name, task.instruction, said == "Yes"))
                yield Step()
        else:
            yield from self._take_instances(answer, task)

    def learn(self, row: Row) -> None:
        """Nothing: tasks are known from the moment they are read."""

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _tasks(self, number: int) -> Request:
        """A request for new tasks; every so many of them are to be classifications."""
        fraction, draw = self.desk.synth.classification_fraction, self.desk.random("tasks", number)
        classes = math.floor((number + 1) * fraction) > math.floor(number * fraction)
        own = draw.sample(self._made, min(SHOWN_MADE, len(self._made)))
        people = [seed.instruction or self.desk.recipe.task.instruction for seed in self.desk.seeds]
        shown = [*own, *draw.sample(people, min(SHOWN_TASKS - len(own), len(people)))]
        draw.shuffle(shown)
        slots = {"count": TASKS_PER_REQUEST, "shown": shown, "classification": classes}
        schema = rows_schema(["instruction"], TASKS_PER_REQUEST, 1)
        return self.desk.request("tasks", slots, prompt="tasks", number=number, schema=schema, context={"cell": []})

    def _take_tasks(self, answer: Answer) -> Iterator[Rejection | Step]:
        for n, fields in enumerate(read_fields(answer, ["instruction"])):
            if isinstance(fields, Rejection):
                yield fields
                continue
            task = _Task(f"{answer.key[:10]}-{n}", fields["instruction"])
            candidate = Candidate({}, "", task.instruction)
            rejection = self._known.judge(candidate)
            if rejection is None:
                self._known.learn(candidate, f"task {task.name}")
                self._made.append(task.instruction)
                self._waiting.append(task)
            yield rejection or Step()

    # -- instances ----------------------------------------------------------------------------------------------------

    def _follow_up(self, task: _Task, number: int) -> Request:
        """The next request about a task."""
        context = {"task": task.to_json()}
        if task.is_classification is None:
            return self.desk.request(
                "is_classification", {"text": task.instruction}, prompt="is_classification", number=number,
                schema=choice_schema(YES_NO), context=context,
            )  # fmt: skip
        read, target, count = self.desk.columns[0], self.desk.recipe.data.target or "", self.desk.synth.rows_per_request
        order = [target, read] if task.is_classification else [read, target]
        return self.desk.request(
            "instances", {"text": task.instruction, "count": count, "read": read, "target": target},
            prompt="class_instances" if task.is_classification else "instances", number=number,
            schema=rows_schema(order, count, 1), context=context,
        )  # fmt: skip

    def _take_instances(self, answer: Answer, task: _Task) -> Iterator[Candidate | Rejection]:
        read, target = self.desk.columns[0], self.desk.recipe.data.target or ""
        rows: list[Candidate] = []
        marks = {"task": task.name, "is_classification": "true" if task.is_classification else "false"}
        for fields in read_fields(answer, [target], [read]):
            if isinstance(fields, Rejection):
                yield fields
            else:
                rows.append(Candidate({read: fields[read]}, fields[target], task.instruction, group=task.name, marks=marks))
        answered: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            answered[row.inputs[read]].add(row.target)
        contradicted = next((text for text, said in answered.items() if text and len(said) > 1), None)
        for row in rows:
            if contradicted is not None:
                yield Rejection("contradiction", f"its task answers {contradicted[:60]!r} in several ways", row)
            else:
                yield _ends_openly(row.inputs, row) or row


def _ends_openly(inputs: Mapping[str, str], row: Candidate) -> Rejection | None:
    """A row whose input or answer ends where something should follow."""
    if any(text.endswith(":") for text in (*inputs.values(), row.target)):
        return Rejection("ends_with_colon", "it ends where something should follow", row)
    return None
