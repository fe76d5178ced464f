"""What a row must be to be accepted, without asking a model: one small function a rule, each with its counted reason.

The reasons: `refusal`, `echo` (its answer repeats what it reads), `too_short`, `too_long`, `banned_word`, `first_character`,
`opening`, `wrong_language`, `ends_with_colon`, `unknown_label`, `duplicate`, `near_duplicate`, `not_novel`. (`same_meaning`
takes a model: see `embedding`.)
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from whet.data.audit.language import language_of
from whet.data.near import normal_form
from whet.example import Example, Task
from whet.sections import Synth
from whet.synth import answers
from whet.synth.candidate import Candidate, Rejection
from whet.synth.novelty import NearTwins, Novelty

Rule = Callable[[Candidate], Rejection | None]


@dataclass(frozen=True, slots=True)
class Heuristics:
    """What the authors of a data set did not let in: bounds in words, words, openings, first characters."""

    min_words: int
    max_words: int
    words: tuple[str, ...]
    openings: tuple[str, ...]
    plain_start: bool  # the first character is ASCII and no punctuation


_MEDIA = ("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot", "go to")
# Source: the published code of both; Alpaca's list is Self-Instruct's and what a text model cannot do either.
PUBLISHED: Mapping[str, Heuristics] = {
    "self_instruct": Heuristics(4, 150, _MEDIA, ("Write a program",), True),
    "alpaca": Heuristics(4, 150, (*_MEDIA, "video", "audio", "music", "flowchart", "diagram"), ("Write a program",), True),
}


class Filters:
    """All rules of a recipe, in the order in which they are asked, and what they remember of accepted rows.

    Args:
        task: its labels are the only ones.
        synth: thresholds and words.
        shown: examples that the maker sees: a row that repeats one is an echo.
    """

    def __init__(self, task: Task, synth: Synth, shown: Sequence[Example] = ()) -> None:
        self._novelty, self._twins = Novelty(synth.novelty_threshold), NearTwins(synth.near_duplicate_threshold)
        self._forms: dict[str, str] = {}
        self._ids: list[str] = []
        self._groups: dict[str, list[int]] = {}
        self.rules: list[Rule] = [_says_nothing, *_bounds(synth), self._is_twin, self._is_near, self._is_known]
        if task.kind == "classify":
            self.rules.insert(0, lambda c: _has_no_label(c, task.labels))
        for example in shown:
            self._remember(as_candidate(example), str(example.origin))

    def judge(self, candidate: Candidate) -> Rejection | None:
        """Why a candidate is no row, or None; the first rule that says no is named."""
        return next((found for rule in self.rules if (found := rule(candidate))), None)

    def learn(self, candidate: Candidate, id_: str) -> None:
        """Remembers an accepted row, so that the next ones are held against it."""
        self._remember(candidate, id_)

    def _remember(self, candidate: Candidate, id_: str) -> None:
        self._ids.append(id_)
        place = self._novelty.add(candidate.novel_text)
        self._twins.add(candidate.text)
        self._forms.setdefault(_form(candidate), id_)
        for name in (id_, *([candidate.group] if candidate.group else [])):
            self._groups.setdefault(name, []).append(place)

    def name_of(self, place: int) -> str:
        """What a remembered row is called: its id, or where an example stands."""
        return self._ids[place]

    def kin(self, candidate: Candidate) -> set[int]:
        """Places of the rows that a candidate may be like: those it was made from, and those made of the same."""
        names = [*candidate.parents, *([candidate.group] if candidate.group else [])]
        return {place for name in names for place in self._groups.get(name, ())}

    def _is_twin(self, candidate: Candidate) -> Rejection | None:
        same = self._forms.get(_form(candidate))
        return Rejection("duplicate", f"the same as {same}", candidate) if same else None

    def _is_near(self, candidate: Candidate) -> Rejection | None:
        match = self._twins.nearest(candidate.text, self.kin(candidate))
        detail = f"Jaccard {match.score:.3f} with {self._ids[match.place]}" if match else ""
        return Rejection("near_duplicate", detail, candidate) if match else None

    def _is_known(self, candidate: Candidate) -> Rejection | None:
        match = self._novelty.nearest(candidate.novel_text, self.kin(candidate))
        detail = f"ROUGE-L {match.score:.3f} with {self._ids[match.place]}" if match else ""
        return Rejection("not_novel", detail, candidate) if match else None


def as_candidate(example: Example) -> Candidate:
    """An example as the filters look at it."""
    return Candidate(dict(example.inputs), example.target, example.instruction, group=example.group)


def _form(candidate: Candidate) -> str:
    """What makes two candidates the same: all they read, in normal form."""
    return normal_form(candidate.text)


def _has_no_label(candidate: Candidate, labels: Sequence[str]) -> Rejection | None:
    return None if candidate.target in labels else Rejection("unknown_label", f"{candidate.target!r} is no label", candidate)


def _says_nothing(candidate: Candidate) -> Rejection | None:
    """A refusal inside a row, an answer that is its input, or a text that stops where it should begin."""
    texts = [candidate.instruction or "", *candidate.inputs.values(), candidate.target]
    declined = next((text for text in texts if answers.is_refusal(text)), None)
    if declined is not None:
        return Rejection("refusal", f"it declines: {declined[:80]!r}", candidate)
    read = [normal_form(text) for text in (candidate.instruction or "", *candidate.inputs.values()) if text.strip()]
    if normal_form(candidate.target) in read:
        return Rejection("echo", "its answer repeats what it reads", candidate)
    if candidate.novel_text.rstrip().endswith(":"):
        return Rejection("ends_with_colon", "it ends where something should follow", candidate)
    return None


def _bounds(synth: Synth) -> Iterator[Rule]:
    """The rules on words and characters that a recipe asks for."""
    published = PUBLISHED.get(synth.heuristics)
    least = max(synth.min_words, published.min_words if published else 1)
    most = min(synth.max_words or 2**62, published.max_words if published else 2**62)
    banned = (*synth.banned_words, *(published.words if published else ()))

    def length(candidate: Candidate) -> Rejection | None:
        count = len(candidate.novel_text.split())
        if count < least:
            return Rejection("too_short", f"{count} words, fewer than {least}", candidate)
        return Rejection("too_long", f"{count} words, more than {most}", candidate) if count > most else None

    def words(candidate: Candidate) -> Rejection | None:
        found = _whole_words(banned).search(candidate.novel_text)
        return Rejection("banned_word", f"it holds {found[0]!r}", candidate) if found else None

    def start(candidate: Candidate) -> Rejection | None:
        text = candidate.novel_text
        opening = next((o for o in published.openings if text.startswith(o)), "") if published else ""
        if opening:
            return Rejection("opening", f"it begins {opening!r}", candidate)
        if published and published.plain_start and text and (not text[0].isascii() or text[0] in string.punctuation):
            return Rejection("first_character", f"it begins with {text[0]!r}", candidate)
        return None

    def language(candidate: Candidate) -> Rejection | None:
        found = language_of(candidate.text)
        is_other = found not in ("", "Latin") and synth.language not in found.split("/")
        return Rejection("wrong_language", f"it seems to be in {found}, not {synth.language}", candidate) if is_other else None

    yield length
    if banned:
        yield words
    if synth.language:
        yield language
    if published:
        yield start


@cache
def _whole_words(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the words, whole and in any case."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
