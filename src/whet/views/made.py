"""What a synth call made, for a terminal: rows against what was wanted, what was rejected and why, what it took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

STOPPED = {
    "all rows made": "All rows are made.",
    "pilot": "The pilot is done; the same command without --pilot goes on from here.",
    "tokens": "Stopped: the next request could pass budget_tokens.",
    "cost": "Stopped: the next request could pass budget_cost.",
    "minutes": "Stopped: budget_minutes are over.",
    "patience": "Stopped: too many requests in a row gave no new row (patience).",
    "no answers": "Stopped: the server does not answer any more.",
    "nothing more to ask": "The method has nothing more to ask.",
    "interrupted": "Stopped on request.",
}
SHOWN_REASONS = 8
SHOWN_SPOTS = 10


def summary(found: Mapping[str, Any]) -> Group:
    """The figures of synth.json that a person wants first."""
    parts: list[Any] = [Text(f"{STOPPED[found['stopped']]} {found['rows']:,} of {found['wanted']:,} rows.")]
    labels = found["labels"] or {" · ".join(c["cell"]) or "rows": c for c in found["cells"]}
    if len(labels) > 1:
        table = Table("", "accepted", "wanted", box=None, pad_edge=False)
        for name, counts in labels.items():
            table.add_row(name, f"{counts['accepted']:,}", f"{counts['wanted']:,}")
        parts += ["", table]
    chi = found["chi_square"]
    if chi:
        said = f"χ² = {chi['statistic']:.2f} ({chi['degrees_of_freedom']} df), p = {chi['p']:.3f}"
        parts.append(Text(f"Against the wanted shares: {said}"))
    if "aims" in found:
        parts += ["", aims(found["aims"])]
    if "judge" in found:
        parts += ["", judge(found["judge"])]
    parts += ["", _figures(found)]
    if found["rejected"]:
        table = Table("rejected", "rows", box=None, pad_edge=False)
        for reason, count in list(found["rejected"].items())[:SHOWN_REASONS]:
            table.add_row(reason.replace("_", " "), f"{count:,}")
        parts += ["", table]
    if found["stopped"] == "pilot" and found["forecast"]:
        parts += ["", forecast(found["forecast"])]
    return Group(*parts)


def aims(found: Mapping[str, Any]) -> Group:
    """Where a run is weak, and how many of the new rows are for what."""
    table = Table("label", "taken for", "test rows", "mistakes", "expected", "new rows", box=None, pad_edge=False)
    for spot in found["spots"][:SHOWN_SPOTS]:
        figures = (f"{spot['test_rows']:,}", f"{spot['mistakes']:,}", f"{spot['expected_mistakes']:.1f}", f"{spot['rows']:,}")
        table.add_row(Text(spot["label"]), Text(spot["taken_for"]), *figures)
    more = len(found["spots"]) - SHOWN_SPOTS
    said = f"Weak spots of {found['run']} (its {found['split']} split; expected: by the calibrated probabilities):"
    return Group(Text(said), table, *([Text(f"and {more:,} more")] if more > 0 else []))


def judge(found: Mapping[str, Any]) -> Group:
    """How far the judge agrees with people, and where it leans."""
    kappa = "cannot be told"
    if found["kappa"] is not None:
        low, high = found["interval"]
        kappa = f"{found['kappa']:.2f} (95 %: {low:.2f} to {high:.2f})"
    unread = f"; {found['unread']:,} without a score" if found["unread"] else ""
    said = f"The judge and people agree on {found['agreement']:.1%} of {found['rows']:,} rows{unread}; kappa {kappa}."
    table = Table("called good", "rows", "by people", "by the judge", box=None, pad_edge=False)
    for label, bias in found["bias"].items():
        table.add_row(Text(label or "all"), f"{bias['rows']:,}", f"{bias['people']:.0%}", f"{bias['judge']:.0%}")
    return Group(Text(said), table)


def money(sum_: float) -> str:
    """A sum in the recipe's currency: two decimals, or two figures of what is less than one.

    Example:
        >>> money(1234.5), money(0.0000123)
        ('1,234.50', '0.000012')
    """
    decimals = 2 if sum_ >= 1 or sum_ == 0 else 1 - math.floor(math.log10(sum_))
    return f"{sum_:,.{decimals}f}"


def _figures(found: Mapping[str, Any]) -> Table:
    """Yield, requests, tokens, money, time."""
    table, requests, tokens = Table(box=None, pad_edge=False, show_header=False), found["requests"], found["tokens"]
    if found["yield_fraction"] is not None:
        low, high = found["yield_interval"]
        table.add_row("yield", f"{found['yield_fraction']:.1%} of what could be read (95 %: {low:.1%} to {high:.1%})")
    lost, parked = requests["without_answer_perhaps_paid"], sum(requests["parked"].values())
    said = f"{requests['answered']:,} answered in {requests['attempts']:,} attempts"
    said += f", {lost:,} without an answer that may have been paid" if lost else ""
    table.add_row("requests", said + (f", {parked:,} parked" if parked else ""))
    for reason, count in requests["parked"].items():
        table.add_row("  parked", f"{count:,}: {reason}")
    table.add_row("tokens", f"{tokens['in']:,} in, {tokens['out']:,} out")
    if found["cost"] is not None:
        per_row = f", {money(found['cost_per_row'])} a row" if found["cost_per_row"] is not None else ""
        table.add_row("cost", f"{money(found['cost'])}{per_row}")
    table.add_row("time", f"{found['seconds'] / 60:.1f} min")
    return table


def forecast(found: Mapping[str, Any]) -> Text:
    """What all the wanted rows will take, in a sentence."""
    cost = f", cost {money(found['cost'])}" if found["cost"] is not None else ""
    return Text(
        f"At this rate {found['rows_wanted']:,} rows take about {found['requests']:,} requests, {found['tokens_in']:,} tokens "
        f"in and {found['tokens_out']:,} out{cost}, {found['minutes']:.1f} minutes in all (from {found['rows_made']:,} rows)."
    )


def ahead(found: Mapping[str, Any]) -> Group:
    """What is known before anything is sent."""
    cost = f", cost at most {money(found['cost_at_most'])}" if found["cost_at_most"] is not None else ""
    there = f"{found['rows']:,} of {found['rows_wanted']:,} rows are there."
    bound = f"at most {found['tokens_at_most']:,} tokens{cost}"
    rest = f"The rest is about {found['requests']:,} requests of {found['rows_per_request']} rows each: {bound}."
    begins = f"It goes on with {found['requests']:,} requests, {bound}; how many follow depends on the answers."
    most = Text(f"{there} {rest if found['is_all'] else begins} Nothing was sent.")
    spots: list[Any] = ["", aims(found["aims"])] if "aims" in found else []
    first = [Text(f"{role}: {text}", style="dim") for role, text in found["first_request"]]
    known = [forecast(found["forecast"])] if found["forecast"] else [Text("`--pilot` makes a few rows and forecasts the rest.")]
    return Group(most, *known, *spots, "", Text("The first request:"), *first)
