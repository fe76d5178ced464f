"""Instruction rows mixed into plain text, so that a model that goes on reading does not forget how to answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from whet.data.clean import clean
from whet.data.examples import to_examples
from whet.data.provenance import state_rows
from whet.data.read import read_rows
from whet.data.table import Sifted
from whet.example import Drop, Example
from whet.sections import Data

NOT_DRAWN = "not_drawn"


def read_mix(place: str, data: Data, fallback: str) -> tuple[int, Sifted]:
    """How many rows the table of `mix_path` holds, and the Examples that they became, each with its own instruction.

    Args:
        place: where the table is.
        data: which columns it has.
        fallback: the task's instruction, for rows without one.

    Raises:
        DataError: the table cannot be read, or a column is missing.
    """
    table = read_rows(place, encoding=data.encoding, delimiter=data.delimiter, header=data.header, split=data.split)
    made = to_examples(
        table,
        input=[data.mix_input],
        target=data.mix_target,
        instruction=data.mix_instruction,
        fallback=fallback,
        kind="generate",
    )
    cleaned = clean(state_rows(made.examples, table, data.licence, data.maker), kind="generate")
    return table.read, Sifted(cleaned.examples, [*made.drops, *cleaned.drops], [*made.notes, *cleaned.notes])


def wanted_rows(text_rows: int, fraction: float) -> int:
    """How many rows must join `text_rows` others to be this fraction of all.

    Example:
        >>> wanted_rows(90, 0.1), wanted_rows(100, 0.5)
        (10, 100)
    """
    return round(text_rows * fraction / (1 - fraction))


def draw(examples: Sequence[Example], count: int, seed: int) -> tuple[list[Example], list[Drop]]:
    """`count` of the examples (all, if there are fewer) in their own order, and a Drop for each that was not drawn.

    What decides is a hash of the seed and the id, so that a longer table gives mostly the same rows.
    """

    def place(example: Example) -> bytes:
        return hashlib.blake2b(f"{seed}\n{example.id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()

    drawn = {e.id for e in sorted(examples, key=place)[:count]}
    detail = f"{count:,} of {len(examples):,} rows are mixed in, as mix_fraction says; this one was not drawn"
    drops = [Drop(e.origin, NOT_DRAWN, detail, e.text[:200]) for e in examples if e.id not in drawn]
    return [e for e in examples if e.id in drawn], drops
