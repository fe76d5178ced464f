"""The card of a written data set: README.md as the Hugging Face Hub has it, for people and for what reads its header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import whet
from whet.data.corpora.forms import Form
from whet.data.corpora.report import Report
from whet.data.licences import UNSTATED
from whet.data.provenance import MixTerms

SHOWN_SOURCES = 100
LEAST_LANGUAGE_SHARE = 0.05
# The names that the Hub knows, of licences that we know: our ids in small letters.
_HUB_LICENCES = frozenset(
    "apache-2.0 mit cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 "
    "cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 gpl gpl-2.0 "
    "gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 agpl-3.0 afl-3.0 bsd odc-by odbl gfdl mpl-2.0 openrail gemma".split()
)
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"))  # fmt: skip
_FORMS: Mapping[Form, str] = {
    "messages": "`messages`: a conversation as a list of `{role, content}`; answers with the weight 0 are not learned",
    "alpaca": "`instruction`, `input` (may be empty) and `output`",
    "prompt-completion": "`prompt` and `completion`",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One source of a data set: how many of its examples are in it, and of how many."""

    name: str
    rows: int
    of: int
    terms: MixTerms

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {"source": self.name, "rows": self.rows, "examples": self.of, "licences": dict(self.terms.licences),
                "makers": dict(self.terms.makers)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card says. `how`: a sentence on how it was made. `languages`: how many of the rows that were looked at."""

    name: str
    file: str
    form: Form
    how: str
    command: str
    terms: MixTerms
    languages: Mapping[str, int]
    parts: Sequence[Part]
    reports: Sequence[Report]


def render(facts: Facts) -> str:
    """The card as Markdown with a YAML header."""
    rows = facts.terms.rows
    parts = [
        f"---\n{_header(facts)}---\n\n# {facts.name}\n",
        f"{rows:,} examples. {facts.how}\n",
        f"## Terms\n\n{facts.terms.sentence}\n",
        f"## Sources\n\n{_sources(facts.parts)}\n",
        f"## What was left out\n\n{_left_out(facts.reports)}\n",
        f"## Columns\n\n- {_FORMS[facts.form]}\n- `id`, `group`: rows of one group belong into one split\n"
        "- `source`, `row`: the file and the row that an example comes from\n- `licence`, `maker`: its own, as stated\n"
        "- `whet`: what else `whet` needs to read the same example back\n",
        f"Made with whet {whet.__version__}:\n\n```bash\n{facts.command}\n```\n",
    ]  # fmt: skip
    return "\n".join(parts)


def _header(facts: Facts) -> str:
    """The YAML that the Hub reads."""
    import yaml

    rows = facts.terms.rows
    seen = sum(facts.languages.values())
    codes = [code for code, count in facts.languages.items() if len(code) == 2 and count >= LEAST_LANGUAGE_SHARE * seen]
    size = next((name for most, name in _SIZES if rows < most), "n>100M")
    header = {
        "pretty_name": facts.name, **_licence(facts.terms), **({"language": sorted(codes)} if codes else {}),
        "size_categories": [size], "task_categories": ["text-generation"], "tags": ["instruction-tuning"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": facts.file}]}],
    }  # fmt: skip
    return str(yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000))


def _licence(terms: MixTerms) -> dict[str, str]:
    """The header's licence: by the Hub's name where all rows have the same, else in words."""
    names = [*terms.licences]
    if names == [UNSTATED.id]:
        return {"license": "unknown"}
    if len(names) == 1 and names[0].lower() in _HUB_LICENCES:
        return {"license": names[0].lower()}
    return {"license": "other", "license_name": " AND ".join(sorted(names))}


def _sources(parts: Sequence[Part]) -> str:
    """A table of the sources."""
    rows = (
        (part.name, f"{part.rows:,} of {part.of:,}", ", ".join(part.terms.licences), ", ".join(part.terms.makers))
        for part in parts
    )
    return _table(("source", "examples", "licence", "made by"), rows, len(parts))


def _left_out(reports: Sequence[Report]) -> str:
    """A table of the files of which not every record was simply read."""
    changed = [report for report in reports if report.reasons]
    if not changed:
        return "Nothing: every record of every source was read."
    rows = (
        (report.file, f"{report.read:,}", f"{report.repaired:,}", f"{report.skipped:,}",
         ", ".join(f"{reason} {count:,}" for reason, count in report.reasons.items()))
        for report in changed
    )  # fmt: skip
    return _table(("file", "records", "repaired", "skipped", "why"), rows, len(changed))


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], count: int) -> str:
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for number, row in enumerate(rows):
        if number == SHOWN_SOURCES:
            lines.append(f"\nand {count - SHOWN_SOURCES:,} more")
            break
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
    return "\n".join(lines)
