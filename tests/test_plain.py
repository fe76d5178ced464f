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


@pytest.mark.parametrize("label", ["True", "not a promise", "007", "None", "ja, gewiß", "Yes!"])
def test_parse_is_the_inverse_of_completion(label: str) -> None:
    assert plain.parse(plain.completion(label)) == label
