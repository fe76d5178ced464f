"""The plain template: the instruction first (rows share it, so it is computed once), then the inputs, then the answer.

Decide if the sentence is a promise.

Text: We will build 40,000 homes.
Answer: True
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whet.example import Example, Task


def prompt(
    task: Task, inputs: Mapping[str, str], demonstrations: Sequence[Example] = (), instruction: str | None = None
) -> str:
    """The text up to and including `Answer:`; the completion follows it.

    Args:
        task: gives the instruction, where there is no own one.
        inputs: column name to text; one input is called `Text`, several keep their names, an empty one is left out.
        demonstrations: worked examples to show first (few-shot), each behind its own instruction where it has one.
        instruction: the example's own.

    Example:
        >>> prompt(Task(instruction="Name the colour."), {"c": "the sky"})
        'Name the colour.\\n\\nText: the sky\\nAnswer:'
    """
    said, parts = "", []
    asked = [(d.instruction, _block(d.inputs) + completion(d.target)) for d in demonstrations]
    for own, block in [*asked, (instruction, _block(inputs))]:
        wanted = (own or task.instruction).strip()
        parts += [wanted, block] if wanted != said else [block]  # what all share stands once, at the front
        said = wanted
    return "\n\n".join(parts)


def ask(task: Task, example: Example, demonstrations: Sequence[Example] = ()) -> str:
    """The prompt of an example, with its own instruction where it has one."""
    return prompt(task, example.inputs, demonstrations, example.instruction)


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
    lines = [f"{name}: {text.strip()}" for name, text in zip(names, inputs.values(), strict=True) if text.strip()]
    return "\n".join([*lines, "Answer:"])
