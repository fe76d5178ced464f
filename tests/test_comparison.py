"""Two runs on the same test rows: matched by content, compared in pairs, refused where they were tested on other rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_parts import LABELS, recipe, write_table

from whet import stages
from whet.cli import main
from whet.data.dataset import hashes
from whet.errors import RunError
from whet.example import Example, Origin
from whet.measure.metrics import macro_f1
from whet.run import Run

Answer = Callable[[int], str]


def rows(count: int = 200, kind: str = "classify") -> list[Example]:
    targets = [LABELS[i % 3 == 0] if kind != "generate" else f"the answer {i}" for i in range(count)]
    return [
        Example(f"t{i}", {"sentence": f"Sentence {i}."}, target, f"g{i // 4}", Origin("t.csv", i + 2))
        for i, target in enumerate(targets)
    ]


def evaluated(folder: Path, test: Sequence[Example], said: Answer, kind: str = "classify", **sections: Any) -> Run:
    """A run folder as `evaluate` leaves it, with the answers that a function gives."""
    table = folder.parent / "table.csv"
    if not table.exists():
        write_table(table)
    settings = {"task": {"kind": kind, "labels": LABELS if kind == "classify" else []}, **sections}
    if kind == "text":
        (folder.parent / "text.md").write_text("Words.\n", "utf-8")
        settings["task"] |= {"instruction": ""}
        settings["data"] = {"path": str(folder.parent / "text.md"), "input": [], "target": None, "group": None}
    wanted = recipe(table, "whetstone", **settings)
    run = Run.create(folder, wanted, hashes(wanted), "whet run")
    run.update_manifest(dataset={"labels": LABELS if kind == "classify" else []})
    for split, examples in (("train", test[:10]), ("test", test)):
        run.write_lines(f"dataset/{split}.jsonl", (e.to_json() for e in examples))
    run.write_json("evaluation.json", {"n": len(test)})
    run.write_lines("predictions.jsonl", (predicted(e, said(i), kind) for i, e in enumerate(test)))
    return run


def predicted(example: Example, said: str, kind: str) -> Mapping[str, Any]:
    own = {"id": example.id, "text": example.text, "target": example.target, "group": example.group}
    if kind == "classify":
        return {**own, "label": said, "scores": {label: 0.9 if label == said else 0.1 for label in LABELS}}
    return {**own, "answer": said} if kind == "generate" else {**own, "characters": 100, "nats": float(said)}


def right_but(test: Sequence[Example], wrong: set[int]) -> Answer:
    return lambda i: test[i].target if i not in wrong else next(label for label in LABELS if label != test[i].target)


def test_what_got_better_and_worse_is_counted_row_by_row(tmp_path: Path) -> None:
    test = rows()
    before = evaluated(tmp_path / "first", test, right_but(test, set(range(60))))
    now = evaluated(tmp_path / "second", test, right_but(test, {3, 150, 160}), train={"learning_rate": 5e-5})
    found = stages.compare(now, before)
    assert (found.run, found.before, found.n, found.unit) == ("second", "first", 200, "group")
    assert found.answers is not None and (found.answers.wins, found.answers.losses) == (59, 2)
    assert [(r.id, r.text, r.target, r.before, r.now) for r in found.regressions] == [
        ("t150", "Sentence 150.", "True", "True", "False"), ("t160", "Sentence 160.", "False", "False", "True"),
    ]  # fmt: skip
    assert dict(found.settings) == {"train.learning_rate": (1e-3, 5e-5)} and found.train_rows == (10, 10)
    y = np.array([LABELS.index(e.target) for e in test])
    f1 = []
    for wrong in (set(range(60)), {3, 150, 160}):
        answers = np.array([LABELS.index(right_but(test, wrong)(i)) for i in range(200)])
        f1.append(macro_f1(np.array([[int(((y == a) & (answers == b)).sum()) for b in (0, 1)] for a in (0, 1)])))
    figure = found.figures["macro_f1"]
    assert [figure.before, figure.now] == pytest.approx(f1) and figure.difference.value == pytest.approx(f1[1] - f1[0])
    assert found.figures["accuracy"].difference.value == pytest.approx(57 / 200)
    assert list(found.figures) == ["macro_f1", "accuracy", "nll", "brier"] and found.verdict == "better"
    turned = stages.compare(before, now)
    assert turned.verdict == "worse" and turned.gain.value == pytest.approx(-figure.difference.value)


def test_rows_are_matched_by_what_they_say_whatever_their_place_and_name(tmp_path: Path) -> None:
    test = rows(60)
    other = [Example(f"other-{e.id}", e.inputs, e.target, e.group, Origin("u.csv", 1)) for e in reversed(test)]
    before = evaluated(tmp_path / "first", other, right_but(other, {0, 1}))  # t59 and t58
    now = evaluated(tmp_path / "second", test, right_but(test, {59, 3}))
    found = stages.compare(now, before)
    assert found.answers is not None and (found.answers.wins, found.answers.losses) == (1, 1)
    assert [r.id for r in found.regressions] == ["t3"] and found.verdict == "no sure difference"


def test_a_table_counts_as_what_it_holds_wherever_it_lies(tmp_path: Path) -> None:
    test = rows(40)
    folders = [tmp_path / name for name in ("here", "there", "changed")]
    for folder in folders:
        folder.mkdir()
    here, there = (evaluated(folder / "run", test, right_but(test, set())) for folder in folders[:2])
    assert here.recipe.data.path != there.recipe.data.path and not stages.compare(there, here).settings
    table = write_table(folders[2] / "table.csv", seed=1)
    settings = stages.compare(evaluated(folders[2] / "run", test, right_but(test, set())), here).settings
    assert dict(settings) == {"data.path": (here.recipe.data.path, str(table))}
    write_table(folders[0] / "table.csv", seed=2)
    later = evaluated(folders[0] / "later", test, right_but(test, set()))
    ((before, now),) = stages.compare(later, here).settings.values()
    assert before != now and before.startswith(f"{here.recipe.data.path} (") and now.startswith(f"{here.recipe.data.path} (")


def test_equal_models_are_seldom_told_apart_and_a_worse_one_mostly_is(tmp_path: Path) -> None:
    """As a gate: two models that make as many mistakes elsewhere, then one that makes twice as many."""
    test, alarms, caught = rows(300), 0, 0
    draw = np.random.default_rng(1)
    for n in range(8):
        a, b, c = (set(np.flatnonzero(draw.random(300) < rate).tolist()) for rate in (0.15, 0.15, 0.3))
        first, same, worse = (evaluated(tmp_path / f"{name}{n}", test, right_but(test, wrong))
                              for name, wrong in (("first", a), ("same", b), ("worse", c)))  # fmt: skip
        alarms += stages.compare(same, first).verdict != "no sure difference"
        caught += stages.compare(worse, first).verdict == "worse"
    assert alarms <= 2 and caught >= 7


def test_written_answers_and_texts_are_compared_too(tmp_path: Path) -> None:
    test = rows(80, "generate")
    before = evaluated(tmp_path / "w1", test, lambda i: "nothing like it", "generate")
    now = evaluated(tmp_path / "w2", test, lambda i: test[i].target if i % 2 else "nothing like it", "generate")
    found = stages.compare(now, before)
    assert found.verdict == "better" and found.figures["exact_match"].difference.value == 0.5
    assert found.answers is not None and (found.answers.wins, found.answers.losses) == (40, 0)
    documents = [Example(f"d{i}", {"text": f"Document {i}."}, "", None, Origin("t.md", i)) for i in range(40)]
    before = evaluated(tmp_path / "t1", documents, lambda i: f"{200 + i}", "text")
    now = evaluated(tmp_path / "t2", documents, lambda i: f"{190 + i}", "text")
    found = stages.compare(now, before)
    assert found.verdict == "better" and found.answers is None and not found.regressions, "fewer bits are better"
    assert found.figures["bits_per_character"].difference.value == pytest.approx(-0.1 / np.log(2))


def test_the_command_shows_it_and_says_no_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = rows()
    first = evaluated(tmp_path / "first", test, right_but(test, set(range(60)))).path
    second = evaluated(tmp_path / "second", test, right_but(test, {150}), train={"max_steps": 9}).path
    assert main(["compare", str(second), str(first)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "second against first: the same 200 examples", "train.max_steps: null before, 9 now", "It got better: Macro F1 +0.",
        "60 right now and wrong before, 1 the other way round", "t150 True False Sentence 150.",
    ):  # fmt: skip
        assert words in said, words
    assert main(["compare", str(first), str(second), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "worse" and len(found["regressions"]) == 60
    assert found["figures"]["nll"]["difference"]["value"] > 0, "less is better"


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = rows(40)
    one = evaluated(tmp_path / "one", test, right_but(test, set()))
    for name, others, said in (
        ("fewer", test[:39], "39 are the same, 1 only here, 0 only there"),
        ("changed", [*test[:39], Example("t39", {"sentence": "New."}, "True", None, Origin("t", 1))], "1 only here, 1 only"),
        ("relabelled", [Example("t0", test[0].inputs, "False", None, Origin("t", 1)), *test[1:]], "39 are the same"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=said):
            stages.compare(one, evaluated(tmp_path / name, others, right_but(others, set())))
    writer = evaluated(tmp_path / "writer", test, lambda i: "x", "generate")
    with pytest.raises(RunError, match="of kind generate"):
        stages.compare(one, writer)
    with pytest.raises(RunError, match="one run, not two"):
        stages.compare(one, one)
    (writer.path / "evaluation.json").unlink()
    with pytest.raises(RunError, match="not evaluated yet"):
        stages.compare(one, writer)
    assert main(["compare", str(one.path), str(tmp_path / "nowhere")]) == 2
    assert "there is no run here" in capsys.readouterr().err
