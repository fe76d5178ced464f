"""Rows to Examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.data.examples import has_content, to_examples
from whet.data.read import read_rows
from whet.data.table import Row, Table, bad_row
from whet.errors import DataError
from whet.example import Example, Origin


def table(*rows: tuple[str | None, ...], columns: tuple[str, ...] = ("text", "label")) -> Table:
    return Table("talks.csv", columns, tuple(Row(i, i, cells) for i, cells in enumerate(rows, 2)))


def test_an_example_remembers_its_row() -> None:
    made = to_examples(
        table(("We will.", "1"), ("No.", "0")),
        input=["text"],
        target="label",
        label_names={"1": "True", "0": "False"},
        labels=("True", "False"),
    )
    assert made.examples[0] == Example("talks-2", {"text": "We will."}, "True", None, Origin("talks.csv", 2))
    assert (made.drops, made.notes) == ([], [])


def test_inputs_keep_the_recipes_order_and_an_absent_one_is_empty() -> None:
    made = to_examples(
        table(("b", "a", "x"), (None, "c", "y"), columns=("second", "first", "label")),
        input=["first", "second"],
        target="label",
    )
    assert [list(e.inputs.items()) for e in made.examples] == [
        [("first", "a"), ("second", "b")],
        [("first", "c"), ("second", "")],
    ]


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u200b", "\ufeff \u00ad", None])
def test_a_text_without_content_is_dropped_and_one_with_a_single_mark_is_not(text: str | None) -> None:
    made = to_examples(
        table((text, "a"), ("?", "b"), ("\U0001f44d\U0001f3fd", "a"), ("the", "b")), input=["text"], target="label"
    )
    assert [e.text for e in made.examples] == ["?", "\U0001f44d\U0001f3fd", "the"]
    assert [(d.reason, d.origin.row) for d in made.drops] == [("empty_input", 2)]


def test_an_empty_target_is_dropped_and_the_word_none_is_a_target() -> None:
    made = to_examples(table(("a", "None"), ("b", ""), ("c", None), ("d", " "), ("e", "NA")), input=["text"], target="label")
    assert [e.target for e in made.examples] == ["None", "NA"]
    assert [(d.reason, d.origin.row, d.text) for d in made.drops] == [
        ("empty_target", 3, "b"),
        ("empty_target", 4, "c"),
        ("empty_target", 5, "d"),
    ]


def test_rows_may_bring_their_own_instruction() -> None:
    rows = [("Sort.", "b a", "a b"), ("Greet me.", "", "Hi."), (" ", "c", "d"), (None, "", "e"), ("Say.", "f", "")]
    read = table(*rows, columns=("do", "text", "answer"))
    made = to_examples(read, input=["text"], target="answer", instruction="do", fallback="Read.", kind="generate")
    texts = [("Sort.", "Sort.\nb a"), ("Greet me.", "Greet me."), (None, "c")]
    assert [(e.instruction, e.text) for e in made.examples] == texts
    assert [(d.reason, d.origin.row) for d in made.drops] == [("empty_input", 5), ("empty_target", 6)]
    made = to_examples(read, input=["text"], target="answer", instruction="do", kind="generate")
    assert [(d.reason, d.origin.row) for d in made.drops] == [
        ("empty_instruction", 4), ("empty_instruction", 5), ("empty_target", 6)
    ]  # fmt: skip
    assert [Example.from_json(e.to_json()) for e in made.examples] == made.examples


def test_no_row_is_lost() -> None:
    read = table(("a", "x"), ("", "x"), ("b", ""), ("c", "y"))
    read = Table(read.source, read.columns, read.rows, (bad_row("talks.csv", 9, 9, "ragged"),), ("a note",))
    made = to_examples(read, input=["text"], target="label")
    assert read.read == len(made.examples) + len(made.drops) == 5
    assert [d.origin.row for d in made.drops] == [3, 4, 9]
    assert made.notes == ["a note"]


def test_every_missing_column_is_named_with_its_nearest() -> None:
    with pytest.raises(DataError) as caught:
        to_examples(table(("a", "b")), input=["Text", "txet"], target="lable", group="speech")
    assert [(p.what, p.do) for p in caught.value.problems] == [
        ("there is no column 'Text'", "Did you mean 'text'"),
        ("there is no column 'txet'", "Did you mean 'text'"),
        ("there is no column 'lable'", "Did you mean 'label'"),
        ("there is no column 'speech'", "Its columns are text, label"),
    ]


def test_unknown_labels_are_one_error_with_every_cluster() -> None:
    rows = [("a", "True"), ("b", "true"), ("c", "Flase"), ("d", "?"), ("e", "false ")]
    with pytest.raises(DataError) as caught:
        to_examples(table(*rows), input=["text"], target="label", labels=("True", "False"))
    assert [p.what.partition(" (")[0] for p in caught.value.problems] == ["'true'", "'Flase'", "'?'"]
    assert all(p.where == "talks.csv, column 'label'" for p in caught.value.problems)


def test_a_label_that_no_row_has_is_said() -> None:
    made = to_examples(table(("a", "x"), ("b", "y")), input=["text"], target="label", labels=("x", "y", "z"))
    assert made.notes == ["talks.csv, column 'label': no row has the label 'z'."]


def test_a_generate_task_takes_any_answer_as_it_is() -> None:
    rows = [("a", " Yes. "), ("b", "yes."), ("c", "\u0443es.")]
    made = to_examples(table(*rows), input=["text"], target="label", kind="generate", label_names={"yes.": "no"})
    assert [e.target for e in made.examples] == [" Yes. ", "yes.", "\u0443es."]


def test_rows_without_a_group_stand_alone() -> None:
    made = to_examples(
        table(("a", "x", "s1"), ("b", "y", ""), ("c", "x", None), columns=("text", "label", "speech")),
        input=["text"],
        target="label",
        group="speech",
    )
    assert [e.group for e in made.examples] == ["s1", None, None]
    assert made.notes == ["talks.csv: 2 rows name no group in column 'speech'; each is a group of its own."]


def test_what_has_content() -> None:
    assert has_content("1") and has_content("…") and has_content("é")
    assert not has_content("\x00\x07\u2060")


def test_the_pledge_corpus(shared: Path) -> None:
    read = read_rows(shared / "data/promises/mimac_pledges_en_a.tsv")
    made = to_examples(
        read,
        input=["text"],
        target="binary_pledge",
        group="file",
        labels=("True", "False"),
        label_names={"0": "False", "1": "True"},
    )
    assert len(made.examples) == 4119 and not made.drops
    assert sum(e.target == "True" for e in made.examples) == 952
    assert len({e.group for e in made.examples}) == 6
    assert len({e.id for e in made.examples}) == 4119


def test_a_real_table_asked_for_the_wrong_column(shared: Path) -> None:
    read = read_rows(shared / "data/classification/banking77_train.csv")
    with pytest.raises(DataError, match=r"77 different texts: .*the most frequent: 'card_payment_fee_charged' \(187 rows: "):
        to_examples(read, input=["text"], target="category")
