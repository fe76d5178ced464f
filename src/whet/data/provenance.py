"""Whose rows these are: licences and makers counted over Examples, the terms of them all together, and what they refuse."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from whet.data.licences import UNSTATED, Forbids, MakerTerms, Terms, maker_terms, read_licence, stricter, strictest
from whet.data.table import Table
from whet.errors import Problem
from whet.example import Example

Use = Literal["research", "commercial"]
FIRST_ROWS = 3
SHOWN_NAMES = 4


class Stated(NamedTuple):
    """What is stated of rows that do not state it themselves."""

    licence: str | None = None
    maker: str | None = None

    def of(self, example: Example) -> Example:
        """The Example with what its own origin does not state."""
        origin = example.origin
        licence, maker = origin.licence or self.licence, origin.maker or self.maker
        if (licence, maker) == (origin.licence, origin.maker):
            return example
        return replace(example, origin=replace(origin, licence=licence, maker=maker))


def state_rows(examples: Sequence[Example], table: Table, licence: str | None, maker: str | None) -> list[Example]:
    """The Examples of a table with their licence and maker.

    Args:
        examples: made from it.
        table: where they come from.
        licence: of all of them, or the column that says it.
        maker: likewise.
    """
    if not licence and not maker:
        return list(examples)
    at = [table.columns.index(name) if name in table.columns else None for name in (licence, maker)]
    cells = {row.number: [None if i is None else row.cells[i] or None for i in at] for row in table.rows}

    def stated(example: Example) -> Stated:
        own = cells[example.origin.row]
        return Stated(*(cell if i is not None else said for i, cell, said in zip(at, own, (licence, maker), strict=True)))

    return [stated(example).of(example) for example in examples]


class Kind(NamedTuple):
    """Rows of one file, under one licence and by one maker."""

    source: str
    licence: str | None
    maker: str | None


class Tally:
    """How many rows each source has under each licence by each maker, and the first of them."""

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        self.rows: Counter[Kind] = Counter()
        self.first: dict[Kind, list[int]] = {}
        for example in examples:
            self.add(example)

    def add(self, example: Example) -> None:
        """Counts one row."""
        origin = example.origin
        kind = Kind(origin.source, origin.licence, origin.maker)
        self.rows[kind] += 1
        first = self.first.setdefault(kind, [])
        if len(first) < FIRST_ROWS or origin.row < first[-1]:
            insort(first, origin.row)
            del first[FIRST_ROWS:]

    def add_rows(self, kind: Kind, numbers: Sequence[int]) -> None:
        """Counts rows of a kind, by their numbers."""
        self.rows[kind] += len(numbers)
        self.first[kind] = sorted([*self.first.get(kind, ()), *sorted(numbers)[:FIRST_ROWS]])[:FIRST_ROWS]

    def merge(self, other: Tally) -> None:
        """Counts all rows that another Tally has counted."""
        self.rows.update(other.rows)
        for kind, first in other.first.items():
            self.first[kind] = sorted([*self.first.get(kind, ()), *first])[:FIRST_ROWS]

    def refused(self, use: Use) -> list[Problem]:
        """A Problem for each source and kind of row that does not allow this use, with how many and the first of them."""
        if use != "commercial":
            return []
        return [
            Problem(self._where(kind), *why)
            for kind in sorted(self.rows, key=lambda kind: (kind.source, self.first[kind]))
            for why in (_against_licence(kind.licence), _against_maker(kind.maker))
            if why
        ]

    def _where(self, kind: Kind) -> str:
        count, first = self.rows[kind], ", ".join(map(str, self.first[kind]))
        more = f" and {count - len(self.first[kind]):,} more" if count > len(self.first[kind]) else ""
        return f"{kind.source}, row{'s' if count > 1 else ''} {first}{more}"


@dataclass(frozen=True, slots=True)
class MixTerms:
    """The most restrictive terms of all rows together.

    `licences` and `makers`: how many rows each has, "unstated" among them. `terms`: what is left of all licences. `competing`:
    whether models that compete with a maker may not be trained on it.
    """

    rows: int
    licences: Mapping[str, int]
    makers: Mapping[str, int]
    terms: Terms
    competing: Forbids | None

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, with the sentence."""
        return {
            "sentence": self.sentence, **{key: value for key, value in asdict(self.terms).items() if key not in ("id", "note")},
            "forbids_competing_models": self.competing, "licences": dict(self.licences), "makers": dict(self.makers),
        }  # fmt: skip

    @property
    def is_silent(self) -> bool:
        """Whether nobody states anything."""
        return {*self.licences, *self.makers} <= {UNSTATED.id}

    @property
    def sentence(self) -> str:
        """What may be done with it, and because of which rows."""
        if self.is_silent:
            return f"Nobody states the licence of its {self.rows:,} rows, or who wrote them."
        return " ".join(filter(None, (self._licence_words(), self._share_alike_words(), self._maker_words())))

    def _licence_words(self) -> str:
        commercial, unstated = self.terms.commercial, self.licences.get(UNSTATED.id, 0)
        said = {True: "Commercial use is allowed", False: "No commercial use", None: "Nobody has allowed commercial use"}
        because = "" if commercial else f" ({self._because('commercial', commercial)})"
        parts = [said[commercial] + because]
        if self.terms.changes is False:
            parts.append(f"what is made of it is not passed on ({self._because('changes', False)})")
        if self.terms.attribution:
            parts.append("its authors are named")
        if unstated and commercial is False:
            parts.append(f"{unstated:,} rows state no licence")
        return "; ".join(parts) + "." + (f" Besides: {self.terms.note}." if self.terms.note else "")

    def _share_alike_words(self) -> str:
        names = [name for name in self.licences if read_licence(name).share_alike]
        if not names:
            return ""
        same = f"What is made of it is passed on under the same terms only ({_listed(names)})"
        apart = ", and no two of these can be met at once: it may not be passed on as one" if len(names) > 1 else ""
        return f"{same}{apart}."

    def _maker_words(self) -> str:
        """What the makers' terms say, each once; and how many rows have no known maker."""
        said: dict[MakerTerms, list[str]] = {}
        for name in self.makers:
            if name != UNSTATED.id:
                said.setdefault(maker_terms(name), []).append(name)
        sentences = []
        for terms, names in said.items():
            written = f"{sum(self.makers[name] for name in names):,} rows were written by {_listed(names)}"
            if terms.forbids in ("yes", "in part"):
                sentences.append(f"{written}: {terms.terms} (terms of {terms.owner}, {terms.year}).")
            elif terms.forbids is None:
                sentences.append(f"{written}, whose terms are not known.")
        if unstated := self.makers.get(UNSTATED.id):
            sentences.append(f"Who wrote {unstated:,} rows is not stated.")
        return " ".join(sentences)

    def _because(self, field: str, value: bool | None) -> str:
        """The licences that make a term what it is, with their rows."""
        blamed = {name: rows for name, rows in self.licences.items() if getattr(read_licence(name), field) is value}
        return _listed([f"{name}: {rows:,} rows" for name, rows in blamed.items()])


def terms_of(tally: Tally) -> MixTerms:
    """The most restrictive terms of the rows that were counted."""
    licences: Counter[str] = Counter()
    makers: Counter[str] = Counter()
    competing: Forbids | None = "no"
    for kind, rows in tally.rows.items():
        licences[read_licence(kind.licence).id] += rows
        makers[kind.maker or UNSTATED.id] += rows
        competing = stricter(competing, maker_terms(kind.maker).forbids)
    together = strictest([read_licence(kind.licence) for kind in tally.rows] or [UNSTATED])
    return MixTerms(tally.rows.total(), dict(licences.most_common()), dict(makers.most_common()), together, competing)


def _against_licence(licence: str | None) -> tuple[str, str] | None:
    """Why rows under a licence may not be used commercially and what to do; None where they may."""
    terms = read_licence(licence)
    if terms.commercial:
        return None
    if terms.commercial is False:
        return f"their licence ({terms.id}) forbids commercial use", 'Leave them out, or write use = "research"'
    stated = "no licence is stated" if terms is UNSTATED else f"what their licence ({terms.id}) allows is not known"
    do = 'If you know that you may, say why with `licence`, as in licence = "CC-BY-4.0", or "own" for rows of your own'
    return f"{stated}, so nobody has allowed their commercial use", do


def _against_maker(maker: str | None) -> tuple[str, str] | None:
    """Why rows of a maker may not teach a commercial model and what to do; None where they may, or where none is stated."""
    terms = maker_terms(maker)
    if maker is None or terms.forbids in ("no", "in part"):
        return None
    if terms.forbids == "yes":
        what = f"they were written by {maker}, and {terms.terms} (terms of {terms.owner}, {terms.year})"
        return what, 'Leave them out, or write use = "research"'
    what = f"they were written by {maker}, and whether its terms allow training other models is not known"
    return what, 'Leave them out; or if no language model wrote them, write maker = "people"'


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
