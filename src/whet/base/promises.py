"""The embedded data: sentences of invented speeches, labelled promise or not, that a grammar and a seed write.

The grammar is data: `promises_train.toml` and `promises_test.toml` share no template and no filler. What is here draws
from them: least-used choice first, ties by the seed, so that every template and filler is worn evenly.
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
from pathlib import Path
from typing import Any, Literal

Half = Literal["train", "test"]
SEED = 7
SPEECHES: Mapping[Half, int] = {"train": 116, "test": 50}
REGISTERS = ("stump", "manifesto", "budget", "debate")
COLUMNS = ("sentence", "is_promise", "speech_id", "speaker", "country", "year", "register", "kind", "template")

PROMISE_FRACTION = 0.44
WEIGHTS = {
    "pledge": 28, "platform_line": 18, "passive_pledge": 14, "entitlement": 14, "announcement": 14, "refusal": 12,
    "vague_pledge": 20, "vague_hope": 8, "prediction": 10, "achievement": 14, "attack": 11, "question": 8, "conditional": 8,
    "others_promise": 9, "expectation": 8, "value_statement": 7, "thanks": 3, "description": 9,
}  # fmt: skip
GROUPS = {"any": REGISTERS, "spoken": ("stump", "debate"), **{r: (r,) for r in REGISTERS}}
PARTS = {  # slots that are filled together from one line of the grammar
    "group": ("entitlement", 0), "groups": ("entitlement", 1), "benefit": ("entitlement", 2),
    "facility": ("facility", 0), "facilities": ("facility", 1), "body": ("demand", 0), "act": ("demand", 1),
}  # fmt: skip
PLACES = ("city", "region")
SLOT = re.compile(r"\{(\w+?)(\d?)(?:\.(\w+))?\}")
NEAR = 0.7  # word-bigram Jaccard from which two sentences of a half are too alike to stand in it together


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


def generate(half: Half, seed: int = SEED) -> list[Sentence]:
    """All sentences of one half, speech by speech; the same seed gives the same sentences.

    Args:
        half: "train" or "test"; each has its own grammar.
        seed: any integer. The shipped files are made with `SEED`.

    Source: ours: nothing with a free licence has promises, near misses and disjoint wording in one table.

    Example:
        >>> generate("test")[0] == generate("test")[0]
        True
    """
    writer = _Writer(half, seed)
    return [sentence for number in range(1, SPEECHES[half] + 1) for sentence in writer.speech(number)]


def csv_text(sentences: Sequence[Sentence]) -> str:
    """The sentences as a CSV table with the columns `COLUMNS` and line feeds."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows([str(getattr(sentence, column)) for column in COLUMNS] for sentence in sentences)
    return out.getvalue()


def shipped(name: str) -> Path:
    """The path of a data file of this room, e.g. `promises_train.csv` or `speech.txt`."""
    return Path(str(files(__package__).joinpath(name)))


def templates(half: Half) -> list[Template]:
    """The templates of one half in the grammar's order, each with an id such as `train.pledge.any.3`."""
    grammar = _grammar(half)
    return [
        Template(f"{half}.{kind}.{group}.{number}", kind, truth == "true", GROUPS[group], text)
        for truth in ("true", "false")
        for kind, groups in grammar[truth].items()
        for group, texts in groups.items()
        for number, text in enumerate(texts)
    ]


def fillers(half: Half) -> dict[str, list[str]]:
    """All that can stand in a slot of one half, by the grammar's name for the list it comes from."""
    grammar = _grammar(half)
    world = {key: values for key, values in grammar["world"].items() if key != "countries"}
    for key in ("name", "adjective", "currency", "chamber"):
        world[key] = [country[key] for country in grammar["world"]["countries"]]
    for key in ("cities", "regions"):
        world[key] = [place for country in grammar["world"]["countries"] for place in country[key]]
    deeds = {f"deeds.{area}": lines for area, lines in grammar["deeds"].items()}
    return {**world, **grammar["fill"], **deeds, "harms": grammar["harms"]["list"], "vague": grammar["vague"]["list"]}


@cache
def _grammar(half: Half) -> dict[str, Any]:
    return tomllib.loads(shipped(f"promises_{half}.toml").read_text(encoding="utf-8"))


class _Writer:
    """Writes the speeches of one half and remembers what it has used."""

    def __init__(self, half: Half, seed: int) -> None:
        self.half = half
        self.rng = random.Random(f"{half}-{seed}")
        self.grammar = _grammar(half)
        self.templates = templates(half)
        deeds = [line for lines in self.grammar["deeds"].values() for line in lines]
        phrases = {"deed": deeds, "harm": self.grammar["harms"]["list"], "vague": self.grammar["vague"]["list"]}
        self.fill: dict[str, list[str]] = {**self.grammar["fill"], **phrases}
        self.used: Counter[str] = Counter()
        self.written: list[frozenset[tuple[str, str]]] = []

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
        for place in range(self.rng.randint(10, 20)):
            template, text, drawn = self.fresh(register, scene, opens=place == 0)
            speech_id = f"{self.half}-{number:03}"
            yield Sentence(
                text, template.is_promise, speech_id, speaker, country["name"], year, register, template.kind, template.id, drawn
            )

    def fresh(self, register: str, scene: Mapping[str, str], opens: bool) -> tuple[Template, str, tuple[str, ...]]:
        """A sentence unlike all before it, its template and its fillers. A speech opens with thanks while there are any."""
        while True:
            truth = self.rng.random() < PROMISE_FRACTION
            choices = [t for t in self.templates if register in t.registers and t.is_promise == truth]
            kinds = sorted({t.kind for t in choices})
            kind = self.rng.choices(kinds, [WEIGHTS[k] for k in kinds])[0]
            if opens and register != "manifesto":
                kind, opens = "thanks", False
                choices = [t for t in self.templates if register in t.registers]
            by_id = {t.id: t for t in choices if t.kind == kind}
            template = by_id[self.pick(list(by_id))]
            text, drawn = _Sentence(self, scene, template.text).write()
            words = re.findall(r"\w+", text.lower())
            pairs = frozenset(zip(words, words[1:], strict=False))
            alike = any(len(pairs & other) >= NEAR * len(pairs | other) for other in self.written)
            if 5 <= len(text.split()) <= 40 and not alike:
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
        return SLOT.sub(lambda match: self.slot(*match.groups(default=""), in_filler=in_filler), text)

    def slot(self, name: str, number: str, form: str, in_filler: bool) -> str:
        """What stands in a slot. In a template the same slot always holds the same; each filler has its own numbers."""
        source, part = PARTS.get(name, (name, 0))
        if in_filler and source in self.writer.fill and source not in PLACES:
            return self.draw(source)
        key = source + number
        if key not in self.held:
            self.held[key] = self.draw(source)
        return _phrase(self.held[key], form, self.writer.grammar["verbs"]) if form else self.held[key].split("/")[part]

    def draw(self, source: str) -> str:
        """A filler that suits the sentence, with its own slots filled."""
        lines = [line for line in self.writer.fill[source] if line not in self.drawn and not self.clashes(line)]
        line = self.writer.pick(lines)
        self.drawn.append(line)
        return self.expand(line, in_filler=True)

    def clashes(self, line: str) -> bool:
        """Would the line name a place twice, give a span where the template sets a date, or spend money on what costs none?"""
        if "{span}" in line and ("{when}" in self.text or "{deadline}" in self.text):
            return True
        if "{money}" in self.text and ("{money}" in line or line.split(" |")[0] in self.writer.grammar["world"]["costless"]):
            return True
        return any("{" + place in line and ("{" + place in self.text or place in self.held) for place in PLACES)


def _phrase(line: str, form: str, verbs: Mapping[str, str]) -> str:
    """A verb phrase `verb | object | is or are | tail` (`verb | rest` where no passive is wanted) in one form."""
    verb, thing, *more = (part.strip() for part in line.split("|"))
    agreement, tail = more if len(more) == 2 else ("is", "")
    past, participle, ing = verbs[verb].split("/")
    is_plural = agreement == "are"
    match form:
        case "object":
            parts = [thing]
        case "rest":
            parts = [participle, tail]
        case "is" | "was" | "has":
            parts = [{"is": "are", "was": "were", "has": "have"}[form] if is_plural else form]
        case _:
            parts = [{"base": verb, "past": past, "perfect": participle, "ing": ing}[form], thing, tail]
    return " ".join(part for part in parts if part)
