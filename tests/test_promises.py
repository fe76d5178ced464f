"""The embedded data: reproducible, disjoint across splits, balanced, and clean enough to be read aloud."""

from __future__ import annotations

import csv
import itertools
import re
from collections import defaultdict
from typing import get_args

import pytest

from whet.base.promises import (
    COLUMNS,
    LONG,
    NEAR,
    SHORT,
    Sentence,
    Split,
    csv_text,
    fillers,
    generate,
    shipped,
    similarity,
    templates,
    verbs,
    word_pairs,
)
from whet.measure.baselines import tfidf
from whet.measure.metrics import measure

SPLITS: tuple[Split, ...] = get_args(Split)
TRUE = {"pledge", "platform_line", "passive_pledge", "entitlement", "announcement", "refusal"}
FALSE = {
    "vague_pledge", "vague_hope", "prediction", "achievement", "attack", "question", "conditional", "others_promise",
    "expectation", "value_statement", "thanks", "description",
}  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[Split, list[Sentence]]:
    """What the shipped seed generates."""
    return {split: generate(split) for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_the_shipped_file_is_what_the_seed_writes(split: Split, made: dict[Split, list[Sentence]]) -> None:
    assert shipped(f"promises_{split}.csv").read_bytes() == csv_text(made[split]).encode()


def test_the_table_reads_back(made: dict[Split, list[Sentence]]) -> None:
    with shipped("promises_test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["sentence"] for row in rows] == [s.sentence for s in made["test"]]
    assert {row["is_promise"] for row in rows} == {"True", "False"}


def test_another_seed_writes_other_sentences_of_the_same_kind(made: dict[Split, list[Sentence]]) -> None:
    other = generate("test", seed=8)
    shared = {s.sentence for s in other} & {s.sentence for s in made["test"]}
    assert len(shared) < 0.2 * len(other)
    assert 0.37 < sum(s.is_promise for s in other) / len(other) < 0.44
    assert {s.template for s in other} <= {t.id for t in templates("test")}


def test_sizes_and_label_balance(made: dict[Split, list[Sentence]]) -> None:
    assert len(made["train"]) >= 1700 and len(made["test"]) >= 700 and len(made["validation"]) >= 300
    for sentences in made.values():
        assert 0.38 < sum(s.is_promise for s in sentences) / len(sentences) < 0.43


def test_a_speech_has_one_speaker_and_stays_in_one_split(made: dict[Split, list[Sentence]]) -> None:
    for split, sentences in made.items():
        speeches: dict[str, list[Sentence]] = defaultdict(list)
        for sentence in sentences:
            speeches[sentence.speech_id].append(sentence)
        for speech_id, speech in speeches.items():
            assert speech_id.startswith(split)
            assert 8 <= len(speech) <= 25
            assert len({(s.speaker, s.country, s.year, s.register) for s in speech}) == 1
            assert {s.is_promise for s in speech} == {True, False}


@pytest.mark.parametrize("a, b", list(itertools.combinations(SPLITS, 2)))
def test_two_splits_share_no_template_and_no_filler(a: Split, b: Split) -> None:
    def lines(split: Split) -> set[str]:
        return {line for values in fillers(split).values() for line in values}

    def names(split: Split) -> set[str]:
        bundles = {part for line in lines(split) if "|" not in line for part in line.split("/")}
        return bundles - {"he", "she", "him", "her", "his"}

    def objects(split: Split) -> set[str]:
        return {line.split("|")[1].strip() for line in lines(split) if "|" in line}

    assert len(lines(a)) > 150 and len(lines(b)) > 150
    assert not lines(a) & lines(b)
    assert not names(a) & names(b)
    assert not objects(a) & objects(b)
    assert not verbs(a).keys() & verbs(b).keys()
    assert not {t.text for t in templates(a)} & {t.text for t in templates(b)}
    assert not _runs(a, 5) & _runs(b, 5)


def _runs(split: Split, length: int) -> set[tuple[str, ...]]:
    """All runs of so many literal words in the templates."""
    pieces = [piece for t in templates(split) for piece in re.split(r"\{[^}]*\}", t.text.lower())]
    words = [re.findall(r"[\w']+", piece) for piece in pieces]
    return {tuple(w[at : at + length]) for w in words for at in range(len(w) - length + 1)}


@pytest.mark.parametrize("a, b", list(itertools.combinations(SPLITS, 2)))
def test_no_sentence_resembles_one_of_another_split(a: Split, b: Split, made: dict[Split, list[Sentence]]) -> None:
    first, second = ([word_pairs(s.sentence) for s in made[split]] for split in (a, b))
    assert max(similarity(x, y) for x in first for y in second) < 0.25


def test_no_sentence_repeats_another_of_its_split(made: dict[Split, list[Sentence]]) -> None:
    pairs = [word_pairs(s.sentence) for s in made["test"]]
    assert max(similarity(x, y) for x, y in itertools.combinations(pairs, 2)) < NEAR
    train = [s.sentence for s in made["train"]]
    assert len(set(train)) == len(train)


def test_every_template_and_every_deed_is_used(made: dict[Split, list[Sentence]]) -> None:
    for split, sentences in made.items():
        assert {s.template for s in sentences} == {t.id for t in templates(split)}
        drawn = {line for s in sentences for line in s.fillers}
        areas = {name: lines for name, lines in fillers(split).items() if name.startswith("deeds.")}
        assert len(areas) >= 14
        assert {line for lines in areas.values() for line in lines} <= drawn


def test_every_kind_has_one_label_and_stands_in_every_split(made: dict[Split, list[Sentence]]) -> None:
    for sentences in made.values():
        assert {s.kind for s in sentences if s.is_promise} == TRUE
        assert {s.kind for s in sentences if not s.is_promise} == FALSE


def test_no_single_word_gives_the_label_away(made: dict[Split, list[Sentence]]) -> None:
    for sentences in made.values():
        for pattern in (r"\b(will|shall)\b", r"\d", r"\bwe\b"):
            shares = [
                sum(bool(re.search(pattern, s.sentence, re.I)) for s in group) / len(group)
                for group in ([s for s in sentences if s.is_promise == label] for label in (True, False))
            ]
            assert all(0.1 < share < 0.8 for share in shares), (pattern, shares)


def test_sentences_are_well_formed(made: dict[Split, list[Sentence]]) -> None:
    faults = {
        "a slot or a separator is left": r"[{}|/]",
        "space": r"  |\s[.,;:?!]|^\s|\s$",
        "article": r"\ba (?=[aeio]|8|11\b|18\b)|\ban (?![aeio8]|hon|11\b|18\b)",
        "word twice": r"\b(\w+) \1\b",
        "no capital": r"^'?[a-z]",
        "no end": r"[^.?!]$",
        "not ASCII": r"[^ -~]",
        "capital amid": r"(?<![.?!] )(?<!^)(?<!')\b(The|We|Our|A|An|Every|To|In)\b(?! )",
    }
    for sentences in made.values():
        for s in sentences:
            assert SHORT <= len(s.sentence.split()) <= LONG, s
            assert [name for name, fault in faults.items() if re.search(fault, s.sentence)] == [], s


def test_words_alone_find_some_promises_and_miss_many(made: dict[Split, list[Sentence]]) -> None:
    texts = {split: [s.sentence for s in made[split]] for split in SPLITS}
    targets = {split: [int(s.is_promise) for s in made[split]] for split in SPLITS}
    train, validation = (texts["train"], targets["train"]), (texts["validation"], targets["validation"])
    baseline = tfidf(train, validation, texts["test"], n_labels=2)
    assert 0.7 < measure(targets["test"], baseline.probabilities, ["False", "True"]).macro_f1 < 0.85


def test_the_speech_and_its_labels_agree(made: dict[Split, list[Sentence]]) -> None:
    speech = shipped("speech.txt").read_text(encoding="ascii")
    with shipped("speech_labels.csv").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    assert " ".join(row["sentence"] for row in rows) == " ".join(speech.split())
    labels = [row["is_promise"] for row in rows]
    assert (len(labels), labels.count("True"), labels.count("False")) == (57, 15, 42)
    known = [word_pairs(s.sentence) for sentences in made.values() for s in sentences]
    assert max(similarity(word_pairs(row["sentence"]), other) for row in rows for other in known) < 0.4
