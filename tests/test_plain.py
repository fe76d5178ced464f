"""The plain template: instruction first, labels come back."""

from __future__ import annotations

import pytest

from whet.example import Example, Origin, Task
from whet.prompts import plain

TASK = Task(instruction="Decide.\n", labels=("no", "yes"))


def test_one_input_is_called_text_and_several_keep_their_names() -> None:
    assert plain.prompt(TASK, {"sentence": " a "}) == "Decide.\n\nText: a\nAnswer:"
    assert plain.prompt(TASK, {"premise": "a", "the_claim": "b"}) == "Decide.\n\nPremise: a\nThe claim: b\nAnswer:"


def test_few_shot_shows_whole_examples_first() -> None:
    shown = Example("1", {"t": "x"}, "yes", None, Origin("f", 1))
    assert plain.prompt(TASK, {"t": "y"}, [shown]) == "Decide.\n\nText: x\nAnswer: yes\n\nText: y\nAnswer:"


def test_an_example_may_bring_its_own_instruction() -> None:
    own = Example("1", {"input": "G, B, E"}, "E, G, B", None, Origin("f", 1), "Sort the notes. ")
    assert plain.ask(TASK, own) == "Sort the notes.\n\nText: G, B, E\nAnswer:"
    nothing_else = Example("2", {"input": " "}, "Hi.", None, Origin("f", 2), "Greet me.")
    assert plain.ask(Task(), nothing_else) == "Greet me.\n\nAnswer:"
    fallback = Example("3", {"input": "x"}, "y", None, Origin("f", 3))
    assert plain.ask(TASK, fallback, [own, nothing_else]) == (
        "Sort the notes.\n\nText: G, B, E\nAnswer: E, G, B\n\nGreet me.\n\nAnswer: Hi.\n\nDecide.\n\nText: x\nAnswer:"
    )


@pytest.mark.parametrize("label", ["True", "not a promise", "007", "None", "ja, gewiß", "Yes!"])
def test_parse_is_the_inverse_of_completion(label: str) -> None:
    assert plain.parse(plain.completion(label)) == label
