"""A template and a row give a prompt and its completion, or the reason why they do not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whet.example import Template
from whet.prompts import sandbox, slots, syntax

Row = Mapping[str, Any]
ANSWER, OPTIONS = "answer", "options"
ITEM = "\n- "
CLAUSE = "OPTIONS:"
CUE = "Answer:"
# Stands for the separator inside a field while a template is rendered; no text has these private characters.
PIPES, PROTECTED = "|||", "\ue07c\ue07c\ue07c"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template made of a row."""

    name: str
    prompt: str
    completion: str

    def to_json(self) -> dict[str, str]:
        """The record as plain JSON values, keys as in the contract of `whet template render`."""
        return {"name": self.name, "prompt": self.prompt, "completion": self.completion}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why a template makes nothing of a row. `is_fault`: because something is wrong, not because a condition does not hold."""

    name: str
    reason: str
    is_fault: bool = True

    def to_json(self) -> dict[str, str]:
        """The record as plain JSON values, keys as in the contract of `whet template render`."""
        return {"name": self.name, "skipped": self.reason}


class _Unfit(Exception):
    """A row that a template makes nothing of."""

    def __init__(self, reason: str, *, is_fault: bool = True) -> None:
        super().__init__(reason)
        self.is_fault = is_fault


def render(template: Template, row: Row, *, with_options: bool = True, seed: int = 0) -> Rendered | Skipped:
    """What a template makes of a row, blanks around prompt and completion cut off.

    Args:
        template: whose slots (or names, in Jinja) are fields of the row.
        row: field to JSON value. `options` is a list of answers, or one a line; left out, they are those of the template.
        with_options: whether a slot `{options}` is filled, where there are any; the text without it is a template as well.
        seed: of what is random in Jinja.

    Example:
        >>> render(Template("t", "{text}\\nGood?", target="label", answers={"1": "yes"}), {"text": "Ah!", "label": 1})
        Rendered(name='t', prompt='Ah!\\nGood?', completion='yes')
    """
    try:
        if template.jinja:
            prompt, completion = _render_jinja(template, row, seed)
        else:
            prompt, completion = (_filled(text, template, row, with_options) for text in (template.prompt, template.completion))
        for part, text in (("prompt", prompt), ("completion", completion)):
            if not text:
                raise _Unfit(f"the {part} is empty", is_fault=not template.jinja)
        prompt = (prompt + (template.between or "")).rstrip(" ")
    except _Unfit as unfit:
        return Skipped(template.name, str(unfit), unfit.is_fault)
    except sandbox.Fault as fault:
        return Skipped(template.name, f"{fault.kind}: {fault.detail}")
    return Rendered(template.name, prompt, completion)


def render_prompt(template: Template, row: Row) -> str:
    """The prompt alone, for a row whose answer nobody knows yet.

    Raises:
        ValueError: with the reason, if the template makes none without it.
    """
    try:
        if template.jinja:
            raise _Unfit("a Jinja template makes its prompt together with the answer")
        return (_filled(template.prompt, template, row, with_options=True) + (template.between or "")).rstrip(" ")
    except _Unfit as unfit:
        raise ValueError(str(unfit)) from None


def few_shot(template: Template, shown: Sequence[Rendered], asked: Rendered) -> Rendered:
    """What was rendered, behind worked examples of the same template.

    Example:
        >>> few_shot(Template(""), [Rendered("", "Is 7 odd?", "yes")], Rendered("", "Is 8 odd?", "no")).prompt
        'Is 7 odd?\\nAnswer: yes\\n\\nIs 8 odd?'
    """
    blocks = [cued(template, each.prompt) + spaced(template, each.completion) for each in shown]
    return Rendered(asked.name, template.separator.join([*blocks, asked.prompt]), asked.completion)


def render_shown(
    template: Template, row: Row, shown: Sequence[Row], *, with_options: bool = True, seed: int = 0
) -> Rendered | Skipped:
    """What a template makes of a row behind worked examples; the first reason why not, if one of them cannot be rendered."""
    made = [render(template, each, with_options=with_options, seed=seed) for each in [*shown, row]]
    for number, each in enumerate(made, 1):
        if isinstance(each, Skipped):
            return each if number == len(made) else replace(each, reason=f"worked example {number}: {each.reason}")
    *examples, asked = (each for each in made if isinstance(each, Rendered))
    return few_shot(template, examples, asked)


def cued(template: Template, prompt: str) -> str:
    """The prompt with what leads to the answer, but for the blank that belongs to the completion.

    A prompt that ends with a colon is a cue by itself. Any other gets a line `Answer:`, so that the answer is neither read as
    one more option nor as the text going on, and so that it begins in the same way behind every template.
    """
    return prompt if template.between is not None or prompt.endswith(":") else f"{prompt}\n{CUE}"


def spaced(template: Template, completion: str) -> str:
    """The completion with the blank that makes it a word of its own, unless the template puts something else before it."""
    return f" {completion}" if template.between is None or template.between.endswith(" ") else completion


def clause(options: Sequence[str]) -> str:
    """The Options clause: all answers that there are, one a line.

    Example:
        >>> clause(["yes", "no"])
        'OPTIONS:\\n- yes\\n- no'
    """
    return CLAUSE + "".join(ITEM + option for option in options)


def words(template: Template, label: str) -> str:
    """What a label is called in this template.

    Raises:
        KeyError: it is called nothing here.
    """
    return template.answers[label] if template.answers else label


def label_of(template: Template, completion: str) -> str | None:
    """The label whose completion this is; None if it is nobody's. `label_of(render(label).completion) == label`.

    Example:
        >>> label_of(Template("t", completion="It is {answer}.", answers={"1": "good", "0": "bad"}), "It is bad.")
        '0'
    """
    if slots.slots(template.completion) != (ANSWER,):
        return None
    written = {slots.fill(template.completion, {ANSWER: called}).strip(): label for label, called in template.answers.items()}
    return written.get(completion.strip())


def _filled(text: str, template: Template, row: Row, with_options: bool) -> str:
    values = {}
    for slot in slots.slots(text):
        if slot == OPTIONS:
            listed = _options(template, row) if with_options else ""
            text = text if listed else slots.without(text, OPTIONS)
            values[slot] = listed
        elif slot == ANSWER and template.target:
            values[slot] = _answer(template, row)
        else:
            values[slot] = _text(row, slot)
    return slots.fill(text, values).strip()


def _answer(template: Template, row: Row) -> str:
    label = _text(row, template.target)
    try:
        return words(template, label)
    except KeyError:
        raise _Unfit(f"{template.target} is {label!r}, and not one of {', '.join(template.answers)}") from None


def _options(template: Template, row: Row) -> str:
    for name in ("options_", "options_str"):  # as FLAN's own pipeline writes them out
        if isinstance(row.get(name), str):
            return str(row[name]).strip()
    given = row.get(OPTIONS)
    if given is None:
        answers = list(dict.fromkeys(template.answers.values()))
    elif isinstance(given, (str, list)):
        answers = listed(given) if isinstance(given, str) else [str(option) for option in given]
    else:
        raise _Unfit(f"the field {OPTIONS!r} is {given!r}, and no list of answers")
    return clause(answers) if answers else ""


def listed(text: str) -> list[str]:
    """The items of a list that is written in a cell: as JSON, or one a line.

    Example:
        >>> listed('["a, b", "c"]'), listed("a, b\\n- c")
        (['a, b', 'c'], ['a, b', 'c'])
    """
    if text.lstrip().startswith("["):
        try:
            return [item if isinstance(item, str) else json.dumps(item) for item in json.loads(text)]
        except json.JSONDecodeError:
            pass
    return [line.strip().removeprefix("- ") for line in text.splitlines() if line.strip()]


def _text(row: Row, name: str) -> str:
    """A field as text.

    Raises:
        _Unfit: there is none, or it is no text or number.
    """
    if name not in row:
        raise _Unfit(f"the row has no field {name!r}; it has {', '.join(map(str, row)) or 'none'}")
    value = row[name]
    if isinstance(value, (list, dict)):
        raise _Unfit(f"the field {name!r} is a {'list' if isinstance(value, list) else 'table'}, and a slot takes text")
    if value is None or not str(value).strip():
        raise _Unfit(f"the field {name!r} is empty")
    return str(value)


# -- Jinja, as promptsource renders it ----------------------------------------------------------------------------------


def _render_jinja(template: Template, row: Row, seed: int) -> tuple[str, str]:
    """Prompt and completion of a promptsource template: fields are protected, the whole is rendered once, then divided."""
    if "answer_choices" in row:
        raise _Unfit("the row has a field of its own that is called 'answer_choices'")
    fields, choices = dict(_protected(row)), syntax.split_choices(template.answer_choices)
    if template.answers:
        fields[template.target] = int(_answer(template, row))
    if template.answer_choices and choices is None:
        found = sandbox.render(template.answer_choices, fields, seed)
        choices = [_unprotected(choice.strip()) for choice in found.split(PIPES)]
    whole = sandbox.render(template.jinja, {**fields, "answer_choices": choices}, seed)
    if not whole.strip():
        absent = [name for name in syntax.names(template.jinja) if name not in row]
        lacking = f", which has no field {', '.join(map(repr, absent))}" if absent else ""
        raise _Unfit(f"it renders nothing: its condition does not hold for this row{lacking}", is_fault=bool(absent))
    found_parts = [_unprotected(part.strip()) for part in whole.split(PIPES)]
    if len(found_parts) != 2:
        what = "no completion: there is no |||" if len(found_parts) == 1 else f"{len(found_parts)} parts where two are wanted"
        raise _Unfit(f"it renders {what}")
    return found_parts[0], found_parts[1]


def _protected(row: Row) -> Iterator[tuple[str, Any]]:
    """The fields of a row whose texts hold no separator any more."""

    def protect(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(PIPES, PROTECTED)
        if isinstance(value, list):
            return [protect(item) for item in value]
        return {protect(key): protect(item) for key, item in value.items()} if isinstance(value, dict) else value

    return ((name, protect(value)) for name, value in row.items())


def _unprotected(text: str) -> str:
    return text.replace(PROTECTED, PIPES)
