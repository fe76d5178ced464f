"""The whole way on a small table with a tiny base: every file of the contract, every stage alone, nothing done twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from engine_parts import LABELS, recipe, write_table

from whet import stages
from whet.errors import DataError, ModelError, RunError, UserError
from whet.example import Prediction
from whet.progress import Silent
from whet.run import Run


@pytest.fixture(scope="module")
def finished(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("whole")
    table = write_table(folder / "table.csv", rows=200)
    with table.open("a", encoding="utf-8") as file:
        file.write("We will build homes in ward 3000.,True,901\nwe WILL build homes in ward 3000,True,902\n")
        file.write("Nobody knows in ward 4000.,True,903\nNobody knows in ward 4000.,False,904\n,True,905\n")
    return stages.run(recipe(table, tiny_base, lora={"r": 4}), folder / "run")


CONTRACT = [
    "recipe.toml", "manifest.json", "dropped.jsonl", "metrics.jsonl", "checkpoints", "evaluation.json", "calibration.json",
    "predictions.jsonl", "report.html", "adapter/adapter_model.safetensors", "adapter/adapter_config.json",
]  # fmt: skip


def test_a_run_holds_what_the_contract_says(finished: Run) -> None:
    assert [name for name in CONTRACT if not finished.has(name)] == []
    found = finished.read_json("evaluation.json")
    figures = "split n accuracy macro_f1 per_label confusion nll brier ece ece_floor intervals".split()
    assert [k for k in (*figures, "before_calibration", "baselines", "forgetting") if k not in found] == []
    assert set(found["baselines"]) == {"majority", "tfidf", "zero_shot", "few_shot"}
    assert all("mcnemar_p" in b and "macro_f1" in b["intervals"] for b in found["baselines"].values())
    step = json.loads((finished.path / "metrics.jsonl").read_text().splitlines()[0])
    assert set(step) >= {"step", "loss", "lr", "grad_norm", "tokens", "seconds", "peak_bytes"}


def test_every_row_is_accounted_for(finished: Run) -> None:
    data = finished.manifest["dataset"]
    drops = finished.read_lines("dropped.jsonl")
    assert data["read"] == 205 == data["kept"] + len(drops)
    reasons = {d["reason"] for d in drops}
    assert {"duplicate", "conflict", "empty_input"} <= reasons and all(d["detail"] and d["origin"]["row"] for d in drops)
    groups = [{e.group for e in finished.examples(s)} for s in ("train", "validation", "test")]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_test_predictions_are_a_calibrated_distribution(finished: Run) -> None:
    rows = finished.read_lines("predictions.jsonl")
    assert [r["id"] for r in rows] == [e.id for e in finished.examples("test")]
    for row in rows:
        assert math.isclose(sum(row["scores"].values()), 1, abs_tol=1e-9) and set(row["scores"]) == set(LABELS)
        assert row["probability"] == max(row["scores"].values()) and row["label"] == max(row["scores"], key=row["scores"].get)
        assert 0 < row["label_mass"] <= 1 + 1e-6
    temperature = finished.read_json("calibration.json")["temperature"]
    one = rows[0]
    ratio = (one["raw_scores"]["True"] - one["raw_scores"]["False"]) / temperature
    assert math.log(one["scores"]["True"] / one["scores"]["False"]) == pytest.approx(ratio, rel=1e-6)


def test_a_finished_run_is_not_done_again(finished: Run) -> None:
    def written() -> dict[Path, int]:
        files = (p for p in finished.path.rglob("*") if p.is_file() and p.name not in ("report.html", "run.lock"))
        return {p: p.stat().st_mtime_ns for p in files}

    before = written()
    again = stages.run(finished.recipe, finished.path)
    assert again.path == finished.path
    assert before == written()


def test_predict_reads_documents(finished: Run, tmp_path: Path) -> None:
    talk = tmp_path / "talk.txt"
    talk.write_text("We will build homes. They dream of hope!\n\nWill you open a bridge?\n", "utf-8")
    read = list(stages.predict(finished, [talk]))
    assert [p.text for p in read] == ["We will build homes.", "They dream of hope!", "Will you open a bridge?"]
    text = talk.read_text("utf-8")
    for p in read:
        assert isinstance(p, Prediction) and text[p.start : p.end] == p.text and p.document.endswith("talk.txt")
        assert p.probability is not None and p.label in LABELS and math.isclose(sum(p.scores.values()), 1, abs_tol=1e-9)


def test_prediction_equals_evaluation(finished: Run, tmp_path: Path) -> None:
    """The same sentence gets the same probability by both ways, alone or in company."""
    row = finished.read_lines("predictions.jsonl")[0]
    (tmp_path / "one.txt").write_text(row["text"], "utf-8")
    (alone,) = stages.predict(finished, [tmp_path / "one.txt"])
    assert alone.scores == pytest.approx(row["scores"], abs=1e-5)


def test_show_marks_the_answer(finished: Run) -> None:
    example, tokens = stages.show(finished, 2)
    assert example == finished.examples("train")[1]
    learned = "".join(t.piece for t in tokens if t.carries_loss)
    assert learned == f" {example.target}<|endoftext|>"
    assert [t.carries_loss for t in tokens] == sorted(t.carries_loss for t in tokens), "prompt first, then the answer"
    with pytest.raises(RunError, match="Name one from 1 to"):
        stages.show(finished, 10**6)


def test_merged_weights_equal_base_plus_adapter(finished: Run) -> None:
    import torch
    from peft import PeftModel

    from whet.engine.model import load_result

    ids = torch.tensor([[0, 5, 6, 7, 8]])
    with torch.inference_mode():
        tuned = load_result(finished)
        assert isinstance(tuned, PeftModel)
        before = tuned(input_ids=ids).logits
        merged = tuned.merge_and_unload()(input_ids=ids).logits
    torch.testing.assert_close(before, merged, rtol=0, atol=1e-4)


def test_an_adapter_is_refused_on_another_base(finished: Run, tmp_path: Path) -> None:
    manifest = finished.manifest
    finished.update_manifest(base={"name": "x", "sha256": "0" * 64})
    (tmp_path / "talk.txt").write_text("We will build homes.", "utf-8")
    try:
        with pytest.raises(ModelError, match="is not the one this adapter was trained on"):
            list(stages.predict(finished, [tmp_path / "talk.txt"]))
    finally:
        finished.write_json("manifest.json", manifest)


def test_full_fine_tuning_writes_a_plain_model(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    table = write_table(tmp_path / "table.csv")
    run = stages.train(stages.prepare(recipe(table, tiny_base, train={"max_steps": 3}), tmp_path / "run"))
    assert run.manifest["training"]["method"] == "full" and run.manifest["training"]["steps"] == 3
    assert AutoModelForCausalLM.from_pretrained(run.path / "model").num_parameters() == run.manifest["training"]["parameters"]
    assert AutoTokenizer.from_pretrained(run.path / "model")("a").input_ids
    stages.report(run)
    assert "report.html" in {p.name for p in run.path.iterdir()}, "a report can be had after training alone"


def test_a_generate_task_end_to_end(tiny_base: Path, tmp_path: Path) -> None:
    lines = ["past,future"] + [f"We built {n} homes.,We will build {n} homes." for n in range(40)]
    (tmp_path / "tense.csv").write_text("\n".join(lines), "utf-8")
    wanted = recipe(
        tmp_path / "tense.csv", tiny_base, task={"kind": "generate", "labels": []},
        data={"input": "past", "target": "future", "group": None, "near_duplicate_threshold": 1.0},
        train={"max_steps": 2}, evaluate={"max_new_tokens": 12},
    )  # fmt: skip
    run = stages.run(wanted, tmp_path / "run")
    found = run.read_json("evaluation.json")
    assert {"exact_match", "token_f1", "rouge_l", "intervals", "baselines", "forgetting"} <= set(found)
    assert set(found["baselines"]) == {"zero_shot", "few_shot"} and not run.has("calibration.json")
    assert all("answer" in r for r in run.read_lines("predictions.jsonl"))


def test_random_weights_start_from_nothing(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    from whet.engine.model import load_base

    first, again = (load_base(recipe(tmp_path / "t.csv", tiny_base, model={"random_weights": True})) for _ in range(2))
    trained = load_base(recipe(tmp_path / "t.csv", tiny_base))
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, trained.lm_head.weight)


def test_check_says_what_is_wrong_with_base_and_data_together(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv")
    with pytest.raises(UserError) as caught:
        stages.check(recipe(tmp_path / "table.csv", "./nowhere", data={"input": "sentense"}))
    text = str(caught.value)
    assert "[model] base" in text and "sentense" in text and "sentence" in text


def test_wrong_labels_are_never_a_new_class(tiny_base: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv")
    table.write_text(table.read_text().replace("True,3\n", "true ,3\n", 1), "utf-8")
    with pytest.raises(DataError, match="True"):
        stages.prepare(recipe(table, tiny_base), tmp_path / "run")


def test_changed_data_are_refused(finished: Run, tmp_path: Path) -> None:
    table = Path(finished.recipe.data.path)
    content = table.read_bytes()
    table.write_bytes(content + b"We will cut the tax in ward 9999.,True,999\n")
    try:
        with pytest.raises(RunError, match="the data changed"):
            stages.prepare(finished.recipe, finished.path)
    finally:
        table.write_bytes(content)


def test_a_base_that_is_no_safetensors_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    """A pickle in the folder is not even opened."""
    from whet.engine.model import load_base

    folder = tmp_path / "pickled"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_base / name).read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "canary").encode() + b"'\ntR.")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_base(recipe(tmp_path / "t.csv", folder))
    assert not (tmp_path / "canary").exists()


def test_a_faulty_table_can_be_mended_and_tried_again(tiny_base: Path, tmp_path: Path) -> None:
    """What failed to be read has begun no run: neither the folder nor a refusal stands in the way of the second try."""
    table = write_table(tmp_path / "table.csv")
    good = table.read_text("utf-8")
    table.write_text(good.replace(",True,", ",maybe,", 1), "utf-8")
    with pytest.raises(DataError, match="maybe"):
        stages.prepare(recipe(table, tiny_base), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    table.write_text(good, "utf-8")
    assert stages.prepare(recipe(table, tiny_base), tmp_path / "run").has("dataset/train.jsonl")


def test_documents_without_a_word_are_said_and_skipped(finished: Run, tmp_path: Path) -> None:
    said: list[str] = []

    class Listening(Silent):
        def say(self, line: str) -> None:
            said.append(line)

    for name, text in (("empty.txt", " \n"), ("faces.txt", "🚆🚆 !!"), ("talk.txt", "We will build homes.")):
        (tmp_path / name).write_text(text, "utf-8")
    read = list(stages.predict(finished, [tmp_path], Listening()))
    assert [p.text for p in read] == ["We will build homes."]
    assert len(said) == 2 and "empty.txt" in said[0] and "faces.txt" in said[1]
