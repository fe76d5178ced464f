"""The tables and texts of `whet template`: sets, templates, what they make of a row, what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from whet.example import Template
from whet.prompts.lint import Report
from whet.prompts.render import Rendered, Skipped
from whet.prompts.sets import TemplateSet

_SHOWN_RATES = 40


def set_table(sets: Sequence[TemplateSet]) -> Group:
    """Template sets, a line each: kind, fields, what is answered, how many templates turn the task around."""
    drawn = _table("set", "kind", "reads", "answers", "templates")
    for found in sets:
        turned = sum(template.is_inverted for template in found.templates)
        answers = " / ".join(found.labels) or ("the task's labels" if found.kind == "classify" else found.target)
        count = f"{len(found.templates)}, {turned} inverted" if turned else str(len(found.templates))
        drawn.add_row(Text(found.name, "bold"), found.kind, Text(", ".join(found.fields)), Text(answers), count)
    return Group(drawn, Text(), Text("The templates of one: whet template list SET", "dim"))


def template_table(found: TemplateSet) -> Group:
    """The templates of a set, each with its texts."""
    parts: list[RenderableType] = [Text(found.about)]
    for template in found.templates:
        turned = " (inverted)" if template.is_inverted else ""
        parts += [Text(), Text(f"{template.name}{turned}", "bold"), *_texts(template)]
    return Group(*parts)


def renderings(made: Sequence[Rendered | Skipped]) -> Group:
    """What templates made of a row: prompt and completion of each, or why there are none."""
    parts: list[RenderableType] = []
    for each in made:
        parts += [Text(each.name, "bold")]
        if isinstance(each, Rendered):
            parts += [Text(each.prompt), Text(f"→ {each.completion}", "green"), Text()]
        else:
            parts += [Text(f"skipped: {each.reason}", "yellow" if each.is_fault else "dim"), Text()]
    return Group(*parts[:-1])


def lint_report(report: Report) -> Group:
    """All findings with their evidence, and how many rows each template rendered."""
    parts: list[RenderableType] = []
    if report.findings:
        drawn = _table("finding", "template", "evidence")
        for finding in report.findings:
            drawn.add_row(Text(finding.kind, "yellow"), Text(finding.template), Text(finding.evidence))
        parts += [drawn, Text()]
    kinds = Counter(finding.kind for finding in report.findings)
    counted = ", ".join(f"{kind} {n}" for kind, n in kinds.items()) or "nothing found"
    count = len(report.rendered)
    parts.append(Text(f"{count} template{'s' if count > 1 else ''}: {counted}."))
    if report.rows:
        rates = Counter(report.rendered.values())
        told = ", ".join(
            f"{n} template{'s render' if n > 1 else ' renders'} {count:,}"
            for count, n in sorted(rates.items(), reverse=True)[:_SHOWN_RATES]
        )
        parts.append(Text(f"Of {report.rows:,} rows, {told}.", "dim"))
    return Group(*parts)


def imported(made: Mapping[str, Any]) -> Text:
    """What was imported, in a sentence."""
    jinja = f", {made['jinja']} of them in Jinja, which slots cannot say" if made["jinja"] else ""
    slips = made["repaired"]
    repaired = f"; {slips} slip{'s were' if slips > 1 else ' was'} mended" if slips else ""
    return Text(f"{made['file']}: {made['templates']} template{'s' if made['templates'] > 1 else ''}{jinja}{repaired}.")


def _texts(template: Template) -> list[Text]:
    if template.jinja:
        choices = [Text(f"answers: {template.answer_choices}", "dim")] if template.answer_choices else []
        return [Text(template.jinja.strip()), *choices]
    answers = " / ".join(template.answers.values())
    return [Text(template.prompt), Text(f"→ {template.completion}{f'   ({answers})' if answers else ''}", "green")]


def _table(*columns: str) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        drawn.add_column(name, overflow="fold")
    return drawn
