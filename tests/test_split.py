"""Splits: shares, strata, groups, leaks, refusals."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from whet.data.clean import clean
from whet.data.examples import to_examples
from whet.data.read import read_rows
from whet.data.split import Splits, split
from whet.errors import DataError
from whet.example import Example, Origin

LABELS = ("False", "True")
WORDS = (
    "tax homes school road river bridge police doctor train farm wage debt rent bus court army coast steel mine park".split()
)


def example(row: int, text: str, target: str = "True", group: str | None = None, source: str = "t.csv") -> Example:
    return Example(f"{source[:-4]}-{row}", {"text": text}, target, group, Origin(source, row))


def corpus(n: int, seed: int = 0, groups: int | None = None) -> list[Example]:
    """Rows of random words (no two alike), one in four True; in groups of uneven size if asked."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        group = f"speech {min(draw.randrange(groups), draw.randrange(groups))}" if groups else None
        rows.append(example(i + 2, f"{i} {' '.join(draw.choices(WORDS, k=12))}", str(draw.random() < 0.25), group))
    return rows


def ids(splits: Splits) -> dict[str, list[str]]:
    return {name: [e.id for e in rows] for name, rows in splits.items()}


@pytest.mark.parametrize("n", [10, 17, 100, 1001])
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.25, 0.25), (0.15, 0.15)])
def test_shares_and_strata_are_exact_to_two_rows(n: int, validation: float, test: float) -> None:
    rows = corpus(n)
    splits = split(rows, seed=1, validation=validation, test=test, labels=LABELS)
    assert sorted(e.id for _, part in splits.items() for e in part) == sorted(e.id for e in rows)
    want = {"train": 1 - validation - test, "validation": validation, "test": test}
    for name, part in splits.items():
        assert abs(len(part) - want[name] * n) <= 2
        for label in LABELS:
            total = sum(e.target == label for e in rows)
            assert abs(sum(e.target == label for e in part) - want[name] * total) <= 2


def test_the_order_of_the_file_does_not_matter_and_the_seed_does() -> None:
    rows = corpus(200)
    shuffled = random.Random(4).sample(rows, len(rows))
    one, two, other = (split(r, seed=s, labels=LABELS) for r, s in ((rows, 7), (shuffled, 7), (rows, 8)))
    assert {n: sorted(i) for n, i in ids(one).items()} == {n: sorted(i) for n, i in ids(two).items()}
    assert ids(one) == ids(split(rows, seed=7, labels=LABELS))
    assert set(ids(one)["test"]) != set(ids(other)["test"])


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_shares_near(seed: int) -> None:
    rows = corpus(1000, seed, groups=40)
    splits = split(rows, seed=seed, labels=LABELS)
    homes = [{e.group for e in part} for _, part in splits.items()]
    assert sum(map(len, homes)) == len(set().union(*homes)) == len({e.group for e in rows})
    for (_, part), want in zip(splits.items(), (0.7, 0.1, 0.2), strict=True):
        assert abs(len(part) / 1000 - want) < 0.04
        assert abs(sum(e.target == "True" for e in part) / len(part) - 0.25) < 0.08


def test_groups_are_split_alike_whatever_the_order() -> None:
    rows = corpus(400, 3, groups=30)
    shuffled = random.Random(4).sample(rows, len(rows))
    assert {e.group for e in split(rows, seed=7, labels=LABELS).test} == {
        e.group for e in split(shuffled, seed=7, labels=LABELS).test
    }
    assert len({frozenset(e.group for e in split(rows, seed=s, labels=LABELS).test) for s in range(6)}) > 1


def test_three_groups_are_just_enough() -> None:
    rows = [example(i, f"{i} {WORDS[i % 20]}", LABELS[i % 2], f"g{min(i // 10, 2)}") for i in range(60)]
    splits = split(rows, seed=1, labels=LABELS, threshold=1.0)
    assert [len({e.group for e in part}) for _, part in splits.items()] == [1, 1, 1]
    assert {e.group for e in splits.train} == {"g2"}, "the largest is for training"


def test_fifty_planted_leaks_are_all_dropped_with_their_twin() -> None:
    """Given a test file: 50 of its texts stand, edited, among the training rows. 50 of 50 go, and nothing else."""
    rows, tests = (
        corpus(600),
        [example(r.origin.row, r.text[::-1] + "zz", r.target, source="test.csv") for r in corpus(200, seed=9)],
    )
    draw = random.Random(2)
    planted = [
        example(1000 + i, t.text.upper().replace(" ", "  ") + draw.choice(["!", " x"]), t.target)
        for i, t in enumerate(tests[:50])
    ]
    splits = split([*rows, *planted], seed=3, test=tests, labels=LABELS)
    leaks = {d.origin.row for d in splits.drops}
    recall = len(leaks & {p.origin.row for p in planted}) / 50
    precision = len(leaks & {p.origin.row for p in planted}) / len(leaks)
    assert (recall, precision) == (1.0, 1.0)
    assert all(d.reason == "leak" and "test.csv, row" in d.detail for d in splits.drops)
    assert len(splits.test) == 200, "the test split is never cut"
    assert len(splits.train) + len(splits.validation) == 600
    assert "nearly their text, stands in a split that is kept apart" in splits.notes[0]


def test_a_leak_goes_from_validation_if_its_twin_is_in_test_and_from_train_if_it_is_in_validation() -> None:
    train = [
        *corpus(30, 1),
        example(90, "Build homes for all by next year", "True"),
        example(91, "Open new schools in every town now", "False"),
    ]
    validation = [
        *corpus(10, 2),
        example(5, "Open new schools in every town, now!", "False", source="v.csv"),
        example(6, "Hire nurses for our hospitals soon", source="v.csv"),
    ]
    validation = [
        e if e.origin.source == "v.csv" else example(100 + e.origin.row, "v " + e.text[::-1], e.target, source="v.csv")
        for e in validation
    ]
    tests = [
        example(7, "hire NURSES for our hospitals soon", source="x.csv"),
        example(8, "Build homes for all - by next year", source="x.csv"),
        example(9, "something else entirely", "False", source="x.csv"),
    ]
    splits = split(train, seed=1, validation=validation, test=tests, labels=LABELS)
    assert {(d.origin.source, d.origin.row) for d in splits.drops} == {("v.csv", 6), ("t.csv", 90), ("t.csv", 91)}
    assert len(splits.train) == 30 and len(splits.validation) == 11 and len(splits.test) == 3
    assert any("the same text as x.csv, row 8 (x-8)" in d.detail for d in splits.drops)


def test_files_left_apart_keep_all_their_rows() -> None:
    rows = corpus(60)
    tests = [example(i, f"t{i} {r.text[::-1]}", r.target, source="test.csv") for i, r in enumerate(corpus(20, 5))]
    splits = split(rows, seed=1, test=tests, validation=0.25, labels=LABELS)
    assert (len(splits.train), len(splits.validation), list(splits.test)) == (45, 15, tests)


REFUSED = {
    "one example": (corpus(1), "1 usable row cannot be split into 3"),
    "none": ([], "0 usable rows cannot"),
    "nine": (corpus(9), "at least 10 rows"),
    "two groups": (
        [example(i, f"{i} {WORDS[i % 20]}", LABELS[i % 2], f"g{i % 2}") for i in range(40)],
        "3 splits need 3 groups that stay whole, and there are 2",
    ),
    "one class": ([example(i, f"{i} {WORDS[i % 20] * 3}") for i in range(40)], "every training row has the label 'True'"),
    "all leak": (
        [example(i, "the same promise again and again" + "!" * i, LABELS[i % 2]) for i in range(40)],
        "no row is left for train",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    rows, words = REFUSED[name]
    with pytest.raises(DataError) as caught:
        split(rows, seed=1, labels=LABELS)
    assert words in str(caught.value)


def test_a_label_without_a_training_row_is_refused_and_all_are_named() -> None:
    with pytest.raises(DataError) as caught:
        split(corpus(60), seed=1, labels=("True", "False", "Maybe", "Never"))
    assert [p.what for p in caught.value.problems] == [
        "no training row has the label 'Maybe'",
        "no training row has the label 'Never'",
    ]


def test_a_label_that_test_does_not_hold_is_said() -> None:
    rows = [*corpus(60), example(900, "the only question here of all", "Maybe")]
    splits = split(rows, seed=1, labels=("True", "False", "Maybe"))
    assert any(e.target == "Maybe" for e in splits.train), "a single row of a label is for training"
    assert "No test row has the label 'Maybe'." in splits.notes


def test_a_group_in_both_files_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 groups stand in (train|validation) and in test \(g0\)"):
        split(
            [example(i, f"{i} {WORDS[i % 20]}", LABELS[i % 2], f"g{i % 5}") for i in range(40)],
            seed=1,
            test=[example(1, "x y z", group="g0", source="test.csv")],
            labels=LABELS,
        )


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="two files of the same name"):
        split(corpus(40), seed=1, test=corpus(20, 5), labels=LABELS)


def test_a_generate_task_has_no_strata() -> None:
    rows = [example(e.origin.row, e.text, f"answer {e.text}") for e in corpus(50)]
    splits = split(rows, seed=1)
    assert [len(part) for _, part in splits.items()] == [35, 5, 10]


def test_the_pledge_corpus_by_manifesto(shared: Path) -> None:
    table = read_rows(shared / "data/promises/mimac_pledges_en_a.tsv")
    made = clean(to_examples(table, input=["text"], target="binary_pledge", group="file", labels=("0", "1")).examples)
    splits = split(made.examples, seed=7, labels=("0", "1"))
    groups = [{e.group for e in part} for _, part in splits.items()]
    assert sum(map(len, groups)) == 5, "the doubled manifesto is gone"
    counts = Counter(d.reason for d in splits.drops)
    assert counts == {"leak": 21}, "BJP 2009 and 2014 share sentences"
    assert len(made.examples) == sum(len(part) for _, part in splits.items()) + 21
    assert {e.group for e in splits.test} == {"EnglishIndiaMiMacdataset3_2009BJPmanifesto"}


def test_the_authors_own_split_leaks_and_it_is_found(shared: Path) -> None:
    """Of the 414 dev sentences of these manifestos 84 stand verbatim in trn; more are there but for a word."""
    table = read_rows(shared / "data/promises/mimac_pledges_en_a.tsv")
    rows = to_examples(table, input=["clean_text"], target="binary_pledge", labels=("0", "1")).examples
    part = dict(zip((row.number for row in table.rows), table.column("set"), strict=True))
    train, dev = ([e for e in rows if part[e.origin.row] == name] for name in ("trn", "dev"))
    verbatim = {e.text for e in train}
    assert (len(dev), sum(e.text in verbatim for e in dev)) == (414, 84)
    dev = [Example(f"dev-{e.origin.row}", e.inputs, e.target, None, Origin("dev.tsv", e.origin.row)) for e in dev]
    splits = split(train, seed=1, validation=0.1, test=dev, labels=("0", "1"))
    named = {d.detail.partition("(dev-")[2].partition(")")[0] for d in splits.drops if "the same text as dev.tsv" in d.detail}
    assert len(named) >= 80 and len(splits.drops) > len(named)
