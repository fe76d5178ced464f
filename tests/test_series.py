"""Stages in a row: one file, several recipes, each run starting from the last; all mistakes of all stages at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from engine_parts import OBJECTS, SUBJECTS, VERBS, write_table

from whet import stages
from whet.base.promises import shipped
from whet.cli import main
from whet.errors import DataError, RecipeError, RunError, UserError
from whet.recipe import Recipe, load
from whet.run import Run
from whet.series import load_series, pick, run_folder, stage_name

SERIES = """
name = "ladder"
seed = 3
[model]
base = "{base}"
[train]
learning_rate = 1e-2
max_steps = 2
per_device_train_batch_size = 4
max_length = 64
[evaluate]
bootstrap_samples = 100
baselines = ["zero_shot"]

[[stage]]
name = "read"
task = {{ kind = "text" }}
data = {{ path = "talks", mix_path = "tasks.json", mix_fraction = 0.3 }}

[[stage]]
name = "follow"
task = {{ kind = "generate" }}
data = {{ path = "tasks.json", instruction = "instruction", input = "input", target = "output" }}
lora = {{ r = 2 }}
train = {{ learning_rate = 2e-2 }}
evaluate = {{ max_new_tokens = 4 }}

[[stage]]
name = "judge"
task = {{ instruction = "Is this a promise?", labels = ["False", "True"] }}
data = {{ path = "table.csv", input = "sentence", target = "is_promise", group = "speech" }}
lora = {{ r = 2 }}
"""


def write_series(folder: Path, base: Path | str, text: str = SERIES) -> Path:
    """A recipe of three stages with its data: twelve talks, sixty instructions, a table of promises."""
    rng = np.random.default_rng(5)
    (folder / "talks").mkdir(parents=True, exist_ok=True)
    for n in range(12):
        words = [f"{SUBJECTS[rng.integers(8)]} {VERBS[rng.integers(8)]} {OBJECTS[rng.integers(8)]}." for _ in range(25)]
        (folder / "talks" / f"{n}.txt").write_text(f"Talk {n}. " + " ".join(words), "utf-8")
    tasks = [{"instruction": f"Say {n} twice.", "input": "" if n % 3 else f"{n}", "output": f"{n} {n}"} for n in range(60)]
    (folder / "tasks.json").write_text(json.dumps(tasks), "utf-8")
    write_table(folder / "table.csv")
    (folder / "ladder.toml").write_text(text.format(base=base), "utf-8")
    return folder / "ladder.toml"


@pytest.fixture(scope="module")
def climbed(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a series that was run, its recipe and data beside it."""
    folder = tmp_path_factory.mktemp("series")
    stages.run_series(load_series(write_series(folder, tiny_base), out=folder / "out"), folder / "out")
    return folder


def test_a_stage_is_the_file_with_its_own_values_over_it(tmp_path: Path) -> None:
    series = load_series(write_series(tmp_path, "whetstone"), ["train.max_steps=7"], tmp_path / "out")
    assert [r.name for r in series] == ["ladder/read", "ladder/follow", "ladder/judge"]
    assert [r.train.learning_rate for r in series] == [1e-2, 2e-2, 1e-2]
    assert [(r.train.max_steps, r.train.max_length, r.seed) for r in series] == [(7, 64, 3)] * 3, "--set goes to every stage"
    assert [r.task.kind for r in series] == ["text", "generate", "classify"] and series[2].evaluate.baselines == ("zero_shot",)
    assert series[0].lora is None and series[1].lora is not None
    assert [r.model.base for r in series] == ["whetstone", str(tmp_path / "out" / "read"), str(tmp_path / "out" / "follow")]
    assert series[0].data.path == str(tmp_path / "talks"), "paths are taken from the recipe's folder"
    assert run_folder(series, series[1], tmp_path / "out") == tmp_path / "out" / "follow"
    assert run_folder(series, series[1], None) == Path("runs/ladder/follow")
    assert pick(series, "judge", "x") == series[2] and stage_name(series[2]) == "judge"


def test_what_the_first_stage_began_with_is_not_put_on_again(tmp_path: Path) -> None:
    path = write_series(tmp_path, "whetstone", SERIES.replace("[model]", "[model]\nrandom_weights = true"))
    assert [r.model.random_weights for r in load_series(path)] == [True, False, False]


def test_a_recipe_without_stages_is_a_series_of_one(tmp_path: Path) -> None:
    one = SERIES.partition("[[stage]]")[0] + '[task]\nkind = "text"\n[data]\npath = "talks"\n'
    path = write_series(tmp_path, "whetstone", one)
    series = load_series(path, ["name=alone"])
    assert series == (load(path, ["name=alone"]),) and run_folder(series, series[0], tmp_path) == tmp_path
    with pytest.raises(RecipeError, match=r"--stage read: it has no stages. Leave --stage out"):
        pick(series, "read", "ladder.toml")


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_series(write_series(folder, "whetstone", text))
    return [str(p) for p in caught.value.problems]


def test_everything_wrong_in_every_stage_is_said_at_once(tmp_path: Path) -> None:
    text = SERIES.replace("max_length = 64", "max_lenght = 64").replace("{{ learning_rate", "{{ learning_rat")
    text = text.replace('labels = ["False", "True"]', 'labels = ["True"]').replace('lora = {{ r = 2 }}\n"""', "")
    text += "model = {{ base = 'other/model' }}\n"
    assert problems(tmp_path, text) == [
        "ladder.toml, [train] max_lenght: there is no such key. Did you mean `max_length`?",
        "ladder.toml, [[stage]] follow, [train] learning_rat: there is no such key. Did you mean `learning_rate`?",
        "ladder.toml, [[stage]] judge, [model] base: a stage starts from the one before it, here follow. Leave base out.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "follow"\n', "", "[[stage]] number 2: it has no name"),
        ('name = "follow"', 'name = "read"', "[[stage]] read: two stages have this name"),
        ('name = "follow"', 'name = "a b"', "[[stage]] a b, name: 'ladder/a b' does not do"),
        ('name = "ladder"', "", "ladder.toml, name: this key is missing"),
        (SERIES.partition("[[stage]]")[2], '\nname = "only"\n', "one stage is no series"),
        (SERIES.partition("seed = 3")[2], "\n[stage]\nname = 'x'\n", "Write each as [[stage]]"),
    ],
)
def test_stages_that_make_no_series(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert any(said in p for p in problems(tmp_path, SERIES.replace(old, new)))


def test_one_recipe_is_not_read_out_of_a_series(tmp_path: Path) -> None:
    path = write_series(tmp_path, "whetstone")
    with pytest.raises(RecipeError, match=r"it is a series of stages, and one recipe is wanted here. Name one with --stage"):
        load(path)


def test_every_stage_is_a_run_on_the_last(climbed: Path) -> None:
    read, follow, judge = (Run.open(climbed / "out" / name) for name in ("read", "follow", "judge"))
    assert [r.has("report.html") and r.has("evaluation.json") for r in (read, follow, judge)] == [True] * 3
    assert read.has("model") and follow.has("adapter") and judge.has("adapter")
    assert follow.manifest["base"]["name"] == str(read.path) and str(read.path) in follow.manifest["data"]
    assert judge.manifest["base"]["name"] == str(follow.path)


def test_a_stage_begins_with_the_weights_that_the_last_one_ended_with(climbed: Path) -> None:
    import torch

    from whet.engine.model import load_base, load_result

    ids = torch.tensor([[0, 5, 6, 7, 8]])
    for earlier, later in (("read", "follow"), ("follow", "judge")):
        with torch.inference_mode():
            ended = load_result(Run.open(climbed / "out" / earlier))(input_ids=ids).logits
            began = load_base(Run.open(climbed / "out" / later).recipe)(input_ids=ids).logits
            after = load_result(Run.open(climbed / "out" / later))(input_ids=ids).logits
        torch.testing.assert_close(ended, began, rtol=0, atol=1e-5)
        assert (after - began).abs().max() > 1e-4, later


def test_text_is_measured_against_the_base(climbed: Path, tiny_base: Path) -> None:
    """The figures of a test document, computed by plain means: one forward pass, no windows, no padding."""
    import torch
    from transformers import AutoModelForCausalLM

    from whet.data import tokens as tokenizers

    run = Run.open(climbed / "out" / "read")
    found = run.read_json("evaluation.json")
    rows, documents = run.read_lines("predictions.jsonl"), run.examples("test")
    assert [r["id"] for r in rows] == [e.id for e in documents] and found["n"] == len(rows) >= 2
    tokens = tokenizers.load(str(tiny_base))
    ids = [*tokens.prompt(documents[0].text), tokens.end]
    windows = [ids[s : s + 64] for s in range(0, len(ids) - 1, 63)]
    for name, folder in ((None, run.path / "model"), ("zero_shot", tiny_base)):
        model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(folder)
        model.eval()
        with torch.inference_mode():
            losses = [model(input_ids=torch.tensor([w]), labels=torch.tensor([w])).loss * (len(w) - 1) for w in windows]
        nats = rows[0]["nats"] if name is None else rows[0]["baselines"][name]
        assert nats == pytest.approx(float(sum(losses)), rel=1e-4)
    assert rows[0]["tokens"] == len(ids) - 1 and rows[0]["characters"] == len(documents[0].text)
    assert found["nats_per_token"] == pytest.approx(sum(r["nats"] for r in rows) / sum(r["tokens"] for r in rows))
    assert found["perplexity"] < found["baselines"]["zero_shot"]["perplexity"] and found["verdict"].startswith("It learned")
    low, high = found["intervals"]["nats_per_token"]
    assert low < found["nats_per_token"] < high


def test_instruction_rows_are_mixed_in_and_counted(climbed: Path) -> None:
    run = Run.open(climbed / "out" / "read")
    data = run.manifest["dataset"]
    train = run.examples("train")
    mixed = [e for e in train if e.target]
    assert len(mixed) == data["mixed"] > 0 and data["read"] == 72 == data["kept"] + sum(data["dropped"].values())
    assert all(e.instruction for e in mixed) and not any(e.target for e in (*run.examples("validation"), *run.examples("test")))
    assert f"{len(mixed)} instruction rows mixed in (30." in data["notes"][-1] or "(29." in data["notes"][-1]
    example, tokens = stages.show(run, len(train))
    learned = "".join(t.piece for t in tokens if t.carries_loss)
    assert learned == f" {example.target}<|endoftext|>", "a mixed row learns its answer, a text all but its first token"
    example, tokens = stages.show(run, 1)
    assert sum(not t.carries_loss for t in tokens) == -(-(len(tokens)) // 64) and example.target == ""


def test_an_instruction_of_its_own_comes_first(climbed: Path) -> None:
    run = Run.open(climbed / "out" / "follow")
    example, tokens = stages.show(run, 1)
    assert "".join(t.piece for t in tokens).startswith(f"<|endoftext|>{example.instruction}\n\n")
    assert run.read_json("evaluation.json")["verdict"].startswith("ROUGE-L is")


def test_a_finished_series_is_not_done_again(climbed: Path, tiny_base: Path) -> None:
    def written() -> dict[Path, int]:
        files = (p for p in (climbed / "out").rglob("*") if p.is_file() and p.name not in ("report.html", "run.lock"))
        return {p: p.stat().st_mtime_ns for p in files}

    before = written()
    made = stages.run_series(load_series(climbed / "ladder.toml", out=climbed / "out"), climbed / "out")
    assert made.path == climbed / "out" / "judge" and before == written()


def test_a_changed_earlier_stage_is_refused(climbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(climbed / "out", out)
    follow = load_series(climbed / "ladder.toml", out=climbed / "out")[1]
    weights = next((climbed / "out" / "read" / "model").glob("*.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"\0\0\0\0")
    try:
        with pytest.raises(RunError, match="read: the run that this one starts from changed since this run was begun"):
            stages.prepare(follow, climbed / "out" / "follow")
    finally:
        weights.write_bytes(content)
    changed: Recipe = load_series(climbed / "ladder.toml", ["train.max_steps=3"], climbed / "out")[0]
    with pytest.raises(RunError, match=r"train\.max_steps: this run was begun with 2"):
        stages.prepare(changed, climbed / "out" / "read")


def test_a_run_on_text_answers_nothing(climbed: Path) -> None:
    with pytest.raises(RunError, match=r"and answers nothing\. Train a task on it, with this folder as"):
        list(stages.predict(Run.open(climbed / "out" / "read"), [climbed / "talks" / "0.txt"]))


def test_a_document_brings_no_instruction_of_its_own(climbed: Path) -> None:
    with pytest.raises(DataError, match=r"a document brings none\. Give the recipe a \[task\] instruction too"):
        list(stages.predict(Run.open(climbed / "out" / "follow"), [climbed / "talks" / "0.txt"]))


def test_the_report_and_the_terminal_show_text(climbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (climbed / "out" / "read" / "report.html").read_text("utf-8")
    found = Run.open(climbed / "out" / "read").read_json("evaluation.json")
    assert "Perplexity" in page and "Document by document" in page and "talks/" in page and "test documents" in page
    assert f"{found['nats_per_token']:.3f}" in page and "nothing is asked" in page
    spare = Run.open(climbed / "out" / "read").manifest["dataset"]["dropped"]["not_drawn"]
    assert f"kept; the mix had {spare} rows more than were drawn." in page, "those that are not needed are not lost"
    assert main(["evaluate", str(climbed / "out" / "read")]) == 0
    said = capsys.readouterr().out
    assert "Perplexity ↓" in said and "documents of the test split" in said and f"{found['nats_per_token']:.3f}" in said


def test_the_command_line_knows_stages(
    climbed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(climbed)
    assert main(["check", "ladder.toml", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["stages"]) == ["read", "follow", "judge"]
    assert main(["check", "ladder.toml", "--stage", "judge"]) == 0
    assert "Stage judge\n120 rows read" in capsys.readouterr().out
    assert main(["train", "ladder.toml", "--out", "out"]) == 2
    assert "it has the stages read, follow, judge, and one is wanted here" in capsys.readouterr().err
    assert main(["train", "ladder.toml", "--out", "out", "--stage", "climb"]) == 2
    assert "there is no stage 'climb'. Its stages are read, follow, judge" in capsys.readouterr().err
    assert main(["train", "ladder.toml", "--out", "out", "--stage", "judge", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "out/judge"
    assert main(["prepare", "ladder.toml", "--out", "new", "--stage", "judge"]) == 2
    assert "an earlier stage is trained by `whet run`" in capsys.readouterr().err
    assert main(["run", "ladder.toml", "--out", "out", "--json"]) == 0
    told = capsys.readouterr()
    assert "stage 2 of 3, follow: generate, from read" in told.err and json.loads(told.out)["run"] == "out/judge"
    assert main(["show", "out/judge", "1", "--stage", "judge"]) == 2


def test_problems_of_all_stages_data_are_said_together(tmp_path: Path) -> None:
    path = write_series(tmp_path, "whetstone")
    shutil.rmtree(tmp_path / "talks")
    (tmp_path / "table.csv").write_text("sentence,is_promise\nx,True\n", "utf-8")
    with pytest.raises(UserError) as caught:
        stages.check_series(load_series(path))
    said = "\n".join(str(p) for p in caught.value.problems)
    assert "[[stage]] read, " in said and "[[stage]] judge, table.csv: there is no column 'speech'" in said


def test_three_stages_on_real_data(shared: Path, tmp_path: Path) -> None:
    """Inaugural addresses, Alpaca's instructions, promises, with whetstone: a few steps of each, and all of it is there."""
    rows = json.loads((shared / "data/alpaca/alpaca_5000.json").read_text("utf-8"))
    (tmp_path / "alpaca.json").write_text(json.dumps([r for r in rows if len(r["output"]) < 60][:80]), "utf-8")
    recipe = Path(__file__).parent.parent / "recipes" / "three-stages.toml"
    text = recipe.read_text("utf-8").replace("../../shared/data/alpaca/alpaca_5000.json", "alpaca.json")
    text = text.replace("../../shared/data/speeches", str(shared / "data/speeches/inaugural"))
    promises = shipped("promises_train.csv").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "promises.csv").write_text("".join(promises[:241]), "utf-8")
    text = text.replace("embedded:promises_train.csv", "promises.csv").replace('"\nvalidation_path', '"\n# ')
    text = text.replace("\ntest_path", "\n# ").replace("_fraction = 0.02", "_fraction = 0.1")
    (tmp_path / "three.toml").write_text(text, "utf-8")
    few = ["train.max_steps=3", "train.max_length=96", "evaluate.bootstrap_samples=100", "evaluate.max_new_tokens=8"]
    few += ["evaluate.baselines=['zero_shot']", "train.too_long='drop'"]
    made = stages.run_series(load_series(tmp_path / "three.toml", few, tmp_path / "out"), tmp_path / "out")
    read, follow = (Run.open(tmp_path / "out" / name).read_json("evaluation.json") for name in ("speeches", "instructions"))
    assert 3 < read["perplexity"] < read["baselines"]["zero_shot"]["perplexity"] < 200
    assert follow["n"] >= 5 and made.read_json("evaluation.json")["n"] > 20
