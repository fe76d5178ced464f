"""The worked recipes: each can be followed, has a measured row, and the pledges are learned from for real."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from engine_parts import make_base

from whet import stages
from whet.base.promises import shipped
from whet.data import dataset
from whet.recipe import load
from whet.series import load_series

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))


def test_every_recipe_can_be_read_and_has_a_row() -> None:
    assert len(RECIPES) >= 2
    table = (ROOT / "recipes" / "README.md").read_text("utf-8")
    for path in RECIPES:
        assert {recipe.name.partition("/")[0] for recipe in load_series(path)} == {path.stem}
        assert f"`{path.name}`" in table, f"{path.name} has no row in recipes/README.md"


def test_the_demo_is_the_promise_recipe() -> None:
    demo = load(Path(str(Path(dataset.__file__).parent.parent / "base" / "demo.toml")))
    shown = load(ROOT / "recipes" / "promise-detector.toml")
    assert demo.model_copy(update={"name": "promise-detector"}) == shown


def test_what_is_wrong_with_the_pledge_corpus_is_said(shared: Path) -> None:
    """corpora.md: one manifesto stands twice, and texts carry two labels."""
    made = stages.check(load(ROOT / "recipes" / "pledges.toml"))
    summary = made.summary()
    assert summary["read"] == 4119 == summary["kept"] + sum(summary["dropped"].values())
    assert summary["dropped"]["conflict"] == 16 and summary["dropped"]["duplicate"] == 454
    notes = " ".join(made.notes)
    assert "largely the same document: 417 of 417 rows" in notes
    assert "8 texts with more than one label" in notes
    assert {e.group for e in made.splits["test"]}.isdisjoint({e.group for e in made.splits["train"]})


def test_the_seven_verbatim_conflicts_of_the_pledge_corpus(shared: Path) -> None:
    """In the column `clean_text` seven sentences carry two labels letter for letter; an eighth differs by its spacing."""
    notes = " ".join(stages.check(load(ROOT / "recipes" / "pledges.toml", ["data.input=clean_text"])).notes)
    assert "8 texts with more than one label (7 letter for letter" in notes


def test_real_pledges_are_learned_from(shared: Path, tmp_path: Path) -> None:
    """One epoch on real manifestos beats the untrained base and always saying no; what three are worth stands in README.md."""
    baselines = 'evaluate.baselines=["majority", "tfidf", "zero_shot"]'
    few = ["train.num_train_epochs=1", "evaluate.bootstrap_samples=200", baselines]
    run = stages.run(load(ROOT / "recipes" / "pledges.toml", few), tmp_path / "run")
    found = run.read_json("evaluation.json")
    tuned, others = found["macro_f1"], found["baselines"]
    assert tuned > others["zero_shot"]["macro_f1"] + 0.03 and tuned > others["majority"]["macro_f1"] + 0.03
    assert found["nll"] < others["zero_shot"]["nll"]


@pytest.mark.parametrize("base", ["whetstone", "a Llama 2 in small"])
def test_the_book_runs_from_end_to_end_on_a_cpu(base: str, tmp_path: Path) -> None:
    """All knobs at once: NF4, rank 64, paged AdamW, smoothing, NEFTune, packing, checkpointing, bf16, grouping by length."""
    few = ["train.max_steps=2", "train.save_steps=1", "evaluate.bootstrap_samples=100", 'evaluate.baselines=["majority"]']
    for key, name, rows in (("path", "train", 80), ("validation_path", "validation", 20), ("test_path", "test", 20)):
        lines = shipped(f"promises_{name}.csv").read_text("utf-8").splitlines(keepends=True)
        (tmp_path / f"{name}.csv").write_text("".join(lines[: rows + 1]), "utf-8")
        few.append(f"data.{key}={tmp_path / name}.csv")
    if base != "whetstone":
        # Llama-2-7B's proportions, four layers of it: as many key as query heads, an MLP 2.6875 times as wide, an untied head.
        llama = {"hidden_size": 128, "num_hidden_layers": 4, "num_key_value_heads": 4, "intermediate_size": 344}
        folder = make_base(tmp_path / "llama", ROOT / "src/whet/base/whetstone", **llama, tie_word_embeddings=False)
        few.append(f"model.base={folder}")
    run = stages.run(load(ROOT / "recipes" / "promise-detector-qlora.toml", few), tmp_path / "run")
    steps = run.read_lines("metrics.jsonl")
    assert [step["step"] for step in steps] == [1, 2] and all(math.isfinite(step["loss"]) for step in steps)
    assert {path.name for path in (run.path / "checkpoints").iterdir()} == {"step-000001", "step-000002"}
    assert run.read_json("adapter/adapter_config.json")["r"] == 64
    assert run.read_json("evaluation.json")["n"] == 20 and run.has("report.html")
