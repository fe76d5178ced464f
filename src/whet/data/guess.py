"""What a table's columns are for, guessed from their names and cells, with the reasons said, for a person to correct."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from whet.data.delimited import NoHeaderError
from whet.data.labels import count_cells, find_labels
from whet.data.read import read_rows
from whet.data.table import Table
from whet.errors import DataError, Problem

MAX_LABELS = 100
LONG_ANSWER_CHARS = 25
# Parts of column names, in the order of how much they say.
_INPUT_WORDS = (
    "text sentence input instruction question prompt utterance statement comment review message tweet content body description"
).split()
_TARGET_WORDS = (
    "label target class category gold sentiment stance intent is promise pledge spam toxic answer topic status binary".split()
)
_ANSWER_WORDS = "output response completion answer summary reply target translation reference ref".split()
_GROUP_WORDS = (
    "group document doc file speech manifesto source speaker author user article page url conversation thread debate title id"
).split()
_COUNTS = frozenset("number no count len length words index idx".split())
_NEVER_TARGET = frozenset("id year date time set split fold lang language country page url".split()) | _COUNTS


@dataclass(frozen=True, slots=True)
class Guess:
    """Which column is what, and why. `labels` is empty where spellings must be sorted out first, and for `generate`."""

    input: tuple[str, ...]
    target: str
    group: str | None
    kind: Literal["classify", "generate"]
    labels: tuple[str, ...]
    why: tuple[str, ...]
    header: bool = True


@dataclass(frozen=True, slots=True)
class _Column:
    """What a column looks like from outside."""

    name: str
    place: int
    filled: int
    distinct: int
    mean_chars: float
    runs: int

    @property
    def words(self) -> frozenset[str]:
        """The parts of its name: `isPromise` and `is_promise` are `is`, `promise`."""
        return frozenset(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).replace("_", " ").lower().split())

    def hint(self, words: Sequence[str]) -> float:
        """How much its name says that it is one of these: 1 for each that it contains, a little more for the first ones."""
        return sum(1 + 0.5 * (1 - words.index(w) / len(words)) for w in self.words if w in words)


def guess_file(path: Path) -> Guess:
    """The Guess for a file; one whose first row is data is read without column names.

    Raises:
        DataError: the file cannot be read, or has no column that could be answered.
    """
    try:
        return guess_columns(read_rows(path))
    except NoHeaderError:
        guess = guess_columns(read_rows(path, header=False))
        first = "The first row looks like data, so header = false and the columns are called column_1, column_2 and so on."
        return replace(guess, why=(first, *guess.why), header=False)


def guess_columns(table: Table) -> Guess:
    """The Guess for a table.

    Raises:
        DataError: there are fewer than two columns with text, or none that could be the target.
    """
    columns = [_describe(table, place) for place in range(len(table.columns))]
    useful = [c for c in columns if c.distinct > 1]
    answer = _best(useful, lambda c: c.hint(_ANSWER_WORDS) if c.mean_chars > LONG_ANSWER_CHARS else 0)
    target = _best(useful, lambda c: _target_score(c, len(table.rows)))
    texts = [c for c in useful if c != target and (c != answer or _is_sure(target))]
    text = _best(texts, lambda c: _input_score(c, len(table.rows)))
    if text is None or (target is None and answer is None):
        names = ", ".join(c.name for c in columns)
        what = f"no column that could be the input and another that could be the answer (columns: {names})"
        raise DataError(Problem(table.source, what, "Write the recipe by hand, or name a table with both"))
    if answer and answer != text and not _is_sure(target):
        return _guess_generate(texts, text, answer)
    if target is None or target == text:
        raise DataError(Problem(table.source, "no column holds a small set of labels", "Write the recipe by hand"))
    return _guess_classify(table, columns, text, target)


def recipe_text(name: str, path: Path, guess: Guess) -> str:
    """A recipe in TOML for a table, the reasons of the guess as comments, to be read and corrected."""
    import tomli_w

    task: dict[str, Any] = {"kind": guess.kind}
    if guess.kind == "classify":
        if guess.labels:
            task["labels"] = list(guess.labels)
        choices = " or ".join(guess.labels) if 0 < len(guess.labels) <= 10 else "one of the labels"
        read, answer = _plain(guess.input[-1]), _plain(guess.target)
        if not guess.header:  # the answer's column has no name to speak of
            answer = "label"
        asked = f"if the {read} is {answer.removeprefix('is ')}" if answer.startswith("is ") else f"the {answer} of the {read}"
        task["instruction"] = f"Decide {asked}. Reply with {choices}."
    else:
        task["instruction"] = f"Read the {' and the '.join(map(_plain, guess.input))} and write the {_plain(guess.target)}."
    data: dict[str, Any] = {"path": path.as_posix(), "input": list(guess.input) if len(guess.input) > 1 else guess.input[0]}
    data["target"] = guess.target
    if guess.group is not None:
        data["group"] = guess.group
    if not guess.header:
        data["header"] = False
    comments = "".join(
        f"# {' '.join(line.split())}\n" for line in ("Guessed by whet from the table; correct what is wrong.", *guess.why)
    )
    return comments + tomli_w.dumps({"name": name, "task": task, "data": data})


def _describe(table: Table, place: int) -> _Column:
    cells = [cell for cell in (row.cells[place] for row in table.rows) if cell and cell.strip()]
    runs = sum(a != b for a, b in pairwise(cells)) + bool(cells)
    return _Column(table.columns[place], place, len(cells), len(set(cells)), sum(map(len, cells)) / max(1, len(cells)), runs)


def _best(columns: Sequence[_Column], score: Callable[[_Column], float]) -> _Column | None:
    """The column with the highest positive score; the first of equals."""
    scored = [(score(c), -c.place, c) for c in columns]
    best = max(scored, key=lambda s: s[:2], default=None)
    return best[2] if best and best[0] > 0 else None


def _input_score(column: _Column, rows: int) -> float:
    """How much a column looks like what is read: long, nearly all different, a telling name (`text` before `clean_text`)."""
    named = 1 + 1 / len(column.words) if column.hint(_INPUT_WORDS) else 0
    return (math.log2(1 + column.mean_chars) + named) * (column.filled / rows) * (column.distinct / max(1, column.filled))


def _target_score(column: _Column, rows: int) -> float:
    """How much a column looks like labels: few values, often repeated, short, and a telling name."""
    if not 2 <= column.distinct <= min(MAX_LABELS, rows / 2) or column.mean_chars > 60 or column.filled < rows / 2:
        return 0
    score = 1 + 3 * column.hint(_TARGET_WORDS) - 4 * bool(column.words & _NEVER_TARGET) - 0.2 * math.log2(column.distinct)
    return max(score, 0.01)


def _is_sure(target: _Column | None) -> bool:
    return target is not None and target.hint(_TARGET_WORDS) > 0


def _guess_generate(texts: Sequence[_Column], text: _Column, answer: _Column) -> Guess:
    named = [c for c in texts if c.hint(_INPUT_WORDS)]
    inputs = tuple(c.name for c in sorted(named or [text], key=lambda c: c.place))
    why = (
        f"input = {', '.join(map(repr, inputs))}: {'the names say' if named else 'the longest text'}.",
        f"target = {answer.name!r}, to be written (kind = generate): its texts are {answer.mean_chars:.0f} characters long "
        "on average, and nearly all different.",
    )
    return Guess(inputs, answer.name, None, "generate", (), why)


def _guess_classify(table: Table, columns: Sequence[_Column], text: _Column, target: _Column) -> Guess:
    cells = [(row.number, row.cells[target.place] or "") for row in table.rows]
    labels, problems, notes = find_labels(
        f"{table.source}, column {target.name!r}", count_cells(c for c in cells if c[1].strip())
    )
    group = _best([c for c in columns if c not in (text, target)], lambda c: _group_score(c, len(table.rows)))
    common = ", ".join(repr(label) for label, _ in Counter(c for _, c in cells if c.strip()).most_common(5))
    sure = "" if _is_sure(target) else "; nothing in the names says so: check this one"
    common += ", ..." if target.distinct > 5 else ""
    why = [
        f"input = {text.name!r}: its texts are {text.mean_chars:.0f} characters long on average.",
        f"target = {target.name!r}: {target.distinct} different values ({common}){sure}.",
    ]
    if group:
        why.append(
            f"group = {group.name!r}: {group.distinct:,} values in {group.filled:,} rows, so its rows should stay in one split."
        )
    else:
        why.append("No group: no column looks like the document, speaker or author that several rows come from.")
    clashing = [p for p in problems if "too many" not in p.what]
    why += [f"Labels left out until this is settled: {p.what}." for p in clashing] + notes
    return Guess((text.name,), target.name, group.name if group else None, "classify", () if clashing else labels, tuple(why))


def _group_score(column: _Column, rows: int) -> float:
    """How much a column looks like the document that rows come from: named so, repeated, its rows one after another."""
    hint = column.hint(_GROUP_WORDS)
    if not hint or column.words & _COUNTS or not 3 <= column.distinct <= rows / 2:
        return 0
    return hint + 2 * (column.runs == column.distinct) + math.log2(column.distinct) / 20


def _plain(name: str) -> str:
    """A column's name in a sentence."""
    return "text" if re.fullmatch(r"column_\d+", name) else " ".join(name.replace("_", " ").split())
