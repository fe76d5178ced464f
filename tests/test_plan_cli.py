"""`whet plan` as a script calls it: verdicts and exit codes, without data, --fit; `train` refuses what cannot fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engine_parts import recipe, write_table

from whet import ledger, stages
from whet.budget.devices import Device
from whet.cli import main
from whet.engine import batch_size
from whet.errors import RunError
from whet.planning import Wish
from whet.recipe import Recipe, load

LLAMA = ("--base", "meta-llama/Llama-3.2-3B", "--length", "768")
MIB = 2**20


def whet(*arguments: str) -> int:
    return main(list(arguments))


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = whet("plan", *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


def small(memory_bytes: int) -> Device:
    return Device("a small machine", "cpu", memory_bytes, 1e10, 1e10)


@pytest.fixture
def tiny(tmp_path: Path, tiny_base: Path) -> Recipe:
    train = {"per_device_train_batch_size": 8, "max_steps": 2}
    evaluate = {"baselines": ["majority"]}
    return recipe(write_table(tmp_path / "t.csv", 60), tiny_base, train=train, evaluate=evaluate, lora={"r": 8})


@pytest.fixture
def file(tiny: Recipe, tmp_path: Path) -> Path:
    path = tmp_path / "r.toml"
    path.write_text("# mine\n" + tiny.dump(), "utf-8")
    return path


def test_without_data_every_key_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--set", "lora.r=32", "--set", 'lora.target_modules=["q_proj","v_proj"]')
    more = ("--set", "train.per_device_train_batch_size=4", "--set", "model.dtype=bfloat16", "--device", "A10G")
    code, found = asked(capsys, *LLAMA, *settings, *more)
    assert found["source"] == "formula" and found["device"] == {"name": "A10G", "kind": "cuda"}
    assert found["heaviest"]["columns"] == 4 * 768 and found["examples"] == {"train": 1000} and "768 tokens" in found["assumed"]
    assert code == (0 if found["fits"] else 1)
    assert found["components"]["adapter"] > 0 and found["peak_bytes"] > 2 * 3.2e9
    assert asked(capsys, *LLAMA, "--rows", "80", "--device", "H200")[1]["steps"] == 3 * 80 // 16


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--base", "gpt2"), "--length is needed"), (("--length", "9"), "--base is needed"),
        ((*LLAMA, "--fit"), "--fit needs a recipe"), (("--base", "gpt2", "--length", "1"), "two tokens"),
        ((*LLAMA, "--set", "lora.rank=3"), "there is no such key"),
        ((*LLAMA, "--budget", "much"), "no amount of memory"), ((*LLAMA, "--device", "abacus"), "not known"),
        (("r.toml", "--length", "9"), "without a recipe"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_said(arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert whet("plan", *arguments) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_an_unknown_model_is_an_error_without_a_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert whet("plan", "--base", "nobody/nothing", "--length", "64") == 2
    assert "nobody/nothing" in capsys.readouterr().err


def test_a_config_is_read_where_the_table_has_none(tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = asked(capsys, "--base", str(tiny_base), "--length", "64")
    assert code == 0 and found["fits"] and 0 < found["peak_bytes"] < 2**30


def test_what_does_not_fit_ends_with_1_and_is_made_to_fit(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plenty = asked(capsys, str(file))
    budget = f"{int(plenty['needed_bytes'] / MIB)}MiB"
    code, found = asked(capsys, str(file), "--budget", budget)
    assert (code, found["fits"], found["verdict"]) == (1, False, "does not fit")
    assert found["suggestions"] and all(s["needed_bytes"] < found["needed_bytes"] for s in found["suggestions"])
    # Beside so small a model nearly all is the process itself, which no knob makes smaller: it gets so much room.
    monkeypatch.setattr("whet.budget.devices.CPU_OUTSIDE_BYTES", MIB)
    budget = f"{plenty['peak_bytes'] + MIB}B"
    assert whet("plan", str(file), "--budget", budget) == 1
    assert whet("plan", str(file), "--budget", budget, "--fit") == 0
    written = file.with_name("r-fits.toml")
    assert written.read_text("utf-8").startswith("# mine\n") and load(written) != load(file)
    capsys.readouterr()
    code, found = asked(capsys, str(written), "--budget", budget)
    assert code == 0 and found["verdict"] == "fits"
    assert whet("plan", str(file), "--budget", budget, "--fit") == 2 and "there is a file already" in capsys.readouterr().err
    assert whet("plan", str(file), "--budget", "2MiB", "--fit") == 1
    assert "Nothing makes it fit better" in capsys.readouterr().err


def test_a_run_that_cannot_fit_is_refused_unless_told(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.run_plan.this_machine", lambda: small(500 * MIB))
    run = stages.prepare(tiny, tmp_path / "run")
    planned = run.read_json("plan.json")
    assert planned["fits"] is False and planned["device"]["name"] == "a small machine"
    with pytest.raises(RunError, match="does not fit") as refused:
        stages.train(run)
    assert "a small machine has 500.0 MiB" in str(refused.value) and "--anyway" in str(refused.value)
    assert "--set" in str(refused.value) and not run.has("metrics.jsonl")
    assert stages.train(run, anyway=True).has("adapter")


def test_every_run_keeps_score(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    run = stages.train(stages.prepare(tiny, tmp_path / "run"))
    score, planned = run.manifest["score"], run.read_json("plan.json")
    above, whole = score["peaks"]
    assert above["predicted_bytes"] == planned["peak_bytes"] > 0 and whole["predicted_bytes"] == planned["needed_bytes"]
    assert whole["measured_bytes"] > above["measured_bytes"] > 0 and score["time"]["measured_seconds"] > 0
    (entry,) = ledger.entries()
    assert entry.device == planned["device"]["name"] and entry.predicted_bytes == planned["peak_bytes"]
    page = stages.report(run).read_text("utf-8")
    assert "Predicted and measured" in page and "Predicted memory by phase" in page and "Length of the training rows" in page


def test_running_out_of_memory_is_answered_with_the_plan(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stages.prepare(tiny, tmp_path / "run")

    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    assert batch_size.is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    monkeypatch.setattr("whet.engine.model.load_base", full)
    with pytest.raises(RunError, match=r"memory ran out .* The plan: it needs") as answered:
        stages.train(run)
    assert isinstance(answered.value.__cause__, RuntimeError)


def test_steps_are_really_taken_to_measure_and_nothing_is_kept(tiny: Recipe, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = stages.plan(tiny, wish=Wish(measured_steps=1, watts=100.0, price_per_hour=3.6))
    assert found.cost is not None and found.cost.time is not None
    seconds = found.cost.time
    assert seconds.basis == "measured" and 0 < seconds.training < 600 and seconds.evaluation > 0
    assert seconds.price == pytest.approx(seconds.seconds / 1000)
    assert seconds.kilowatt_hours == pytest.approx(seconds.seconds / 36000)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_cut_is_counted_for_each_label(tiny: Recipe, tmp_path: Path) -> None:
    whole = stages.plan(tiny).lengths
    assert whole is not None and whole.cuts == () and sum(rows for _, rows in whole.bars) > 0
    short = {"max_length": whole.longest - 1}
    for too_long in ("truncate", "drop"):
        train = tiny.train.model_copy(update={**short, "too_long": too_long})
        found = stages.plan(tiny.model_copy(update={"train": train})).lengths
        assert found is not None and {cut.label for cut in found.cuts} == set(tiny.task.labels)
        lost = sum(cut.cut if too_long == "truncate" else cut.dropped for cut in found.cuts)
        assert lost > 0 and sum(cut.dropped if too_long == "truncate" else cut.cut for cut in found.cuts) == 0
