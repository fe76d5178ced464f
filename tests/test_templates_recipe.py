"""`[data] templates`: from a table's columns to rendered examples, through a run folder, to predictions in the same words."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_parts import LABELS, recipe, write_table

from whet import stages
from whet.data import dataset
from whet.data import tokens as tokenizers
from whet.engine import model, reader
from whet.errors import DataError, RecipeError, UserError
from whet.progress import Silent
from whet.prompts import asking
from whet.prompts.library import open_set
from whet.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent
SHORT = {"num_train_epochs": 1, "max_steps": 2}
COINS = """
kind = "classify"
fields = ["text"]
target = "label"
labels = ["False", "True"]
[[template]]
name = "promise"
prompt = "{text}\\n\\nIs this a promise?\\n\\n{options}"
answers = ["it is not", "it is"]
[[template]]
name = "kept"
prompt = "Will somebody do something? {text}"
answers = ["nobody", "somebody"]
"""


@pytest.fixture
def coins(tmp_path: Path) -> Path:
    path = tmp_path / "coins.toml"
    path.write_text(COINS, "utf-8")
    return path


def worded(folder: Path, base: Path, **data: Any) -> Recipe:
    sections = {"data": data, "task": {"instruction": ""}, "train": SHORT}
    if "kind" in data:
        sections["task"] = {"instruction": "", "kind": data.pop("kind"), "labels": []}
    return recipe(write_table(folder / "table.csv"), base, **sections)


def test_training_examples_are_dealt_and_all_others_are_asked_alike(tmp_path: Path, tiny_base: Path, coins: Path) -> None:
    run = stages.prepare(worded(tmp_path, tiny_base, templates=str(coins)), tmp_path / "run")
    train = Counter(e.template.name for e in run.examples("train") if e.template)
    assert train["promise"] + train["promise, options"] == pytest.approx(train["kept"], abs=1)
    assert {e.template.name for s in ("validation", "test") for e in run.examples(s) if e.template} == {"promise, options"}
    assert [template.name for template in run.templates] == ["promise, options", "kept", "promise"]
    assert run.manifest["dataset"]["templates"] == 3
    assert set(run.examples("train")[0].inputs) == {"text"}
    for example in run.examples("test"):
        asked = asking.ask(run.task, example)
        assert asked == f"{example.inputs['text']}\n\nIs this a promise?\n\nOPTIONS:\n- it is not\n- it is\nAnswer:"
        assert asking.completion(example) == {"True": " it is", "False": " it is not"}[example.target]


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path, tiny_base: Path, coins: Path) -> None:
    made = worded(tmp_path, tiny_base, templates=str(coins), few_shot_fraction=0.3)
    one, two = (stages.prepare(made, tmp_path / name).path for name in ("one", "two"))
    for file in ("templates.json", "dataset/train.jsonl", "dataset/test.jsonl"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    other = stages.prepare(made.model_copy(update={"seed": 8}), tmp_path / "three").path
    assert (other / "dataset/train.jsonl").read_bytes() != (one / "dataset/train.jsonl").read_bytes()


def test_a_prediction_is_asked_as_training_was_id_by_id(tmp_path: Path, tiny_base: Path, coins: Path) -> None:
    """The training prefix is the prediction prompt, and the set travels: the file it came from may go."""
    made = worded(tmp_path, tiny_base, templates=str(coins), template="promise", options_fraction=1.0)
    run = stages.train(stages.prepare(made, tmp_path / "run"))
    coins.unlink()
    tokens = tokenizers.load(run.recipe.model.base)
    asked = reader.open_reader(run, model.load_result(run), tokens)
    seen: list[str] = []

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(tokens, name)

        def prompt(self, text: str) -> tuple[int, ...]:
            seen.append(text)
            return tokens.prompt(text)

    example = run.examples("train")[0]
    row = tokenizers.encode(example, run.task, tokens)
    heard = reader.Reader(asked.model, asked.task, Listening(), 4, None, None, asked.template)  # type: ignore[arg-type]
    answers = reader.read_passages(heard, [example.inputs["text"]], run.recipe, None, Silent())
    assert tokens.prompt(seen[0]) == row.prompt
    assert answers[0][0] in LABELS and sum(answers[0][2].values()) == pytest.approx(1)
    assert {row.completion for row in tokenizers.encode_all(run.examples("train"), run.task, tokens, None)} == {
        tokens.completion(text) for text in asking.label_completions(run.template, run.task.labels)
    }
    speech = tmp_path / "speech.txt"
    speech.write_text("We will build homes. They talked about hope.", "utf-8")
    assert [p.label in LABELS for p in stages.predict(run, [speech])] == [True, True]


def test_a_run_is_evaluated_in_the_words_of_its_template(tmp_path: Path, tiny_base: Path, coins: Path) -> None:
    run = stages.train(stages.prepare(worded(tmp_path, tiny_base, templates=str(coins)), tmp_path / "run"))
    found = stages.evaluate(run)
    assert set(found["per_label"]) == set(LABELS) and found["n"] == len(run.examples("test"))
    assert set(found["baselines"]) == {"majority", "tfidf", "zero_shot", "few_shot"}
    rows = run.read_lines("predictions.jsonl")
    assert {row["target"] for row in rows} <= set(LABELS)
    tokens = tokenizers.load(run.recipe.model.base)
    asked = reader.open_reader(run, model.load_result(run), tokens)
    example = run.examples("test")[0]
    scores = asked.label_scores([asking.ask(run.task, example)], Silent())[0]
    assert np.allclose(scores, [rows[0]["raw_scores"][label] for label in LABELS], atol=1e-4)


def test_answers_are_judged_in_the_words_of_the_template(tmp_path: Path, tiny_base: Path, coins: Path) -> None:
    made = worded(tmp_path, tiny_base, templates=str(coins), kind="generate")
    run = stages.train(stages.prepare(made, tmp_path / "run"))
    stages.evaluate(run)
    assert {row["target"] for row in run.read_lines("predictions.jsonl")} == {"it is", "it is not"}
    speech = tmp_path / "speech.txt"
    speech.write_text("We will build homes.", "utf-8")
    assert [p.label is not None for p in stages.predict(run, [speech])] == [True]


def test_labels_may_be_smoothed_and_balanced_where_all_templates_call_them_alike(
    tmp_path: Path, tiny_base: Path, coins: Path
) -> None:
    keys = {"class_balance": "weights", "label_smoothing_over": "labels", "label_smoothing_factor": 0.1}
    made = worded(tmp_path, tiny_base, templates=str(coins), template="kept")
    made = made.model_copy(update={"train": made.train.model_copy(update=keys)})
    assert stages.train(stages.prepare(made, tmp_path / "run")).manifest["training"]["steps"] == 2
    mixed = worded(tmp_path, tiny_base, templates=str(coins))
    mixed = mixed.model_copy(update={"train": mixed.train.model_copy(update=keys)})
    with pytest.raises(DataError, match="different names, and \\[train\\] class_balance and label_smoothing_over needs one"):
        stages.prepare(mixed, tmp_path / "mixed")


def test_an_example_that_is_too_long_for_its_template_keeps_the_one_that_stands_for_all(
    tmp_path: Path, tiny_base: Path, coins: Path
) -> None:
    text = COINS.replace("Will somebody do something?", "Will somebody do something? Think about it with care. " * 6)
    coins.write_text(text, "utf-8")
    made = worded(tmp_path, tiny_base, templates=str(coins))
    made = made.model_copy(update={"train": made.train.model_copy(update={"max_length": 60})})
    run = stages.prepare(made, tmp_path / "run")
    assert "kept" not in {template.name for template in run.templates}
    assert [n for n in run.manifest["dataset"]["notes"] if "do not fit their own template" in n]
    tokens = tokenizers.load(run.recipe.model.base)
    assert max(map(len, tokenizers.encode_all(run.examples("train"), run.task, tokens, 60))) <= 60


def test_a_row_without_a_prompt_is_dropped_with_its_reason(tmp_path: Path, tiny_base: Path) -> None:
    lines = ["premise,hypothesis,label"]
    labels = ("entailment", "neutral", "contradiction")
    lines += [f"premise number {n} of them,what follows from {n},{labels[n % 3]}" for n in range(60)]
    lines[5] = "a premise alone,,neutral"
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n", "utf-8")
    data = {"input": ["premise", "hypothesis"], "target": "label", "templates": "nli", "group": None}
    made = recipe(tmp_path / "pairs.csv", tiny_base, data=data, task={"labels": list(labels), "instruction": ""})
    found = dataset.build(made, tokenizers.load(str(tiny_base)))
    (drop,) = [d for d in found.drops if d.reason == "no_prompt"]
    assert drop.origin.row == 6 and drop.detail == "template 'must be true, options': the field 'hypothesis' is empty"
    assert found.summary()["dropped"]["no_prompt"] == 1


def test_jinja_is_rendered_in_a_recipe_too(tmp_path: Path, tiny_base: Path) -> None:
    """A cell that is a whole number is one, and what the answer is made of stands in the columns."""
    jinja = "{{ ['Read.', 'Look.'] | choice }} {{ sentence | upper }} Speech {{ speech + 1 }}? ||| {{ is_promise | lower }}"
    text = f"target = 'is_promise'\n[[template]]\nname = 'loud'\njinja = {json.dumps(jinja)}\n"
    (tmp_path / "jinja.toml").write_text(text, "utf-8")
    data = {"input": ["sentence", "speech"], "templates": str(tmp_path / "jinja.toml"), "kind": "generate"}
    run = stages.prepare(worded(tmp_path, tiny_base, **data), tmp_path / "run")
    examples = run.examples("train")
    for example in examples[:20]:
        asked = asking.ask(run.task, example)
        said = f"{example.inputs['sentence'].upper()} Speech {int(example.inputs['speech']) + 1}?\nAnswer:"
        assert asked in (f"Read. {said}", f"Look. {said}") and asking.completion(example) == f" {example.target.lower()}"
    assert len({asking.ask(run.task, example)[:5] for example in examples}) == 2, "each example draws by its own id"


def test_columns_get_the_names_of_fields(tmp_path: Path, tiny_base: Path) -> None:
    fields = {"passage": "sentence", "question": "speech"}
    data = {"input": ["sentence", "speech"], "templates": "open_book_qa", "template_fields": fields, "kind": "generate"}
    run = stages.prepare(worded(tmp_path, tiny_base, **data), tmp_path / "run")
    assert list(run.examples("train")[0].inputs) == ["passage", "question"]
    fixed = {"input": ["sentence"], "templates": "translation", "kind": "generate", "template_fields": {"language": "=Sámi"}}
    run = stages.prepare(worded(tmp_path, tiny_base, **fixed), tmp_path / "fixed")
    assert all("Sámi" in asking.ask(run.task, example) for example in run.examples("train"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"templates": "nli"}, "is none of its labels"),
        ({"templates": "sentmient"}, "Did you mean 'sentiment'"),
        ({"templates": "topic", "template": "shlef"}, "Did you mean 'shelf'"),
        ({"templates": "open_book_qa", "kind": "generate"}, "no column stands for the field 'passage'"),
        ({"templates": "topic", "input": ["sentence", "speech"]}, "no column stands for the field 'text'"),
        ({"templates": "topic", "template_fields": {"txt": "sentence"}}, "the templates have no field 'txt'"),
        ({"templates": "topic", "template_fields": {"text": "speech"}}, "'speech' is no column of [data] input"),
        (
            {"templates": "topic", "input": ["sentence", "speech"], "template_fields": {"text": "sentence"}},
            "no template reads 'speech'",
        ),
        ({"templates": "sentiment", "kind": "generate"}, "'True' (60 rows"),
    ],
    ids=range(9),
)
def test_templates_that_do_not_fit_are_refused(tmp_path: Path, tiny_base: Path, data: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        stages.check(worded(tmp_path, tiny_base, **data))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"template": "x"}, "template: these belong to `templates`"),
        ({"options_fraction": 0.1, "shots": 3}, "options_fraction, shots: these belong to `templates`"),
        ({"templates": "topic", "shots": 3}, "shots belongs to few_shot_fraction"),
        ({"templates": "topic", "instruction": "sentence"}, "leave one out"),
    ],
    ids=range(4),
)
def test_keys_that_would_do_nothing_are_refused(tmp_path: Path, tiny_base: Path, data: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        worded(tmp_path, tiny_base, **data)
    assert said in str(caught.value)


def test_a_changed_template_file_is_another_run(tmp_path: Path, tiny_base: Path, coins: Path) -> None:
    made = worded(tmp_path, tiny_base, templates=str(coins))
    stages.prepare(made, tmp_path / "run")
    coins.write_text(COINS + "\n", "utf-8")
    with pytest.raises(UserError, match="changed since this run was begun"):
        stages.prepare(made, tmp_path / "run")


def test_what_a_run_keeps_is_a_template_set_again(tmp_path: Path, tiny_base: Path) -> None:
    run = stages.prepare(worded(tmp_path, tiny_base, templates="topic"), tmp_path / "run")
    found = open_set(run.path / "templates.json")
    assert found.templates == run.templates and found.fields == ("text",) and found.target == "topic"


def test_super_ni_style_tasks_are_told_at_length(tmp_path: Path, tiny_base: Path) -> None:
    """Definition, what to avoid, right and wrong examples with explanations: first in every prompt, so computed once."""
    task = {
        "definition": "A promise names a deed.", "constraints": "Opinions.",
        "positive_examples": [{"input": "We will.", "output": "True", "explanation": "A deed."}],
        "negative_examples": [{"input": "We may.", "output": "True"}],
    }  # fmt: skip
    run = stages.prepare(recipe(write_table(tmp_path / "t.csv"), tiny_base, task=task), tmp_path / "run")
    example = run.examples("train")[0]
    told = (
        "Is this a promise?\n\nDefinition: A promise names a deed.\n\nThings to avoid: Opinions.\n\n"
        "Positive example 1\nInput: We will.\nOutput: True\nExplanation: A deed.\n\n"
        "Negative example 1\nInput: We may.\nOutput: True\n\n"
    )
    assert asking.ask(run.task, example) == f"{told}Text: {example.inputs['sentence']}\nAnswer:"
    worded_too = recipe(write_table(tmp_path / "t.csv"), tiny_base, task=task, data={"templates": "topic"})
    dressed = stages.prepare(worded_too, tmp_path / "worded")
    assert asking.ask(dressed.task, dressed.examples("test")[0]).startswith(f"{told}What is the text about?")


def test_label_names_of_a_set_without_labels_are_refused(tmp_path: Path, tiny_base: Path) -> None:
    data = {"templates": "closed_book_qa", "template_fields": {"question": "text"}, "label_names": {"True": "yes"}}
    with pytest.raises(DataError, match="the templates of closed_book_qa have no labels"):
        stages.prepare(worded(tmp_path, tiny_base, kind="generate", **data), tmp_path / "run")
