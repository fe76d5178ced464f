"""Rows that are only trained on: what is left out, and that validation and test stay as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_parts import recipe, write_table

from whet import stages
from whet.data.extra import add_extra
from whet.data.split import Splits
from whet.errors import DataError, RecipeError
from whet.example import Example, Origin

HELD = "The council will open a new library in the old town hall next spring."


def example(text: str, target: str = "a", group: str | None = None, row: int = 1) -> Example:
    return Example(f"x-{row}", {"text": text}, target, group, Origin("x.csv", row))


def splits() -> Splits:
    return Splits((example("We build.", row=1),), (example(HELD, row=2),), (example("Go.", "b", "speech 1", row=3),))


def test_what_repeats_or_leaks_is_left_out_with_its_reason() -> None:
    extra = [
        example("we build", "a"), example("WE BUILD!", "b"), example(HELD.replace("spring", "summer")),
        example("Another one of the speech.", group="speech 1"), example("All new.", group="speech 2"),
    ]  # fmt: skip
    found = add_extra(splits(), extra, 0.8, is_classify=True)
    assert [e.text for e in found.train] == ["We build.", "All new."]
    assert [drop.reason for drop in found.drops] == ["duplicate", "conflict", "leak", "leak"]
    assert "which is 'a'" in found.drops[1].detail and "'speech 1' stands in validation or test" in found.drops[3].detail
    assert found.validation == splits().validation and found.test == splits().test
    assert found.notes == ("train: 1 extra rows added; 4 left out (2 leak, 1 duplicate, 1 conflict).",)


def test_another_answer_to_a_text_is_no_repeat_where_there_may_be_several() -> None:
    found = add_extra(splits(), [example("We build.", "another"), example("we build", "A")], 0.8, is_classify=False)
    assert [e.target for e in found.train] == ["a", "another"] and [drop.reason for drop in found.drops] == ["duplicate"]


def test_a_recipe_trains_on_extra_rows_and_splits_as_before(tmp_path: Path) -> None:
    table, first, second = (write_table(tmp_path / f"{n}.csv", seed=n) for n in range(3))
    for n, file in enumerate((first, second), 1):  # speeches and wards of their own
        lines = file.read_text("utf-8").replace("in ward", f"in the {n}. ward").splitlines()
        head, rest = lines[0], [f"{line},{('CC0-1.0', 'MIT')[n - 1]},model {n}" for line in lines[1:31]]
        rest = [line.replace(f",{i // 8},", f",{1000 * n + i // 8},") for i, line in enumerate(rest)]
        file.write_text("\n".join([f"{head},licence,maker", *rest]) + "\n", "utf-8")
    plain = stages.check(recipe(table, "whetstone", data={"licence": "own"}))
    paths = [str(first), str(second)]
    found = stages.check(recipe(table, "whetstone", data={"licence": "own", "extra_path": paths}))
    for split in ("validation", "test"):
        assert found.splits[split] == plain.splits[split]
    added = found.splits["train"][len(plain.splits["train"]) :]
    assert found.splits["train"][: -len(added)] == plain.splits["train"] and len(added) >= 50
    assert len({e.id for e in found.splits["train"]}) == len(found.splits["train"])
    assert {(e.origin.licence, e.origin.maker) for e in added} == {("CC0-1.0", "model 1"), ("MIT", "model 2")}
    assert {e.origin.licence for e in found.splits["test"]} == {"own"}
    summary = found.summary()
    assert summary["read"] == plain.summary()["read"] + 60 == summary["kept"] + sum(summary["dropped"].values())


def test_a_changed_extra_table_is_another_run(tmp_path: Path) -> None:
    table, extra = write_table(tmp_path / "t.csv"), write_table(tmp_path / "e.csv", rows=20, seed=5)
    wanted = recipe(table, "whetstone", data={"extra_path": str(extra)})
    stages.prepare(wanted, tmp_path / "run")
    write_table(extra, rows=21, seed=5)
    with pytest.raises(Exception, match=r"e\.csv"):
        stages.prepare(wanted, tmp_path / "run")


def test_what_extra_rows_cannot_do_is_said(tmp_path: Path) -> None:
    table, extra = write_table(tmp_path / "t.csv"), tmp_path / "e.csv"
    extra.write_text("sentence,speech\nWe will.,1\n", "utf-8")
    with pytest.raises(DataError, match=r"e\.csv: there is no column 'is_promise'"):
        stages.check(recipe(table, "whetstone", data={"extra_path": str(extra)}))
    with pytest.raises(RecipeError, match="extra_path"):
        recipe(table, "whetstone", task={"kind": "text", "instruction": "", "labels": []},
               data={"input": [], "target": None, "group": None, "extra_path": str(extra)})  # fmt: skip
    with pytest.raises(RecipeError, match="extra_path"):
        recipe(table, "whetstone", task={"kind": "generate", "labels": []},
               data={"format": "alpaca", "input": [], "target": None, "group": None, "extra_path": str(extra)})  # fmt: skip
