"""The core from end to end with a scripted maker: balance, waves that can be walked again, pilots, budgets, checks, files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Play, ScriptedServer
from synth_parts import LABELS, faulty, is_probe, lines, made, maker, recipe, rows_text

from whet import stages
from whet.errors import DataError, RecipeError, RunError
from whet.progress import Silent
from whet.recipe import Recipe
from whet.synth.checks import LabelCheck


class Listening(Silent):
    """A Progress that remembers what it is told."""

    def __init__(self) -> None:
        self.done, self.notes, self.said = 0, [""], [""]

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self.notes.append(note)

    def say(self, line: str) -> None:
        self.said.append(line)


def test_rows_are_balanced_and_a_recipe_can_train_on_them(tmp_path: Path) -> None:
    progress = Listening()
    with ScriptedServer(maker) as server:
        wanted = recipe(server.base_url, rows=31, price_in=0.5, price_out=1.5, licence="Apache-2.0")
        found = made(wanted, tmp_path, progress=progress)
    assert found["labels"] == {
        "complaint": {"wanted": 11, "accepted": 11}, "praise": {"wanted": 10, "accepted": 10},
        "question": {"wanted": 10, "accepted": 10},
    }  # fmt: skip
    assert found["chi_square"] == {"statistic": 0.0, "degrees_of_freedom": 2, "p": 1.0}
    assert progress.done == 31 and "complaint 11 · praise 10 · question 10 · cost 0.0" in progress.notes[-1]
    rows = lines(tmp_path / "accepted.jsonl")
    assert [row["id"] for row in rows] == [f"mail-{n}" for n in range(1, 32)]
    assert {(row["maker"], row["licence"], row["method"]) for row in rows} == {("scripted", "Apache-2.0", "description")}
    answered = found["requests"]["answered"]
    assert found["tokens"] == {"in": 100 * answered, "out": 20 * answered, "perhaps_in": 0, "perhaps_out": 0}
    assert found["cost"] == pytest.approx(answered * (100 * 0.5 + 20 * 1.5) / 1e6)
    assert found["cost_per_row"] == pytest.approx(found["cost"] / 31)
    assert found["yield_fraction"] == 1.0
    data = wanted.data.model_copy(update={"path": str(tmp_path / "accepted.jsonl")})
    dataset = stages.check(wanted.model_copy(update={"data": data}))
    assert sum(map(len, dataset.splits.values())) == 31 and dataset.labels == LABELS


def test_every_row_names_the_request_that_it_came_from(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        made(recipe(server.base_url), tmp_path)
    from whet.synth.journal import Journal

    journal = Journal(tmp_path / "journal.sqlite")
    for row in lines(tmp_path / "accepted.jsonl"):
        reply = journal.answer(row["request"])
        assert reply is not None and row["text"] in reply.text
    journal.close()


def test_the_same_recipe_gives_the_same_rows_whatever_comes_first(tmp_path: Path) -> None:
    uneven = faulty(lambda body, n: Play(maker(body, n).text, seconds=(body["seed"] % 5) / 100))
    with ScriptedServer(maker) as server:
        made(recipe(server.base_url, rows=90), tmp_path / "one")
    with ScriptedServer(uneven) as server:
        made(recipe(server.base_url, rows=90, timeout_seconds=9), tmp_path / "other")
    assert lines(tmp_path / "one/accepted.jsonl") == lines(tmp_path / "other/accepted.jsonl")


def test_given_again_a_finished_run_asks_nothing(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        first = made(recipe(server.base_url), tmp_path)
        server.bodies.clear()
        second = made(recipe(server.base_url), tmp_path)
        assert not server.bodies
    volatile = ("seconds", "forecast")
    assert {k: v for k, v in first.items() if k not in volatile} == {k: v for k, v in second.items() if k not in volatile}


def test_more_rows_are_made_on_top_of_those_that_there_are(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        made(recipe(server.base_url, rows=30), tmp_path)
        before = lines(tmp_path / "accepted.jsonl")
        found = made(recipe(server.base_url, rows=60), tmp_path)
        assert max(server.answered.values()) == 1
    assert found["rows"] == 60
    after = lines(tmp_path / "accepted.jsonl")
    assert {row["text"] for row in before} <= {row["text"] for row in after}
    assert Counter(row["label"] for row in after) == dict.fromkeys(LABELS, 20)


def test_a_row_too_many_is_kept_aside_and_counts_when_more_are_wanted(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        found = made(recipe(server.base_url, rows=31), tmp_path)
        surplus = [line["text"] for line in lines(tmp_path / "rejected.jsonl")]
        assert found["rejected"] == {"surplus": len(surplus)} and surplus
        asked = len(server.bodies)
        found = made(recipe(server.base_url, rows=31 + 3), tmp_path)
        assert len(server.bodies) == asked, "nothing had to be asked"
    assert found["rows"] == 34
    assert len({row["text"] for row in lines(tmp_path / "accepted.jsonl")} & set(surplus)) == 3


def test_shares_and_slices_are_met(tmp_path: Path) -> None:
    settings = {
        "rows": 40,
        "shares": {"praise": 3, "question": 1},
        "slices": {"length": ["short", "long"], "tone": ["calm", "angry"]},
    }
    with ScriptedServer(maker) as server:
        found = made(recipe(server.base_url, **settings), tmp_path)
    rows = lines(tmp_path / "accepted.jsonl")
    assert Counter((row["label"], row["length"]) for row in rows) == {
        ("praise", "short"): 16, ("praise", "long"): 14, ("question", "short"): 6, ("question", "long"): 4,
    }  # fmt: skip
    assert {(cell["wanted"], cell["accepted"]) for cell in found["cells"]} >= {(8, 8), (7, 7), (3, 3), (2, 2), (0, 0)}
    said = [body["messages"][-1]["content"] for body in server.bodies if not is_probe(body)]
    assert any("Length of each: long." in text and "Tone of each: angry." in text for text in said)
    assert not any('right answer is "complaint"' in text for text in said)


def test_input_first_writes_inputs_and_labels_them(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        found = made(recipe(server.base_url, output_first_fraction=0.5, rows=60), tmp_path)
    assert found["rows"] == 60 and all(n["accepted"] == 20 for n in found["labels"].values())
    said = [body["messages"][-1]["content"] for body in server.bodies]
    kinds = Counter("label" if "Which of these" in t else "inputs" if "Do not answer them" in t else "rows" for t in said)
    assert kinds["rows"] >= 3 and kinds["inputs"] >= 3 and kinds["label"] >= 15
    labelled = {t.split("text: ")[1].split("\n")[0] for t in said if "Which of these" in t}
    assert len([row for row in lines(tmp_path / "accepted.jsonl") if row["text"] in labelled]) >= 10


def test_a_label_that_is_none_is_no_row(tmp_path: Path) -> None:
    unsure = faulty(lambda body, n: Play("It is hard to say.") if "Which of these" in body["messages"][-1]["content"] else None)
    with ScriptedServer(unsure) as server:
        found = made(recipe(server.base_url, output_first_fraction=0.0, patience=6), tmp_path)
    assert found["rows"] == 0 and found["stopped"] == "patience"
    assert found["rejected"]["no_answer"] >= 6
    assert {line["label"] for line in lines(tmp_path / "rejected.jsonl")} == {""}


def test_generate_rows_bring_their_answers(tmp_path: Path) -> None:
    def pairs(body: dict[str, Any], n: int) -> Play | None:
        rows = json.loads(rows_text(body))["rows"]
        return Play(json.dumps({"rows": [{"question": r["text"], "answer": r["text"][::-1]} for r in rows]}))

    with ScriptedServer(faulty(pairs)) as server:
        base = recipe(server.base_url, rows=12)
        task = base.task.model_copy(update={"kind": "generate", "labels": ()})
        data = base.data.model_copy(update={"input": ("question",), "target": "answer"})
        found = made(base.model_copy(update={"task": task, "data": data}), tmp_path)
    assert found["rows"] == 12 and found["labels"] == {} and found["chi_square"] is None
    assert all(row["answer"] == row["question"][::-1] for row in lines(tmp_path / "accepted.jsonl"))


def test_seeds_are_shown_and_never_copied(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.csv"
    seeds.write_text("text,label\n" + "".join(f"Seed number {n} is here today.,{LABELS[n % 3]}\n" for n in range(9)), "utf-8")
    copied = faulty(lambda body, n: Play(json.dumps({"rows": [{"text": "Seed number 3 is here today."}]})))
    with ScriptedServer(copied) as server:
        found = made(recipe(server.base_url, seeds=str(seeds), patience=5), tmp_path / "run")
        assert any('"Seed number 3 is here today."' in body["messages"][-1]["content"] for body in server.bodies)
    assert found["rows"] == 0 and found["rejected"]["duplicate"] >= 5
    assert "seeds.csv, row 5" in lines(tmp_path / "run/rejected.jsonl")[0]["detail"]
    seeds.write_text("text,label\nA good one.,praise\nA bad one.,anger\n,praise\n", "utf-8")
    with pytest.raises(DataError, match="anger"):
        made(recipe(seeds=str(seeds)), tmp_path / "bad")


def test_a_maker_that_repeats_itself_is_not_asked_for_ever(tmp_path: Path) -> None:
    with ScriptedServer(
        faulty(lambda body, n: Play('{"rows": [{"text": "Always the same thing, day and night."}]}'))
    ) as server:
        found = made(recipe(server.base_url, patience=10), tmp_path)
        assert found["stopped"] == "patience" and found["rows"] == 1
        assert len(server.bodies) < 10 + 4 * 8 + 5, "patience and a wave"


def test_labels_are_checked_by_a_reader_that_does_not_know_them(tmp_path: Path) -> None:
    said: dict[str, str] = {}

    def reader(body: dict[str, Any], n: int) -> Play | None:
        text = body["messages"][-1]["content"]
        if "Which of these" not in text:
            return None
        shown = text.split("text: ")[1].split("\n")[0]
        said[shown] = LABELS[sum(map(ord, shown)) % 3]
        assert "right answer is" not in text
        return Play(json.dumps({"label": said[shown]}))

    with ScriptedServer(faulty(reader)) as server:
        found = made(recipe(server.base_url, check_labels=True, rows=20), tmp_path)
    rows, rejected = lines(tmp_path / "accepted.jsonl"), lines(tmp_path / "rejected.jsonl")
    assert found["rows"] == 20 and all(said[row["text"]] == row["label"] for row in rows)
    disagreed = [line for line in rejected if line["reason"] == "label_disagrees"]
    assert len(disagreed) >= 10 and all(said[line["text"]] != line["label"] for line in disagreed)
    assert 0.2 < found["yield_fraction"] < 0.5, "one in three, within chance"
    assert LabelCheck.prompts == ("label",)


# -- pilot, budget, dry run --------------------------------------------------------------------------------------------


def test_a_pilot_stops_early_forecasts_and_is_part_of_the_run(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        wanted = recipe(server.base_url, rows=400, price_in=1.0, price_out=2.0)
        pilot = made(wanted, tmp_path, pilot=True)
        asked = len(server.bodies)
        ahead = stages.synth_ahead(wanted, tmp_path)
        assert len(server.bodies) == asked, "a look ahead sends nothing"
        whole = made(wanted, tmp_path)
        assert max(server.answered.values()) == 1
    assert pilot["stopped"] == "pilot" and 20 <= pilot["rows"] < 40
    forecast = pilot["forecast"]
    assert forecast["rows_wanted"] == 400
    assert forecast["requests"] == pytest.approx(whole["requests"]["answered"], rel=0.3)
    assert forecast["tokens_in"] == pytest.approx(whole["tokens"]["in"], rel=0.3)
    assert forecast["cost"] == pytest.approx(whole["cost"], rel=0.3)
    assert ahead["forecast"]["cost"] == forecast["cost"] and ahead["rows"] == pilot["rows"]
    assert ahead["cost_at_most"] > whole["cost"]


def test_a_look_ahead_sends_and_writes_nothing(tmp_path: Path) -> None:
    ahead = stages.synth_ahead(recipe(rows=30), tmp_path / "run")
    assert ahead["requests"] == 9 and ahead["forecast"] is None and ahead["cost_at_most"] is None
    assert "Say what the message is." in ahead["first_request"][-1][1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("cap", "value"), [("tokens", 9000), ("cost", 0.009)])
def test_a_cap_is_never_passed_and_the_next_call_goes_on(tmp_path: Path, cap: str, value: float) -> None:
    prices = {"price_in": 1.0, "price_out": 1.0}
    with ScriptedServer(maker) as server:
        found = made(recipe(server.base_url, rows=600, **prices, **{f"budget_{cap}": value}), tmp_path)
        spent = found["tokens"]["in"] + found["tokens"]["out"]
        assert found["stopped"] == cap and 0 < found["rows"] < 600
        assert spent == 120 * len(server.bodies), "all that the server counted"
        bound = 2048 + max(len(m["content"]) for b in server.bodies for m in b["messages"]) + 500
        assert 9000 - bound <= spent <= 9000
        kept = lines(tmp_path / "accepted.jsonl")
        more = made(recipe(server.base_url, rows=600, **prices, **{f"budget_{cap}": 30 * value}), tmp_path)
        assert more["rows"] == 600 and max(server.answered.values()) == 1
    assert {row["text"] for row in kept} <= {row["text"] for row in lines(tmp_path / "accepted.jsonl")}


def test_minutes_are_those_of_one_call(tmp_path: Path) -> None:
    slow = faulty(lambda body, n: Play(maker(body, n).text, seconds=0.05))
    with ScriptedServer(slow) as server:
        began = time.monotonic()
        found = made(recipe(server.base_url, rows=5000, concurrency=2, budget_minutes=1 / 60), tmp_path)
        assert 0.9 < time.monotonic() - began < 3
        assert found["stopped"] == "minutes" and found["rows"] > 10


def test_lost_answers_count_against_a_cap(tmp_path: Path) -> None:
    """A server that took the request and never answered may have been paid for it."""
    hang = faulty(lambda body, n: Play(way="hang") if body["seed"] % 2 else None)
    with ScriptedServer(hang) as server:
        settings = {"timeout_seconds": 0.2, "max_tries": 1, "budget_tokens": 12000, "rows": 300}
        found = made(recipe(server.base_url, **settings), tmp_path)
    perhaps = found["tokens"]["perhaps_in"] + found["tokens"]["perhaps_out"]
    assert found["stopped"] == "tokens" and perhaps > 2048
    assert found["tokens"]["in"] + found["tokens"]["out"] + perhaps <= 12000


def test_ctrl_c_lets_what_is_under_way_arrive(tmp_path: Path) -> None:
    slow = faulty(lambda body, n: Play(maker(body, n).text, seconds=0.3))
    with ScriptedServer(slow) as server:
        (tmp_path / "mail.toml").write_text(recipe(server.base_url, rows=600).dump(), "utf-8")
        command = [sys.executable, "-m", "whet", "synth", "mail.toml", "--out", "run"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while len(server.bodies) < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "every answer is kept. Give the same command again" in said
    report = json.loads((tmp_path / "run/synth.json").read_text("utf-8"))
    assert report["requests"]["without_answer_perhaps_paid"] == 0
    assert report["requests"]["answered"] == len(server.bodies)
    assert len(lines(tmp_path / "run/accepted.jsonl")) == report["rows"] > 0


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_run_of_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    with ScriptedServer(maker) as server:
        made(recipe(server.base_url, rows=5), tmp_path)
        with pytest.raises(RunError, match=r"synth.model.*'scripted'.*'another'"):
            made(recipe(server.base_url, rows=5, model="another"), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letters.txt").write_text("Dear", "utf-8")
    with pytest.raises(RunError, match="holds no synth run"):
        made(recipe(), tmp_path / "other")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.sqlite").write_bytes(b"not a database at all, not even nearly" * 50)
    with pytest.raises(RunError, match="cannot be read as a journal"):
        made(recipe(), tmp_path / "broken")


def changed(recipe: Recipe, section: str, **update: Any) -> Recipe:
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=update)})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (recipe().model_copy(update={"synth": None}), "no \\[synth\\] section"),
        (changed(recipe(), "task", kind="text"), "kind"),
        (changed(recipe(), "task", labels=()), "labels that it is not told"),
        (changed(recipe(), "synth", shares={"anger": 1.0}), "'anger' is no label"),
        (changed(recipe(), "data", input=("maker",)), "'maker' is one that whet writes itself"),
        (changed(recipe(), "synth", slices={"text": ("a",)}), "'text' is a column"),
        (changed(recipe(), "synth", language="klingon"), "cannot tell 'klingon'. Choose one of en, de"),
        (changed(recipe(), "synth", method="contrast"), "Name a table in seeds"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_followed_is_refused_before_anything_is_written(
    tmp_path: Path, wrong: Recipe, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        made(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()
