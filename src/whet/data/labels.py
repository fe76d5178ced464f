"""Labels as people type them: which cells are known labels, which only look like one. Look-alikes are shown, never merged."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from whet.errors import Problem

MAX_FOUND_LABELS = 50
MAX_SHOWN = 20
# Cyrillic and Greek letters that are drawn like a Latin one (the common part of Unicode TS 39, confusables.txt).
_LOOKS = str.maketrans(
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u04ae\u051a\u051c"
    "\u0430\u0435\u0455\u0456\u0458\u043e\u0440\u0441\u0443\u0445\u04bb\u0501\u051b\u051d\u04cf"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03b1\u03b9\u03bd\u03bf\u03c1\u03c5\u03c7\u03f2",
    "ABESIJKMHOPCTYXYQW" + "aesijopcyxhdqwl" + "ABEZHIKMNOPTYX" + "aivopuxc",
)
_DIGITS = str.maketrans("01", "ol")


@dataclass(frozen=True, slots=True)
class Cell:
    """One spelling in the target column: how often it stands there, and in which rows first."""

    value: str
    count: int
    rows: tuple[int, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.rows) else ""
        return (
            f"{shown(self.value)} ({self.count:,} row{'s' if self.count > 1 else ''}: {', '.join(map(str, self.rows))}{more})"
        )


def count_cells(cells: Iterable[tuple[int, str]]) -> list[Cell]:
    """The spellings in (row number, text) pairs, the most frequent first.

    Example:
        >>> print(*count_cells([(2, "True"), (3, "true"), (5, "True")]), sep="; ")
        'True' (2 rows: 2, 5); 'true' (1 row: 3)
    """
    rows: dict[str, list[int]] = {}
    for row, value in cells:
        rows.setdefault(value, []).append(row)
    return [Cell(v, len(at), tuple(at[:3])) for v, at in sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))]


def shown(value: str) -> str:
    """A text in quotes with everything that the eye cannot tell apart spelled out.

    Example:
        >>> print(shown("Yes "), shown("Yes\\u200b"), shown("\\xabYes"))
        'Yes ' 'Yes\\u200b' '«Yes' (\\xabYes)
    """
    return repr(value) if repr(value).isascii() else f"{value!r} ({ascii(value)[1:-1]})"


def skeleton(value: str) -> str:
    """What a label looks like: without case, outer and doubled spaces, invisible characters, and tricks of the alphabet.

    Two labels with one skeleton look the same to a person (Unicode NFKC, TS 39 look-alikes, case, space, `_` and `-`).

    Example:
        >>> skeleton(" Not_a  Promise\\u200b") == skeleton("n\\u043et a pr\\u043emise")
        True
    """
    text = unicodedata.normalize("NFKC", value)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")
    text = text.translate(_LOOKS).casefold().translate(_DIGITS)
    return re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", " ".join(text.split()))


def is_typo(one: str, other: str) -> bool:
    """Whether two labels, one of four or more characters, differ by one slip: a letter more, less, wrong, or two swapped.

    A digit is no slip: `class_1` and `class_2` are two classes.

    Example:
        >>> is_typo("maybe", "mabye"), is_typo("class_1", "class_2"), is_typo("ham", "jam")
        (True, False, False)
    """
    one, other = unicodedata.normalize("NFKC", one).casefold(), unicodedata.normalize("NFKC", other).casefold()
    if max(len(one), len(other)) < 4 or OSA.distance(one, other, score_cutoff=1) != 1:
        return False
    return [c for c in one if c.isdigit()] == [c for c in other if c.isdigit()]


def unknown_labels(where: str, cells: Sequence[Cell], labels: Sequence[str]) -> list[Problem]:
    """One Problem for every known label that unknown cells look like, and one for the cells that look like none.

    Args:
        where: the file and column.
        cells: the spellings that are no label.
        labels: the known ones.
    """
    groups: dict[str | None, list[Cell]] = {label: [] for label in labels}
    for cell in cells:
        alike = next((label for label in labels if skeleton(label) == skeleton(cell.value)), None)
        near = alike if alike is not None else next((label for label in labels if is_typo(label, cell.value)), None)
        groups.setdefault(near, []).append(cell)
    strange = groups.pop(None, [])
    problems = []
    for label, group in groups.items():
        if not group:
            continue
        like = "looks like" if len(group) == 1 else "look like"
        what = f"{_listed(group)} {like} the label {shown(label or '')}, and {_is(group)} not"
        lines = ", ".join(f"{_toml(cell.value)} = {_toml(label or '')}" for cell in group[:3])
        problems.append(Problem(where, what, f"Fix the cells, or write {lines} under [data.label_names]"))
    if strange:
        what = f"{_listed(strange)} {_is(strange)} not one of {', '.join(map(shown, labels))}"
        do = "Fix the cells, map them to labels under [data.label_names], or add them to [task] labels"
        problems.append(Problem(where, what, do))
    return problems


def find_labels(where: str, cells: Sequence[Cell]) -> tuple[tuple[str, ...], list[Problem], list[str]]:
    """The labels that a column holds (its distinct texts, sorted), what speaks against it, and what a person should know.

    Spellings with one skeleton, and rare ones that are a slip away from a frequent one, are Problems: whet makes no class
    out of a typing error.
    """
    labels = tuple(sorted(cell.value for cell in cells))
    if len(cells) > MAX_FOUND_LABELS:
        what = f"it holds {len(cells):,} different texts: too many to be taken for labels unasked"
        what += f" (the most frequent: {_listed(cells[:3])})"
        do = 'List them in [task] labels, name another target column, or write kind = "generate"'
        return labels, [Problem(where, what, do)], []
    problems, notes = [], []
    clusters: dict[str, list[Cell]] = {}
    for cell in cells:
        clusters.setdefault(skeleton(cell.value), []).append(cell)
    for group in clusters.values():
        if len(group) > 1:
            problems.append(_merge(where, group, "look the same"))
    heads = [group[0] for group in clusters.values()]
    for i, common in enumerate(heads):
        for rare in heads[i + 1 :]:
            if is_typo(common.value, rare.value):
                if rare.count <= max(1, common.count // 20):
                    problems.append(_merge(where, [common, rare], "are one slip apart"))
                else:
                    notes.append(f"{where}: {common} and {rare} are one letter apart; both are kept as labels.")
    return labels, problems, notes


def _merge(where: str, group: Sequence[Cell], how: str) -> Problem:
    lines = ", ".join(f"{_toml(cell.value)} = {_toml(group[0].value)}" for cell in group[1:4])
    do = f"Fix the cells, write {lines} under [data.label_names], or list them all in [task] labels if they are different"
    return Problem(where, f"{_listed(group)} {how}", do)


def _is(group: Sequence[Cell]) -> str:
    return "is" if len(group) == 1 else "are"


def _listed(cells: Sequence[Cell]) -> str:
    more = f" and {len(cells) - MAX_SHOWN:,} more" if len(cells) > MAX_SHOWN else ""
    return ", ".join(map(str, cells[:MAX_SHOWN])) + more


def _toml(text: str) -> str:
    """A text as TOML writes it, invisible characters escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
