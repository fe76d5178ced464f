"""The embedded data: sentences of invented speeches, labelled promise or not, that a grammar and a seed write.

The grammar is data: `promises_train.toml`, `promises_validation.toml` and `promises_test.toml` share no template and no
filler. What is here draws from them: the least used first, ties by the seed, so that all are worn evenly.
"""

from __future__ import annotations

import csv
import io
import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

Split = Literal["train", "validation", "test"]
Pairs = frozenset[tuple[str, str]]
SEED = 7
SPEECHES: Mapping[Split, int] = {"train": 114, "validation": 24, "test": 50}
REGISTERS = ("stump", "manifesto", "budget", "debate")
COLUMNS = ("sentence", "is_promise", "speech_id", "speaker", "country", "year", "register", "kind", "template")

PROMISE_FRACTION = 0.4
WEIGHTS = {
    "pledge": 28, "platform_line": 40, "passive_pledge": 14, "entitlement": 14, "announcement": 24, "refusal": 12,
    "vague_pledge": 20, "vague_hope": 8, "prediction": 10, "achievement": 14, "attack": 11, "question": 8, "conditional": 8,
    "others_promise": 9, "expectation": 8, "value_statement": 7, "thanks": 3, "description": 9,
}  # fmt: skip
GROUPS = {"any": REGISTERS, "spoken": ("stump", "debate"), **{r: (r,) for r in REGISTERS}}
LINES = {  # slots that are filled together from one line of the grammar
    "group": ("entitlement", 0), "groups": ("entitlement", 1), "benefit": ("entitlement", 2),
    "facility": ("facility", 0), "facilities": ("facility", 1), "body": ("demand", 0), "act": ("demand", 1),
}  # fmt: skip
PLACES = ("city", "region")
TIMES = ("when", "deadline", "ago", "pastyear")
SLOT = re.compile(r"\{(\w+?)(\d?)(?:\.(\w+))?\}")
SHORT, LONG = 5, 40  # words
NEAR = 0.7  # word-bigram Jaccard from which two sentences of a split are too alike to stand in it together


@dataclass(frozen=True, slots=True)
class Sentence:
    """One labelled sentence and how it came about: its template and the fillers, as the grammar spells them."""

    sentence: str
    is_promise: bool
    speech_id: str
    speaker: str
    country: str
    year: str
    register: str
    kind: str
    template: str
    fillers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence with named slots, the class of sentence it makes, and the registers it may stand in."""

    id: str
    kind: str
    is_promise: bool
    registers: tuple[str, ...]
    text: str


def generate(split: Split, seed: int = SEED) -> list[Sentence]:
    """All sentences of one split, speech by speech; the same seed gives the same sentences.

    Args:
        split: "train", "validation" or "test"; each has its own grammar.
        seed: any integer. The shipped files are made with `SEED`.

    Source: ours: nothing with a free licence has promises, near misses and disjoint wording in one table.

    Example:
        >>> generate("test")[0] == generate("test")[0]
        True
    """
    writer = _Writer(split, seed)
    return [sentence for number in range(1, SPEECHES[split] + 1) for sentence in writer.speech(number)]


def csv_text(sentences: Sequence[Sentence]) -> str:
    """The sentences as a CSV table with the columns `COLUMNS` and line feeds."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows([str(getattr(sentence, column)) for column in COLUMNS] for sentence in sentences)
    return out.getvalue()


def shipped(name: str) -> Path:
    """The path of a data file of this room, e.g. `promises_train.csv` or `speech.txt`."""
    return Path(str(files("whet.base").joinpath(name)))


def templates(split: Split) -> list[Template]:
    """The templates of one split in the grammar's order, each with an id such as `train.pledge.any.3`."""
    grammar = _grammar(split)
    return [
        Template(f"{split}.{kind}.{group}.{number}", kind, truth == "true", GROUPS[group], text)
        for truth in ("true", "false")
        for kind, groups in grammar[truth].items()
        for group, texts in groups.items()
        for number, text in enumerate(texts)
    ]


def fillers(split: Split) -> dict[str, list[str]]:
    """All that can stand in a slot of one split, by the grammar's name for the list it comes from."""
    grammar = _grammar(split)
    world = {key: values for key, values in grammar["world"].items() if key != "countries"}
    for key in ("name", "adjective", "currency", "chamber"):
        world[key] = [country[key] for country in grammar["world"]["countries"]]
    for key in ("cities", "regions"):
        world[key] = [place for country in grammar["world"]["countries"] for place in country[key]]
    deeds = {f"deeds.{area}": lines for area, lines in grammar["deeds"].items()}
    return {**world, **grammar["fill"], **deeds, "harms": grammar["harms"]["list"], "vague": grammar["vague"]["list"]}


def verbs(split: Split) -> dict[str, str]:
    """The verbs of one split, each with its `past/participle/ing`."""
    return dict(_grammar(split)["verbs"])


def word_pairs(text: str) -> Pairs:
    """The pairs of neighbouring words of a text, in lower case and without punctuation.

    Example:
        >>> sorted(word_pairs("We will, we will."))
        [('we', 'will'), ('will', 'we')]
    """
    words = re.findall(r"\w+", text.lower())
    return frozenset(pairwise(words))


def similarity(a: Pairs, b: Pairs) -> float:
    """The Jaccard similarity of two sets of word pairs, 0 to 1.

    Example:
        >>> similarity(word_pairs("we build homes"), word_pairs("we build roads"))
        0.3333333333333333
    """
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if shared else 0.0


def inflect(line: str, form: str, verbs: Mapping[str, str]) -> str:
    """One form of a verb phrase of the grammar.

    Args:
        line: `verb | object | is or are | tail`, or `verb | rest` where no passive is wanted.
        form: `base`, `past`, `perfect` (after "have"), `ing`, or for the passive `object`, `rest`, `is`, `was`, `has`.
        verbs: each verb's `past/participle/ing`.

    Example:
        >>> line, verbs = "freeze | fares | are | for a year", {"freeze": "froze/frozen/freezing"}
        >>> inflect(line, "past", verbs)
        'froze fares for a year'
        >>> " ".join(inflect(line, form, verbs) for form in ("object", "was", "rest"))
        'fares were frozen for a year'
    """
    verb, thing, *more = (part.strip() for part in line.split("|"))
    agreement, tail = more or ("is", "")
    past, participle, ing = verbs[verb].split("/")
    match form:
        case "object":
            parts = [thing]
        case "rest":
            parts = [participle, tail]
        case "is" | "was" | "has":
            parts = [{"is": "are", "was": "were", "has": "have"}[form] if agreement == "are" else form]
        case _:
            parts = [{"base": verb, "past": past, "perfect": participle, "ing": ing}[form], thing, tail]
    return " ".join(part for part in parts if part)


@cache
def _grammar(split: Split) -> dict[str, Any]:
    return tomllib.loads(shipped(f"promises_{split}.toml").read_text(encoding="utf-8"))


class _Writer:
    """Writes the speeches of one split and remembers what it has used."""

    def __init__(self, split: Split, seed: int) -> None:
        self.split = split
        self.rng = random.Random(f"{split}-{seed}")
        self.grammar = _grammar(split)
        self.templates = templates(split)
        self.verbs = verbs(split)
        deeds = [line for lines in self.grammar["deeds"].values() for line in lines]
        self.fill: dict[str, list[str]] = {
            **self.grammar["fill"],
            "deed": deeds,
            "costly": [line for line in deeds if line.split(" |")[0] not in self.grammar["world"]["costless"]],
            "harm": self.grammar["harms"]["list"],
            "vague": self.grammar["vague"]["list"],
        }
        self.used: Counter[str] = Counter()
        self.written: list[Pairs] = []

    def pick(self, options: Sequence[str]) -> str:
        """One of the options that have been used least."""
        chosen = min(options, key=lambda option: (self.used[option], self.rng.random()))
        self.used[chosen] += 1
        return chosen

    def speech(self, number: int) -> Iterator[Sentence]:
        """The sentences of one speech: one speaker, one country, one register, one rival."""
        world = self.grammar["world"]
        speaker = self.pick(world["speakers"])
        at = world["speakers"].index(speaker)  # country, party and rival belong to the speaker, not to the speech
        country = world["countries"][at % len(world["countries"])]
        rival, he, him, his = world["rivals"][at % len(world["rivals"])].split("/")
        year, register = self.pick(world["years"]), self.pick(REGISTERS)
        scene: dict[str, str] = {
            **{key: country[key] for key in ("adjective", "currency", "chamber")}, "country": country["name"],
            "rival": rival, "he": he, "him": him, "his": his, "party": world["parties"][at % len(world["parties"])],
            "rival_party": world["rival_parties"][at % len(world["rival_parties"])], "office": self.pick(world["offices"]),
        }  # fmt: skip
        self.fill |= {"city": country["cities"], "region": country["regions"]}
        length = self.rng.randint(10, 20)
        promises = round(length * PROMISE_FRACTION + self.rng.uniform(-1.5, 1.5))
        truths = self.rng.sample([True] * promises + [False] * (length - 1 - promises), length - 1)
        for place, truth in enumerate([False, *truths]):
            template, text, drawn = self.fresh(register, scene, truth, opens=place == 0)
            whose = (f"{self.split}-{number:03}", speaker, country["name"], year)
            yield Sentence(text, truth, *whose, register, template.kind, template.id, drawn)

    def fresh(self, register: str, scene: Mapping[str, str], truth: bool, opens: bool) -> tuple[Template, str, tuple[str, ...]]:
        """A sentence unlike all before it, its template and its fillers. A spoken speech opens with thanks, if it can."""
        fitting = [t for t in self.templates if register in t.registers and t.is_promise == truth]
        kinds = sorted({t.kind for t in fitting})
        while True:
            kind = "thanks" if opens and "thanks" in kinds else self.rng.choices(kinds, [WEIGHTS[k] for k in kinds])[0]
            opens = False
            by_id = {t.id: t for t in fitting if t.kind == kind}
            template = by_id[self.pick(list(by_id))]
            text, drawn = _Sentence(self, scene, template.text).write()
            pairs = word_pairs(text)
            if SHORT <= len(text.split()) <= LONG and all(similarity(pairs, other) < NEAR for other in self.written):
                self.written.append(pairs)
                return template, text, drawn


class _Sentence:
    """One sentence being written: its template and what its slots hold so far."""

    def __init__(self, writer: _Writer, scene: Mapping[str, str], text: str) -> None:
        self.writer, self.text = writer, text
        self.held: dict[str, str] = dict(scene)
        self.drawn: list[str] = []

    def write(self) -> tuple[str, tuple[str, ...]]:
        """The finished sentence and the fillers drawn for it."""
        text = self.expand(self.text)
        at = 1 if text.startswith("'") else 0
        return text[:at] + text[at].upper() + text[at + 1 :], tuple(self.drawn)

    def expand(self, text: str, in_filler: bool = False) -> str:
        """The text with every slot filled."""
        return SLOT.sub(lambda m: self.slot(m[1], m[2], m[3], in_filler), text)

    def slot(self, name: str, number: str, form: str | None, in_filler: bool) -> str:
        """What stands in a slot. In a template the same slot always holds the same; each filler has its own numbers."""
        source, part = LINES.get(name, (name, 0))
        if in_filler and source in self.writer.fill and source not in PLACES:
            return self.draw(source)
        key = source + number
        if key not in self.held:
            self.held[key] = self.draw(source)
        return inflect(self.held[key], form, self.writer.verbs) if form else self.held[key].split("/")[part]

    def draw(self, source: str) -> str:
        """A filler that suits the sentence, with its own slots filled."""
        lines = [line for line in self.writer.fill[source] if line not in self.drawn and not self.clashes(line)]
        line = self.writer.pick(lines)
        self.drawn.append(line)
        return self.expand(line, in_filler=True)

    def clashes(self, line: str) -> bool:
        """Would the line repeat a place or a sum of the sentence, or give a span of time beside a date?"""
        if "{span}" in line and any("{" + time in self.text for time in TIMES):
            return True
        if "{money}" in line and "{money}" in self.text:
            return True
        return any("{" + place in line and ("{" + place in self.text or place in self.held) for place in PLACES)
