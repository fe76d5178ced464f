"""The records that walk through the house: Task, Origin, Template, Example, Prediction. Frozen, text only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from json.encoder import encode_basestring as _quoted
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["classify", "generate", "text"]


class Worked(BaseModel):
    """An example that a task is explained with. Its text is part of every prompt, and nothing is learned or measured on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str = Field(description="what is read")
    output: str = Field(description="an answer to it")
    explanation: str = Field("", description="why this answer is right, or wrong")


class Task(BaseModel):
    """What the model must do. The `[task]` section of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = Field(
        "classify", description="choose one of `labels`, write an answer, or go on with plain text (continued pre-training)"
    )
    instruction: str = Field(
        "",
        description="what to do, in words, first in every prompt; not needed where rows bring their own, or for `text`",
    )
    labels: tuple[str, ...] = Field((), description="the answers a `classify` task chooses from, in a fixed order")
    definition: str = Field("", description="what the task is, at length; stands behind `instruction` in every prompt")
    constraints: str = Field("", description="what an answer must avoid")
    positive_examples: tuple[Worked, ...] = Field((), description="worked examples that every prompt shows")
    negative_examples: tuple[Worked, ...] = Field((), description="examples of wrong answers that every prompt shows as such")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an Example comes from: the file (or Hub id) and the row in it, counted as `read` counts.

    `licence` and `maker` (people, rules, or the LLM that wrote it) are as stated, None where nobody states them.
    """

    source: str
    row: int
    licence: str | None = None
    maker: str | None = None

    def __str__(self) -> str:
        return f"{self.source}, row {self.row}"

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, without what nobody states."""
        record: dict[str, Any] = {"source": self.source, "row": self.row}
        if self.licence is not None:
            record["licence"] = self.licence
        if self.maker is not None:
            record["maker"] = self.maker
        return record

    def to_line(self) -> str:
        """The record as JSON."""
        licence = "" if self.licence is None else f', "licence": {_quoted(self.licence)}'
        maker = "" if self.maker is None else f', "maker": {_quoted(self.maker)}'
        return f'{{"source": {_quoted(self.source)}, "row": {self.row}{licence}{maker}}}'


class Message(NamedTuple):
    """One turn of a conversation. `role` is `system`, `user`, `assistant` or `tool`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Template:
    """A named way to put an Example into words: texts with `{slots}`, which give its prompt and its completion.

    Attributes:
        name: unlike that of every other template of its set.
        prompt: what is asked; `{answer}` is the target in this template's words, `{options}` the list of all answers.
        completion: what is answered.
        target: the field that holds the answer.
        answers: label to what it is called here (in Jinja: to its number); empty where the target is written as it is.
        is_inverted: it turns the task around: the answer is given, and something else is to be written.
        between: what stands between prompt and completion; None: a blank behind a colon, else a line `Answer:`.
        separator: what stands between worked examples and what is asked.
        task: which of several tasks in one file it belongs to.
        jinja: a promptsource template, `prompt ||| completion`, in the place of `prompt` and `completion`.
        answer_choices: the answers that it chooses from, with `|||` between them; may be Jinja too.
    """

    name: str
    prompt: str = ""
    completion: str = "{answer}"
    target: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    is_inverted: bool = False
    between: str | None = None
    separator: str = "\n\n"
    task: str = ""
    jinja: str = ""
    answer_choices: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, without those that are as they are unless something else is said."""
        usual = Template("")
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        return {key: value for key, value in record.items() if value != getattr(usual, key)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Template:
        """The Template that `to_json` wrote."""
        return cls(**record)


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled item. `inputs` maps column name to text in the recipe's order; `target` is the answer, empty for plain
    text, all of which is learned; `instruction` is its own, where it does not follow the task's; `history` is what was said
    before it, where it answers a turn of a conversation; `references` are other answers that are as right as `target`;
    `template` puts it into words, where that is not the plain one."""

    id: str
    inputs: Mapping[str, str]
    target: str
    group: str | None
    origin: Origin
    instruction: str | None = None
    history: tuple[Message, ...] = ()
    references: tuple[str, ...] = ()
    template: Template | None = None

    @property
    def text(self) -> str:
        """What is read before its answer as one text (history, own instruction, inputs), for duplicate search, baselines and
        people."""
        own = [self.instruction, *filter(None, self.inputs.values())] if self.instruction else self.inputs.values()
        return "\n".join([*(message.text for message in self.history), *own])

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        record: dict[str, Any] = {
            "id": self.id, "inputs": dict(self.inputs), "target": self.target, "group": self.group,
            "origin": self.origin.to_json(), "instruction": self.instruction,
        }  # fmt: skip
        return {**record, **self._seldom()} if self._has_seldom else record

    def to_line(self) -> str:
        """The record as JSON, letter for letter what `json.dumps(to_json(), ensure_ascii=False)` writes, in half the time."""
        inputs = ", ".join([f"{_quoted(name)}: {_quoted(text)}" for name, text in self.inputs.items()])
        group = "null" if self.group is None else _quoted(self.group)
        instruction = "null" if self.instruction is None else _quoted(self.instruction)
        seldom = f", {json.dumps(self._seldom(), ensure_ascii=False)[1:-1]}" if self._has_seldom else ""
        return (
            f'{{"id": {_quoted(self.id)}, "inputs": {{{inputs}}}, "target": {_quoted(self.target)}, "group": {group}, '
            f'"origin": {self.origin.to_line()}, "instruction": {instruction}{seldom}}}'
        )

    @property
    def _has_seldom(self) -> bool:
        return bool(self.history or self.references or self.template)

    def _seldom(self) -> dict[str, Any]:
        """The part of the record that most have not."""
        template = self.template.name if self.template else ""
        found = {"history": list(map(list, self.history)), "references": list(self.references), "template": template}
        return {key: value for key, value in found.items() if value}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], templates: Mapping[str, Template] = MappingProxyType({})) -> Example:
        """The Example that `to_json` wrote, with the template of the name that it wrote."""
        history = tuple(Message(*message) for message in record.get("history", ()))
        inputs, origin = dict(record["inputs"]), Origin(**record["origin"])
        references = tuple(record.get("references", ()))
        template = templates[record["template"]] if "template" in record else None
        made = {"inputs": inputs, "origin": origin, "history": history, "references": references, "template": template}
        return cls(**{**record, **made})


@dataclass(frozen=True, slots=True)
class Drop:
    """One row that did not become (or did not stay) an Example, or was changed on the way, and why.

    `reason` is a short code (`duplicate`, `conflict`, `leak`, `empty_input`, `unknown_label`, ...), `detail` a sentence;
    `target` is the answer, where it is of interest which rows are lost.
    """

    origin: Origin
    reason: str
    detail: str
    text: str = ""
    target: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        record = {"origin": self.origin.to_json(), "reason": self.reason, "detail": self.detail, "text": self.text}
        return {**record, "target": self.target} if self.target else record


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one passage: the label, its calibrated probability, one score per label, and the place."""

    id: str
    text: str
    label: str
    probability: float | None
    scores: Mapping[str, float]
    document: str
    start: int
    end: int

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, keys as in the contract of `whet predict`."""
        return {**asdict(self), "scores": dict(self.scores)}
