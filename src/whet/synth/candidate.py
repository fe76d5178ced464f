"""What is read from answers: a Candidate that may become a row, a Rejection where it may not, a Row once it was accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Cell = tuple[str, ...]  # what balance is kept over: the label (of `classify`), then one choice a slice
OWN_COLUMNS = ("id", "maker", "licence", "method", "parents", "prompt", "request")  # of the table of accepted rows


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that a model proposes. Filters and checks decide whether it is accepted.

    Attributes:
        inputs: column name to text, in the recipe's order.
        target: the answer; a label of a `classify` task.
        instruction: its own instruction, where rows bring one.
        cell: which share of the target it counts for.
        parents: ids of the rows that it was made from. It may be like them: novelty looks at the others.
        group: what never straddles two splits, such as both rows of a contrast pair.
        marks: what the method wants to be written down beside it: the operation, the round, the slice.
    """

    inputs: Mapping[str, str]
    target: str
    instruction: str | None = None
    cell: Cell = ()
    parents: tuple[str, ...] = ()
    group: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Its own instruction and all inputs as one text, as `Example.text` is."""
        return "\n".join(filter(None, [self.instruction or "", *self.inputs.values()]))

    @property
    def novel_text(self) -> str:
        """What has to be new: the instruction of a row that has its own, else the inputs."""
        return self.instruction or "\n".join(filter(None, self.inputs.values()))

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return {**asdict(self), "inputs": dict(self.inputs), "marks": dict(self.marks)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Candidate:
        """The Candidate that `to_json` wrote."""
        return cls(**{**record, "cell": tuple(record["cell"]), "parents": tuple(record["parents"])})


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why something is no row. `reason` is a short code that is counted, `detail` a sentence; `candidate` is None where the
    answer could not even be read, and `text` is then what it said."""

    reason: str
    detail: str
    candidate: Candidate | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Something good that is no row yet, such as an input without its label; the method asks on from it."""


@dataclass(frozen=True, slots=True)
class Row:
    """An accepted Candidate: its id, and the key of the request that it came from."""

    id: str
    candidate: Candidate
    request: str
