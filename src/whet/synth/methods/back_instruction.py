"""Back-instruction: a text that somebody wrote becomes the answer, and the maker writes the instruction that it answers.

The answers are real, so only the questions can be wrong. `seeds` names a table of such texts, in the target column of `[data]`.

Source: Li et al. 2024, "Self-alignment with instruction backtranslation", section 2.2; Koksal et al. 2023, "LongForm".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whet.data.near import normal_form
from whet.synth.candidate import Candidate, Rejection, Row, Step
from whet.synth.desk import Desk
from whet.synth.reading import read_text
from whet.synth.request import Answer, Request
from whet.synth.stock import Stock


class BackInstruction:
    """The method `back_instruction`: one request for each text."""

    prompts = ("back_instruction",)
    leads_on = False

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._todo = {str(seed.origin): seed for seed in desk.seeds}

    def ask(self, stock: Stock, room: int) -> Sequence[Request]:
        """Instructions for the texts that have none, as many as rows are missing."""
        count = min(room, stock.requests_for((), 1))
        return [
            self.desk.request(
                "back_instruction", {"text": seed.text}, prompt="back_instruction", number=stock.asked + n,
                context={"seed": id_, "text": seed.text, "group": seed.group, "cell": []},
            )
            for n, (id_, seed) in enumerate(list(self._todo.items())[:count])
        ]  # fmt: skip

    def take(self, answer: Answer) -> Iterator[Candidate | Rejection | Step]:
        """The row of a text and its instruction."""
        context = answer.request.context
        self._todo.pop(context["seed"], None)
        if not answer.is_usable:
            return
        said = read_text(answer)
        if isinstance(said, Rejection):
            yield said
            return
        inputs, text = dict.fromkeys(self.desk.columns, ""), str(context["text"])
        made = Candidate(inputs, text, said, parents=(context["seed"],), group=context["group"])
        told = normal_form(text)
        # An instruction that holds its answer teaches to copy.
        yield Rejection("holds_answer", "the instruction holds the whole text", made) if told in normal_form(said) else made

    def learn(self, row: Row) -> None:
        """Nothing: each text is asked about once."""
