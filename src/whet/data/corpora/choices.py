"""The choices that a prompt's text offers, where the corpus has no field for them: the FLAN Collection.

Its lists of options are written in a hundred ways, drawn at random: one of fifteen openings, a bullet or a label (letters,
numbers, Roman numbers, in brackets or not) before each option, in lines of their own or in one. An answer is then the text of
an option, or its label.

Source: google-research/FLAN, flan/v2/templates.py, OPT_START_STRING_CANDIDATES and OPT_ITEM_NAME_CANDIDATES.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from string import ascii_lowercase

_OPENING = re.compile(
    r"\b(?:(?:options|opt|choices|possible answers|options are|(?:choose|pick|select)(?: your answer)? from):"
    r"|(?:select|pick) from the following\.)[ \t]*(?:\n[ \t]*)?",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\[[-+]\]|--|[-+*]")
_NAME = r"[ivx]{1,5}|[a-z]|\d{1,2}"
_LABEL = re.compile(rf"[\[(](?:{_NAME})[\])][.:]?|(?:{_NAME})(?:\)[.:]?|[.:])(?=\s)", re.IGNORECASE)
# What labels count with, by the first of them.
_COUNTS = {
    "a": tuple(ascii_lowercase),
    "1": tuple(map(str, range(1, 27))),
    "i": tuple("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx".split()),
}


def choices_of(prompt: str) -> tuple[str, ...]:
    """The options in the last list of options of a prompt; () where there is none.

    Bullets are left out, and labels kept: an answer may be no more than a label.

    Args:
        prompt: of a corpus.

    Example:
        >>> choices_of("Is it wet?\\nOPTIONS:\\n- yes\\n- it is not\\n\\nAnswer:")
        ('yes', 'it is not')
        >>> choices_of("Is it wet? Choose from: (a). yes; (b). no;\\nA:"), choices_of("Is it wet?")
        (('(a). yes', '(b). no'), ())
    """
    for opening in reversed(list(_OPENING.finditer(prompt))):
        bullet, label = _BULLET.match(prompt, opening.end()), _LABEL.match(prompt, opening.end())
        counts = _COUNTS.get(_name(label[0])) if label else None
        if bullet:
            found = _bulleted(prompt[opening.end() :], bullet[0])
        elif counts:
            found = _labelled(prompt[opening.end() :], counts)
        else:
            continue  # the word alone; what follows it may be long, and is not looked at
        if choices := tuple(option for each in found if (option := each.strip().rstrip(";").rstrip())):
            return choices
    return ()


def is_choice(answer: str, choices: Sequence[str]) -> bool:
    """Whether an answer is one of these options: the whole of it, its text, or its label.

    Example:
        >>> choices = ("(A) so", "(B) not so.")
        >>> [is_choice(answer, choices) for answer in ("(B)", "not so", "A", "(A) so", "C")]
        [True, True, True, True, False]
    """
    meant = {_plain(choice) for choice in choices}
    for choice in choices:
        if label := _LABEL.match(choice):
            meant |= {_plain(label[0]), _plain(choice[label.end() :])}
    return _plain(answer) in meant


def _bulleted(clause: str, mark: str) -> Iterator[str]:
    """The options behind the bullet that the clause begins with: of each line that has it, or of the one line."""
    lines = [line.strip() for line in clause.split("\n")]
    if len(lines) > 1 and lines[1].startswith(mark):
        return (line.removeprefix(mark) for line in takewhile(lambda line: line.startswith(mark), lines))
    return iter(re.split(rf"(?:^|\s){re.escape(mark)}\s?", lines[0]))


def _labelled(clause: str, counts: Sequence[str]) -> Iterator[str]:
    """The options behind labels that count from the first on: in lines of their own, or in one line."""
    lines = clause.split("\n")
    if len(lines) > 1 and _is_called(lines[1].lstrip(), counts[1]):
        named = zip(counts, map(str.strip, lines), strict=False)
        yield from (line for _, line in takewhile(lambda pair: _is_called(pair[1], pair[0]), named))
        return
    starts: list[int] = []
    for label in _LABEL.finditer(lines[0]):
        if len(starts) < len(counts) and _name(label[0]) == counts[len(starts)]:
            starts.append(label.start())
    for start, end in pairwise([*starts, len(lines[0])]):
        yield lines[0][start:end]


def _is_called(line: str, name: str) -> bool:
    label = _LABEL.match(line)
    return label is not None and _name(label[0]) == name


def _name(label: str) -> str:
    return label.strip("[]().:").lower()


def _plain(said: str) -> str:
    return " ".join(said.split()).casefold().strip("()[].;: ")
