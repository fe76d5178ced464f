"""What came of a synth call: the table of accepted rows, the rows kept aside, and `synth.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from whet.measure.intervals import wilson
from whet.recipe import Recipe
from whet.synth.candidate import Candidate, Cell, Row
from whet.synth.making import Making
from whet.synth.spending import Forecast, Tokens


def row_record(recipe: Recipe, row: Row, maker: str) -> dict[str, Any]:
    """An accepted row as the table holds it: the recipe's own columns first, then where it comes from."""
    synth, made = recipe.synth, row.candidate
    assert synth is not None
    origin = {
        "id": row.id, "maker": maker, "licence": synth.licence, "method": synth.method, "parents": list(made.parents),
        **made.marks, "request": row.request,
    }  # fmt: skip
    return {**_columns(recipe, made), **origin}


def _columns(recipe: Recipe, made: Candidate) -> dict[str, Any]:
    """A candidate in the columns of [data]; `instruction` and `group` under those names where the recipe gives them none."""
    data, group = recipe.data, {}
    if made.group is not None or data.group:  # a column that the recipe names is there, and a row without one stands alone
        group = {data.group or "group": made.group}
    own = {data.instruction or "instruction": made.instruction} if made.instruction is not None else {}
    is_wording = not made.inputs and not made.target  # of the task: it has no answer
    return {**own, **made.inputs, **({data.target: made.target} if data.target and not is_wording else {}), **group}


def rejected_records(recipe: Recipe, making: Making) -> Iterator[dict[str, Any]]:
    """Everything that became no row, with its reason, in the order in which it was met."""
    for rejection, key in making.rejected:
        what = _columns(recipe, rejection.candidate) if rejection.candidate else {"text": rejection.text}
        yield {"reason": rejection.reason, "detail": rejection.detail, **what, "request": key}


def summary(recipe: Recipe, making: Making, stopped: str, seconds: float) -> dict[str, Any]:
    """What `synth.json` holds.

    Args:
        recipe: with its [synth] section.
        making: after its work.
        stopped: why it stopped.
        seconds: of all calls.
    """
    stock, synth, spent = making.stock, making.desk.synth, making.pool.journal.spent()
    paid, lost = Tokens(spent.tokens_in, spent.tokens_out), Tokens(spent.lost_tokens_in, spent.lost_tokens_out)
    has_prices = synth.price_in is not None and synth.price_out is not None
    cost, accepted = making.pool.budget.cost(paid), len(stock.rows)
    reasons = Counter(rejection.reason for rejection, _ in making.rejected)
    offered = making.candidates - reasons["surplus"]
    return {
        "name": recipe.name, "method": synth.method, "model": synth.model, "licence": synth.licence, "stopped": stopped,
        "rows": accepted, "wanted": sum(stock.wanted.values()), "candidates": making.candidates,
        "yield_fraction": accepted / offered if offered else None,
        "yield_interval": wilson(accepted, offered).to_json() if offered else None,
        "rejected": dict(reasons.most_common()),
        "labels": label_counts(making),
        "cells": [{"cell": list(cell), "wanted": n, "accepted": stock.count(cell)} for cell, n in stock.wanted.items()],
        "chi_square": chi_square({cell: stock.count(cell) for cell in stock.wanted}, stock.wanted),
        "requests": {
            "answered": spent.answers, "outcomes": dict(making.outcomes), "attempts": spent.attempts,
            "without_answer_perhaps_paid": spent.lost, "parked": dict(Counter(reason for _, reason in making.parked.values())),
            "faults_of_this_call": dict(making.pool.faults),
        },
        "tokens": {"in": paid.into, "out": paid.out, "perhaps_in": lost.into, "perhaps_out": lost.out},
        "cost": cost if has_prices else None,
        "cost_at_most": making.pool.budget.cost(paid + lost) if has_prices else None,
        "cost_per_row": cost / accepted if has_prices and accepted else None,
        **({"judge": making.judge.to_json()} if making.judge else {}),
        **({"aims": making.desk.aims.to_json(synth.rows)} if making.desk.aims else {}),
        **({"embeddings": making.meanings.to_json()} if making.meanings else {}),
        "seconds": round(seconds, 1),
        "forecast": forecast(making, seconds),
    }  # fmt: skip


def label_counts(making: Making) -> dict[str, dict[str, int]]:
    """Rows wanted and accepted of each label; {} for a task without labels."""
    found: dict[str, dict[str, int]] = {}
    task = making.desk.rows_task
    for label in task.labels if task.kind == "classify" else ():
        wanted = sum(n for cell, n in making.stock.wanted.items() if cell[0] == label)
        found[label] = {"wanted": wanted, "accepted": len(making.stock.of_label(label))}
    return found


def chi_square(counts: Mapping[Cell, int], wanted: Mapping[Cell, int]) -> dict[str, Any] | None:
    """Pearson's chi-square of the accepted rows against the wanted shares, with its p; None where there is nothing to compare.

    A large p says no more than that the shares could be those that were wanted; 1 where they are met exactly.

    Source: Pearson 1900; p is the upper tail of the chi-square distribution.

    Example:
        >>> found = chi_square({("a",): 30, ("b",): 10}, {("a",): 50, ("b",): 50})
        >>> found["statistic"], found["degrees_of_freedom"], round(found["p"], 5)
        (10.0, 1, 0.00157)
    """
    from scipy.stats import chi2  # type: ignore[import-untyped]

    cells = [cell for cell, n in wanted.items() if n > 0]
    total, all_wanted = sum(counts[cell] for cell in cells), sum(wanted.values())
    if len(cells) < 2 or not total:
        return None
    expected = [total * wanted[cell] / all_wanted for cell in cells]
    statistic = sum((counts[cell] - e) ** 2 / e for cell, e in zip(cells, expected, strict=True))
    freedom = len(cells) - 1
    return {"statistic": statistic, "degrees_of_freedom": freedom, "p": float(chi2.sf(statistic, freedom))}


def forecast(making: Making, seconds: float) -> dict[str, Any] | None:
    """What all wanted rows will take, at the rates of those that there are; None before the first row.

    Args:
        making: after some work.
        seconds: that it took, over all calls.
    """
    accepted, spent = len(making.stock.rows), making.pool.journal.spent()
    offered = making.candidates - sum(rejection.reason == "surplus" for rejection, _ in making.rejected)
    if not accepted:
        return None
    wanted = sum(making.stock.wanted.values())
    times = max(1.0, wanted / accepted)
    tokens = Tokens(round(times * spent.tokens_in), round(times * spent.tokens_out))
    has_prices = making.desk.synth.price_in is not None and making.desk.synth.price_out is not None
    interval = wilson(accepted, offered)
    return Forecast(
        rows_wanted=wanted, rows_made=accepted, yield_fraction=accepted / offered, yield_interval=(interval.low, interval.high),
        requests=round(times * spent.answers), tokens_in=tokens.into, tokens_out=tokens.out,
        cost=making.pool.budget.cost(tokens) if has_prices else None, minutes=times * seconds / 60,
    ).to_json()  # fmt: skip


def most_it_can_take(making: Making) -> dict[str, Any]:
    """The requests that the missing rows take by what is known of the yield, the most they cost, and what the first says."""
    stock, size = making.stock, making.desk.synth.rows_per_request
    asked = list(making.method.ask(stock, sum(stock.wanted.values())))
    bound = sum((Tokens(r.prompt_bound(), r.parameters.max_tokens) for r in asked), Tokens())
    has_prices = making.desk.synth.price_in is not None and making.desk.synth.price_out is not None
    return {
        "rows_wanted": sum(stock.wanted.values()), "rows": len(stock.rows), "requests": len(asked), "rows_per_request": size,
        "tokens_at_most": bound.total, "cost_at_most": making.pool.budget.cost(bound) if has_prices else None,
        # What follows an answer depends on it: then this is how it begins, and no bound.
        "is_all": not (making.method.leads_on or making.checks),
        **({"aims": making.desk.aims.to_json(making.desk.synth.rows)} if making.desk.aims else {}),
        "first_request": [[m.role, m.content] for m in asked[0].messages] if asked else [],
    }  # fmt: skip
