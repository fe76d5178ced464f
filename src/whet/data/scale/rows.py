"""What becomes of a batch of rows, wherever it is computed: counted in tokens, and described for the decisions to come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whet.data import tokens as tokenizers
from whet.data.clean import answered
from whet.data.near import normal_form
from whet.data.provenance import Kind
from whet.data.scale.minhash import band_keys
from whet.data.scale.near import as_line
from whet.data.split import group_order, lone_group, row_order
from whet.example import Drop, Example, Task
from whet.recipe import Recipe

Numbers = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one file of the recipe: `part` is the file's place among them."""

    part: int
    examples: Sequence[Example]


class Misfit(NamedTuple):
    """A row of a batch that is too long: its tokens, the Drop that says so, and whether it was cut and stays."""

    place: int
    tokens: int
    drop: Drop
    is_cut: bool


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
        misfits: rows that are too long.
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


def work(recipe: Recipe, batch: Batch) -> Done:
    """What is known of the rows of a batch.

    Raises:
        DataError: a row cannot be cut so that it fits.
    """
    seed = recipe.derive_seed("split")
    fitted, misfits = _fitted(batch.examples, recipe.task, recipe)
    forms = [normal_form(example.text) for example in fitted]
    # Rows repeat one another as they were read, before any of them is cut.
    cut = {misfit.place: normal_form(batch.examples[misfit.place].text) for misfit in misfits if misfit.is_cut}
    read = [cut.get(place, form) for place, form in enumerate(forms)]
    targets, is_classify = [example.target for example in fitted], recipe.task.kind == "classify"
    alike = read if is_classify else [answered(form, target) for form, target in zip(read, targets, strict=True)]
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
    )


def _fitted(examples: Sequence[Example], task: Task, recipe: Recipe) -> tuple[list[Example], list[Misfit]]:
    """The rows, those cut that are too long and may be cut; and which are too long."""
    tokens = _tokens(recipe.model.base)
    longest, how = tokens.longest(recipe.train.max_length), recipe.train.too_long
    kept, misfits = list(examples), []
    for place, example in enumerate(examples):
        if longest is not None and not tokenizers.fits(example, task, tokens, longest):
            length = tokenizers.length(example, task, tokens)
            fitting, (drop,) = tokenizers.fit([example], task, tokens, longest, "truncate" if how == "truncate" else "drop")
            misfits.append(Misfit(place, length, drop, bool(fitting)))
            kept[place] = fitting[0] if fitting else example
    return kept, misfits


@cache
def _tokens(base: str) -> tokenizers.Tokens:
    """The tokenizer of a base, loaded once in each process."""
    return tokenizers.load(base)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _pairs(digests: Iterable[bytes]) -> Numbers:
    """(N, 2): digests of 16 bytes as two numbers each, in the order that the bytes have."""
    found: Numbers = np.frombuffer(b"".join(digests), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return found
