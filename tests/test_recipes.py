"""The worked recipes: each can be followed, has a measured row, and the pledges are learned from for real."""

from __future__ import annotations

from pathlib import Path

from whet import stages
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
    """A short training on real manifestos beats the untrained base and always saying no; by how much stands in README.md."""
    few = ["train.max_steps=60", "evaluate.bootstrap_samples=200", 'evaluate.baselines=["majority", "tfidf", "zero_shot"]']
    run = stages.run(load(ROOT / "recipes" / "pledges.toml", few), tmp_path / "run")
    found = run.read_json("evaluation.json")
    tuned, others = found["macro_f1"], found["baselines"]
    assert tuned > others["zero_shot"]["macro_f1"] + 0.03 and tuned > others["majority"]["macro_f1"] + 0.03
    assert found["nll"] < others["zero_shot"]["nll"]
