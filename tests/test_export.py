"""Exported: a plain folder that Transformers loads without PEFT, and that says what the run says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import recipe, write_table
from transformers import AutoModelForCausalLM, AutoTokenizer

from whet import cli, stages
from whet.engine.model import load_result
from whet.errors import RunError
from whet.run import Run

IDS = torch.randint(2, 6000, (2, 9), generator=torch.Generator().manual_seed(0))


def logits(asked: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = asked.eval()(input_ids=IDS).logits
    return found.float()


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(other))


def trained(folder: Path, base: Path, **sections: Any) -> Run:
    table = write_table(folder.parent / f"{folder.name}.csv", rows=60)
    train = {"max_steps": 2, "learning_rate": 1e-2}
    return stages.train(stages.prepare(recipe(table, base, train=train, **sections), folder))


@pytest.mark.parametrize(
    "sections",
    [
        {"lora": {"r": 4}}, {"lora": {"r": 4, "init_lora_weights": "pissa", "use_dora": True}},
        {"lora": {"r": 4, "use_rslora": True, "modules_to_save": ["lm_head"]}}, {},
    ],
    ids=["lora", "pissa dora", "rslora and the head", "full"],
)  # fmt: skip
def test_the_exported_model_is_the_trained_one(tiny_base: Path, tmp_path: Path, sections: dict[str, Any]) -> None:
    run = trained(tmp_path / "run", tiny_base, **sections)
    said = stages.export(run, tmp_path / "plain")
    names = {f.name for f in (tmp_path / "plain").iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    wanted = logits(load_result(run))
    assert distance(wanted, logits(AutoModelForCausalLM.from_pretrained(tiny_base))) > 0.001
    assert distance(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "plain")), wanted) < 1e-5
    assert AutoTokenizer.from_pretrained(tmp_path / "plain")("a").input_ids
    assert said == "the trained model in float32" + (", its adapters merged into the base" if sections else "")


def test_a_stack_is_merged_whole(tiny_base: Path, tmp_path: Path) -> None:
    below = trained(tmp_path / "below", tiny_base, lora={"r": 4})
    run = trained(tmp_path / "run", tiny_base, lora={"r": 2}, model={"adapters": [str(below.path / "adapter")]})
    stages.export(run, tmp_path / "plain")
    assert distance(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "plain")), logits(load_result(run))) < 1e-5


def test_a_quantized_run_goes_into_the_base_as_it_was_and_says_so(tiny_base: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", tiny_base, lora={"r": 4}, model={"quantize": "nf4"})
    said = stages.export(run, tmp_path / "plain")
    assert "with its base in nf4; here the base is as it was before, so answers differ by the quantization error" in said
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    exact = load_result(run, run.recipe.model.model_copy(update={"quantize": None}))
    assert distance(logits(plain), logits(exact)) < 1e-5
    assert 0.01 < distance(logits(plain), logits(load_result(run))) < 0.7


def test_random_weights_are_merged_too(tiny_base: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", tiny_base, lora={"r": 4}, model={"random_weights": True})
    stages.export(run, tmp_path / "plain")
    assert distance(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "plain")), logits(load_result(run))) < 1e-5


def test_by_command_in_bfloat16(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path / "run", tiny_base, lora={"r": 4}, model={"dtype": "bfloat16"})
    out = tmp_path / "plain"
    assert cli.main(["export", str(run.path), str(out), "--dtype", "bfloat16", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == str(out) and told["dtype"] == "bfloat16" and "bfloat16" in told["is"]
    plain = AutoModelForCausalLM.from_pretrained(out)
    assert plain.dtype == torch.bfloat16 and json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert distance(logits(plain), logits(load_result(run))) < 0.05
    assert cli.main(["export", str(run.path), str(out)]) == 2
    assert f"{out}: it exists and is not empty. Name another folder" in capsys.readouterr().err


def test_what_is_there_is_never_written_over(tiny_base: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", tiny_base, lora={"r": 4})
    (tmp_path / "empty").mkdir()
    stages.export(run, tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    for taken in ("empty", "file", "run"):
        with pytest.raises(RunError, match="it exists and is not empty"):
            stages.export(run, tmp_path / taken)
    assert (tmp_path / "file").read_text() == "mine"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
