"""Questions to a model about a candidate that passed the filters; only after all of them it is a row.

A check is asked in a request of its own. It keeps nothing: what it has to know stands in the request's context, so that a
journal is read again with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from whet.synth import answers
from whet.synth.candidate import Candidate, Rejection
from whet.synth.desk import Desk
from whet.synth.judge import Judge
from whet.synth.reading import choice_schema
from whet.synth.request import Answer, Request


class Check(Protocol):
    """A question about a candidate, and what the answer means for it."""

    @property
    def prompts(self) -> Sequence[str]:
        """The templates that it asks with."""

    def ask(self, candidate: Candidate, number: int) -> Request:
        """The request that asks about a candidate; number it as other requests are."""

    def judge(self, candidate: Candidate, answer: Answer) -> Candidate | Rejection:
        """The candidate as it goes on, perhaps with another mark; or why it is no row."""


class LabelCheck:
    """The maker reads a row without its label and says what it is; a row whose label differs is rejected."""

    purpose = "check_label"
    prompts = ("label",)

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def ask(self, candidate: Candidate, number: int) -> Request:
        """The request for the label of a candidate's inputs."""
        return label_request(self.desk, self.purpose, candidate.inputs, number)

    def judge(self, candidate: Candidate, answer: Answer) -> Candidate | Rejection:
        """The candidate; `no_answer` where it names no label, `label_disagrees` where it names another."""
        if not answer.is_usable:
            return Rejection("no_answer", f"asked for its label: {answer.reply.outcome}", candidate)
        said = answers.read_label(answer.text, self.desk.recipe.task.labels)
        if said is None:
            return Rejection("no_answer", f"asked for its label, it says {answer.text[:80]!r}", candidate)
        if said != candidate.target:
            return Rejection("label_disagrees", f"made as {candidate.target!r}, read as {said!r}", candidate)
        return candidate


def label_request(desk: Desk, purpose: str, inputs: Mapping[str, str], number: int, **context: object) -> Request:
    """The request for the label of inputs, which stand in its context too."""
    labels = list(desk.recipe.task.labels)
    known = {"inputs": dict(inputs), **context}
    schema = choice_schema(labels)
    return desk.request(purpose, {"inputs": inputs}, prompt="label", number=number, schema=schema, context=known)


def build_checks(desk: Desk) -> list[Check]:
    """The checks that the recipe asks for, in order."""
    labels: list[Check] = [LabelCheck(desk)] if desk.synth.check_labels else []
    return [*labels, *([Judge(desk)] if desk.synth.judge_rubric else [])]
