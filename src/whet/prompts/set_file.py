"""A template set as a TOML file, which people read and write.

```toml
about = "Is the message spam?"
kind = "classify"                    # or "generate": the answer is any text
fields = ["text"]                    # what a row has beside its answer
target = "label"                     # the field that holds the answer
labels = ["0", "1"]                  # what it may be; left out, the labels of the task

[[template]]
name = "spam"
prompt = "{text}\\n\\nIs this message spam?\\n\\n{options}"
answers = ["no", "yes"]              # what the labels are called here, in their order

[[template]]
name = "write"
inverted = true                      # the answer is given, and something else is to be written
prompt = "Write a message. Is it spam? {answer}"
completion = "{text}"
answers = ["no", "yes"]
```
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from whet.errors import DataError, Problem
from whet.example import Template
from whet.prompts.sets import TemplateSet, needed, require_sound

KEYS: dict[str, tuple[type, ...]] = {
    "about": (str,), "kind": (str,), "fields": (list,), "target": (str,), "labels": (list,), "template": (list,),
}  # fmt: skip
TEMPLATE_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,), "prompt": (str,), "completion": (str,), "answers": (list, dict), "inverted": (bool,), "between": (str,),
    "separator": (str,), "task": (str,), "target": (str,), "jinja": (str,), "answer_choices": (str,),
}  # fmt: skip


def read(text: str, name: str, where: str) -> TemplateSet:
    """The set in the text of a TOML file.

    Args:
        text: what the file holds.
        name: what the set is called.
        where: the file, as errors call it.

    Raises:
        DataError: with everything that is wrong with it.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(Problem(where, f"it is not valid TOML: {error}", "Mend that line")) from None
    problems = list(_wrong_values(where, values))
    if problems:
        raise DataError(*problems)
    labels = tuple(values.get("labels", ()))
    about, kind, target = values.get("about", ""), values.get("kind", "generate"), values.get("target", "")
    templates = tuple(_template(record, target, labels) for record in values["template"])
    made = TemplateSet(name, about, kind, tuple(values.get("fields", ())), target, labels, templates)
    require_sound(made, where)
    return made if made.fields else replace(made, fields=needed(templates, target))


def read_run(text: str, where: str) -> TemplateSet:
    """The templates that a run keeps, as a set: `templates.json` of a run folder.

    Raises:
        DataError: the text holds something else.
    """
    try:
        templates = tuple(Template.from_json(record) for record in json.loads(text)["templates"])
        first = templates[0]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise DataError(Problem(where, "it holds no templates of a run", "Name a templates.json that whet wrote")) from None
    made = TemplateSet("run", "The templates of a run", "generate", (), first.target, (), templates)
    require_sound(made, where)
    return replace(made, fields=needed(templates, first.target))


def write(found: TemplateSet) -> str:
    """The text of a file that holds the set; `read` gives the same set again."""
    import tomli_w

    record = {
        "about": found.about, "kind": found.kind, "fields": list(found.fields), "target": found.target,
        "labels": list(found.labels),
    }  # fmt: skip
    templates = [_template_record(template, found) for template in found.templates]
    values = {key: value for key, value in record.items() if value} | {"template": templates}
    text = tomli_w.dumps(values, multiline_strings=True)
    return text if tomllib.loads(text) == values else tomli_w.dumps(values)  # a lone \r survives only in the other form


def _template(record: Mapping[str, Any], target: str, labels: Sequence[str]) -> Template:
    values = {("is_inverted" if key == "inverted" else key): value for key, value in record.items()}
    answers = values.get("answers", {})
    if isinstance(answers, list):
        values["answers"] = dict(zip(labels, answers, strict=True))
    elif "jinja" not in values and not answers:
        values["answers"] = {label: label for label in labels}  # called by their own names
    if "jinja" in values:
        values["completion"] = ""
    return Template(**{"target": target, **values})


def _template_record(template: Template, of: TemplateSet) -> dict[str, Any]:
    """A template as it stands in a file: without what it has in common with its set."""
    record = template.to_json()
    if record.pop("is_inverted", False):
        record["inverted"] = True
    record["target"] = template.target
    if template.target == of.target:
        del record["target"]
    if of.labels and tuple(template.answers) == of.labels:
        record["answers"] = list(template.answers.values())
    if template.jinja:
        record.pop("completion", None)
    return record


def _wrong_values(where: str, values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the keys and types of a file."""
    yield from _wrong_keys(where, values, KEYS)
    if values.get("kind", "generate") not in ("classify", "generate"):
        yield Problem(f"{where}, kind", f"{values['kind']!r} is none", 'Write "classify" or "generate"')
    for key in ("fields", "labels"):
        if isinstance(values.get(key), list) and not all(isinstance(item, str) for item in values[key]):
            yield Problem(f"{where}, {key}", "it holds something that is no text", "Put each item into quotes")
    records = values.get("template", [])
    if not isinstance(records, list) or not records:
        yield Problem(where, "it holds no template", "Write a [[template]] with a name and a prompt")
        return
    for number, record in enumerate(records, 1):
        place = f"{where}, template {record.get('name', number) if isinstance(record, dict) else number}"
        if not isinstance(record, dict):
            yield Problem(place, "it is no table", "Write it as a [[template]]")
            continue
        yield from _wrong_keys(place, record, TEMPLATE_KEYS)
        if "name" not in record:
            yield Problem(place, "it has no name", "Give it one")
        if ("prompt" in record) == ("jinja" in record):
            yield Problem(place, "it needs either a prompt or a jinja text", "Write one of them")
        answers, labels = record.get("answers"), values.get("labels", [])
        if isinstance(answers, list) and len(answers) != len(labels):
            what = f"it has {len(answers)} answers, and the set {len(labels)} labels"
            yield Problem(place, what, "Write an answer for each label, in their order, or a table of label = answer")


def _wrong_keys(place: str, values: Mapping[str, Any], known: Mapping[str, tuple[type, ...]]) -> Iterator[Problem]:
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            do = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}"
            yield Problem(place, f"there is no such key as {key!r}", do)
        elif not isinstance(value, known[key]):
            wanted = {str: "a text", list: "a list", dict: "a table", bool: "true or false"}
            yield Problem(f"{place}, {key}", f"{value!r} does not do", f"Write {' or '.join(wanted[t] for t in known[key])}")
