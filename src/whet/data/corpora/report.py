"""What became of every record of the corpus files that were read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from whet.data.corpora.format import NOT_LOST, Item, Options, asked_for, shown
from whet.data.corpora.streams import CUT_OFF, Damaged
from whet.data.examples import EMPTY_TARGET
from whet.errors import DataError, Problem
from whet.example import Drop

KEPT_DROPS = 1000
NOTED_EXAMPLES = 20


@dataclass
class Report:
    """What became of the records of one file, filled as they are read: `read == good + repaired + skipped`.

    `reasons` counts Drops by reason, `drops` keeps the first of them. A cut-off file has lost an unknown number of records.
    """

    file: str
    format: str
    read: int = 0
    repaired: int = 0
    skipped: int = 0
    filtered: int = 0  # of those that were skipped
    examples: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    drops: list[Drop] = field(default_factory=list)
    targets: set[str] = field(default_factory=set)  # two of them at most: whether there is more than one
    unheeded: tuple[str, ...] = ()  # options that its format does not have

    def add(self, item: Item) -> None:
        """Counts one Item."""
        if not item.examples and not item.drops:
            raise AssertionError(f"{item.origin}: the reader of {self.format} dropped a record without a reason")
        self.read += 1
        self.examples += len(item.examples)
        if item.drops:
            self.skipped += not item.examples
            self.filtered += not item.examples and all(drop.reason in NOT_LOST for drop in item.drops)
            self.repaired += item.is_repaired
            self.reasons.update(drop.reason for drop in item.drops)
            self.drops += item.drops[: max(0, KEPT_DROPS - len(self.drops))]
        if len(self.targets) < 2:
            self.targets.update(example.target for example in item.examples[:2])

    @property
    def notes(self) -> list[str]:
        """What else a person should know: options without effect; a file in which nothing, or one thing, can be learned."""
        told = [f"{self.format} has no choice of {' and '.join(self.unheeded)}: all of it is read."] if self.unheeded else []
        if self.read and self.reasons[EMPTY_TARGET] == self.read:
            return [*told, "No record of it has an answer: something went wrong when it was made."]
        if self.examples >= NOTED_EXAMPLES and len(self.targets) == 1:
            answer = shown(*self.targets)
            return [*told, f"All its {self.examples:,} examples have the same answer, {answer!r}: it teaches nothing else."]
        return told

    @property
    def is_cut_off(self) -> bool:
        """Whether the file ends before its last record did."""
        return bool(self.reasons[CUT_OFF])

    @property
    def lost(self) -> float:
        """The share of the records that gave no Example and should have; 1 where the file was cut off."""
        return 1.0 if self.is_cut_off else (self.skipped - self.filtered) / self.read if self.read else 0.0

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        counts = {name: getattr(self, name) for name in ("format", "read", "repaired", "skipped", "examples")}
        return {"file": self.file, **counts, "reasons": dict(self.reasons), "notes": self.notes,
                "drops": [drop.to_json() for drop in self.drops]}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Survey:
    """What became of all the files that were read, and which files are no corpus."""

    reports: tuple[Report, ...]
    left_aside: tuple[Problem, ...]

    def lossy(self, max_lost: float) -> list[Report]:
        """The reports of files that lost more than this share of their records."""
        return [report for report in self.reports if report.lost > max_lost]

    @property
    def damaged(self) -> list[Problem]:
        """The files that are lost as a whole."""
        return [problem for problem in self.left_aside if isinstance(problem, Damaged)]

    def require_heeded(self, options: Options) -> None:
        """Makes sure that each option is one that a format of these files has.

        Raises:
            DataError: some are none.
        """
        idle = [name for name in asked_for(options) if all(name in report.unheeded for report in self.reports)]
        if idle:
            formats = ", ".join(dict.fromkeys(report.format for report in self.reports))
            what = f"it has no choice of {' and '.join(idle)}"
            raise DataError(Problem(f"format {formats}", what, "Leave the option out"))

    def to_json(self) -> dict[str, Any]:
        """The survey as plain JSON values: the sums, and each file. `format` is None where files are in different ones."""
        formats = {report.format for report in self.reports}
        sums = {name: sum(getattr(r, name) for r in self.reports) for name in ("read", "repaired", "skipped", "examples")}
        return {
            "format": formats.pop() if len(formats) == 1 else None,
            **sums,
            "reasons": dict(sum((report.reasons for report in self.reports), Counter())),
            "files": [report.to_json() for report in self.reports],
            "left_aside": [
                {"file": problem.where, "why": problem.what, "damaged": isinstance(problem, Damaged)}
                for problem in self.left_aside
            ],
        }
