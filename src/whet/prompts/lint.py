"""What is wrong with a template set, seen in its texts and in what it makes of real rows. Each finding names its evidence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from whet.example import Template
from whet.prompts import slots, syntax
from whet.prompts.render import Rendered, Row, Skipped, render
from whet.prompts.sets import TemplateSet, template_fields

MOST_ROWS = 1000
ENOUGH_ROWS = 5  # fewer rows with one and the same answer say nothing
MOST_LABELS = 50  # more different answers are texts, and no labels
LEAK_SHARE = 0.2  # of the rows that name the right answer alone; a review of a good film may well say "good"
EMPTY = "the completion is empty"
NUMBERING = re.compile(r"(.*_)?(id|idx|index)")  # columns that number the rows say nothing about them
SLIPS = (re.compile(r"\}n(?=\n)"), re.compile(r"\\n"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    `kind`: `leak` (the answer stands in the prompt), `dropped_field`, `one_class`, `empty_output`, `no_end` (nothing says where
    the question ends), `render_rate` (it cannot be rendered), `duplicate` or `lost_backslash`.
    """

    kind: str
    template: str
    evidence: str

    def to_json(self) -> dict[str, str]:
        """The record as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, and how many of the rows each template rendered."""

    findings: tuple[Finding, ...]
    rows: int
    rendered: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, keys as in the contract of `whet template lint`."""
        findings = [finding.to_json() for finding in self.findings]
        return {"findings": findings, "templates": len(self.rendered), "rows": self.rows, "rendered": dict(self.rendered)}


def lint(found: TemplateSet, rows: Sequence[Row] = ()) -> Report:
    """What is wrong with a set, and with what it makes of rows.

    Args:
        found: the set.
        rows: field to JSON value; left out, only the texts are looked at. More than 1,000 say no more.
    """
    rows = rows[:MOST_ROWS]
    findings = [*_slips(found), *_dropped(found), *_duplicates(found), *_unread(found, rows)]
    targets = {str(row[found.target]) for row in rows if found.target in row} if found.kind == "classify" else set()
    labels = sorted(targets) if len(targets) <= MOST_LABELS else ()
    rendered = {}
    for template in found.templates:
        findings += _no_end(template)
        findings += _given_away(template)
        made = [render(template, row, seed=number) for number, row in enumerate(rows)]
        rendered[template.name] = sum(isinstance(each, Rendered) for each in made)
        if rows:
            findings += _outputs(template, made)
            findings += _leaks(template, rows, made, labels)
    return Report(tuple(findings), len(rows), rendered)


def _slips(found: TemplateSet) -> Iterator[Finding]:
    """Backslashes that got lost, or that are no line break: `{text}n` at the end of a line, or a backslash and an n."""
    yield from (Finding("lost_backslash", repair.template, repair.evidence) for repair in found.repairs)
    for template in found.templates:
        for text in (template.prompt, template.completion):
            for slip in SLIPS:
                if match := slip.search(text):
                    piece = text[max(0, match.start() - 24) : match.end() + 8]
                    yield Finding("lost_backslash", template.name, f"{piece!r} holds an n that was meant as a line break")


def _dropped(found: TemplateSet) -> Iterator[Finding]:
    """Fields that most templates of a task read, and this one does not."""
    tasks: dict[str, list[Template]] = {}
    for template in found.templates:
        if not template.is_inverted:
            tasks.setdefault(template.task, []).append(template)
    for templates in tasks.values():
        readers = Counter(name for template in templates for name in _read(template))
        usual = [name for name in found.fields if 2 * readers[name] > len(templates)]
        for template in templates:
            for name in usual:
                if name not in _read(template):
                    others = f"{readers[name]} of {len(templates)} templates do"
                    yield Finding("dropped_field", template.name, f"it does not read {name!r}; {others}")


def _read(template: Template) -> set[str]:
    """The fields that a template reads; of one with an Options clause also `options`, which may be a field."""
    return {*template_fields(template), *(["options"] if "{options}" in template.prompt else [])}


def _unread(found: TemplateSet, rows: Sequence[Row]) -> Iterator[Finding]:
    """Fields of the set, or of the rows, that no template reads."""
    read = {name for template in found.templates for name in _read(template)} | {found.target}
    in_rows = list(dict.fromkeys(name for row in rows for name in row))
    for name in dict.fromkeys([*found.fields, *in_rows]):
        if name not in read and not (name.startswith("options") and "options" in read) and not NUMBERING.fullmatch(name):
            yield Finding("dropped_field", "(all)", f"no template reads {name!r}")


def _duplicates(found: TemplateSet) -> Iterator[Finding]:
    first: dict[tuple[str, ...], str] = {}
    for template in found.templates:
        texts = (template.prompt, template.completion, template.jinja, template.answer_choices, *template.answers.values())
        key = tuple(" ".join(text.casefold().split()) for text in texts)
        if key in first:
            yield Finding("duplicate", template.name, f"it says the same as {first[key]!r}")
        first.setdefault(key, template.name)


def _no_end(template: Template) -> Iterator[Finding]:
    """Prompts after which nothing says that the answer begins."""
    if template.jinja and syntax.PIPES not in template.jinja:
        yield Finding("no_end", template.name, "there is no |||: the prompt has no end, and no completion follows")
    simple = syntax.simple(template.jinja, template.answer_choices) if template.jinja else None
    prompt = simple.prompt if simple else template.prompt
    own = [part for part, _ in slots.parts(prompt)]
    if prompt and not any(character.isalpha() for part in own for character in part):
        yield Finding("no_end", template.name, f"it is nothing but fields, {prompt!r}: neither the task nor its end is said")
    if template.between == "":
        yield Finding("no_end", template.name, "`between` is empty: the answer stands right behind the prompt")
    if sum(part.count('"') for part in own) % 2:
        yield Finding("no_end", template.name, f"a quotation mark has no other one: {prompt[-60:]!r}")


def _given_away(template: Template) -> Iterator[Finding]:
    """Prompts that hold the answer itself."""
    if template.is_inverted or template.jinja:
        return
    shown = set(slots.slots(template.prompt)) & {"answer", template.target}
    if shown and set(slots.slots(template.completion)) & {"answer", template.target}:
        yield Finding("leak", template.name, f"the prompt holds {{{min(shown)}}}, and the completion too")


def _outputs(template: Template, made: Sequence[Rendered | Skipped]) -> Iterator[Finding]:
    """Answers that are empty, or all the same, and rows that cannot be rendered."""
    completions = Counter(each.completion for each in made if isinstance(each, Rendered))
    skipped = [each for each in made if isinstance(each, Skipped)]
    empty = sum(each.reason == EMPTY for each in skipped)
    if empty:
        yield Finding("empty_output", template.name, f"{empty} of {len(made)} rows have an empty completion")
    if completions.total() >= ENOUGH_ROWS and len(completions) == 1:
        same = next(iter(completions))
        yield Finding("one_class", template.name, f"all {completions.total()} rows it renders have the completion {same!r}")
    faults = [each for each in skipped if each.is_fault and each.reason != EMPTY]
    if faults or (not completions and len(skipped) > empty):
        reason = (faults or skipped)[0].reason
        yield Finding("render_rate", template.name, f"{completions.total()} of {len(made)} rows are rendered: {reason}")


def _leaks(
    template: Template, rows: Sequence[Row], made: Sequence[Rendered | Skipped], labels: Sequence[str]
) -> Iterator[Finding]:
    """Prompts that change with the label, and prompts that name the right answer and no other one."""
    if template.is_inverted:
        return
    right, wrong, sample = 0, 0, ""
    pairs = [(row, each) for row, each in zip(rows, made, strict=True) if isinstance(each, Rendered)]
    for row, each in pairs:
        answers = _answers(template, row) or labels
        others = [answer for answer in answers if answer != each.completion]
        if not others or each.completion not in answers:
            continue
        named = [answer for answer in answers if _names(each.prompt, answer)]
        if named == [each.completion]:
            right, sample = right + 1, sample or f"{each.prompt[-160:]!r} has the answer {each.completion!r}"
        elif named and each.completion not in named:
            wrong += 1
    if right >= 2 and right > LEAK_SHARE * len(pairs) and right > 2 * wrong:
        yield Finding("leak", template.name, f"in {right} of {len(pairs)} rows only the right answer is named: {sample}")
    if template.jinja and template.target:
        yield from _tainted(template, pairs)


def _tainted(template: Template, pairs: Sequence[tuple[Row, Rendered]]) -> Iterator[Finding]:
    """A Jinja prompt that is another one when the label is."""
    for row, each in pairs[:ENOUGH_ROWS]:
        for label in template.answers or range(len(syntax.split_choices(template.answer_choices) or ())):
            other = render(template, {**row, template.target: label})
            if isinstance(other, Rendered) and other.prompt != each.prompt:
                yield Finding("leak", template.name, f"another {template.target} makes another prompt: {other.prompt[-120:]!r}")
                return


def _answers(template: Template, row: Row) -> Sequence[str]:
    """All answers that there are to a row; none if they are not known."""
    given = row.get("options")
    if template.answers and not template.jinja:
        return list(template.answers.values())
    if isinstance(given, list):
        return [str(option) for option in given]
    return syntax.split_choices(template.answer_choices) or ()


def _names(prompt: str, answer: str) -> bool:
    """Does the prompt hold this answer as a word?"""
    return re.search(rf"(?<!\w){re.escape(answer.casefold())}(?!\w)", prompt.casefold()) is not None
