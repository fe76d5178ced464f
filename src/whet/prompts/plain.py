"""The plain template: the instruction first (rows share it, so it is computed once), then the inputs, then the answer.

Decide if the sentence is a promise.

Text: We will build 40,000 homes.
Answer: True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whet.example import Example, Task


def prompt(task: Task, inputs: Mapping[str, str], demonstrations: Sequence[Example] = ()) -> str:
    """The text up to and including `Answer:`; the completion follows it.

    Args:
        task: gives the instruction.
        inputs: column name to text; one input is called `Text`, several keep their names.
        demonstrations: worked examples to show first (few-shot).

    Example:
        >>> prompt(Task(instruction="Name the colour."), {"c": "the sky"})
        'Name the colour.\\n\\nText: the sky\\nAnswer:'
    """
    shown = [_block(d.inputs) + completion(d.target) for d in demonstrations]
    return "\n\n".join([task.instruction.strip(), *shown, _block(inputs)])


def completion(target: str) -> str:
    """What the model must write behind the prompt: a space, so that the answer is a word of its own, and the answer."""
    return f" {target}"


def parse(text: str) -> str:
    """The answer in a completion; `parse(completion(x)) == x` for every x without outer blanks.

    Example:
        >>> parse(completion("True"))
        'True'
    """
    return text.strip()


def _block(inputs: Mapping[str, str]) -> str:
    names = ["Text"] if len(inputs) == 1 else [name.replace("_", " ").strip().capitalize() for name in inputs]
    lines = [f"{name}: {text.strip()}" for name, text in zip(names, inputs.values(), strict=True)]
    return "\n".join([*lines, "Answer:"])
