"""Evol-Instruct: every seed is made harder, round after round, by an operation drawn at random; what fails is tried again.

A round takes three requests for a seed: the evolved text, a comparison with the text before, the answer. Four rules
eliminate: the comparison finds no gain, the answer is an excuse, the answer says nothing, the prompt's own words leaked. Then
the text goes into the next round unchanged. What was accepted is the text that the next round begins with, so that every row
has its lineage: `parents`, `operation`, `round` and the `seed` that it began with.

A row is evolved from the row of a request, not from a row number, so that settings which reject a row (or `[synth] taken_out`,
or fewer `rounds`) take back all that was made of it too, and bring it back without a request once they are undone.

Source: Xu et al. 2023, "WizardLM: empowering large language models to follow complex instructions", section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whet.data.near import normal_form
from whet.synth import answers
from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.reading import choice_schema, read_text
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock

PAYLOADS = ("XML data", "an SQL table", "Python code", "HTML code", "a shell command and its output", "JSON data")
VERDICTS = ("Equal", "Not equal")
EXCUSE, EXCUSE_WORDS = "sorry", 80
LEAKS = ("given prompt", "rewritten prompt", "created prompt")
# Words that say nothing by themselves; an answer of these alone answers nothing. ("No", "all" and the letter A may be one.)
STOP_WORDS = frozenset(
    "about also am an and any are as at be because been but by can could did do does for from had has have he her here him "
    "his how i if in into is it its just me more most my nor of on only or other our out over own she should so some such "
    "than that the their them then there these they this those to too under until up very was we were what when where which "
    "who whom why will with would you your".split()
)


@dataclass(slots=True)
class _Line:
    """A seed and what has become of it: the text that the next round begins with, and the row that it is (none: the seed)."""

    text: str
    group: str
    made_by: str = ""  # the request of that row
    made_in: int = 0  # the round of that row
    round: int = 0  # the last one that was tried
    is_busy: bool = False


class Evol:
    """The method `evol`: rounds of evolving, comparing, answering."""

    prompts = ("evolve", "breadth", "compare", "answer")
    leads_on = True

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._lines = {str(seed.origin): _Line(seed.text, seed.group or str(seed.origin)) for seed in desk.seeds}
        self._waiting: list[dict[str, Any]] = []  # evolved texts that wait for their comparison or their answer
        self._ids: dict[str, str] = {}  # of accepted rows, by their request

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """The next step of the texts that wait, then the next round of seeds, those that are furthest behind first."""
        steps = sorted(self._waiting, key=lambda step: step["next"] == "compare")
        made = [self._step(step, stock.asked + n) for n, step in enumerate(steps[:room])]
        more = min(stock.requests_for((), 1, len(steps)), room - len(made))
        ready = [seed for seed, line in self._lines.items() if not line.is_busy and line.round < self.desk.synth.rounds]
        ready.sort(key=lambda seed: self._lines[seed].round)
        return made + [self._evolve(seed, stock.asked + len(made) + n) for n, seed in enumerate(ready[:more])]

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """An evolved text, a verdict on one, or its answer, which makes the row."""
        step = {key: answer.request.context[key] for key in ("seed", "round", "operation", "before", "made_by", "text", "next")}
        if step in self._waiting:
            self._waiting.remove(step)
        line, is_parked = self._lines.get(step["seed"]), answer.reply.outcome == "parked"
        if line is not None:
            line.is_busy = is_parked  # it is asked for again, and comes back here
        if is_parked:
            return
        out = self._why_out(step)
        if line is None or out:
            yield Rejection("rolled_back", out or "its seed is no longer in [synth] seeds", self._row(step, ""))
            return
        line.round = max(line.round, step["round"])  # whatever comes of it: what fails goes into the next round
        if answer.is_usable:
            found = self._judge(step, answer)
            if isinstance(found, dict):
                self._waiting.append(found)
                line.is_busy = True
            yield Step() if isinstance(found, dict) else found

    def learn(self, row: Row) -> None:
        """The accepted row is what the next round begins with."""
        made, self._ids[row.request] = row.candidate, row.id
        line = self._lines[made.marks["seed"]]
        if int(made.marks["round"]) > line.made_in:
            line.text, line.made_by, line.made_in = self._text_of(made), row.request, int(made.marks["round"])

    # -- asking -------------------------------------------------------------------------------------------------------

    def _evolve(self, seed: str, number: int) -> Request:
        line, draw = self._lines[seed], self.desk.random("operation", number)
        operation = draw.choice(self.desk.synth.operations)
        step = {
            "seed": seed, "round": line.round + 1, "operation": operation, "before": line.text, "made_by": line.made_by,
            "text": "", "next": "evolve",
        }  # fmt: skip
        prompt = "breadth" if operation == "breadth" else "evolve"
        slots = {"text": line.text, "operation": operation, "payload": draw.choice(PAYLOADS)}
        return self.desk.request("evolve", slots, prompt=prompt, number=number, context={**step, "cell": []})

    def _step(self, step: Mapping[str, Any], number: int) -> Request:
        """The request for a comparison or an answer."""
        if step["next"] == "compare":
            slots, schema = {"first": step["before"], "second": step["text"]}, choice_schema(VERDICTS)
            return self.desk.request("compare", slots, prompt="compare", number=number, schema=schema, context=dict(step))
        slots = {"text": step["text"], "has_own": self._has_own}
        return self.desk.request("answer", slots, prompt="answer", number=number, context=dict(step))

    # -- taking -------------------------------------------------------------------------------------------------------

    def _judge(self, step: Mapping[str, Any], answer: Answer) -> Candidate | Rejection | dict[str, Any]:
        """The step that comes next, the row, or why there is none."""
        if step["next"] == "compare":
            return self._compared(step, answer)
        said = read_text(answer)
        if isinstance(said, Rejection):
            return said
        if step["next"] == "evolve":
            evolved = self._row({**step, "text": said}, "")
            if (leak := next((words for words in LEAKS if words in said.lower()), None)) is not None:
                return Rejection("prompt_leak", f"it holds {leak!r}", evolved)
            if normal_form(said) == normal_form(step["before"]):
                return Rejection("no_gain", "it is the text before", evolved)
            return {**step, "text": said, "next": "compare"}
        row = self._row(step, said)
        if EXCUSE in said.lower() and len(said.split()) < EXCUSE_WORDS:
            return Rejection("excuse", f"the answer has {len(said.split())} words, and one of them is {EXCUSE!r}", row)
        if not _says_something(said):
            return Rejection("says_nothing", "the answer is punctuation and stop words", row)
        return row

    def _compared(self, step: Mapping[str, Any], answer: Answer) -> Rejection | dict[str, Any]:
        said = answers.read_label(answer.text, VERDICTS)
        if said == "Not equal":
            return {**step, "next": "answer"}
        evolved = self._row(step, "")
        if said is None:
            return Rejection("no_answer", f"asked to compare, it says {answer.text[:80]!r}", evolved)
        return Rejection("no_gain", "it asks for the same, and no more of it, as the text before", evolved)

    def _why_out(self, step: Mapping[str, Any]) -> str:
        """Why a text counts no more: its round or the row that it was made of is out; empty if it counts."""
        if step["round"] > self.desk.synth.rounds:
            return f"of round {step['round']}, and rounds = {self.desk.synth.rounds}"
        is_out = step["made_by"] and step["made_by"] not in self._ids
        return "the row that it was made of is out" if is_out else ""

    # -- rows ---------------------------------------------------------------------------------------------------------

    @property
    def _has_own(self) -> bool:
        """Whether rows bring their own instruction; else what evolves is the input."""
        return self.desk.recipe.data.instruction is not None

    def _row(self, step: Mapping[str, Any], target: str) -> Candidate:
        inputs = dict.fromkeys(self.desk.columns, "")
        instruction = step["text"] if self._has_own else None
        if not self._has_own:
            inputs[self.desk.columns[0]] = step["text"]
        line, parent = self._lines.get(step["seed"]), self._ids.get(step["made_by"], step["seed"])
        marks = {"seed": step["seed"], "round": str(step["round"]), "operation": step["operation"]}
        group = line.group if line else step["seed"]
        return Candidate(inputs, target, instruction, parents=(parent,), group=group, marks=marks)

    def _text_of(self, made: Candidate) -> str:
        return made.instruction if made.instruction is not None else made.inputs[self.desk.columns[0]]


def _says_something(text: str) -> bool:
    """Whether a text holds a word that is no stop word, or a number.

    Example:
        >>> _says_something("... and that's it?"), _says_something("42")
        (False, True)
    """
    words = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower().replace("\u2019", "'")).split()
    return any(word.partition("'")[0] not in STOP_WORDS for word in words)
