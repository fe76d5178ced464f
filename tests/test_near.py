"""Near-duplicates: none missed, none false, against the definition itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from whet.data.near import GRAM, Pair, near_duplicates, nearest_twins, normal_form
from whet.data.read import read_rows


def jaccard(one: str, other: str) -> float:
    """The definition, in sets."""

    def grams(text: str) -> set[str]:
        form = normal_form(text)
        return {form[i : i + GRAM] for i in range(len(form) - GRAM + 1)} or {form}

    a, b = grams(one), grams(other)
    return len(a & b) / len(a | b)


def all_pairs(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    return [(i, j) for j in range(len(texts)) for i in range(j) if jaccard(texts[i], texts[j]) >= threshold - 1e-12]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize(
    "words", [["a", "bb", "ccc"], "we will build forty thousand new homes by next year and cut tax".split()]
)
def test_the_same_pairs_as_by_comparing_all(words: list[str], threshold: float) -> None:
    draw = random.Random(threshold)
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 9))) for _ in range(120)]
    found = near_duplicates(texts, threshold)
    assert [(p.first, p.second) for p in found] == sorted(all_pairs(texts, threshold))
    assert all(p.similarity == pytest.approx(jaccard(texts[p.first], texts[p.second])) for p in found)


def test_fifty_planted_near_duplicates_are_all_found_among_real_sentences(shared: Path) -> None:
    """Recall and precision on 3,000 manifesto sentences with 50 edited copies: 50 of 50, and no pair below the threshold."""
    texts = [t for t in read_rows(shared / "data/promises/mimac_pledges_en_a.tsv").column("text") if t and len(t) > 60][:3000]
    draw = random.Random(11)
    planted: list[tuple[int, int, str]] = []
    for place in draw.sample(range(len(texts)), 50):
        words = texts[place].split()
        at = draw.randrange(len(words))
        copy = " ".join([*words[:at], words[at].upper() + draw.choice(["", "!", " - "]), *words[at + 1 :]]).replace(",", "")
        copy = copy.replace("e", "ee", 1)
        if jaccard(copy, texts[place]) >= 0.8:
            planted.append((place, len(texts) + len(planted), copy))
    assert len(planted) == 50
    every = [*texts, *(copy for _, _, copy in planted)]
    found = near_duplicates(every, 0.8)
    pairs = {(p.first, p.second) for p in found}
    recall = sum((place, copy_place) in pairs for place, copy_place, _ in planted) / len(planted)
    assert recall == 1.0
    assert all(jaccard(every[p.first], every[p.second]) >= 0.8 for p in found), "precision is 1 by definition"


def test_the_nearest_twin_on_the_other_side() -> None:
    texts = ["Build more homes for young families now.", "Nothing alike here at all.", "ok", "\U0001f44d"]
    others = ["build more homes for young families", "Build more homes for young families - NOW", "OK!", "\U0001f44d"]
    twins = nearest_twins(texts, others)
    assert {i: t.place for i, t in twins.items()} == {0: 1, 2: 2, 3: 3}
    assert [t.similarity for t in twins.values()] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("texts", "others"), [([], []), (["a"], []), ([], ["a"]), (["", ""], [""])])
def test_nothing_to_compare(texts: list[str], others: list[str]) -> None:
    assert nearest_twins(texts, others) == ({i: (0, 1.0) for i in range(len(texts))} if others else {})
    assert len(near_duplicates(texts)) == (len(texts) == 2)


def test_a_threshold_is_met_exactly() -> None:
    """Sets of 10 and 8 grams, 8 shared: 8/10 counts as 0.8, whatever the floating point says."""
    assert near_duplicates(["abcdefghijklmn", "abcdefghijkl"], 0.8) == [Pair(0, 1, 0.8)]
    assert near_duplicates(["abcdefghijklmn", "abcdefghijk"], 0.8) == []


def test_large_alphabets_are_numbered_exactly() -> None:
    """20,000 different characters: their fifth power does not fit a word, so grams are renumbered on the way."""
    draw = random.Random(1)
    pool = [chr(c) for c in range(0x4E00, 0x9C00)]
    texts = ["".join(draw.choices(pool, k=40)) for _ in range(600)]
    copies = [t[:-1] + "x" for t in texts[:20]]
    assert {(p.first, p.second) for p in near_duplicates([*texts, *copies])} == {(i, 600 + i) for i in range(20)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "cafe\u0301 "),
        ("\uff39es", "yes"),
        ("a  b\n", "A-B"),
        ("Straße", "STRASSE"),
        ("40 - 50", "40.50"),
        ("it's", "its"),
    ],
)
def test_the_same_normal_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.5", "15"), ("é", "e"), ("की", "का"), ("\U0001f44d", "\U0001f44e"), ("?", "!"), ("a", "b"), ("3 1", "31")],
)
def test_different_normal_forms(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


def test_normal_form_is_its_own_normal_form() -> None:
    for text in ("We'll build 1.5  MILLION homes!", "Straße № 5", "नमस्ते, दुनिया", "x1 2y", "\ufb01ne ²³"):
        assert normal_form(normal_form(text)) == normal_form(text)
