"""Duplicates, contradictions, documents read twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from whet.data.clean import clean
from whet.data.examples import to_examples
from whet.data.read import read_rows
from whet.data.table import Sifted
from whet.example import Example, Origin


def example(row: int, text: str, target: str = "True", group: str | None = None) -> Example:
    return Example(f"t-{row}", {"text": text}, target, group, Origin("t.csv", row))


def test_the_first_of_the_same_stays() -> None:
    rows = [example(2, "We will build homes."), example(3, "Perhaps.", "False"), example(4, "we WILL build\nhomes!")]
    made = clean(rows)
    assert made.examples == rows[:2]
    assert [(d.reason, d.origin.row, d.detail) for d in made.drops] == [("duplicate", 4, "the same as row 2")]


def test_contradictions_all_go_and_are_counted_by_text() -> None:
    rows = [
        example(2, "Build."),
        example(3, "Build.", "False"),
        example(4, "build"),
        example(5, "Cut."),
        example(6, "cut!", "False"),
    ]
    made = clean([*rows, example(7, "Other.")])
    assert [e.id for e in made.examples] == ["t-7"]
    assert {d.reason for d in made.drops} == {"conflict"} and len(made.drops) == 5
    assert made.drops[0].detail == "the same text has different labels: 'True' in row 2, 'False' in row 3, 'True' in row 4"
    assert made.notes == [
        "2 texts with more than one label (1 letter for letter, 1 but for case, space and punctuation): all 5 rows are dropped."
    ]


def test_texts_without_letters_are_compared_as_they_are() -> None:
    made = clean(
        [example(2, "\U0001f44d"), example(3, "\U0001f44e", "False"), example(4, "\U0001f44d"), example(5, "?!", "False")]
    )
    assert [d.origin.row for d in made.drops] == [4]


def test_numbers_are_not_run_together() -> None:
    assert len(clean([example(2, "1.5 million homes"), example(3, "15 million homes", "False")]).examples) == 2


def test_an_answer_may_differ_where_answers_are_written() -> None:
    rows = [example(2, "A name?", "Lee"), example(3, "A name?", "Kim"), example(4, "a name", "lee.")]
    made = clean(rows, kind="generate")
    assert [e.id for e in made.examples] == ["t-2", "t-3"]
    assert [d.reason for d in made.drops] == ["duplicate"]


def test_groups_that_are_one_document_are_named_with_counts() -> None:
    first = [example(i, f"Sentence number {i} of it.", group="a") for i in range(10)]
    second = [example(i + 20, f"Sentence number {i}, of it!", group="b") for i in range(8)]
    rest = [example(i + 40, f"Another thing {i}.", group="b" if i < 2 else "c") for i in range(12)]
    (note,) = clean([*first, *second, *rest]).notes
    assert (
        note == "The groups 'a' and 'b' are largely the same document: 8 of 10 rows of the one stand among the 10 of the other."
    )
    assert clean([*first, *second[:7], *rest]).notes == clean([*first, *rest]).notes == []


def test_what_everybody_says_makes_no_two_speeches_one() -> None:
    rows = [example(i, "Thank you.", group=f"speech {i}") for i in range(300)]
    assert clean(rows).notes == []


def test_nothing_is_lost_and_cleaning_twice_changes_nothing() -> None:
    rows = [example(i, f"text {i % 7}", str(i % 3 == 0), f"g{i % 4}") for i in range(60)]
    once = clean(rows)
    assert len(once.examples) + len(once.drops) == 60
    assert clean(once.examples) == Sifted(once.examples, [], [])


def pledges(shared: Path, column: str) -> Sifted:
    table = read_rows(shared / "data/promises/mimac_pledges_en_a.tsv")
    return clean(to_examples(table, input=[column], target="binary_pledge", group="file").examples)


def test_the_dirt_of_the_pledge_corpus_is_all_found(shared: Path) -> None:
    """SOURCES.md counts seven sentences with two labels: verbatim in `clean_text`; there is an eighth but for its capitals."""
    made = pledges(shared, "clean_text")
    assert Counter(d.reason for d in made.drops) == {"duplicate": 454, "conflict": 16}
    assert len(made.examples) == 4119 - 454 - 16
    doubled, conflicts = made.notes
    assert (
        "dataset5_2004INCmanifesto' and 'EnglishIndiaMiMacdataset6_2004INCmanifesto' are largely the same document" in doubled
    )
    assert "417 of 417 rows of the one stand among the 417 of the other" in doubled
    assert conflicts.startswith("8 texts with more than one label (7 letter for letter, 1 but for case, space and punctuation)")


def test_the_raw_text_has_the_same_eight_of_which_spaces_hide_four(shared: Path) -> None:
    made = pledges(shared, "text")
    assert Counter(d.reason for d in made.drops) == {"duplicate": 454, "conflict": 16}
    assert made.notes[1].startswith("8 texts with more than one label (4 letter for letter, 4 but")


def test_the_swedish_manifestos_are_seven_documents(shared: Path) -> None:
    table = read_rows(shared / "data/promises/mimac_pledges_sv_a.tsv")
    made = clean(to_examples(table, input=["text"], target="pledge", group="file").examples)
    assert not [note for note in made.notes if "same document" in note]
