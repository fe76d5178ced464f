"""`[data] templates` over rows on disk: the same bytes as in memory, whatever the set, and refused in the same words."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from whet import stages
from whet.errors import DataError
from whet.prompts.deal import in_turn
from whet.recipe import Recipe, parse
from whet.run import Run

FILES = ("dataset/train.jsonl", "dataset/validation.jsonl", "dataset/test.jsonl", "dropped.jsonl", "templates.json")
WORDS = [f"{a}{b}" for a in "ba ce di fo gu hä je ki lo mu na pe".split() for b in "ran tel mis dor fun gas heb".split()]
LABELLED = """
kind = "classify"
fields = ["text"]
target = "label"
labels = ["no", "yes"]
[[template]]
name = "promise"
prompt = "{text}\\n\\nIs this a promise?\\n\\n{options}"
answers = ["it is not", "it is"]
[[template]]
name = "kept"
prompt = "Will somebody do something, and if so, what, and by when, and who is to pay for it? {text}"
answers = ["nobody", "somebody"]
[[template]]
name = "write"
inverted = true
prompt = "Write a sentence that is {answer}."
completion = "{text}"
answers = ["none", "a promise"]
"""
FREE = """
kind = "generate"
fields = ["question", "hint"]
target = "answer"
[[template]]
name = "plain"
prompt = "{question}\\n{hint}"
completion = "{answer}"
[[template]]
name = "bare"
prompt = "Q: {question} ({hint})\\nA:"
completion = "{answer}"
between = " "
[[template]]
name = "what was asked"
inverted = true
prompt = "What was asked, if this is the answer: {answer}"
completion = "{question}"
[[template]]
name = "what was the hint"
inverted = true
prompt = "To {question} somebody answered {answer}. What was the hint?"
completion = "{hint}"
"""
JINJA = """
dataset: made
templates:
  a: !Template
    answer_choices: No ||| Yes
    jinja: '{{ text }} Is it {{ answer_choices | join(" or ") }}? ||| {{ answer_choices[label] }}'
    metadata: !TemplateMetadata {original_task: true}
    name: which
  b: !Template
    answer_choices: No ||| Yes
    jinja: '{% if label == 1 %}{{ ["Read", "Look"] | choice }}: {{ text | upper }} ||| {{ answer_choices[label] }}{% endif %}'
    metadata: !TemplateMetadata {original_task: true}
    name: loud
"""


def table(path: Path, n: int, labels: Sequence[str] = ("yes", "no"), seed: int = 3) -> Path:
    """Sentences with a hint and a label each: some stand twice, contradict, are long, or have no hint or no label."""
    draw, said, lines = random.Random(f"{seed} {n}"), list[tuple[str, str]](), ["text,hint,label,talk"]
    for i in range(n):
        text = " ".join(draw.choices(WORDS, k=draw.randint(25, 75) if draw.random() < 0.08 else draw.randint(5, 14)))
        hint = "" if draw.random() < 0.05 else " ".join(draw.choices(WORDS, k=3))
        if said and draw.random() < 0.15:
            text, hint = draw.choice(said)
            text += draw.choice(["", "", "!", f" {draw.choice(WORDS)}"])
        said.append((text, hint))
        lines.append(f"{text},{hint},{draw.choice(labels)},talk{i // 7}")
    lines[9], lines[20] = "too,many,cells,in,here", f",clue,{labels[0]},talk1"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def recipe(path: Path, sets: str, kind: str, train: dict[str, Any] | None = None, **data: Any) -> Recipe:
    suffix = ".yaml" if "!Template" in sets else ".toml"
    file = path.with_name(f"set{suffix}")
    if "\n" in sets:
        file.write_text(sets, "utf-8")
    usual = {"path": str(path), "input": "text", "target": "label", "templates": str(file) if "\n" in sets else sets}
    return parse({"name": "made", "task": {"kind": kind}, "data": {**usual, **data}, "train": train or {}})


def same(given: Recipe, folder: Path, **how: Any) -> Run:
    """The run in memory, once it is clear that it holds the same as the one made as a stream."""
    streamed, run = stages.prepare_stream(given, folder / "streamed", **how), stages.prepare(given, folder / "in_memory")
    for name in FILES:
        assert (streamed.path / name).read_bytes() == (run.path / name).read_bytes(), name
    assert json.dumps(streamed.manifest["dataset"]) == json.dumps(run.manifest["dataset"])
    return run


def asked(run: Run) -> set[str]:
    """The names of the templates that training rows are asked with."""
    return {example.template.name for example in run.examples("train") if example.template}


PAIR: dict[str, Any] = {"input": ["text", "hint"], "template_fields": {"question": "text"}}
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "labels of the recipe's table": (LABELLED, "classify", {}, {}),
    "one template, options always": (LABELLED, "classify", {}, {"template": "promise", "options_fraction": 1.0}),
    "groups": (LABELLED, "classify", {}, {"group": "talk", "options_fraction": 0.2}),
    "worked examples": (LABELLED, "classify", {}, {"few_shot_fraction": 0.4, "shots": 3}),
    "labels that are written": (LABELLED, "generate", {}, {"inverted_fraction": 0.2, "few_shot_fraction": 0.1}),
    "too long, dropped": (LABELLED, "classify", {"max_length": 170, "too_long": "drop"}, {"options_fraction": 0.4}),
    "too long, cut": (
        LABELLED, "classify", {"max_length": 170, "too_long": "truncate"}, {"options_fraction": 0.4, "few_shot_fraction": 0.3},
    ),
    "free answers": (FREE, "generate", {}, PAIR),
    "turned around": (FREE, "generate", {}, {**PAIR, "inverted_fraction": 0.3, "few_shot_fraction": 0.3, "shots": 1}),
    "one that is turned around": (
        FREE, "generate", {}, {"template_fields": {"question": "text"}, "template": "what was asked"},
    ),
    "a column for two fields, cut": (
        FREE, "generate", {"max_length": 300, "too_long": "truncate"},
        {"template_fields": {"question": "text", "hint": "text"}, "few_shot_fraction": 0.2},
    ),
    "a field that is the same for all": (FREE, "generate", {}, {"template_fields": {"question": "text", "hint": "=think"}}),
    "a set of our own": ("topic", "classify", {}, {"input": "text"}),
}  # fmt: skip


@pytest.mark.parametrize(("sets", "kind", "train", "data"), CASES.values(), ids=CASES)
def test_the_same_bytes_as_in_memory(tmp_path: Path, sets: str, kind: str, train: dict[str, Any], data: dict[str, Any]) -> None:
    run = same(recipe(table(tmp_path / "t.csv", 400), sets, kind, train or {"too_long": "drop"}, **data), tmp_path)
    made = run.manifest["dataset"]
    assert {"duplicate", "bad_row"} <= made["dropped"].keys() and made["templates"] == len(run.templates)
    assert len(asked(run)) > 1 or "template" in data
    assert ("no_prompt" in made["dropped"]) == ("hint" in data.get("input", ()))
    assert not train or any("do not fit their own template" in note for note in made["notes"])
    assert not train or {"drop": "too_long", "truncate": "truncated"}[train["too_long"]] in made["dropped"]
    assert not data.get("few_shot_fraction") or any("-shot" in name for name in asked(run))
    assert not data.get("inverted_fraction") or any(name.startswith(("w", "what")) for name in asked(run))


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    given = recipe(table(tmp_path / "t.csv", 2500), LABELLED, "generate", {"too_long": "drop"}, few_shot_fraction=0.1)
    same(given, tmp_path, processes=2)


@pytest.mark.filterwarnings("ignore")  # Ray warns of its own deprecated settings
def test_ray_makes_the_same_bytes(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason='needs Ray, which the lock leaves out: pip install "ray[data]==2.60.*"')
    ray.init(num_cpus=2, object_store_memory=150_000_000, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        same(recipe(table(tmp_path / "t.csv", 2500), LABELLED, "classify", {"too_long": "drop"}), tmp_path, ray=True)
    finally:
        ray.shutdown()


def test_a_template_that_skips_rows_and_draws(tmp_path: Path) -> None:
    """Jinja: one template's condition does not hold for half of the rows, which keep the one that stands for all."""
    given = recipe(table(tmp_path / "t.csv", 120, labels=("1", "0")), JINJA, "generate", {"too_long": "drop"})
    run = same(given, tmp_path)
    assert asked(run) == {"which", "loud"}
    assert any("do not fit their own template" in note for note in run.manifest["dataset"]["notes"])


def test_files_that_are_splits_of_their_own(tmp_path: Path) -> None:
    paths = [table(tmp_path / f"{name}.csv", n, seed=n) for name, n in (("all", 400), ("held", 80), ("last", 70))]
    rows = paths[0].read_text("utf-8").splitlines()[30:60]
    paths[1].write_text(paths[1].read_text("utf-8") + "\n".join(rows) + "\n", "utf-8")
    data: dict[str, Any] = {**PAIR, "validation_path": str(paths[1]), "test_path": str(paths[2])}
    run = same(recipe(paths[0], FREE, "generate", {"max_length": 150, "too_long": "drop"}, **data), tmp_path)
    assert {"leak", "no_prompt", "too_long"} <= run.manifest["dataset"]["dropped"].keys()


def test_cells_are_called_as_the_labels_of_the_set(tmp_path: Path) -> None:
    """What repeats is found before: `ja` and `JA` are one answer, and only the one that stays must be a label."""
    path = table(tmp_path / "t.csv", 200, labels=("ja", "nein"))
    path.write_text(path.read_text("utf-8") + "the very last row,hint,ja,talk\nthe very last row,hint,JA,talk\n", "utf-8")
    names = {"ja": "yes", "nein": "no"}
    same(recipe(path, LABELLED, "generate", {"too_long": "drop"}, label_names=names), tmp_path)


def refused(given: Recipe, folder: Path) -> str:
    """In what words it is refused, in memory and as a stream."""
    said = []
    for prepare in (stages.prepare, stages.prepare_stream):
        with pytest.raises(DataError) as error:
            prepare(given, folder / "run")
        said.append(str(error.value))
    assert said[0] == said[1]
    assert not (folder / "run").exists()
    return said[0]


def test_what_is_refused_is_refused_alike(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", 120)
    text = path.read_text("utf-8")
    assert "longer than 120 tokens" in refused(recipe(path, FREE, "generate", {"max_length": 120}, **PAIR), tmp_path)
    assert "is no column of [data] input" in refused(
        recipe(path, FREE, "generate", template_fields={"question": "txt", "hint": "text"}), tmp_path
    )
    path.write_text(text.replace(",yes,", ",yess,"), "utf-8")
    assert "'yess' (" in refused(recipe(path, LABELLED, "generate"), tmp_path)
    assert "'yess' is none of its labels" in refused(recipe(path, LABELLED, "classify"), tmp_path)
    path.write_text("text,hint,label\n" + "".join(f"number {i} of {WORDS[i]},,yes\n" for i in range(40)), "utf-8")
    assert "No row can be rendered" in refused(recipe(path, FREE, "generate", **PAIR), tmp_path)


def test_what_cannot_be_cut_is_refused_only_where_it_stays(tmp_path: Path) -> None:
    """An answer is never cut; but a row that goes for another reason is no error."""
    long = " ".join(WORDS)
    path = table(tmp_path / "t.csv", 120)
    text = path.read_text("utf-8")
    path.write_text(text + f"one too many,,{long},talk\n", "utf-8")
    given = recipe(path, FREE, "generate", {"max_length": 120, "too_long": "truncate"}, **PAIR)
    assert same(given, tmp_path).manifest["dataset"]["dropped"]["no_prompt"]
    path.write_text(text + f"one too many,hint,{long},talk\n", "utf-8")
    assert "instruction and answer alone need more than 120 tokens" in refused(given, tmp_path / "refused")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("promises/mimac_pledges_sv_a.tsv", {"input": "text", "target": "binary_pledge", "group": "manifesto_id"}),
        ("e2e/devset.csv", {"input": "mr", "target": "ref", "template_fields": {"data": "mr"}, "inverted_fraction": 0.3}),
        ("classification/banking77_test.csv", {"input": "text", "target": "category", "few_shot_fraction": 0.2}),
    ],
)
def test_real_tables(shared: Path, tmp_path: Path, name: str, data: dict[str, Any]) -> None:
    """Nine hundred lines of each, with whet's own sets."""
    lines = (shared / "data" / name).read_text("utf-8-sig").splitlines(keepends=True)[:900]
    path = tmp_path / Path(name).name
    path.write_text("".join(lines), "utf-8")
    sets, kind = ("data_to_text", "generate") if "ref" in data.values() else ("classification", "classify")
    run = same(recipe(path, sets, kind, {"too_long": "drop"}, **data), tmp_path)
    assert len(asked(run)) > 4


def test_templates_of_promptsource_on_the_messages_they_are_for(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "data/classification/sms.tsv").read_text("utf-8").splitlines(keepends=True)[:150]
    (tmp_path / "sms.tsv").write_text("".join(lines), "utf-8")
    data = {
        "header": False, "input": "column_2", "target": "column_1", "label_names": {"ham": "0", "spam": "1"},
        "template_fields": {"sms": "column_2"}, "few_shot_fraction": 0.2,
    }  # fmt: skip
    sets = (shared / "data/promptsource/sms_spam/templates.yaml").read_text("utf-8")
    run = same(recipe(tmp_path / "sms.tsv", sets, "generate", {"too_long": "drop"}, **data), tmp_path)
    assert len(asked(run)) > 4


def test_no_more_worked_examples_are_read_than_are_chosen_from() -> None:
    read: list[int] = []

    def rows(targets: str) -> Iterator[tuple[str, int]]:
        for n, target in enumerate(targets):
            read.append(n)
            yield target, n

    assert in_turn(rows("aabacbbc"), 2) == [0, 2] and len(read) == 3
    assert in_turn(rows("aaab"), 3) == [0, 3, 1]
    read.clear()
    assert in_turn(rows("aabbbbbb"), 3, targets=2) == [0, 2, 1] and len(read) == 4
