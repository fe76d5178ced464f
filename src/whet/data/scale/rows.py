"""What becomes of a batch of rows, wherever it is computed: counted in tokens, and described for the decisions to come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whet.data import templated
from whet.data import tokens as tokenizers
from whet.data.clean import answered
from whet.data.near import normal_form
from whet.data.provenance import Kind
from whet.data.scale.minhash import band_keys
from whet.data.scale.near import as_line
from whet.data.split import group_order, lone_group, row_order
from whet.data.templated import Wording
from whet.errors import DataError
from whet.example import Drop, Example, Task
from whet.prompts import deal
from whet.recipe import Recipe

Numbers = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one file of the recipe: `part` is the file's place among them."""

    part: int
    examples: Sequence[Example]


class Misfit(NamedTuple):
    """A row of a batch that is too long: its tokens, the Drop that says so, and whether it was cut and stays; or a row (of no
    tokens) of which its template makes no prompt. `text` is what it read before it was cut or put into words."""

    place: int
    tokens: int
    drop: Drop
    is_cut: bool
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of the N rows of a batch.

    Attributes:
        part: that of the batch.
        lines: each row as JSON, as it is written down.
        forms: the normal form of each text, a line each.
        bands: (N, 20) keys of each text (see `minhash`).
        same: (N, 2) what rows share that say the same: text and answer, or the text alone where it has one answer only.
        labels: the answer of each row of a `classify` task; else empty texts, as nothing is counted by them.
        order: (N, 2) the place in the seed's order.
        group: (N, 2) the place of the row's group in the seed's order; a row that names none is a group of its own.
        names_group: (N,) does the row name one?
        ids: (N,) a hash of the id.
        numbers: (N,) the number of the row in its file.
        kinds: the Kind of each row.
        misfits: rows that are too long, or that make no prompt.
        deal: (N, 2), with worked examples (N, 5): the place in the order in which templates are dealt, that in the order in
            which worked examples are chosen, and the characters that are read; (N, 0) without templates.
        ranks: (N,) the place of the answer among those that templates are dealt by, one after another.
        unnamed: the places of rows whose answers are no label of the template set.
    """

    part: int
    lines: list[bytes]
    forms: list[bytes]
    bands: Numbers
    same: Numbers
    labels: list[str]
    order: Numbers
    group: Numbers
    names_group: NDArray[np.bool_]
    ids: Numbers
    numbers: Numbers
    kinds: list[Kind]
    misfits: list[Misfit]
    deal: Numbers
    ranks: Numbers
    unnamed: list[int]


def work(recipe: Recipe, batch: Batch, wording: Wording | None = None) -> Done:
    """What is known of the rows of a batch, which the templates of the recipe put into words if it has any."""
    seed = recipe.derive_seed("split")
    fitted, misfits = _fitted(batch.examples, recipe.task, recipe, wording)
    forms = [normal_form(example.text) for example in fitted]
    # Rows repeat one another as they were read, before any of them is put into words or cut.
    read = [
        form if now is before or now.text == before.text else normal_form(before.text)
        for form, now, before in zip(forms, fitted, batch.examples, strict=True)
    ]
    targets, is_classify = [example.target for example in fitted], recipe.task.kind == "classify"
    alike = read if is_classify else [answered(form, e.target) for form, e in zip(read, batch.examples, strict=True)]
    groups = [e.group if e.group is not None else lone_group(form) for e, form in zip(fitted, forms, strict=True)]
    return Done(
        part=batch.part,
        lines=[example.to_line().encode("utf-8", "surrogatepass") for example in fitted],
        forms=[as_line(form) for form in forms],
        bands=band_keys(forms),
        same=_pairs(_digest(f"{batch.part}\n{what}") for what in alike),
        labels=targets if is_classify else [""] * len(targets),
        order=_pairs(row_order(seed, form, target) for form, target in zip(forms, targets, strict=True)),
        group=_pairs(group_order(seed, group) for group in groups),
        names_group=np.array([example.group is not None for example in fitted], dtype=bool),
        ids=_pairs(_digest(example.id) for example in fitted)[:, 0],
        numbers=np.array([example.origin.row for example in fitted], dtype=np.uint64),
        kinds=[Kind(e.origin.source, e.origin.licence, e.origin.maker) for e in fitted],
        misfits=misfits,
        deal=_deal_places(fitted, recipe, wording),
        ranks=_ranks(targets, wording),
        unnamed=[n for n, target in enumerate(targets) if wording and wording.labels and target not in wording.labels],
    )


def _fitted(
    examples: Sequence[Example], task: Task, recipe: Recipe, wording: Wording | None
) -> tuple[list[Example], list[Misfit]]:
    """The rows put into words, those cut that are too long and may be cut; and which are too long, or make no prompt."""
    tokens = tokens_of(recipe.model.base)
    longest, how = tokens.longest(recipe.train.max_length), recipe.train.too_long
    kept, misfits = list(examples), []
    for place, read in enumerate(examples):
        if wording:
            kept[place] = templated.put(read, wording)
            if none := templated.unasked(read, kept[place]):
                misfits.append(Misfit(place, 0, none, False, read.text))
                continue
        example = kept[place]
        if longest is not None and not tokenizers.fits(example, task, tokens, longest):
            length = tokenizers.length(example, task, tokens)
            try:
                fitting, (drop,) = tokenizers.fit([example], task, tokens, longest, "truncate" if how == "truncate" else "drop")
            except DataError:  # it cannot be cut; whether that is an error is known when it is known whether the row stays
                fitting, (drop,) = tokenizers.fit([example], task, tokens, longest, "drop")
            misfits.append(Misfit(place, length, drop, bool(fitting), read.text))
            kept[place] = fitting[0] if fitting else example
    return kept, misfits


def _deal_places(examples: Sequence[Example], recipe: Recipe, wording: Wording | None) -> Numbers:
    """What `Done.deal` holds."""
    if wording is None:
        return np.zeros((len(examples), 0), dtype=np.uint64)
    seed = recipe.derive_seed("templates")
    places = _pairs(deal.place(seed, example.id) for example in examples)
    if not wording.shares.few_shot:
        return places
    characters = np.array([[len(example.text)] for example in examples], dtype=np.uint64).reshape(-1, 1)
    return np.hstack([places, _pairs(deal.shown_place(seed, example.id) for example in examples), characters])


def _ranks(targets: Sequence[str], wording: Wording | None) -> Numbers:
    """What `Done.ranks` holds."""
    ranks = {answer: rank for rank, answer in enumerate(wording.answers)} if wording else {}
    return np.array([ranks.get(target, 0) for target in targets], dtype=np.uint64)


@cache
def tokens_of(base: str) -> tokenizers.Tokens:
    """The tokenizer of a base, loaded once in each process."""
    return tokenizers.load(base)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _pairs(digests: Iterable[bytes]) -> Numbers:
    """(N, 2): digests of 16 bytes as two numbers each, in the order that the bytes have."""
    found: Numbers = np.frombuffer(b"".join(digests), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return found
