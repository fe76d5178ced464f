"""`[data] templates` over rows on disk: each training row gets its template, as `templated.deal_out` deals them in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whet.data import templated
from whet.data import tokens as tokenizers
from whet.data.scale.order import Mask
from whet.data.scale.rows import tokens_of
from whet.data.scale.splitting import SIDE
from whet.data.scale.store import Fate, Store
from whet.data.scale.workers import Map
from whet.data.templated import Wording
from whet.example import Example, Template
from whet.progress import Progress
from whet.prompts import asking
from whet.prompts.deal import Dealer, in_turn
from whet.recipe import Recipe

BATCH_ROWS = 1024


class Due(NamedTuple):
    """Some training rows as JSON, asked with the template that stands for all; and the place of the template that is due to
    each."""

    lines: list[bytes]
    places: list[int]


class Given(NamedTuple):
    """The same rows, each with its own template; how often each template was given, by its name; and how many rows keep the one
    that stands for all, because they are too long for theirs, or because it makes nothing of them."""

    lines: list[bytes]
    times: Counter[str]
    unfit: int


def drop_unasked(store: Store, wording: Wording) -> None:
    """Marks the rows of which their template makes no prompt.

    Args:
        store: all rows; what repeats or contradicts is marked.
        wording: the recipe's.

    Raises:
        DataError: answers are no labels of the set, or all rows of a file make no prompt.
    """
    for number in range(store.parts):
        part = store.part(number)
        own = slice(part.start, part.stop)
        before = store.fates[own] == Fate.KEPT
        strange = (row for row in store.unnamed if row in part and store.fates[row] == Fate.KEPT)
        templated.require_labels([store.example(row) for row in strange], wording)
        for known in store.misfits.among(part):
            if known.fate == Fate.NO_PROMPT and store.fates[known.row] == Fate.KEPT:
                store.fates[known.row] = Fate.NO_PROMPT
        if before.any() and not (store.fates[own] == Fate.KEPT).any():
            first = part.start + int(before.argmax())
            raise templated.none_asked(str(store.example(first).origin), json.loads(store.misfits.line(first))["detail"])


class Dealt(NamedTuple):
    """Every template that a row of the dataset has, first the one that stands for all; and notes on how they were dealt."""

    templates: tuple[Template, ...]
    notes: list[str]


def deal_out(store: Store, recipe: Recipe, wording: Wording, mapped: Map, progress: Progress) -> Dealt:
    """Writes the training rows down, each with its own template.

    In memory are two bytes a row: the place of its template.
    """
    assert store.deal_order is not None
    train, asked = store.kept & (store.sides == SIDE["train"]), wording.bound.asked
    shown = _worked(store, store.deal_order.shown(train), wording) if wording.shares.few_shot else {}
    dealer, places = Dealer(wording.bound, wording.shares, list(shown.values())), np.zeros(store.rows, dtype=np.uint16)
    for rows in store.deal_order.rows(train):
        places[rows] = [dealer.next(is_shown=row in shown) for row in rows.tolist()]
    times: Counter[str] = Counter()
    unfit = 0
    with store.split_file("train").open("wb") as file:
        for given in mapped(partial(give, recipe, asked, dealer.templates), _batches(store, train, places)):
            file.writelines(line + b"\n" for line in given.lines)
            times, unfit = times + given.times, unfit + given.unfit
            progress.advance(len(given.lines), f"{times.total():,} training rows")
    found = (template for template in dealer.templates if template.name in times)
    return Dealt(templated.used(found, wording), templated.deal_notes(times, unfit, wording))


def give(recipe: Recipe, asked: Template, templates: Sequence[Template], due: Due) -> Given:
    """Some rows with their own templates, where these make something of them that is not too long.

    Args:
        recipe: the recipe.
        asked: the template that stands for all, which the rows have.
        templates: all that are dealt.
        due: the rows.
    """
    tokens, by_name, made = tokens_of(recipe.model.base), {asked.name: asked}, Given([], Counter(), 0)
    longest = tokens.longest(recipe.train.max_length)
    for line, place in zip(due.lines, due.places, strict=True):
        example = Example.from_json(json.loads(line.decode("utf-8", "surrogatepass")), by_name)
        own = replace(example, template=templates[place])
        is_fit = asking.why_not(own) is None and tokenizers.fits(own, recipe.task, tokens, longest)
        made.lines.append(own.to_line().encode("utf-8", "surrogatepass") if is_fit else line)
        made.times[(templates[place] if is_fit else asked).name] += 1
        made = made._replace(unfit=made.unfit + (not is_fit))
    return made


def _batches(store: Store, train: Mask, places: NDArray[np.uint16]) -> Iterator[Due]:
    """The training rows, some at a time."""
    mine = ((line, int(place)) for line, place, is_mine in zip(store.lines, places, train, strict=True) if is_mine)
    while some := list(islice(mine, BATCH_ROWS)):
        yield Due([line for line, _ in some], [place for _, place in some])


def _worked(store: Store, rows: Iterable[int], wording: Wording) -> dict[int, Example]:
    """The worked examples by their rows, of rows in the order in which they are chosen."""
    found = ((row, store.example(row)) for row in rows)
    targets = len(wording.answers) or None
    return dict(in_turn(((example.target, (row, example)) for row, example in found), wording.shares.shots, targets))
