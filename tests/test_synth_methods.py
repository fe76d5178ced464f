"""Every method from end to end against a scripted model: what is asked, what is kept, what is thrown out and why."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from methods_maker import MethodsMaker, given, rows, shown_after, task_recipe, usual, write_seeds
from scripted_server import Play, ScriptedServer
from synth_parts import is_probe, lines, made, sentence
from synth_parts import recipe as labelled

from whet import stages
from whet.errors import DataError, RecipeError
from whet.recipe import Recipe, parse
from whet.synth.methods import METHODS
from whet.synth.methods.evol import PAYLOADS
from whet.synth.methods.needs import NEEDS
from whet.synth.templates import Prompts


def run(maker: MethodsMaker, folder: Path, method: str, **synth: Any) -> dict[str, Any]:
    """The report of a run of a method with seeds, in the folder `run`."""
    seeds = folder / "seeds.jsonl"
    with ScriptedServer(maker) as server:
        return made(
            task_recipe(server.base_url, seeds if seeds.exists() else write_seeds(folder), method, **synth), folder / "run"
        )


def accepted(folder: Path) -> list[dict[str, Any]]:
    return lines(folder / "run/accepted.jsonl")


def reasons(folder: Path) -> Counter[str]:
    return Counter(line["reason"] for line in lines(folder / "run/rejected.jsonl"))


def test_every_method_says_what_it_needs() -> None:
    assert METHODS.keys() == NEEDS.keys() and len(METHODS) == 8


@pytest.mark.parametrize("method", ["self_instruct", "unnatural", "evol"])
def test_rows_can_be_trained_on_and_say_where_they_come_from(tmp_path: Path, method: str) -> None:
    maker = MethodsMaker()
    found = run(maker, tmp_path, method, licence="Apache-2.0")
    table = accepted(tmp_path)
    assert found["rows"] == len(table) == 24 and found["stopped"] == "all rows made"
    assert {(row["maker"], row["licence"], row["method"]) for row in table} == {("scripted", "Apache-2.0", method)}
    names = {"self_instruct": ("instances", "class_instances"), "unnatural": ("follow", "reword"), "evol": ("answer",)}[method]
    known = {f"{name}@{Prompts()[name].fingerprint[:12]}" for name in names}
    assert {row["prompt"] for row in table} == known
    recipe = task_recipe("http://127.0.0.1:9/v1", None, "description")
    data = recipe.data.model_copy(update={
        "path": str(tmp_path / "run/accepted.jsonl"), "group": "group", "licence": "licence", "maker": "maker"
    })  # fmt: skip
    dataset = stages.check(recipe.model_copy(update={"data": data}))
    examples = [e for split in dataset.splits.values() for e in split]
    assert len(examples) >= 20 and {e.origin.maker for e in examples} == {"scripted"}
    assert all(e.instruction for e in examples)


@pytest.mark.parametrize("method", ["self_instruct", "unnatural", "evol"])
def test_a_journal_is_walked_again_to_the_same_rows(tmp_path: Path, method: str) -> None:
    maker = MethodsMaker()
    run(maker, tmp_path, method)
    before, asked = accepted(tmp_path), len(maker.asked)
    found = run(maker, tmp_path, method)
    assert accepted(tmp_path) == before and len(maker.asked) == asked and found["rows"] == 24
    run(maker, tmp_path, method, rows=40)
    assert accepted(tmp_path)[:24] == before and len(accepted(tmp_path)) == 40


@pytest.mark.parametrize("method", ["self_instruct", "unnatural", "evol", "back_instruction"])
@pytest.mark.parametrize("garbage", ["", "I'm sorry, but I can't help with that.", '{"rows": [{"instr', "[]", "Yes? No?"])
def test_a_model_that_writes_garbage_comes_to_an_end(tmp_path: Path, method: str, garbage: str) -> None:
    def garbled(body: dict[str, Any], n: int) -> Play:
        return Play('{"a": ["yes"]}' if is_probe(body) else garbage)

    with ScriptedServer(garbled) as server:
        found = made(task_recipe(server.base_url, write_seeds(tmp_path), method, patience=5), tmp_path / "run")
    assert found["stopped"] in ("patience", "nothing more to ask")
    assert found["rows"] == 0 or method == "back_instruction", "an instruction may be any text"
    assert sum(found["rejected"].values()) == len(lines(tmp_path / "run/rejected.jsonl")) > 0


@pytest.mark.parametrize("method", ["self_instruct", "unnatural", "evol"])
def test_what_was_parked_goes_on_in_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr("whet.synth.pool.BACKOFF_SECONDS", 0.001)
    well, is_ill = MethodsMaker(), [True]

    def ill(body: dict[str, Any], n: int) -> Play:
        if not is_probe(body) and is_ill[0] and body["seed"] % 11 == 0:
            return Play("down", status=500)
        return well(body, n)

    settings = {"rows": 20, "rounds": 1} if method == "evol" else {"rows": 40}
    seeds = write_seeds(tmp_path)
    with ScriptedServer(ill) as server:
        first = made(task_recipe(server.base_url, seeds, method, max_tries=1, **settings), tmp_path / "run")
        is_ill[0] = False
        more = settings | {"rows": 120} if method != "evol" else settings
        second = made(task_recipe(server.base_url, seeds, method, max_tries=1, **more), tmp_path / "run")
    assert sum(first["requests"]["parked"].values()) > 0 and not second["requests"]["parked"]
    assert second["rows"] == more["rows"], "of 20 seeds in one round none is lost with what was parked"


# -- Self-Instruct -----------------------------------------------------------------------------------------------------


def test_self_instruct_shows_eight_tasks_of_which_two_are_its_own(tmp_path: Path) -> None:
    maker = MethodsMaker()
    run(maker, tmp_path, "self_instruct", rows=120, classification_fraction=0.5)
    asked = maker.texts_of("tasks")
    people = [line["instruction"] for line in lines(tmp_path / "seeds.jsonl")]
    shown = [sum(seed in text for seed in people) for text in asked]
    own = [text.count(". Do ") for text in asked]
    assert set(shown[:4]) == {8} and set(zip(shown, own, strict=True)) == {(8, 0), (6, 2)}
    assert sum("chooses one of a few answers" in text for text in asked) == len(asked) // 2
    assert {row["is_classification"] for row in accepted(tmp_path)} == {"true", "false"}


def test_classifications_are_answered_first_and_the_rest_read_first(tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = []
    maker = MethodsMaker()

    def listen(body: dict[str, Any], n: int) -> Play:
        bodies.append(body)
        return maker(body, n)

    with ScriptedServer(listen) as server:
        made(task_recipe(server.base_url, write_seeds(tmp_path), "self_instruct"), tmp_path / "run")
    orders = set()
    for body in bodies:
        text = body["messages"][-1]["content"]
        if "examples of this task" in text:
            item = body["response_format"]["json_schema"]["schema"]["properties"]["rows"]["items"]
            orders.add((tuple(item["required"]), "its possible answers first" in text))
            assert body["temperature"] == 0.0 and body["presence_penalty"] == 1.5
    assert orders == {(("output", "input"), True), (("input", "output"), False)}
    tested = {shown_after(text.split("undecided.")[1], "Task: ") for text in maker.texts_of("is_classification")}
    assert {row["instruction"] for row in accepted(tmp_path)} <= tested


def test_a_task_that_is_not_new_is_not_paid_for(tmp_path: Path) -> None:
    seeds = write_seeds(tmp_path)
    known = lines(seeds)[3]["instruction"]

    def repeats(text: str, draw: random.Random) -> str:
        return rows({"instruction": known}, {"instruction": f"{known[:-1]} now."}, {"instruction": f"Do {sentence(draw)}."})

    maker = MethodsMaker(tasks=repeats)
    run(maker, tmp_path, "self_instruct", rows=12)
    assert reasons(tmp_path)["not_novel"] >= 4, "the seed's instruction, and with one word more"
    assert not any(known[:-1] in text for text in maker.texts_of("is_classification"))


def test_the_instance_filters(tmp_path: Path) -> None:
    kinds = {
        "contradiction": lambda a, b: rows(
            {"input": a, "output": "x y"}, {"input": a, "output": "z"}, {"input": b, "output": f"{b} c"}
        ),
        "ends_with_colon": lambda a, b: rows({"input": a, "output": f"{b}:"}),
        "echo": lambda a, b: rows({"input": a, "output": a}),
        "empty_field": lambda a, b: rows({"input": a, "output": " "}),
        "duplicate": lambda a, b: rows({"input": a, "output": b}, {"input": a, "output": b}),
        "cut_json": lambda a, b: rows({"input": a, "output": b}, {"input": b, "output": a})[:-8],
    }  # fmt: skip
    for reason, write in kinds.items():
        folder = tmp_path / reason
        folder.mkdir()
        answer = lambda text, draw, write=write: write(sentence(draw), sentence(draw))  # noqa: E731
        maker = MethodsMaker(instances=answer, is_classification=lambda text, draw: "No")
        found = run(maker, folder, "self_instruct", rows=8, patience=8)
        assert reasons(folder)[reason] >= 3, (reason, found["rejected"])
        assert (found["rows"] > 0) == (reason in ("duplicate", "cut_json"))
        if reason == "contradiction":
            assert reasons(folder)[reason] % 3 == 0, "the whole task goes"


def test_whether_it_is_a_classification_is_never_guessed(tmp_path: Path) -> None:
    found = run(MethodsMaker(is_classification=lambda text, draw: "It depends."), tmp_path, "self_instruct", patience=6)
    assert found["rows"] == 0 and set(found["rejected"]) == {"no_answer"}


def test_steps_on_the_way_are_no_failures(tmp_path: Path) -> None:
    """A wave of new tasks, each answer with a repeat in it, gives no row yet: patience is not used up by it."""

    def one_known(text: str, draw: random.Random) -> str:
        return rows({"instruction": "Kindly."}, *({"instruction": f"Do {sentence(draw)}."} for _ in range(3)))

    found = run(MethodsMaker(tasks=one_known), tmp_path, "self_instruct", rows=400, patience=8, min_words=2)
    assert found["rows"] == 400 and found["rejected"]["too_short"] > 40


# -- Unnatural Instructions --------------------------------------------------------------------------------------------


def test_unnatural_shows_three_and_asks_for_a_fourth(tmp_path: Path) -> None:
    maker = MethodsMaker(fourth=lambda text, draw: rows(
        {"instruction": f"Do {sentence(draw)}.", "input": sentence(draw), "constraints": "Yes or no."}
    ))  # fmt: skip
    run(maker, tmp_path, "unnatural")
    people = [line["instruction"] for line in lines(tmp_path / "seeds.jsonl")]
    assert {sum(seed in text for seed in people) for text in maker.texts_of("fourth")} == {3}
    assert all("Yes or no." in text for text in maker.texts_of("follow"))
    table = accepted(tmp_path)
    assert {row["constraints"] for row in table} == {"Yes or no."}
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        by_group.setdefault(row["group"], []).append(row)
    for kin in by_group.values():
        assert [row["reworded"] for row in kin] == ["false", *(["true"] * (len(kin) - 1))] and len(kin) <= 3
        assert len({(row["input"], row["output"]) for row in kin}) == 1 and len({row["instruction"] for row in kin}) == len(kin)
        assert {tuple(row["parents"]) for row in kin[1:]} <= {(kin[0]["id"],)}
    assert max(map(len, by_group.values())) == 3
    assert reasons(tmp_path)["surplus_wording"] >= 3, "three come, two are kept"


def test_unnatural_answers_are_greedy_and_constraints_none_are_not_said(tmp_path: Path) -> None:
    bodies: list[dict[str, Any]] = []
    maker = MethodsMaker()

    def listen(body: dict[str, Any], n: int) -> Play:
        bodies.append(body)
        return maker(body, n)

    with ScriptedServer(listen) as server:
        recipe = task_recipe(server.base_url, write_seeds(tmp_path), "unnatural", temperature=0.9, rewordings=0)
        found = made(recipe, tmp_path / "run")
    said = {"follow": "Give the answer and nothing else", "fourth": "Write example 4"}
    heat = {name: {b["temperature"] for b in bodies if mark in b["messages"][-1]["content"]} for name, mark in said.items()}
    assert heat == {"follow": {0.0}, "fourth": {0.9}}, "the recipe's temperature is for what is drawn"
    assert found["rows"] == 24 and "reword" not in maker.asked and not any("None." in t for t in maker.texts_of("follow"))


def test_an_example_without_all_its_fields_is_dropped(tmp_path: Path) -> None:
    partly = MethodsMaker(fourth=lambda text, draw: rows({"instruction": "Do it.", "input": "x"}))
    found = run(partly, tmp_path, "unnatural", patience=5)
    assert found["rows"] == 0 and set(found["rejected"]) == {"missing_field"} and "follow" not in partly.asked


# -- Evol-Instruct -----------------------------------------------------------------------------------------------------


def test_evol_goes_round_by_round_with_every_operation_and_keeps_the_lineage(tmp_path: Path) -> None:
    maker = MethodsMaker()
    found = run(maker, tmp_path, "evol", rows=1000, rounds=3)
    table = accepted(tmp_path)
    assert found["stopped"] == "nothing more to ask" and found["rows"] == 60, "20 seeds, three rounds"
    assert Counter(row["round"] for row in table) == {"1": 20, "2": 20, "3": 20}
    assert [row["round"] for row in table] == sorted(row["round"] for row in table)
    counts = Counter(row["operation"] for row in table)
    assert set(counts) == {"constraints", "deepen", "concretise", "reasoning", "input", "breadth"} and min(counts.values()) >= 3
    by_id = {row["id"]: row for row in table}
    for row in table:
        (parent,) = row["parents"]
        if row["round"] == "1":
            assert parent == row["seed"] and parent.startswith("seeds.jsonl, row ")
        else:
            assert by_id[parent]["seed"] == row["seed"] and int(by_id[parent]["round"]) == int(row["round"]) - 1
        assert row["group"] == row["seed"] and row["input"] == ""
    evolved = [given(text) for text in maker.texts_of("evolve") + maker.texts_of("breadth")]
    assert set(evolved) >= {row["instruction"] for row in table if row["round"] != "3"}
    assert any(payload in text for text in maker.texts_of("evolve") for payload in PAYLOADS)
    assert maker.asked.count("compare") == maker.asked.count("answer") == 60


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"compare": lambda text, draw: '{"label": "Equal"}'}, "no_gain"),
        ({"compare": lambda text, draw: "They differ a little."}, "no_answer"),
        ({"evolve": lambda text, draw: given(text).upper()}, "no_gain"),
        ({"evolve": lambda text, draw: f"Here is the rewritten prompt {sentence(draw)}"}, "prompt_leak"),
        ({"answer": lambda text, draw: f"Sorry to say {sentence(draw)}"}, "excuse"),
        ({"answer": lambda text, draw: "... and that's it?"}, "says_nothing"),
        ({"answer": lambda text, draw: "I'm sorry, but I can't help with that."}, "refusal"),
    ],
)
def test_the_rules_of_elimination_and_what_fails_is_tried_again(tmp_path: Path, said: dict[str, Any], reason: str) -> None:
    maker = MethodsMaker(**said)
    found = run(maker, tmp_path, "evol", rows=100, rounds=2, operations=["deepen"], patience=100)
    assert found["rows"] == 0 and found["rejected"] == {reason: 40}
    first = Counter(given(text) for text in maker.texts_of("evolve"))
    assert set(first.values()) == {2} and len(first) == 20, "each goes into the second round unchanged"
    if reason in ("prompt_leak",) or "evolve" in said:
        assert "answer" not in maker.asked, "nothing more is paid for"


def test_a_long_answer_may_be_sorry(tmp_path: Path) -> None:
    long = MethodsMaker(answer=lambda text, draw: f"She was sorry. {sentence(draw, 80)}")
    assert run(long, tmp_path, "evol", rounds=1)["rows"] == 20


def test_evolution_is_taken_back_and_brought_back_without_a_request(tmp_path: Path) -> None:
    maker = MethodsMaker()
    run(maker, tmp_path, "evol", rows=60, rounds=3)
    whole, asked = accepted(tmp_path), len(maker.asked)
    run(maker, tmp_path, "evol", rows=60, rounds=1)
    assert [row["request"] for row in accepted(tmp_path)] == [row["request"] for row in whole if row["round"] == "1"]
    assert reasons(tmp_path)["rolled_back"] >= 40 and len(maker.asked) == asked
    run(maker, tmp_path, "evol", rows=60, rounds=3)
    assert accepted(tmp_path) == whole and len(maker.asked) == asked
    bad = next(row for row in whole if row["round"] == "1")
    run(maker, tmp_path, "evol", rows=57, rounds=3, taken_out=[bad["request"][:12]])
    left = accepted(tmp_path)
    by_id = {row["id"]: row for row in left}
    assert all(parent in by_id or parent == row["seed"] for row in left for parent in row["parents"])
    gone = {row["request"] for row in whole} - {row["request"] for row in left}
    assert gone >= {row["request"] for row in whole if row["seed"] == bad["seed"]} and reasons(tmp_path)["taken_out"] == 1


def test_evol_makes_inputs_harder_where_the_task_is_fixed(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.csv"
    seeds.write_text("question,answer\n" + "".join(f"What is {n} plus {n}?,{2 * n}\n" for n in range(6)), "utf-8")
    maker = MethodsMaker()
    with ScriptedServer(maker) as server:
        recipe = parse({
            "name": "sums", "task": {"kind": "generate", "instruction": "Answer the question."},
            "data": {"path": "x.jsonl", "input": "question", "target": "answer"},
            "synth": {"model": "m", "base_url": server.base_url, "method": "evol", "seeds": str(seeds), "rounds": 1, "rows": 6},
        })  # fmt: skip
        assert made(recipe, tmp_path / "run")["rows"] == 6
    assert all("instruction" not in row and row["question"].startswith("Well") for row in accepted(tmp_path))
    assert all(text.startswith("Answer the question.\n\nWell") for text in maker.texts_of("answer"))


# -- back-instruction, paraphrases -------------------------------------------------------------------------------------


def test_back_instruction_asks_what_each_text_answers(tmp_path: Path) -> None:
    draw = random.Random(1)
    texts = [sentence(draw, 20) for _ in range(6)]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps({"output": text}) + "\n" for text in texts), "utf-8")
    copies = texts[2]
    said = MethodsMaker(back_instruction=lambda text, draw: f"Write: {copies}" if copies in text else f"Tell {sentence(draw)}.")
    found = run(said, tmp_path, "back_instruction")
    table = accepted(tmp_path)
    assert found["rows"] == 5 and found["stopped"] == "nothing more to ask" and found["rejected"] == {"holds_answer": 1}
    assert [row["output"] for row in table] == [text for text in texts if text != copies]
    assert [row["parents"] for row in table] == [[f"seeds.jsonl, row {n}"] for n in (1, 2, 4, 5, 6)]
    assert all(row["instruction"].startswith("Tell") and row["input"] == "" for row in table)


def paraphrases(base_url: str, **synth: Any) -> Recipe:
    return labelled(base_url, **{"method": "paraphrase", "rows": 10, **synth})


def test_paraphrases_become_a_template_set_that_a_recipe_asks_with(tmp_path: Path) -> None:
    maker = MethodsMaker()
    with ScriptedServer(maker) as server:
        found = made(paraphrases(server.base_url), tmp_path / "run")
    assert found["rows"] == 10 and found["labels"] == {}
    assert all("label" not in row and "{text}" in row["instruction"] for row in accepted(tmp_path))
    assert "Possible answers: complaint, praise, question." in maker.texts_of("templates")[0]
    table = tmp_path / "mail.csv"
    table.write_text("text,label\n" + "".join(
        f"{sentence(random.Random(n))},{('complaint', 'praise', 'question')[n % 3]}\n" for n in range(60)
    ), "utf-8")  # fmt: skip
    recipe = labelled("http://127.0.0.1:9/v1")
    data = recipe.data.model_copy(update={"path": str(table), "templates": str(tmp_path / "run/templates.toml")})
    dataset = stages.check(recipe.model_copy(update={"data": data, "synth": None}))
    names = {split: {e.template.name.partition(",")[0] for e in rows if e.template} for split, rows in dataset.splits.items()}
    assert len(names["train"]) == 11 and names["test"] == names["validation"] == {"own"}


def test_a_wording_that_cannot_be_filled_is_none(tmp_path: Path) -> None:
    wordings = {"bad_template": "Is {text praise?", "dropped_field": "Is it praise?", "unknown_slot": "Is {text} a {label}?"}
    for reason, text in wordings.items():
        answer = rows({"template": text})
        maker = MethodsMaker(templates=lambda _, draw, answer=answer: answer)  # type: ignore[misc]
        with ScriptedServer(maker) as server:
            found = made(paraphrases(server.base_url, patience=2), tmp_path / reason)
        assert found["rows"] == 0 and set(found["rejected"]) == {reason}
        assert not (tmp_path / reason / "templates.toml").exists()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"synth": {"seeds": None}}, "evol begins with rows of yours"),
        ({"task": {"kind": "classify", "labels": ["a", "b"]}}, "evol makes rows of a generate task"),
        ({"data": {"input": ["input", "more"]}}, "evol writes one column"),
        ({"synth": {"method": "unnatural"}}, "unnatural writes two columns"),
        ({"synth": {"method": "self_instruct"}, "data": {"instruction": None}}, "bring their own instruction"),
        ({"synth": {"slices": {"tone": ["calm"]}}}, "evol shares nothing out"),
        ({"synth": {"check_labels": True}}, "no label that could be asked for"),
        ({"synth": {"method": "weak"}}, "weak aims at the weak spots of a run"),
        ({"synth": {"rewordings": 3}}, 'rewordings belongs to method = "unnatural"'),
        ({"synth": {"taken_out": [""]}}, "an empty text is how every request begins"),
        ({"data": {"target": "round"}}, "is one that whet writes itself"),
        ({"synth": {"judge_threshold": 3.0}}, "a judge needs judge_rubric"),
    ],
)
def test_what_a_method_cannot_do_is_said_before_anything_is_sent(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    values = task_recipe("http://127.0.0.1:9/v1", write_seeds(tmp_path), "evol").model_dump(mode="json")
    for section, keys in changes.items():
        values[section] |= keys
    with pytest.raises(RecipeError, match=said):
        made(parse(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_too_few_seeds_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="it holds 2 rows, and unnatural needs 3"):
        made(task_recipe("http://127.0.0.1:9/v1", write_seeds(tmp_path, 2), "unnatural"), tmp_path / "run")
    with pytest.raises(DataError, match="no column 'output'"):
        (tmp_path / "texts.csv").write_text("text\nSome text.\n", "utf-8")
        made(task_recipe("http://127.0.0.1:9/v1", tmp_path / "texts.csv", "back_instruction"), tmp_path / "run")


def test_a_look_ahead_does_not_promise_what_it_cannot_know(tmp_path: Path) -> None:
    ahead = stages.synth_ahead(task_recipe("http://127.0.0.1:9/v1", write_seeds(tmp_path), "evol"), tmp_path / "run")
    assert ahead["is_all"] is False and ahead["requests"] == 20
    assert stages.synth_ahead(labelled(), tmp_path / "run")["is_all"] is True
    assert stages.synth_ahead(labelled(check_labels=True), tmp_path / "run")["is_all"] is False


def test_real_seed_tasks_begin_self_instruct(tmp_path: Path, shared: Path) -> None:
    """The 175 of Self-Instruct as `whet corpus read -o` would write them: instruction, input, output."""
    tasks = lines(shared / "data/self_instruct/seed_tasks.jsonl")
    table = [{"instruction": t["instruction"], **t["instances"][0]} for t in tasks]
    (tmp_path / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), "utf-8")
    maker = MethodsMaker(tasks=lambda text, draw: rows(
        {"instruction": draw.choice(table)["instruction"]}, *json.loads(usual("tasks", text, draw))["rows"]
    ))  # fmt: skip
    found = run(maker, tmp_path, "self_instruct", rows=60, heuristics="self_instruct")
    assert len(table) == 175 and found["rows"] == 60
    repeated = reasons(tmp_path)
    assert repeated["duplicate"] + repeated["banned_word"] + repeated["opening"] + repeated["too_long"] >= 4
