"""The ways to make rows, each a module: which requests they ask, and what they read from the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.methods.back_instruction import BackInstruction
from whet.synth.methods.contrast import Contrast
from whet.synth.methods.description import Description
from whet.synth.methods.evol import Evol
from whet.synth.methods.paraphrase import Paraphrase
from whet.synth.methods.self_instruct import SelfInstruct
from whet.synth.methods.unnatural import Unnatural
from whet.synth.methods.weak import Weak
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock


class Method(Protocol):
    """One way to make rows. Its state changes in `take` and `learn` only, so that a journal is read again with the same result.

    Its templates are checked before anything is sent.
    """

    @property
    def prompts(self) -> Sequence[str]:
        """The templates that it asks with."""

    @property
    def leads_on(self) -> bool:
        """Whether answers lead to further requests, so that nobody knows beforehand how many there will be."""

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """The requests that it would send next, `room` at most; changes nothing. Empty: it knows nothing more to ask."""

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """What an answer holds. Called once for each request in the order of asking, whatever became of it
        (`answer.is_usable`); and again for one that was parked, once it is answered."""

    def learn(self, row: Row) -> None:
        """A row was accepted: one of its own."""


METHODS: Mapping[str, Callable[[Desk], Method]] = {
    "description": Description, "contrast": Contrast, "self_instruct": SelfInstruct, "unnatural": Unnatural, "evol": Evol,
    "back_instruction": BackInstruction, "paraphrase": Paraphrase, "weak": Weak,
}  # fmt: skip
