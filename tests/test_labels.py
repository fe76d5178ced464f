"""Labels as people type them: 24 planted slips are all found, and real label sets raise no alarm."""

from __future__ import annotations

import pytest

from whet.data.labels import count_cells, find_labels, is_typo, skeleton, unknown_labels
from whet.data.read import read_rows

# One of each kind of slip in a label of (True, False, Not a promise): case, space, invisible, alphabet, width, letters.
PLANTED = {
    "True": (
        "true",
        "TRUE",
        " True",
        "True ",
        "True\u200b",
        "\ufeffTrue",
        "T\u200drue",
        "\u0422rue",
        "Tru\u0435",
        "\uff34rue",
        "Ture",
        "Tru",
        "Truee",
        "\u03a4rue",
    ),
    "False": ("false", "Fa1se", "Fals\u00ade", "Flase", "Falsse", "F\u0430l\u0455e"),
    "Not a promise": ("not a promise", "Not  a promise", "Not_a_promise", "not-a-promise", "Not a prormise"),
}


@pytest.mark.parametrize("label", PLANTED)
def test_every_planted_slip_is_found_with_its_rows(label: str) -> None:
    cells = count_cells(enumerate(PLANTED[label], 2))
    problems = unknown_labels("t.csv, column 'y'", cells, tuple(PLANTED))
    assert len(problems) == 1, "one cluster, not one error a row"
    assert f"like the label '{label}'" in problems[0].what
    for row, slip in enumerate(PLANTED[label], 2):
        assert f"(1 row: {row})" in problems[0].what and (ascii(slip)[1:-1] in problems[0].what)


def test_how_many_were_planted() -> None:
    assert sum(map(len, PLANTED.values())) == 25


def test_what_looks_like_no_label_is_shown_apart() -> None:
    cells = count_cells([(2, "maybe"), (3, "tRUE"), (9, "maybe"), (11, "?"), (12, "maybe"), (13, "maybe")])
    like, strange = unknown_labels("t.csv", cells, ("True", "False"))
    assert like.what == "'tRUE' (1 row: 3) looks like the label 'True', and is not"
    assert 'write "tRUE" = "True" under [data.label_names]' in like.do
    assert strange.what == "'maybe' (4 rows: 2, 9, 12, ...), '?' (1 row: 11) are not one of 'True', 'False'"


def test_hundreds_of_strange_cells_make_one_readable_error() -> None:
    (problem,) = unknown_labels("t.csv", count_cells((i, f"text {i}") for i in range(500)), ("yes", "no"))
    assert "and 480 more" in problem.what and len(problem.what) < 2000


def test_the_words_of_the_remedy_are_valid_toml() -> None:
    import tomllib

    (problem,) = unknown_labels("t.csv", count_cells([(2, 'Say "no"\u200b')]), ('say "no"', "other"))
    line = problem.do.partition("write ")[2].partition(" under")[0]
    assert tomllib.loads(line) == {'Say "no"\u200b': 'say "no"'}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("yes", "\u0443es"),
        ("promise", "promise\u200b"),
        ("caf\u00e9", "cafe\u0301"),
        ("Yes", "\uff39es"),
        ("0K", "OK"),
        ("a b", "a_b"),
        ("x", " X"),
    ],
)
def test_look_alikes_have_one_skeleton(one: str, other: str) -> None:
    assert one != other and skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("-1", "1"), ("yes", "no"), ("0", "1"), ("+", "-"), ("a-", "a"), ("пол", "нол"), ("是", "否"), ("👍", "👎")],
)
def test_different_labels_have_different_skeletons(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


def test_a_slip_is_one_letter_in_a_word_long_enough() -> None:
    assert is_typo("false", "flase") and is_typo("False", "fals") and is_typo("neutral", "neutrall")
    assert not is_typo("true", "true"), "the same is no slip"
    for one, other in (("ham", "jam"), ("A", "B"), ("class_1", "class_2"), ("2019", "2018"), ("positive", "negative")):
        assert not is_typo(one, other)


def test_labels_that_nobody_listed() -> None:
    cells = count_cells(enumerate(["ham"] * 30 + ["spam"] * 10))
    assert find_labels("t", cells) == (("ham", "spam"), [], [])
    _, problems, _ = find_labels("t", count_cells(enumerate(["ham"] * 30 + ["Ham"] * 30 + ["spam"] * 9 + ["spma"])))
    assert ["look the same" in p.what for p in problems] == [True, False]
    assert "'spam' (9 rows: 60, 61, 62, ...), 'spma' (1 row: 69) are one slip apart" in problems[1].what


def test_two_frequent_words_a_letter_apart_are_two_labels() -> None:
    labels, problems, notes = find_labels("t", count_cells(enumerate(["form"] * 30 + ["from"] * 20)))
    assert labels == ("form", "from") and not problems
    assert "one letter apart; both are kept" in notes[0]


def test_more_than_fifty_are_not_taken_for_labels_unasked() -> None:
    _, problems, _ = find_labels("t", count_cells(enumerate(f"topic {i}" for i in range(51))))
    assert "51 different texts" in problems[0].what
    assert find_labels("t", count_cells(enumerate(f"topic {i}" for i in range(50))))[1] == []


def test_real_label_sets_raise_no_alarm(shared: object) -> None:
    from pathlib import Path

    assert isinstance(shared, Path)
    intents = [c or "" for c in read_rows(shared / "data/classification/banking77_train.csv").column("category")]
    cells = count_cells(enumerate(intents))
    assert len(cells) == 77
    alike = [(a.value, b.value) for i, a in enumerate(cells) for b in cells[:i] if skeleton(a.value) == skeleton(b.value)]
    typos = [(a.value, b.value) for i, a in enumerate(cells) for b in cells[:i] if is_typo(a.value, b.value)]
    assert alike == [] and typos == []
