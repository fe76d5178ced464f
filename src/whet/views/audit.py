"""An audit in the terminal, and as one HTML page that lists the rows. Lays out; every figure was measured elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whet.views import wording
from whet.views.svg import escape

Json = Mapping[str, Any]

SEVERITIES = {"error": ("error", "bold red"), "warning": ("warning", "bold yellow"), "note": ("note", "dim")}
SHOWN_CASES = 3
MOST_LISTED = 300
KINDS = {
    "leak": "Leaks between splits", "template_leak": "Leaks behind templates", "doubled_document": "A document twice",
    "straddling_group": "Groups in several splits", "conflict": "Contradictory labels",
    "near_conflict": "Nearly the same, labelled apart", "duplicate": "Duplicates", "near_duplicate": "Near copies",
    "constant_target": "The same answer throughout", "imbalance": "Rare labels", "unshuffled": "In the order of the labels",
    "length_outlier": "Unusual lengths", "too_long": "Longer than the model can read", "encoding_damage": "Damaged text",
    "personal_data": "Personal data", "refusal": "Refusals", "ai_speaks": "A model speaks of itself",
    "ai_phrase": "Talk around the answer", "language_mix": "Other languages", "benchmark_leak": "A benchmark’s passages",
    "benchmark_overlap": "Words shared with a benchmark", "annotators": "How far people agree",
    "stray_annotation": "Annotations that are no label", "empty_input": "Nothing to read", "empty_target": "No answer",
    "empty_instruction": "Nothing says what to do", "bad_row": "Rows that cannot be read", "licence": "Licences",
}  # fmt: skip


def title(kind: str) -> str:
    """The name of a kind of finding, for a person."""
    return KINDS.get(kind, wording.visible(kind).replace("_", " ").capitalize())


def summary(audit: Json) -> Group:
    """The findings in the terminal, the worst first, each with the first of its cases."""
    parts: list[RenderableType] = [Text(f"{verdict(audit['findings'])} {_facts_line(audit['facts'])}", "bold"), Text()]
    for finding in audit["findings"]:
        word, style = SEVERITIES[finding["severity"]]
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=8, no_wrap=True)
        grid.add_column()
        grid.add_row(
            Text(word, style), Text(f"{finding['kind']}: ", "bold").append(wording.visible(finding["what"]) + ".", "not bold")
        )
        for case in finding["evidence"][:SHOWN_CASES]:
            grid.add_row("", Text(f"– {wording.visible(case['why'])}{_quoted(case)}", "dim"))
        more = len(finding["evidence"]) - SHOWN_CASES
        if more > 0:
            grid.add_row("", Text(f"… and {more:,} more: --json, or -o audit.html", "dim"))
        grid.add_row("", Text(f"{wording.visible(finding['do'])}."))
        parts.append(Padding(grid, (0, 0, 1, 0)))
    parts += [Text(f"Not checked: {wording.visible(why)}.") for why in audit["skipped"]]
    return Group(*parts)


def verdict(findings: Sequence[Json]) -> str:
    """What an audit comes to, in a sentence.

    Example:
        >>> verdict([{"severity": "error"}, {"severity": "note"}]), verdict([])
        ('1 error, 1 note.', 'Nothing found.')
    """
    counts = {severity: sum(f["severity"] == severity for f in findings) for severity in SEVERITIES}
    said = ", ".join(wording.count(n, severity) for severity, n in counts.items() if n)
    return f"{said}." if said else "Nothing found."


def render(audit: Json) -> str:
    """The audit as one HTML page that needs nothing else: no network, no other file."""
    from jinja2 import Environment
    from markupsafe import Markup

    page = resources.files("whet.views") / "page"
    style = "".join((page / name).read_text("utf-8") for name in ("style.css", "audit.css"))
    environment = Environment(autoescape=True, finalize=_shown, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(count=wording.count, decimal=wording.decimal)
    environment.globals.update(title=title, verdict=verdict, by_text=_by_text)
    environment.globals["coded"] = lambda text: Markup(_coded(text))
    template = environment.from_string((page / "audit.html").read_text("utf-8"))
    hashed = "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    said = audit["facts"].get("annotators", {}).get("said", {})
    labels = list(dict.fromkeys(label for counts in said.values() for label in counts))
    return template.render(audit=audit, labels=labels, style=Markup(style), style_hash=Markup(hashed), most=MOST_LISTED)


def _quoted(case: Json) -> str:
    """The beginning of the first row's text."""
    text = " ".join(wording.visible(case["rows"][0]["text"]).split()) if case["rows"] else ""
    return f": {text[:90]}{'…' if len(text) > 90 else ''}" if text else ""


def _facts_line(facts: Json) -> str:
    """How much was looked at."""
    splits = ", ".join(f"{wording.visible(name)} {n:,}" for name, n in facts["splits"].items())
    rows = wording.count(facts["rows"], "row")
    return f"{rows} ({splits})" if splits else rows


def _by_text(rows: Sequence[Json]) -> list[tuple[str, list[Json]]]:
    """The rows of a case by their text, so that one text is shown once."""
    found: dict[str, list[Json]] = {}
    for row in rows:
        found.setdefault(row["text"], []).append(row)
    return list(found.items())


def _coded(text: str) -> str:
    """A sentence as markup, what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _shown(value: object) -> object:
    """What the template prints: text from anywhere, with what is hidden in it made visible. Markup is our own and stays."""
    return wording.visible(value) if type(value) is str else value
