"""What an audit finds: a kind, how bad it is, a sentence, and the cases that show it, each with its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whet.example import Drop, Example

Severity = Literal["note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("note", "warning", "error")
SHOWN_CHARS = 600
BAD_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """One row as a finding names it. `split` and `label` are empty where there are none; `text` is its beginning."""

    source: str
    row: int
    text: str
    label: str = ""
    split: str = ""

    def __str__(self) -> str:
        return f"{self.source}, row {self.row}{f' ({self.split})' if self.split else ''}"

    def to_json(self) -> dict[str, Any]:
        """The place as plain JSON values, empty ones left out."""
        values = {"source": self.source, "row": self.row, "split": self.split, "label": self.label, "text": self.text}
        return {key: value for key, value in values.items() if value != "" or key == "text"}


@dataclass(frozen=True, slots=True)
class Case:
    """One instance of a finding: why these rows show it. `similarity` is set where texts were compared (0 to 1)."""

    why: str
    rows: tuple[Place, ...]
    similarity: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The case as plain JSON values."""
        alike = {} if self.similarity is None else {"similarity": round(self.similarity, 4)}
        return {"why": self.why, **alike, "rows": [place.to_json() for place in self.rows]}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing: `what` it is, what to `do`, and the `cases` that show it."""

    kind: str
    severity: Severity
    what: str
    do: str
    cases: tuple[Case, ...] = ()

    @property
    def rows(self) -> list[Place]:
        """The rows of all cases, each once, in order."""
        return list(
            {(place.source, place.row): place for case in reversed(self.cases) for place in reversed(case.rows)}.values()
        )[::-1]

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values: `rows` are all that it concerns, `evidence` says case by case why."""
        return {
            "kind": self.kind, "severity": self.severity, "what": self.what, "do": self.do,
            "rows": [{"source": place.source, "row": place.row} for place in self.rows],
            "evidence": [case.to_json() for case in self.cases],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was found, the worst first; `facts` are figures of the data that are no fault; `skipped` says what could not
    be checked, and why."""

    name: str
    findings: tuple[Finding, ...]
    facts: Mapping[str, Any]
    skipped: tuple[str, ...] = ()

    def at_least(self, severity: Severity) -> list[Finding]:
        """The findings of this severity or worse."""
        return [f for f in self.findings if SEVERITIES.index(f.severity) >= SEVERITIES.index(severity)]

    def to_json(self) -> dict[str, Any]:
        """The audit as plain JSON values."""
        found = [finding.to_json() for finding in self.findings]
        return {"name": self.name, "findings": found, "facts": dict(self.facts), "skipped": list(self.skipped)}


def place_of(example: Example, split: str = "", text: str | None = None) -> Place:
    """The Place of an example; `text` stands in for what it reads where something else shows the finding."""
    shown = example.text if text is None else text
    return Place(example.origin.source, example.origin.row, shown[:SHOWN_CHARS], example.target[:SHOWN_CHARS], split)


def place_of_drop(drop: Drop) -> Place:
    """The Place of a row that became no example."""
    return Place(drop.origin.source, drop.origin.row, drop.text[:SHOWN_CHARS])


def severity_by_share(rows: int, total: int) -> Severity:
    """`error` from 1 % of the rows on (two at least), below it `warning`."""
    return "error" if rows > 1 and rows >= BAD_SHARE * total else "warning"


def shortened(text: str, most: int = 160) -> str:
    """A text on one line, its middle left out where it is long.

    Example:
        >>> shortened("We will\\n build", 30), shortened("abcdefghij" * 3, 21)
        ('We will build', 'abcdefghij … abcdefghij')
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most // 2].rstrip()} … {flat[-(most // 2) :].lstrip()}"


def counted(number: int, noun: str) -> str:
    """A count and its noun in the right number.

    Example:
        >>> counted(1, "row"), counted(4119, "row")
        ('1 row', '4,119 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A similarity in whole per cent, never rounded up to the same.

    Example:
        >>> percent(0.83), percent(0.9996), percent(1.0)
        ('83 %', '99 %', '100 %')
    """
    return "100 %" if share == 1 else f"{min(99, round(100 * share))} %"


def listed(names: Sequence[str], most: int = 6) -> str:
    """The names in a row, no more than `most`, the others counted.

    Example:
        >>> listed(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
