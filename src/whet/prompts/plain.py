"""The plain template: what the task is first (rows share it, so it is computed once), then the inputs, then the answer.

Decide if the sentence is a promise.

Text: We will build 40,000 homes.
Answer: True

What was said before, in a conversation, stands before the instruction in the same form: a turn, and `Answer:` with its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whet.example import Example, Message, Task


def prompt(
    task: Task,
    inputs: Mapping[str, str],
    demonstrations: Sequence[Example] = (),
    instruction: str | None = None,
    history: Sequence[Message] = (),
) -> str:
    """The text up to and including `Answer:`; the completion follows it.

    Args:
        task: says what to do, where there is no own instruction.
        inputs: column name to text; one input is called `Text`, several keep their names, an empty one is left out.
        demonstrations: worked examples to show first (few-shot), each behind its own instruction where it has one.
        instruction: the example's own.
        history: the turns of a conversation before it.

    Example:
        >>> prompt(Task(instruction="Name the colour."), {"c": "the sky"})
        'Name the colour.\\n\\nText: the sky\\nAnswer:'
    """
    said, parts = "", []
    asked = [(d.history, d.instruction, _block(d.inputs) + completion(d.target)) for d in demonstrations]
    for before, own, block in [*asked, (history, instruction, _block(inputs))]:
        parts += [f"Answer:{completion(m.text)}" if m.role == "assistant" else m.text.strip() for m in before]
        wanted = own.strip() if own else told(task)
        parts += [wanted, block] if before or wanted != said else [block]  # what all share stands once, at the front
        said = wanted
    return "\n\n".join(parts)


def told(task: Task) -> str:
    """What the task is, in words: instruction, definition, what to avoid, worked examples with what is right or wrong in them.

    Example:
        >>> print(told(Task(instruction="Answer.", constraints="No guesses.")))
        Answer.
        <BLANKLINE>
        Things to avoid: No guesses.
    """
    titled = [("", task.instruction), ("Definition: ", task.definition), ("Things to avoid: ", task.constraints)]
    parts = [title + text.strip() for title, text in titled if text.strip()]
    for kind, examples in (("Positive", task.positive_examples), ("Negative", task.negative_examples)):
        for number, each in enumerate(examples, 1):
            why = [f"Explanation: {each.explanation.strip()}"] if each.explanation.strip() else []
            lines = [f"{kind} example {number}", f"Input: {each.input.strip()}", f"Output: {each.output.strip()}", *why]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def ask(task: Task, example: Example, demonstrations: Sequence[Example] = ()) -> str:
    """The prompt of an example, with its own instruction and history where it has them."""
    return prompt(task, example.inputs, demonstrations, example.instruction, example.history)


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
