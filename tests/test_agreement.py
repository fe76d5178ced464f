"""Agreement of annotators: textbook tables, gaps, and the ten people who labelled the same fifty sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.data.audit.annotators import read_annotations
from whet.data.read import read_rows
from whet.measure.agreement import agreement, cohen_kappa, fleiss_kappa, krippendorff_alpha, percent_agreement

# Krippendorff 2011, section C: four observers, twelve units, gaps; nominal alpha 0.743.
KRIPPENDORFF: list[list[str | None]] = [
    ["1", "1", None, "1"], ["2", "2", "3", "2"], ["3", "3", "3", "3"], ["3", "3", "3", "3"], ["2", "2", "2", "2"],
    ["1", "2", "3", "4"], ["4", "4", "4", "4"], ["1", "1", "2", "1"], ["2", "2", "2", "2"], [None, "5", "5", "5"],
    [None, None, "1", "1"], [None, None, "3", None],
]  # fmt: skip
# Fleiss 1971, as reprinted most often: ten subjects, fourteen raters, five categories; kappa 0.210.
FLEISS = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip


def test_krippendorffs_own_table() -> None:
    assert krippendorff_alpha(KRIPPENDORFF) == pytest.approx(0.743, abs=5e-4)


def test_fleiss_table() -> None:
    rows = [[str(label) for label, n in enumerate(counts) for _ in range(n)] for counts in FLEISS]
    assert fleiss_kappa(rows) == pytest.approx(0.210, abs=5e-4)


def test_two_annotators_by_hand() -> None:
    """45 and 25 of 100 agree, 15 and 15 do not: 0.6 observed of 0.54 by chance."""
    one = ["y"] * 60 + ["n"] * 40
    other = ["y"] * 45 + ["n"] * 15 + ["y"] * 25 + ["n"] * 15
    assert cohen_kappa(one, other) == pytest.approx((0.6 - 0.54) / 0.46)
    assert cohen_kappa(one, one) == 1.0
    assert cohen_kappa(["y", "y"], ["y", "y"]) is None and cohen_kappa([], []) is None


def test_fleiss_and_alpha_agree_as_the_textbook_says() -> None:
    """Without gaps, alpha is Fleiss' kappa with the bias of small samples taken out: 1 - (1 - kappa)(n - 1)/n for n labels."""
    rows = [["a", "a", "b"], ["b", "b", "b"], ["a", "b", "a"], ["a", "a", "a"]]
    kappa, alpha, n = fleiss_kappa(rows), krippendorff_alpha(rows), 12
    assert kappa is not None and alpha == pytest.approx(1 - (1 - kappa) * (n - 1) / n)


def test_chance_is_no_agreement_and_order_does_not_matter() -> None:
    rows = [["a", "b"], ["b", "a"], ["a", "a"], ["b", "b"]]
    assert cohen_kappa([r[0] for r in rows], [r[1] for r in rows]) == 0.0
    assert krippendorff_alpha(rows) == krippendorff_alpha([row[::-1] for row in rows[::-1]])
    assert percent_agreement(rows) == 0.5


@pytest.mark.parametrize("cells", [[], [["a", None]], [["a", "a"], ["a", "a"]]])
def test_where_nothing_can_be_told(cells: list[list[str | None]]) -> None:
    found = agreement(cells, ("one", "two"), ("a", "b"))
    assert found.krippendorff_alpha is None and found.fleiss_kappa is None and found.intervals == {}


def test_the_ceiling_by_hand() -> None:
    """Three annotators, two rows: a a b (right, right: the others of b say a) and a b None (each against the other: wrong)."""
    found = agreement([["a", "a", "b"], ["a", "b", None]], ("x", "y", "z"), ("a", "b"))
    # Against a, b the vote of the first a is a tie of a and b: half right; likewise the second; b against a, a is wrong.
    assert found.human_ceiling == pytest.approx((0.5 + 0.5 + 0 + 0 + 0) / 5)
    assert found.said == {"x": {"a": 2, "b": 0}, "y": {"a": 1, "b": 1}, "z": {"a": 0, "b": 1}}


def test_ten_people_on_fifty_sentences(shared: Path) -> None:
    table = read_rows(shared / "data/promises/pledge_multi_annotator_50.tsv")
    given = read_annotations(table, ["human_*"])
    found = agreement(given.cells, given.names, given.labels)
    assert given.labels == ("No Pledge", "Pledge")
    assert [cell for _, _, cell in given.stray] == ["No Pledge#Pledge"]
    pledges = [counts["Pledge"] for counts in found.said.values() if sum(counts.values()) > 2]
    assert (min(pledges), max(pledges)) == (6, 29)
    assert found.krippendorff_alpha == pytest.approx(0.32, abs=0.2)
    assert found.human_ceiling is not None and 0.6 < found.human_ceiling < 0.95
    low, high = found.intervals["human_ceiling"]
    assert low < found.human_ceiling < high
