"""The tables of `whet corpus`: the catalogue, one corpus of it, and what became of the files that were read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Record = Mapping[str, Any]
UNSTATED = "unstated"
# Whether models that compete with those that wrote a corpus may be trained on it.
_RIVALS = {"yes": "no", "no": "yes", "in part": "in part"}
_NAMES = {"made_by": "made by", "commercial": "commercial use", "hub": "Hub", "known_from": "known from"}
_SHOWN_DROPS = 5
_SHOWN_ASIDE = 8


def catalogue_table(corpora: Sequence[Record]) -> Group:
    """The catalogue, a line a corpus, within 80 columns."""
    drawn = _table(("corpus", "left"), ("rows", "right"), ("made by", "left"), ("commercial", "left"), ("rivals", "left"),
                   ("licence", "left"))  # fmt: skip
    for corpus in corpora:
        drawn.add_row(
            Text(corpus["name"], "bold"), _rows(corpus["rows"]), ", ".join(corpus["made_by"]), _verdict(corpus["commercial"]),
            _verdict(_RIVALS[corpus["forbids_competing"]]), Text(corpus["licence"] or UNSTATED),
        )  # fmt: skip
    return Group(
        drawn,
        Text(),
        _note("rows: what is counted differs; `whet corpus info NAME` says it, and where the corpus is to be had."),
        _note("commercial: what the licence says of commercial use; mixed where each part has its own."),
        _note("rivals: no, where it was written by an LLM whose terms forbid training models that compete with it."),
    )


def corpus_facts(corpus: Record) -> Group:
    """All that the catalogue knows of one corpus."""
    rivals = _RIVALS[corpus["forbids_competing"]]
    if rivals != "yes":
        rivals += f": the terms of {', '.join(corpus['models'])} forbid training models that compete with it"
    licence = ", ".join(filter(None, (corpus["licence"] or UNSTATED, corpus["terms"])))
    facts = {"size": f"{corpus['rows']:,} {corpus['unit']}" if corpus["rows"] else f"{UNSTATED}: {corpus['unit']}"}
    facts |= {key: corpus[key] for key in ("maker", "made_by", "models", "year", "paper")}
    facts |= {"licence": licence, "commercial": corpus["commercial"], "rivals": rivals}
    facts |= {key: corpus[key] for key in ("tasks", "languages", "hub", "files", "formats", "notes", "known_from")}
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for key, value in facts.items():
        if value or key in ("paper", "commercial", "hub"):
            told = ", ".join(value) if isinstance(value, list) else str(value or "")
            grid.add_row(_NAMES.get(key, key), Text(told or UNSTATED, overflow="fold"))
    return Group(Text(corpus["title"], "bold"), Text(), grid)


def reading_table(files: Sequence[Record], left_aside: Sequence[Record]) -> Group:
    """What became of each file: how many records were read, repaired and skipped, and why; and which files are no corpus."""
    drawn = _table(("file", "left"), ("format", "left"), ("read", "right"), ("repaired", "right"), ("skipped", "right"),
                   ("examples", "right"))  # fmt: skip
    for file in files:
        counts = [Text(f"{file[key]:,}", "" if file[key] else "dim") for key in ("read", "repaired", "skipped", "examples")]
        drawn.add_row(Text(file["file"], overflow="fold"), file["format"], *counts)
    if len(files) > 1:
        totals = (f"{sum(file[key] for file in files):,}" for key in ("read", "repaired", "skipped", "examples"))
        drawn.add_section()
        drawn.add_row(Text(f"{len(files):,} files", "bold"), "", *totals)
    parts: list[RenderableType] = [drawn]
    for file in files:
        if file["reasons"] or file["notes"]:
            parts += [Text(), _reasons(file)]
    if left_aside:
        parts += [Text(), Text(f"Left aside, as no corpus ({len(left_aside):,}):", "bold"), _aside(left_aside)]
    return Group(*parts)


def parts_table(parts: Sequence[Record]) -> Table:
    """What of each source is in a mix, and under which terms."""
    drawn = _table(("source", "left"), ("examples", "right"), ("drawn", "right"), ("share", "right"), ("licence", "left"),
                   ("made by", "left"))  # fmt: skip
    total = sum(part["rows"] for part in parts)
    for part in parts:
        drawn.add_row(
            Text(part["source"], overflow="fold"), f"{part['examples']:,}", f"{part['rows']:,}", f"{part['rows'] / total:.1%}",
            Text(", ".join(part["licences"])), Text(", ".join(part["makers"])),
        )  # fmt: skip
    return drawn


def written(export: Record) -> Group:
    """What was written, where, and under which terms it stands."""
    places = f"{export['rows']:,} examples written to {export['data']}, the card to {export['card']}."
    return Group(Text(), Text(places), Text(export["terms"]["sentence"], "dim"))


def _reasons(file: Record) -> Group:
    """Why records of a file were repaired or skipped: each reason with its count, and the first rows that it befell."""
    lines = [Text(file["file"], "bold"), *(Text(f"  {note}", "yellow") for note in file["notes"])]
    for reason, count in file["reasons"].items():
        lines.append(Text(f"  {reason}: {count:,}"))
        befell = [drop for drop in file["drops"] if drop["reason"] == reason]
        lines += [Text(f"    row {drop['origin']['row']:,}: {drop['detail']}", "dim") for drop in befell[:_SHOWN_DROPS]]
        if count > _SHOWN_DROPS:
            lines.append(Text(f"    and {count - _SHOWN_DROPS:,} more", "dim"))
    return Group(*lines)


def _aside(left_aside: Sequence[Record]) -> RenderableType:
    """Files that are no corpus: each with why, or how many in each folder where they are many."""
    if len(left_aside) <= _SHOWN_ASIDE:
        return Group(*(Text(f"  {entry['file']}: {entry['why']}", "dim") for entry in left_aside))
    folders = Counter(entry["file"].rpartition("/")[0].partition("/")[0] or "." for entry in left_aside)
    counted = ", ".join(f"{folder} {count:,}" for folder, count in folders.items())
    return Text(f"  {counted}. Why, file by file: --json", "dim")


def _verdict(value: str | None) -> Text:
    return Text(value or UNSTATED, "" if value == "yes" else "yellow" if value else "dim")


def _rows(rows: int | None) -> str:
    if rows is None:
        return UNSTATED
    return f"{rows / 1e6:.3g} M" if rows >= 1_000_000 else f"{rows:,}"


def _table(*columns: tuple[str, Any]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name, side in columns:
        drawn.add_column(name, justify=side, no_wrap=name not in ("made by", "licence", "file"))
    return drawn


def _note(text: str) -> RenderableType:
    return Text(text, "dim")
