"""Majority and TF-IDF, on real manifesto sentences and at the edges."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.baselines import majority, tfidf
from whet.measure.inputs import IntArray
from whet.measure.metrics import measure

Split = tuple[list[str], IntArray]


@pytest.fixture(scope="module")
def manifestos(shared: Path) -> dict[str, Split]:
    """Sentences of three whole manifestos: train and validation from two, test from another election."""
    with (shared / "data/promises/mimac_pledges_en_a.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 4119

    def pick(party: str, year: str, step: int) -> Split:
        chosen = [row for row in rows if (row["party"], row["year"]) == (party, year)][::step]
        return [row["text"] for row in chosen], np.array([int(row["binary_pledge"]) for row in chosen])

    return {"train": pick("BJP", "2014", 1), "validation": pick("INC", "2009", 2), "test": pick("BJP", "2009", 1)}


def test_majority_answers_with_the_frequencies_of_train() -> None:
    found = majority([0, 0, 0, 2], 3, 2)
    assert found.probabilities.tolist() == [[0.75, 0, 0.25]] * 2
    assert found.about == "the share of each label among 4 training examples"
    with pytest.raises(DataError, match="train, row 1: there is no label 3 among 3"):
        majority([0, 3], 3, 2)


def test_words_beat_the_majority_on_real_manifestos(manifestos: dict[str, Split]) -> None:
    texts, y = manifestos["test"]
    found = tfidf(manifestos["train"], manifestos["validation"], texts, 2)
    assert "by validation NLL" in found.about
    words = measure(y, found.probabilities, ["no", "pledge"])
    always = measure(y, majority(manifestos["train"][1], 2, len(y)).probabilities, ["no", "pledge"])
    assert words.nll < always.nll - 0.02
    assert words.macro_f1 > always.macro_f1 + 0.05


def test_the_order_of_labels_only_moves_columns() -> None:
    train = (["we will build homes", "we will cut taxes", "crime rose", "they failed", "jobs were lost"], [0, 0, 2, 2, 2])
    held = (["we will plant trees", "prices rose"], [0, 2])
    new = ["we will act", "they rose", "\U0001f680"]
    found = tfidf(train, held, new, 3).probabilities
    assert found.shape == (3, 3)
    assert found[:, 1].tolist() == [0, 0, 0]  # train lacks it
    assert found.sum(axis=1) == pytest.approx(np.ones(3))
    assert found[0].argmax() == 0 and found[1].argmax() == 2
    to = np.array([1, 2, 0])  # old position to new
    moved = tfidf((train[0], to[train[1]]), (held[0], to[held[1]]), new, 3).probabilities
    assert moved[:, to] == pytest.approx(found, abs=1e-3)


def test_one_label_in_train_is_answered_always() -> None:
    found = tfidf((["a", "b"], [1, 1]), (["c"], [0]), ["d", "e"], 2)
    assert found.probabilities.tolist() == [[0, 1], [0, 1]]


def test_texts_of_one_character_still_count() -> None:
    train = (list("abcdefghijklmnopqrstuvwxyz"), [letter in "aeiou" for letter in "abcdefghijklmnopqrstuvwxyz"])
    found = tfidf(train, (["a", "b"], [1, 0]), ["a", "z"], 2).probabilities
    assert found[0, 1] > found[1, 1]


def test_texts_without_words_still_count() -> None:
    train = (["!!", "??", "!! !", "? ??"] * 3, [0, 1, 0, 1] * 3)
    found = tfidf(train, (["!!!", "???"], [0, 1]), ["!!", "??", ""], 2).probabilities
    assert found.argmax(axis=1).tolist()[:2] == [0, 1]
    with pytest.raises(DataError, match="train: no example has any text"):
        tfidf((["", " "], [0, 1]), (["a"], [0]), ["b"], 2)
    with pytest.raises(DataError, match="validation: 2 rows beside 1 rows"):
        tfidf((["a", "b"], [0, 1]), (["a"], [0, 1]), ["b"], 2)


def test_measure_loads_numpy_and_nothing_heavier() -> None:
    rooms = "baselines calibration compare generation inputs intervals metrics reliability selective"
    code = f"import sys; from whet.measure import {', '.join(rooms.split())}; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert {"numpy", "whet.measure.selective"} <= loaded
    assert not loaded & {"scipy", "sklearn", "rapidfuzz", "torch", "pydantic", "whet.recipe", "whet.example"}
