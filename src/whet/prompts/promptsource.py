"""promptsource's `templates.yaml`: read as data, and made into templates with slots where slots say all that its Jinja says.

Rendered as promptsource renders them (`render.py`), but for one thing: its `apply` cuts every `{{ ... }}` to 2,048 characters,
and does so by replacing `}}` in the source, which breaks tables written in a template and cuts answers unseen. Nothing is cut
here; an example that is too long is a matter of `[train] max_length`, which says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from whet.errors import DataError, Problem
from whet.example import Template
from whet.prompts import syntax
from whet.prompts.sets import TemplateSet, needed, require_sound, usual_target


class _Loader(yaml.SafeLoader):
    """YAML whose two tags are plain tables; any other tag is an error."""


def _table(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


for _tag in ("!Template", "!TemplateMetadata"):
    _Loader.add_constructor(_tag, _table)


def read(text: str, where: str) -> TemplateSet:
    """The templates of a file, each as it stands there.

    Raises:
        DataError: with everything that is wrong with it.
    """
    try:
        values = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        what = f"it is not promptsource's YAML: {' '.join(str(error).split())}"
        raise DataError(Problem(where, what, "Mend that line")) from None
    except RecursionError:
        raise DataError(Problem(where, "it nests too deep", "Write its templates side by side")) from None
    records = values.get("templates") if isinstance(values, dict) else None
    if not isinstance(records, dict) or not records:
        raise DataError(Problem(where, "it holds no `templates`", "Name a templates.yaml of promptsource"))
    problems: list[Problem] = []
    templates: list[Template] = []
    for key, record in records.items():
        fault = _wrong(record)
        if fault:
            problems.append(Problem(f"{where}, template {key}", fault, "Mend or remove it"))
        else:
            templates.append(_template(record, {t.name for t in templates}))
    if problems:
        raise DataError(*problems)
    name = "/".join(str(part) for part in (values.get("dataset"), values.get("subset")) if part) or where
    targets = Counter(t.target for t in templates if t.target)
    target = targets.most_common(1)[0][0] if targets else ""
    kind = "classify" if 2 * sum(targets.values()) >= len(templates) else "generate"
    found = TemplateSet(name, f"promptsource's templates for {name}", "generate", (), target, (), tuple(templates))
    require_sound(found, where)
    return replace(found, kind=kind, fields=needed(templates, target))  # type: ignore[arg-type]


def simplified(found: TemplateSet) -> TemplateSet:
    """The set with slots in the place of Jinja wherever they say the same, and the labels by number where answers are chosen.

    What chooses from a list of another length, or by another field, than most of the set's templates stays Jinja.
    """
    if not any(template.jinja for template in found.templates):
        return found
    read_as = {t.name: syntax.simple(t.jinja, t.answer_choices) for t in found.templates if t.jinja}
    choices = {t.name: syntax.split_choices(t.answer_choices) or () for t in found.templates}
    for name, simple in read_as.items():
        if simple and simple.label is not None and len(set(choices[name])) < len(choices[name]):
            read_as[name] = None  # two labels of one name cannot be told apart; Jinja does not ask that of them
    shapes = Counter((s.label, len(choices[name])) for name, s in read_as.items() if s and s.label is not None)
    shape = shapes.most_common(1)[0][0] if shapes else (None, 0)
    labels = tuple(map(str, range(shape[1])))

    def made(template: Template) -> Template:
        simple = read_as.get(template.name)
        if simple is None or (simple.label is not None and (simple.label, len(choices[template.name])) != shape):
            return template
        answers = dict(zip(labels, choices[template.name], strict=True)) if simple.label is not None else {}
        texts = {"prompt": simple.prompt, "completion": simple.completion, "jinja": "", "answer_choices": ""}
        return replace(template, **texts, target=simple.label or "", answers=answers)  # type: ignore[arg-type]

    templates = tuple(map(made, found.templates))
    target = shape[0] or usual_target(templates) or found.target
    if not shape[0]:
        templates = tuple(t if t.jinja else replace(t, target=target) for t in templates)
    return replace(found, templates=templates, target=target, labels=labels, fields=needed(templates, target))


def _wrong(record: Any) -> str:
    """What is wrong with the record of a template; empty if nothing is."""
    if not isinstance(record, dict):
        return "it is no !Template"
    if not isinstance(record.get("name"), str) or not isinstance(record.get("jinja"), str):
        return "it has no name or no jinja text"
    if not isinstance(record.get("answer_choices"), str | None):
        return "its answer_choices are no text"
    try:
        syntax.names(record["jinja"], record.get("answer_choices") or "")
    except ValueError as error:
        return f"{record['name']!r} is no Jinja: {error}"
    return ""


def _template(record: Mapping[str, Any], taken: set[str]) -> Template:
    jinja, metadata = record["jinja"], record.get("metadata")
    turned = isinstance(metadata, dict) and metadata.get("original_task") is False
    name = next(n for n in _numbered(record["name"].strip() or "unnamed") if n not in taken)
    target = syntax.label_field(jinja) or ""
    return Template(
        name, completion="", target=target, is_inverted=turned, jinja=jinja, answer_choices=record.get("answer_choices") or ""
    )


def _numbered(name: str) -> Any:
    yield name
    number = 2
    while True:
        yield f"{name} {number}"
        number += 1
