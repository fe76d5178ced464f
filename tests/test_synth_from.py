"""`whet synth --from RUN`: where a run is weak, what is made for it; validation and test are neither shown nor repeated."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_parts import LABELS, write_table
from engine_parts import recipe as tiny
from methods_maker import MethodsMaker, rows
from scripted_server import ScriptedServer
from synth_parts import lines, sentence

from whet import stages
from whet.cli import main
from whet.errors import RecipeError, RunError
from whet.measure.compare import compare
from whet.recipe import Recipe
from whet.run import Run
from whet.synth.aims import Aims, read_aims, weak_spots


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "speeches.csv")


@pytest.fixture(scope="module")
def evaluated(table: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two steps: weak enough."""
    few = {"train": {"max_steps": 2}, "evaluate": {"baselines": []}}
    run = stages.train(stages.prepare(tiny(table, tiny_base, **few), tmp_path_factory.mktemp("runs") / "first"))
    stages.evaluate(run)
    return run


def more(table: Path, base: Path, url: str, run: Run | None, **synth: Any) -> Recipe:
    """The recipe of the run, with a [synth] section that aims at it."""
    aimed = {"method": "weak", "from_run": str(run.path)} if run else {}
    section = {"model": "scripted", "base_url": url, "rows": 20, "concurrency": 8, "timeout_seconds": 10, **aimed, **synth}
    return tiny(table, base, synth=section)


def weak_maker(**said: Any) -> MethodsMaker:
    new = lambda text, draw: rows(*({"sentence": sentence(draw)} for _ in range(5)))  # noqa: E731
    return MethodsMaker(**({"weak": new} | said))


# -- what is weak ------------------------------------------------------------------------------------------------------


def predicted(target: str, label: str, **scores: float) -> dict[str, Any]:
    return {"target": target, "label": label, "scores": scores}


def test_the_pairs_with_the_most_expected_mistakes_come_first() -> None:
    found = weak_spots([
        *[predicted("a", "b", a=0.3, b=0.6, c=0.1)] * 10, *[predicted("b", "b", a=0.0, b=1.0, c=0.0)] * 10,
        *[predicted("c", "c", a=0.0, b=0.45, c=0.55)] * 10,
    ], ["a", "b", "c"])  # fmt: skip
    by_pair = {(spot.label, spot.taken_for): spot for spot in found}
    assert len(found) == 6 and [(s.label, s.taken_for) for s in found[:2]] == [("a", "b"), ("c", "b")]
    assert by_pair["a", "b"].mistakes == 10 and by_pair["a", "b"].expected_mistakes == pytest.approx(6.0)
    unsure = by_pair["c", "b"]
    assert unsure.mistakes == 0 and unsure.expected_mistakes == pytest.approx(4.5), "right, but not sure"
    assert [spot.weight for spot in found] == sorted((spot.weight for spot in found), reverse=True)


def test_a_label_that_is_hardly_known_counts_as_weak() -> None:
    sure = [predicted("a", "a", a=0.9, b=0.1)] * 200 + [predicted("b", "b", a=0.1, b=0.9)] * 3
    found = weak_spots(sure, ["a", "b"])
    assert [(s.label, s.test_rows) for s in found] == [("b", 3), ("a", 200)] and found[0].weight > 1.5 * found[1].weight
    never_seen = weak_spots(sure[:200], ["a", "b"])[0]
    assert (never_seen.label, never_seen.test_rows) == ("b", 0) and never_seen.weight > 0


def test_a_perfect_run_gets_rows_all_the_same() -> None:
    found = Aims("r", weak_spots([predicted("a", "a", a=1.0, b=0.0), predicted("b", "b", a=0.0, b=1.0)], ["a", "b"]))
    assert sum(found.targets(7).values()) == 7


def test_rows_are_shared_out_by_weight() -> None:
    draw = random.Random(2)
    labels = [f"label {n}" for n in range(12)]
    predictions = []
    for _ in range(300):
        weights = [draw.expovariate(1.0) for _ in labels]
        scores = {label: w / sum(weights) for label, w in zip(labels, weights, strict=True)}
        predictions.append({"target": draw.choice(labels), "label": draw.choice(labels), "scores": scores})
    aims = Aims("r", weak_spots(predictions, labels))
    wanted, total = aims.targets(500), sum(spot.weight for spot in aims.spots)
    assert sum(wanted.values()) == 500 and len(aims.spots) == 12 * 11
    for spot in aims.spots:
        exact = 500 * spot.weight / total
        assert math.floor(exact) <= wanted.get((spot.label, spot.taken_for), 0) <= math.ceil(exact)
    told = aims.to_json(500)
    assert sum(spot["rows"] for spot in told["spots"]) == 500 and told["split"] == "test"


# -- what is made ------------------------------------------------------------------------------------------------------


def test_rows_are_made_for_the_weak_spots_and_say_so(table: Path, tiny_base: Path, evaluated: Run, tmp_path: Path) -> None:
    maker = weak_maker()
    with ScriptedServer(maker) as server:
        found = stages.synth(more(table, tiny_base, server.base_url, evaluated), tmp_path / "run")
    made, wanted = lines(tmp_path / "run/accepted.jsonl"), read_aims(evaluated).targets(20)
    assert Counter((row["is_promise"], row["taken_for"]) for row in made) == wanted and found["rows"] == 20
    assert {(row["method"], row["after"]) for row in made} == {("weak", "first")}
    assert found["aims"]["run"] == "first" and sum(spot["rows"] for spot in found["aims"]["spots"]) == 20
    for label, other in wanted:
        assert any(f'right answer is\n"{label}"' in text and f'hasty reader would take for "{other}"' in text
                   for text in maker.texts_of("weak"))  # fmt: skip


def test_validation_and_test_are_shown_to_nobody_and_repeated_by_nobody(
    table: Path, tiny_base: Path, evaluated: Run, tmp_path: Path
) -> None:
    held = [*evaluated.examples("validation"), *evaluated.examples("test")]
    train = evaluated.examples("train")
    copies = random.Random(1).sample([e.text for e in held], 6)

    def repeats(text: str, draw: random.Random) -> str:
        return rows({"sentence": draw.choice(copies)}, {"sentence": draw.choice(train).text}, {"sentence": sentence(draw)})

    maker = weak_maker(weak=repeats)
    with ScriptedServer(maker) as server:
        stages.synth(more(table, tiny_base, server.base_url, evaluated), tmp_path / "run")
        sent = "\n".join(message["content"] for body in server.bodies for message in body["messages"])
    assert not [e.text for e in held if e.text in sent], "no row of validation or test was sent"
    assert sum(e.text in sent for e in train) >= 6, "rows of train are shown"
    rejected = Counter(line["reason"] for line in lines(tmp_path / "run/rejected.jsonl"))
    assert rejected["duplicate"] >= 10
    assert not {row["sentence"] for row in lines(tmp_path / "run/accepted.jsonl")} & {e.text for e in (*held, *train)}


def test_the_command_and_the_second_training(
    table: Path,
    tiny_base: Path,
    evaluated: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with ScriptedServer(weak_maker()) as server:
        Path("more.toml").write_text(more(table, tiny_base, server.base_url, None).dump(), "utf-8")
        assert main(["synth", "more.toml", "--from", str(evaluated.path), "--dry-run"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "Weak spots of first (its test split" in said and "Nothing was sent." in said and not server.bodies
        assert main(["synth", "more.toml", "--from", str(evaluated.path)]) == 0
    told = capsys.readouterr()
    assert "taken for" in told.out and "20 of 20 rows" in told.out
    line = '[data] extra_path = "runs/tiny-after-first/accepted.jsonl"'
    assert line in told.err
    before = evaluated.recipe
    again = before.model_copy(update={"data": before.data.model_copy(update={"extra_path": (line.split('"')[1],)})})
    second = stages.train(stages.prepare(again, tmp_path / "second"))
    stages.evaluate(second)
    ids = {split: [e.id for e in second.examples(split)] for split in ("train", "validation", "test")}
    for split in ("validation", "test"):
        assert ids[split] == [e.id for e in evaluated.examples(split)], "only train has grown"
    assert [id_ for id_ in ids["train"] if id_.startswith("extra1:")] == ids["train"][-20:]
    assert "20 extra rows added." in " ".join(second.manifest["dataset"]["notes"])
    assert second.manifest["data"].keys() > evaluated.manifest["data"].keys()
    now, then = ({row["id"]: row for row in run.read_lines("predictions.jsonl")} for run in (second, evaluated))
    assert now.keys() == then.keys()
    targets, new, old = ([LABELS.index(row[key]) for row in rows.values()]
                         for rows, key in ((now, "target"), (now, "label"), (then, "label")))  # fmt: skip
    verdict = compare(targets, new, old, LABELS)
    assert verdict.n == len(then) and verdict.wins + verdict.losses <= verdict.n


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_run_has_to_be_evaluated_and_choose_between_labels(table: Path, tiny_base: Path, tmp_path: Path) -> None:
    few = {"train": {"max_steps": 1}}
    early = stages.prepare(tiny(table, tiny_base, **few), tmp_path / "early")
    with pytest.raises(RunError, match=r"evaluation\.json is not there yet"):
        stages.synth_ahead(more(table, tiny_base, "http://127.0.0.1:9/v1", early), tmp_path / "out")
    written = tiny(table, tiny_base, task={"kind": "generate", "labels": []}, **few)
    writer = stages.prepare(written, tmp_path / "writer")
    with pytest.raises(RunError, match="no labels that could be taken for each other"):
        read_aims(writer)
    with pytest.raises(RunError, match="nowhere"):
        stages.synth_ahead(more(table, tiny_base, "http://127.0.0.1:9/v1", Run(tmp_path / "nowhere")), tmp_path / "out")


def test_the_recipe_has_to_be_of_the_runs_task(table: Path, tiny_base: Path, evaluated: Run, tmp_path: Path) -> None:
    wanted = more(table, tiny_base, "http://127.0.0.1:9/v1", evaluated)
    task = wanted.task.model_copy(update={"labels": ("No", "Yes")})
    data = wanted.data.model_copy(update={"input": ("text",)})
    with pytest.raises(RecipeError) as error:
        stages.synth_ahead(wanted.model_copy(update={"task": task, "data": data}), tmp_path / "out")
    assert [problem.where for problem in error.value.problems] == ["[task] labels", "[data] input"]


def test_a_batch_is_of_one_run(table: Path, tiny_base: Path, evaluated: Run, tmp_path: Path) -> None:
    with ScriptedServer(weak_maker()) as server:
        stages.synth(more(table, tiny_base, server.base_url, evaluated), tmp_path / "run")
        with pytest.raises(RunError, match=r"synth\.method"):
            stages.synth(more(table, tiny_base, server.base_url, None), tmp_path / "run")
    assert json.loads((tmp_path / "run/synth.json").read_text("utf-8"))["rows"] == 20
