"""What the rows of a run cost in tokens: real ones, those of a layout, those that a token tree leaves out. No torch.

A row is anything with the ids of its `prompt` and of its `completion`. What is counted here is what the engine then lays out; a
test holds both to the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

from whet.budget.load import Load
from whet.knobs.layout import PACKED_TOKENS, SHORTEST_NODE
from whet.sections import Train

COUNTED_STEPS = 1000  # of a longer run, so many steps, evenly spread, stand for all: an order is drawn anew for each
# A common end of all prompts shorter than this is the template's own ("Answer:"), and moving it would gain nothing.
SHORTEST_END = 8

Ids = Sequence[int]
Layout = Literal["tree", "packed", "padded"]


class Row(Protocol):
    """One example as ids: the completion carries loss, the prompt does not."""

    @property
    def prompt(self) -> tuple[int, ...]: ...

    @property
    def completion(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What micro-batches make a model compute: `columns` are the tokens that pass through its layers, `pairs` those of
    a query and a key, `answers` the tokens that pass through its head."""

    columns: int = 0
    pairs: int = 0
    answers: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.columns + other.columns, self.pairs + other.pairs, self.answers + other.answers)

    def scaled(self, factor: float) -> Work:
        """So many times as much."""
        return Work(round(self.columns * factor), round(self.pairs * factor), round(self.answers * factor))


@dataclass(frozen=True, slots=True)
class Heavy:
    """A micro-batch that no other outweighs in every respect: its Load, and the numbers of its rows."""

    load: Load
    rows: tuple[int, ...]

    def outweighs(self, other: Heavy) -> bool:
        """Whether it is at least as large in every respect."""
        mine, theirs = self.load, other.load
        return mine.columns >= theirs.columns and mine.width >= theirs.width and mine.answers >= theirs.answers


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of the whole run.

    `real` are all, `answer` those that carry loss; `padded`, `tree` and `whole_step` what would be computed with each
    micro-batch padded to its longest row, hung on a token tree, and with the whole step on one tree; `instruction_first` what
    would be if the end that all prompts share stood first (None where they share none worth it). `work` is what the recipe's
    own `layout` computes; `heaviest` the micro-batches one of which is the height of memory.
    """

    real: int
    answer: int
    padded: int
    tree: int
    whole_step: int
    instruction_first: int | None
    layout: Layout
    work: Work
    micro_batch: int
    is_estimate: bool  # from a share of the steps
    heaviest: tuple[Heavy, ...]

    @property
    def computed(self) -> int:
        """Tokens that the recipe's layout computes."""
        return self.work.columns

    @property
    def shared_fraction(self) -> float:
        """Share of the real tokens that the token tree leaves out."""
        return 1 - self.tree / self.real

    def to_json(self) -> dict[str, Any]:
        """What `whet plan --json` says of them."""
        return {
            "real": self.real, "answer": self.answer, "padded": self.padded, "tree": self.tree, "whole_step": self.whole_step,
            "instruction_first": self.instruction_first, "computed": self.computed, "layout": self.layout,
            "shared_fraction": self.shared_fraction, "micro_batch": self.micro_batch, "is_estimate": self.is_estimate,
        }  # fmt: skip


def layout_of(train: Train) -> Layout:
    """How the recipe lays its micro-batches out, on a model that allows it."""
    return "tree" if train.share_prefix else "packed" if train.packing else "padded"


def count(
    rows: Sequence[Row], rows_of: Callable[[int], Sequence[int]], steps: int, train: Train, micro_batch: int,
    most: int = COUNTED_STEPS,
) -> Tokens:  # fmt: skip
    """The tokens of a run.

    Args:
        rows: that are learned from.
        rows_of: the rows of a step (from 0), in the order in which micro-batches take them.
        steps: of the whole run.
        train: the recipe's section.
        micro_batch: rows in one.
        most: steps that are counted; where there are more, these stand for all.
    """
    ids = [row.prompt + row.completion for row in rows]
    moved = _moved(rows)
    counted = range(steps) if steps <= most else [i * steps // most for i in range(most)]
    heaviest: list[Heavy] = []
    real = answer = padded = whole = first = 0
    hung, work, layout = Work(), Work(), layout_of(train)
    for step in counted:
        drawn = rows_of(step)
        for batch in (drawn[i : i + micro_batch] for i in range(0, len(drawn), micro_batch)):
            lengths, answers = [len(ids[r]) for r in batch], sum(len(rows[r].completion) for r in batch)
            tree = tree_work([ids[r] for r in batch])
            hung += tree
            work += tree if layout == "tree" else _side_by_side(lengths) if layout == "padded" else _end_to_end(lengths)
            heaviest = _with(heaviest, Heavy(_load([rows[r] for r in batch], layout, tree.columns), tuple(batch)))
            real, answer, padded = real + sum(lengths), answer + answers, padded + len(batch) * max(lengths)
            first += tree_work([moved[r] for r in batch]).columns if moved else 0
        whole += tree_work([ids[r] for r in drawn]).columns if len(drawn) > micro_batch else 0
    scale = steps / len(counted)
    work = Work(work.columns, work.pairs, answer).scaled(scale)
    real, answer, padded, tree_columns, first = (round(n * scale) for n in (real, answer, padded, hung.columns, first))
    whole = round(whole * scale) or tree_columns
    is_estimate = len(counted) < steps
    return Tokens(
        real, answer, padded, tree_columns, whole, first if moved else None, layout, work, micro_batch, is_estimate,
        tuple(heaviest),
    )  # fmt: skip


def load_of(rows: Sequence[Row], train: Train) -> Load:
    """What a model computes of a micro-batch of these rows, in the recipe's layout.

    Example:
        >>> from whet.data.tokens import Encoded
        >>> rows = [Encoded("a", (1, 2, 3, 4, 5), (8, 0)), Encoded("b", (1, 2, 3, 4), (9, 0))]
        >>> load_of(rows, Train()), load_of(rows, Train(share_prefix=False))
        (Load(rows=2, columns=9, width=9, answers=4), Load(rows=2, columns=14, width=7, answers=6))
    """
    return _load(rows, layout_of(train), tree_work([row.prompt + row.completion for row in rows]).columns)


def _load(rows: Sequence[Row], layout: Layout, tree_columns: int) -> Load:
    """The Load of a micro-batch; of packed rows, that of one of them."""
    lengths, answers = [len(row.prompt) + len(row.completion) for row in rows], [len(row.completion) for row in rows]
    longest, total = max(lengths), sum(lengths)
    if layout == "tree":
        return Load(len(rows), tree_columns, tree_columns, sum(answers))
    if layout == "padded":  # the head reads as many last columns of every row as the longest answer needs
        return Load(len(rows), len(rows) * longest, longest, len(rows) * (max(answers) + 1))
    columns = min(total, max(PACKED_TOKENS, longest))
    return Load(len(rows), columns, columns, math.ceil(sum(answers) * columns / total))


def _with(heaviest: list[Heavy], found: Heavy) -> list[Heavy]:
    """The micro-batches that none of the others outweighs, when one more is found."""
    if any(heavy.outweighs(found) for heavy in heaviest):
        return heaviest
    return [*(heavy for heavy in heaviest if not found.outweighs(heavy)), found]


def tree_work(sequences: Sequence[Ids]) -> Work:
    """Columns and query-key pairs of a token tree of these sequences; every prefix that some share stands once.

    Example:
        >>> tree_work([(1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 7)]).columns, tree_work([(1, 2, 3), (1, 2, 4)]).columns
        (7, 6)
    """
    ordered = sorted(map(tuple, sequences))
    # common[i]: of sequences i - 1 and i; one more than their length where they are equal, so that nothing parts them
    common = [0, *(shared_by(a, b) + (a == b) for a, b in pairwise(ordered))]
    found: list[tuple[int, int]] = []  # the stretches of the tree: depth of the first token, and of the one behind the last

    def add(low: int, high: int, depth: int) -> None:
        """Adds what the sequences from `low` to `high` hold from `depth` on, which is the same up to there."""
        while low < high and len(ordered[low]) == depth:
            low += 1
        for start, end in _runs(common, low, high, depth):
            add_alike(start, end, depth)

    def add_alike(low: int, high: int, depth: int) -> None:
        """Adds sequences whose next token is the same."""
        shared = min([len(ordered[low]), *common[low + 1 : high]])
        if shared - depth < SHORTEST_NODE and shared < len(ordered[high - 1]):
            for start, end in _runs(common, low, high, shared):
                add_alike(start, end, depth)
            return
        found.append((depth, shared))
        add(low, high, shared)

    add(0, len(ordered), 0)
    return Work(sum(end - start for start, end in found), sum(_pairs(end) - _pairs(start) for start, end in found))


def _runs(common: Sequence[int], low: int, high: int, depth: int) -> list[tuple[int, int]]:
    """The ranges of sequences from `low` to `high` that share more than `depth` tokens."""
    cuts = [low, *(i for i in range(low + 1, high) if common[i] <= depth), high]
    return [(start, end) for start, end in pairwise(cuts) if start < end]


def shared_by(one: Ids, other: Ids) -> int:
    """Tokens that both begin with."""
    longest = min(len(one), len(other))
    if one[:longest] == other[:longest]:
        return longest
    low, high = 0, longest  # the first `low` are the same, the first `high` are not; slices are compared in C
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low


def _pairs(length: int) -> int:
    """Query-key pairs of causal attention over so many tokens."""
    return length * (length + 1) // 2


def _side_by_side(lengths: Sequence[int]) -> Work:
    """Padded to the longest: attention runs over the whole square, masked."""
    return Work(len(lengths) * max(lengths), len(lengths) * max(lengths) ** 2)


def _end_to_end(lengths: Sequence[int]) -> Work:
    """Packed: attention runs over a dense mask of each packed row."""
    total = sum(lengths)
    return Work(total, total * min(total, max(PACKED_TOKENS, max(lengths))))


def _moved(rows: Sequence[Row]) -> list[tuple[int, ...]] | None:
    """Every row with the end that all prompts share moved to its beginning; None if that end is too short to be worth it."""
    prompts = [row.prompt[::-1] for row in rows]
    shared = shared_by(min(prompts), max(prompts)) if len(prompts) > 1 else 0
    if shared < SHORTEST_END or min(map(len, prompts)) == shared:
        return None
    return [row.prompt[-shared:] + row.prompt[:-shared] + row.completion for row in rows]
