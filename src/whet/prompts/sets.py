"""Template sets: named templates over the same fields, for one kind of task."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from whet.errors import DataError, Problem
from whet.example import Template
from whet.prompts import slots, syntax


@dataclass(frozen=True, slots=True)
class Repair:
    """A slip of a file that was mended when it was read: the template's name, and what was read as what."""

    template: str
    evidence: str


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """Templates over the same fields. `labels` is empty where the task names them, or where the answer is any text."""

    name: str
    about: str
    kind: Literal["classify", "generate"]
    fields: tuple[str, ...]
    target: str
    labels: tuple[str, ...]
    templates: tuple[Template, ...]
    repairs: tuple[Repair, ...] = ()

    def summary(self) -> dict[str, Any]:
        """What a list of sets says of it, as plain JSON values."""
        turned = sum(template.is_inverted for template in self.templates)
        return {
            "name": self.name, "about": self.about, "kind": self.kind, "fields": list(self.fields), "target": self.target,
            "labels": list(self.labels), "templates": len(self.templates), "inverted": turned,
        }  # fmt: skip

    def named(self, name: str) -> Template:
        """The template of this name.

        Raises:
            DataError: if there is none.
        """
        for template in self.templates:
            if template.name == name:
                return template
        near = difflib.get_close_matches(name, [t.name for t in self.templates], 1)
        do = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(t.name for t in self.templates)}"
        raise DataError(Problem(f"template set {self.name}", f"it has no template {name!r}", do))

    def of_task(self, task: str) -> TemplateSet:
        """The templates of one task of a file that holds several, with the fields of that task only.

        Raises:
            DataError: if there is none.
        """
        chosen = tuple(t for t in self.templates if t.task == task)
        if not chosen:
            tasks = ", ".join(sorted({t.task for t in self.templates if t.task})) or "none"
            raise DataError(Problem(f"template set {self.name}", f"it holds no task {task!r}", f"Its tasks are {tasks}"))
        target = chosen[0].target
        repairs = tuple(r for r in self.repairs if r.template in {t.name for t in chosen})
        return replace(self, name=task, fields=needed(chosen, target), target=target, templates=chosen, repairs=repairs)


def require_sound(found: TemplateSet, where: str) -> None:
    """Raises one DataError with all that is wrong with the templates of a set: texts that cannot be filled, names, answers."""
    problems = [Problem(f"{where}, template {t.name}", what, do) for t in found.templates for what, do in _faults(t, found)]
    twice = [name for name, n in Counter(t.name for t in found.templates).items() if n > 1]
    problems += [Problem(where, f"{name!r} is the name of several templates", "Give each its own") for name in twice]
    if not found.templates:
        problems.append(Problem(where, "it holds no template", "Write a [[template]]"))
    if problems:
        raise DataError(*problems)


def needed(templates: Sequence[Template], target: str) -> tuple[str, ...]:
    """The fields that templates read beside the one with the answer, in order of appearance."""
    return tuple(dict.fromkeys(name for template in templates for name in template_fields(template) if name != target))


def usual_target(templates: Sequence[Template]) -> str:
    """The field that most templates which are not turned around answer with; empty if they answer with more than a field."""
    completions = Counter(t.completion for t in templates if not t.jinja and not t.is_inverted)
    found = slots.slots(completions.most_common(1)[0][0]) if completions else ()
    return found[0] if len(found) == 1 else ""


def template_fields(template: Template) -> tuple[str, ...]:
    """The fields that a template reads, the one with the answer included; the Options clause is none."""
    if template.jinja:
        return syntax.names(template.jinja, template.answer_choices)
    found = [*slots.slots(template.prompt), *slots.slots(template.completion)]
    named = [template.target if slot == "answer" and template.target else slot for slot in found if slot != "options"]
    return tuple(dict.fromkeys(named))


def _faults(template: Template, of: TemplateSet) -> Iterator[tuple[str, str]]:
    """What is wrong with a template, and what to do."""
    try:
        used = template_fields(template)
    except ValueError as error:
        yield str(error), "Mend it; a brace that is meant as one is written twice"
        return
    if not template.name.strip():
        yield "its name is empty", "Give it one"
    if of.fields and (unknown := [field for field in used if field not in {*of.fields, of.target, template.target}]):
        yield f"the set has no field {', '.join(map(repr, unknown))}", f"Its fields are {', '.join([*of.fields, of.target])}"
    if not all(isinstance(answer, str) and answer.strip() for answer in template.answers.values()):
        yield "one of its answers is empty, or no text", "Write what the label is called"
    if of.kind == "classify" and not template.is_inverted and not template.jinja:
        if "{answer}" not in template.completion:
            what = "its completion does not hold {answer}, so that no label can be read from it"
            yield what, "Write inverted = true, or {answer}"
        same = [answer for answer, n in Counter(template.answers.values()).items() if n > 1]
        if same:
            yield f"two labels are both called {same[0]!r}", "Give each its own answer"
