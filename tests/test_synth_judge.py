"""The judge: what it is asked, that it is measured against people before it may reject a row, and what it rejects then."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from methods_maker import MethodsMaker, task_recipe, write_seeds
from scripted_server import Play, ScriptedServer
from sklearn.metrics import cohen_kappa_score  # type: ignore[import-untyped]
from synth_parts import LABELS, faulty, lines, made, recipe, sentence

from whet.errors import DataError, ModelError, RecipeError
from whet.synth.judge import LabelBias, measured, read_score
from whet.views import made as views

RUBRIC = "It could come from a customer."
Score = Callable[[str], object]


def judging(score: Score) -> Callable[[dict[str, Any], int], Play]:
    """The usual maker, which gives a row the score that `score` makes of its text."""

    def play(body: dict[str, Any], n: int) -> Play | None:
        text = body["messages"][-1]["content"]
        if "Give the row a score" not in text:
            return None
        assert RUBRIC in text and "<text>" in text and "<label>" in text
        said = score(text.split("<text>\n")[1].split("\n</text>")[0])
        return Play(said if isinstance(said, str) else json.dumps({"score": said}))

    return faulty(play)


def number(text: str) -> int:
    """A number of the text's own."""
    return sum(map(ord, text))


def number_score(text: str) -> int:
    """Texts with an even number are bad."""
    return 9 if number(text) % 2 else 2


def human(folder: Path, verdict: Callable[[str, int], str], count: int = 30) -> str:
    """A table of rows that people judged."""
    draw = random.Random(3)
    texts = [sentence(draw) for _ in range(count)]
    rows = [f"{text},{LABELS[n % 3]},{verdict(text, n)}" for n, text in enumerate(texts)]
    file = folder / "judged.csv"
    file.write_text("text,label,good\n" + "\n".join(rows) + "\n", "utf-8")
    return str(file)


def agreeing(text: str, n: int) -> str:
    """People who say what the judge says, but for every tenth row."""
    return "yes" if (number_score(text) >= 7) != (n % 10 == 0) else "No"


def test_a_judge_that_agrees_with_people_rejects_rows(tmp_path: Path) -> None:
    with ScriptedServer(judging(number_score)) as server:
        settings = {"judge_rubric": RUBRIC, "judge_human": human(tmp_path, agreeing), "rows": 20}
        found = made(recipe(server.base_url, **settings), tmp_path / "run")
        asked = len(server.bodies)
        again = made(recipe(server.base_url, **settings), tmp_path / "run")
        assert len(server.bodies) == asked, "what was judged is known"
    rows, rejected = lines(tmp_path / "run/accepted.jsonl"), lines(tmp_path / "run/rejected.jsonl")
    assert {row["judge_score"] for row in rows} == {"9"} and all(number(row["text"]) % 2 for row in rows)
    bad = [row for row in rejected if row["reason"] == "judged_bad"]
    assert len(bad) >= 5 and {row["detail"] for row in bad} == {"2 of 10, less than 7"}
    told = found["judge"]
    assert told["rows"] == 30 and told["agreement"] == pytest.approx(0.9) and told["unread"] == 0
    assert 0.7 < told["kappa"] < 0.9 and told["interval"][0] < told["kappa"] < told["interval"][1]
    assert {label: bias["rows"] for label, bias in told["bias"].items()} == {"": 30, **dict.fromkeys(LABELS, 10)}
    assert again["judge"] == told
    assert {row["prompt"].split("@")[0] for row in rows} == {"rows"}


def test_kappa_is_that_of_scikit_learn() -> None:
    draw = random.Random(1)
    for _ in range(20):
        people = [draw.random() < 0.6 for _ in range(40)]
        judge = [p if draw.random() < 0.7 else not p for p in people]
        found = measured(people, judge, [""] * 40, unread=0, seed=1)
        assert found.kappa == pytest.approx(cohen_kappa_score(people, judge))
    lenient = measured([False] * 10 + [True] * 10, [True] * 20, ["a"] * 10 + ["b"] * 10, unread=0, seed=1)
    assert lenient.kappa == 0 and lenient.bias["a"] == LabelBias(10, 0.0, 1.0) and lenient.bias["b"] == LabelBias(10, 1.0, 1.0)


def test_a_judge_that_does_not_agree_with_people_rejects_nothing(tmp_path: Path) -> None:
    table = human(tmp_path, lambda text, n: ("yes", "no")[n % 2])
    with ScriptedServer(judging(number_score)) as server:
        settings = {"judge_rubric": RUBRIC, "judge_human": table, "rows": 12}
        with pytest.raises(RecipeError, match=r"kappa with people is -?0\.\d\d on 30 rows .* and 0.4 is wanted"):
            made(recipe(server.base_url, **settings), tmp_path / "run")
        assert len(server.bodies) == 31, "the probe and the rows that people judged: no row is made before"
        found = made(recipe(server.base_url, **settings, judge_unmeasured=True), tmp_path / "run")
    assert found["rows"] == 12 and found["judge"]["kappa"] < 0.4


def test_without_people_a_judge_rejects_nothing_unless_told(tmp_path: Path) -> None:
    with ScriptedServer(judging(number_score)) as server:
        with pytest.raises(RecipeError, match="nobody knows how far this judge agrees with people"):
            made(recipe(server.base_url, judge_rubric=RUBRIC), tmp_path / "run")
        assert not server.bodies and not (tmp_path / "run").exists()
        found = made(recipe(server.base_url, judge_rubric=RUBRIC, judge_unmeasured=True, rows=12), tmp_path / "run")
    assert found["rows"] == 12 and "judge" not in found and found["rejected"]["judged_bad"] >= 3


def test_a_score_that_cannot_be_read_is_no_score(tmp_path: Path) -> None:
    odd: Score = lambda text: "Quite good!" if number(text) % 3 == 0 else 10  # noqa: E731
    with ScriptedServer(judging(odd)) as server:
        settings = {"judge_rubric": RUBRIC, "judge_human": human(tmp_path, agreeing), "judge_kappa": -1.0, "rows": 12}
        found = made(recipe(server.base_url, **settings), tmp_path / "run")
    texts = [line.split(",")[0] for line in (tmp_path / "judged.csv").read_text("utf-8").splitlines()[1:]]
    assert found["judge"]["unread"] == sum(number(text) % 3 == 0 for text in texts) > 0
    assert found["rejected"]["no_answer"] >= 2
    assert [read_score(text) for text in ("0", "10.5", "nan", '{"score": "8"}', "```json\n{\"score\": 3}\n```", "{}")] == [
        None, None, None, 8.0, 3.0, None
    ]  # fmt: skip


def test_the_threshold_is_the_users(tmp_path: Path) -> None:
    with ScriptedServer(judging(lambda text: 1 + number(text) % 10)) as server:
        settings = {"judge_rubric": RUBRIC, "judge_unmeasured": True, "judge_threshold": 9.0, "rows": 9}
        made(recipe(server.base_url, **settings), tmp_path / "run")
    assert {float(row["judge_score"]) for row in lines(tmp_path / "run/accepted.jsonl")} == {9.0, 10.0}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("text,label\na b c,praise\n", "no column 'good'"),
        ("text,label,good\n" + "a b c,praise,yes\n" * 3, "people have judged 3 rows, and fewer than 20"),
        ("text,label,good\n" + "".join(f"a b {n},praise,perhaps\n" for n in range(20)), "'perhaps' is no verdict"),
        ("text,label,good\n" + "".join(f"a b {n},praise,yes\n" for n in range(20)), "the same of every row"),
        ("text,label,good\n" + "".join(f"a b {n},anger,{('yes', 'no')[n % 2]}\n" for n in range(20)), "anger"),
    ],
)
def test_a_table_of_people_has_to_say_something(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "judged.csv").write_text(table, "utf-8")
    with pytest.raises(DataError, match=said):
        made(recipe(judge_rubric=RUBRIC, judge_human=str(tmp_path / "judged.csv")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_judge_that_cannot_be_reached_is_not_taken_for_one_that_disagrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.synth.pool.BACKOFF_SECONDS", 0.001)
    down = faulty(lambda body, n: Play("down", status=500) if "a score" in body["messages"][-1]["content"] else None)
    with ScriptedServer(down) as server, pytest.raises(ModelError, match="the judge could not be measured: HTTP 500"):
        made(recipe(server.base_url, judge_rubric=RUBRIC, judge_human=human(tmp_path, agreeing), max_tries=1), tmp_path / "run")


def test_rows_with_their_own_instruction_are_judged_whole(tmp_path: Path) -> None:
    maker = MethodsMaker()
    with ScriptedServer(maker) as server:
        settings = {"judge_rubric": "It is clear.", "judge_unmeasured": True, "rows": 10, "rounds": 2}
        found = made(task_recipe(server.base_url, write_seeds(tmp_path), "evol", **settings), tmp_path / "run")
    rows = lines(tmp_path / "run/accepted.jsonl")
    assert found["rows"] == 10 and all(float(row["judge_score"]) >= 7 for row in rows)
    asked = maker.texts_of("judge")
    assert all(any(row["instruction"] in text and row["output"] in text for text in asked) for row in rows)


def test_a_paraphrase_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="paraphrase makes no rows that could be judged"):
        made(recipe(method="paraphrase", judge_rubric=RUBRIC, judge_unmeasured=True), tmp_path / "run")


def test_what_was_measured_is_shown() -> None:
    from rich.console import Console

    found = measured([True] * 15 + [False] * 15, [True] * 20 + [False] * 10, ["a"] * 15 + ["b"] * 15, unread=2, seed=1)
    console = Console(width=110, record=True)
    console.print(views.judge(found.to_json()))
    said = console.export_text()
    assert "agree on 83.3% of 30 rows; 2 without a score; kappa 0.67 (95 %: 0." in said
    assert "all          30    50%        67%" in said and "b            15    0%         33%" in said
