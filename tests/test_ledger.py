"""The ledger: what runs took is kept for the next plan; a few last ones of each device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from whet import ledger
from whet.budget.estimate import Scale
from whet.ledger import Entry
from whet.recipe import Recipe, parse

GIB = 2**30
ONE = Entry("a card", "whetstone float32", 2 * GIB, 3 * GIB, 1e12, 10.0)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ledger.json"


def recipe() -> Recipe:
    return parse({"name": "x", "task": {"kind": "text"}, "data": {"path": "x.txt"}})


def test_nothing_is_learned_from_nothing(place: Path) -> None:
    assert ledger.entries() == [] and ledger.learned("a card", recipe()) == Scale()
    place.parent.mkdir()
    place.write_text("{")
    assert ledger.entries() == []


def test_the_factor_is_the_median_of_large_runs_and_the_rate_that_of_the_kind() -> None:
    for measured in (2, 3, 4):
        ledger.add(replace(ONE, measured_bytes=measured * GIB))
    ledger.add(replace(ONE, predicted_bytes=GIB // 100, measured_bytes=GIB))  # small: a process's own unrest
    ledger.add(replace(ONE, kind="another base", seconds=1.0))
    ledger.add(replace(ONE, device="another card", measured_bytes=9 * GIB))
    found = ledger.learned("a card", recipe())
    assert found == Scale(1.5, 4, (1e11,) * 4)
    assert ledger.learned("another card", recipe()).memory == ledger.MOST_FACTOR


def test_a_few_last_runs_of_each_device_are_kept() -> None:
    ledger.add(replace(ONE, device="another card"))
    for seconds in range(1, 31):
        ledger.add(replace(ONE, seconds=float(seconds)))
    kept = ledger.entries()
    assert [e.seconds for e in kept if e.device == "a card"] == [float(s) for s in range(11, 31)]
    assert sum(e.device == "another card" for e in kept) == 1


def test_a_cache_that_cannot_be_written_stops_no_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.parent.mkdir()
    (place.parent / "file").write_text("")
    monkeypatch.setenv("WHET_CACHE", str(place.parent / "file" / "below"))
    ledger.add(ONE)
    assert ledger.entries() == []
