"""Instruction rows among plain text: as many as the fraction says, drawn by the seed, every other one accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.data import mix
from whet.errors import DataError
from whet.example import Example, Origin
from whet.sections import Data

ROWS = [Example(f"t-{n}", {"input": ""}, "answer", None, Origin("t", n), f"Do {n}.") for n in range(200)]


@pytest.mark.parametrize(("text", "fraction"), [(90, 0.1), (577, 0.25), (10, 0.5), (3, 0.9)])
def test_the_share_is_as_asked_for(text: int, fraction: float) -> None:
    wanted = mix.wanted_rows(text, fraction)
    assert abs(wanted - fraction * (text + wanted)) <= 0.5


def test_the_seed_draws_and_every_other_row_is_said() -> None:
    drawn, drops = mix.draw(ROWS, 20, seed=7)
    assert len(drawn) == 20 and len(drops) == 180 and drawn == [e for e in ROWS if e in drawn]
    assert {d.reason for d in drops} == {"not_drawn"} and "20 of 200 rows are mixed in" in drops[0].detail
    assert mix.draw(ROWS, 20, seed=7) == (drawn, drops) and mix.draw(ROWS, 20, seed=8)[0] != drawn
    assert mix.draw(ROWS[:10], 20, seed=7)[0] == ROWS[:10]
    assert {e.id for e in mix.draw(ROWS[:150], 20, seed=7)[0]} >= {e.id for e in drawn if e in ROWS[:150]}


def test_real_rows_bring_their_own_instruction(shared: Path) -> None:
    table = shared / "data/alpaca/alpaca_5000.json"
    count, made = mix.read_mix(str(table), Data(path="x", mix_path=str(table)), fallback="")
    assert count == 5000 == len(made.examples) + len(made.drops)
    assert all(e.instruction and e.target and list(e.inputs) == ["input"] for e in made.examples)
    assert sum(not e.inputs["input"] for e in made.examples) > 2000, "an empty input is no reason to drop a row"
    assert {d.reason for d in made.drops} == {"empty_target"}
    with pytest.raises(DataError, match=r"there is no column 'response'. Its columns are instruction, input, output"):
        mix.read_mix(str(table), Data(path="x", mix_target="response"), fallback="")
