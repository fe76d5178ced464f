"""A template set bound to a task, and dealt out: each training example gets one of its templates, all of them equally often.

What is asked where somebody counts (validation, test, predictions) is always asked in the same words: with the first template.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from types import MappingProxyType
from typing import TypeVar

from whet.errors import DataError, Problem
from whet.example import Example, Task, Template
from whet.prompts import slots
from whet.prompts.render import OPTIONS, Rendered, clause, few_shot, render
from whet.prompts.sets import TemplateSet, template_fields

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Shares:
    """Which shares of the training examples are asked in a certain way: with the Options clause (of those whose template takes
    one), turned around, behind `shots` worked examples."""

    options: float = 0.5
    inverted: float = 0.0
    few_shot: float = 0.0
    shots: int = 2


@dataclass(frozen=True, slots=True)
class Bound:
    """A set bound to a task: every template in two forms, without and with the Options clause (the same where it takes none).

    The forms hold no slot but for the fields of an example, so that a run can keep exactly what its examples were asked with.
    """

    forward: tuple[tuple[Template, Template], ...]
    inverted: tuple[Template, ...]
    asked: Template

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that an example must have beside the answer, in order of appearance."""
        templates = [self.asked, *(form for forms in self.forward for form in forms), *self.inverted]
        read = [field for template in templates for field in _fields(template) if field != template.target]
        return tuple(dict.fromkeys(read))


def bind(
    found: TemplateSet, task: Task, shares: Shares, name: str | None = None, fixed: Mapping[str, str] = MappingProxyType({})
) -> Bound:
    """The set as the task needs it.

    Args:
        found: the set.
        task: whose labels are the answers.
        shares: which forms are wanted; where half or more have the Options clause, what is asked has it too.
        name: of the only template that is wanted; left out: all of them.
        fixed: fields that have the same text for every example.

    Raises:
        DataError: with everything because of which the set does not fit the task.
    """
    chosen = found.templates if name is None else (found.named(name),)
    problems = list(_misfits(found, chosen, task, shares))
    if problems:
        raise DataError(*problems)
    fitting = [t for t in chosen if task.kind != "classify" or not (t.jinja or t.is_inverted)]
    forms = [(t, *_forms(_filled(t, fixed), task.labels or found.labels, found)) for t in fitting]
    forward = tuple((bare, full) for t, bare, full in forms if not t.is_inverted or name is not None)
    inverted = tuple(bare for t, bare, _ in forms if t.is_inverted and name is None)
    return Bound(forward, inverted if shares.inverted else (), forward[0][shares.options >= 0.5])


def deal(train: Sequence[Example], bound: Bound, shares: Shares, seed: int) -> list[Example]:
    """The training examples, each with the template that it is learned with.

    All are walked label by label, in an order that the seed and their ids give. So templates, forms and shares are met within a
    label as well as in all, to an example or two; and an example asked behind worked ones is none of these.
    """
    order = sorted(range(len(train)), key=lambda i: (train[i].target if bound.asked.answers else "", place(seed, train[i].id)))
    shown = _worked(train, shares.shots, seed) if shares.few_shot else []
    dealer, shown_ids, dealt = Dealer(bound, shares, shown), {example.id for example in shown}, list(train)
    for i in order:
        dealt[i] = replace(train[i], template=dealer.templates[dealer.next(is_shown=train[i].id in shown_ids)])
    return dealt


class Dealer:
    """Deals templates one by one: turned around or forward, forward ones in turn, each form in its share of its template.

    Args:
        bound: the templates.
        shares: which shares of all have which form.
        shown: the worked examples that some are asked behind.

    Attributes:
        templates: all that can be dealt: both forms of each forward one, both behind worked examples, those turned around.
    """

    def __init__(self, bound: Bound, shares: Shares, shown: Sequence[Example]) -> None:
        count, forms = len(bound.forward), [form for pair in bound.forward for form in pair]
        self._is_showing = bool(shown)
        self.templates = (*forms, *(with_shown(form, shown) for form in forms if shown), *bound.inverted)
        self._behind_at, self._inverted_at = len(forms), len(self.templates) - len(bound.inverted)
        self._forward, self._inverted = cycle(range(count)), cycle(range(len(bound.inverted)))
        self._turned = _Turns(shares.inverted if bound.inverted else 0.0)
        # Each begins elsewhere, so that not all templates are due to take the clause in the same round.
        self._full = [_Turns(shares.options, n / count) for n in range(count)]
        self._behind = [[_Turns(shares.few_shot, n / count) for _ in range(2)] for n in range(count)]

    def next(self, *, is_shown: bool) -> int:
        """The place of the template that is due, for an example that is one of the worked ones or is not."""
        if self._turned.now():
            return self._inverted_at + next(self._inverted)
        at = next(self._forward)
        form = self._full[at].now()
        is_behind = self._is_showing and self._behind[at][form].now()
        # Nobody is shown their own answer: the worked examples are asked by themselves.
        return (self._behind_at if is_behind and not is_shown else 0) + 2 * at + form


def with_shown(template: Template, shown: Sequence[Example]) -> Template:
    """The template with worked examples written into it; as it is, if it makes nothing of one of them."""
    made = [render(template, {**each.inputs, template.target: each.target}) for each in shown]
    rendered = [each for each in made if isinstance(each, Rendered)]
    if template.jinja or len(rendered) < len(shown):
        return template
    written = few_shot(template, rendered, Rendered("", "\0", "")).prompt.removesuffix("\0")
    return replace(template, name=template.name + shots_in_name(len(shown)), prompt=slots.escape(written) + template.prompt)


def shots_in_name(count: int) -> str:
    """What the name of a template ends with that shows so many worked examples."""
    return f", {count}-shot"


class _Turns:
    """Says yes for a share of the times that it is asked, spread evenly."""

    def __init__(self, share: float, start: float = 0.0) -> None:
        self._share, self._owed = share, start

    def now(self) -> bool:
        self._owed += self._share
        # A share of a third is owed exactly once in three times, whatever rounding says.
        if self._owed < 1 - 1e-9:
            return False
        self._owed -= 1
        return True


def _filled(template: Template, fixed: Mapping[str, str]) -> Template:
    """The template with the fields written in that are the same for every example."""
    prompt, completion = template.prompt, template.completion
    for field, text in fixed.items():
        prompt, completion = slots.fill_one(prompt, field, text), slots.fill_one(completion, field, text)
    return replace(template, prompt=prompt, completion=completion)


def _forms(template: Template, labels: Sequence[str], found: TemplateSet) -> tuple[Template, Template]:
    """A template without the Options clause, and with it written out; a list that each example brings along stays a slot."""
    if template.jinja:
        return template, template
    answers = dict(template.answers)
    if not answers and "{answer}" in template.prompt + template.completion:
        answers = {label: label for label in labels}
    template = replace(template, answers=answers)
    if OPTIONS in found.fields or OPTIONS not in slots.slots(template.prompt):
        return template, template
    bare = replace(template, prompt=slots.without(template.prompt, OPTIONS))
    if not answers:
        return bare, bare
    listed = slots.fill_one(template.prompt, OPTIONS, clause(list(dict.fromkeys(answers.values()))))
    return bare, replace(template, name=f"{template.name}, options", prompt=listed.strip())


def _fields(template: Template) -> tuple[str, ...]:
    return (*template_fields(template), *([OPTIONS] if OPTIONS in slots.slots(template.prompt) else []))


def _misfits(found: TemplateSet, chosen: Sequence[Template], task: Task, shares: Shares) -> Iterator[Problem]:
    """Why the chosen templates of a set do not fit a task."""
    where = f"[data] templates {found.name}"
    forward, to_generate = [t for t in chosen if not t.is_inverted], 'Write kind = "generate" under [task]'
    if task.kind == "classify" and found.kind != "classify":
        yield Problem(where, 'its answers are texts, and kind is "classify"', to_generate)
    elif task.kind == "classify" and all(t.jinja for t in forward):
        yield Problem(where, "it has no template with slots whose answer is a label", to_generate)
    elif task.kind == "classify":
        for label in task.labels:
            if any(t.answers and label not in t.answers for t in forward):
                do = f"They are {', '.join(found.labels)}; name the cells so under [data.label_names]"
                yield Problem(where, f"{label!r} is none of its labels", do)
    if task.kind == "classify" and shares.inverted:
        yield Problem("[data] inverted_fraction", "a template that is turned around writes no label", to_generate)
    elif shares.inverted and not [t for t in chosen if t.is_inverted]:
        yield Problem("[data] inverted_fraction", f"{found.name} has no inverted template", "Leave it out")
    if not forward and len(chosen) > 1:
        yield Problem(where, "all of its templates are inverted", "Name one with [data] template")


def called_alike(bound: Bound) -> bool:
    """Do all forward templates call the labels by the same names?"""
    return len({tuple(full.answers.items()) for _, full in bound.forward}) == 1


def _worked(train: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Worked examples from the training split: of short text, taking the labels in turn."""
    short = sorted(train, key=lambda e: (len(e.text), place(seed, e.id)))[: short_count(len(train), count)]
    return in_turn(((e.target, e) for e in sorted(short, key=lambda e: shown_place(seed, e.id))), count)


def short_count(rows: int, shots: int) -> int:
    """How many of so many training examples are short enough to be shown: the shorter half, and no fewer than are shown."""
    return max(shots, rows // 2)


def in_turn(examples: Iterable[tuple[str, E]], count: int, targets: int | None = None) -> list[E]:
    """So many of the examples, the first of each target first, then the second of each, and so on.

    Args:
        examples: with their targets; no more of them are asked for once it is clear which ones are taken.
        targets: how many targets there can be, where that is known.

    Example:
        >>> in_turn([("yes", 1), ("yes", 2), ("no", 3), ("yes", 4)], 3)
        [1, 3, 2]
    """
    by_target: dict[str, list[E]] = {}
    wanted = count if targets is None else min(count, targets)
    for target, example in examples:
        mine = by_target.setdefault(target, [])
        if len(mine) < count:
            mine.append(example)
        if len(by_target) == wanted and wanted * min(map(len, by_target.values())) >= count:
            break
    rounds = [[mine[n] for mine in by_target.values() if n < len(mine)] for n in range(count)]
    return [example for each in rounds for example in each][:count]


def shown_place(seed: int, id_: str) -> bytes:
    """The place of an example in the order in which worked ones are chosen."""
    return place(seed, f"shown {id_}")


def place(seed: int, id_: str) -> bytes:
    """The place of an example in the order in which templates are dealt, within its label."""
    return hashlib.blake2b(f"{seed}\n{id_}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
