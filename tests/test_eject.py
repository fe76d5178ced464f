"""`whet eject`: the script on TRL learns what whet learns, step by step; what it cannot do is said."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_parts import make_base, recipe, write_table

from whet import stages
from whet.errors import RecipeError, RunError
from whet.recipe import Recipe, load, parse
from whet.run import Run
from whet.sections import Train

ROOT = Path(__file__).resolve().parent.parent
BOOK, EMBEDDED = ROOT / "recipes" / "promise-detector-qlora.toml", ROOT / "src" / "whet" / "base" / "whetstone"

OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
ROWS = 44
LORA = {"r": 4, "lora_alpha": 8}
# What each case changes in the recipe: float32, no dropout and no noise, so that nothing but arithmetic is left to differ.
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": LORA},
    "lora, smoothed over the vocabulary": {"lora": LORA, "train": {"label_smoothing_factor": 0.1}},
    "accumulation": {"train": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}},
    "cosine with warm-up": {"train": {"lr_scheduler_type": "cosine", "warmup_ratio": 0.3}},
    "warm-up stable decay": {
        "train": {"lr_scheduler_type": "warmup_stable_decay", "warmup_steps": 2, "lr_scheduler_kwargs": {"num_decay_steps": 4}}
    },
    "nf4": {"lora": LORA, "model": {"quantize": "nf4", "bnb_4bit_use_double_quant": True}},
    "int8, one kind of layer whole": {"lora": LORA, "model": {"quantize": "int8", "llm_int8_skip_modules": ["down_proj"]}},
    "weight decay": {"train": {"weight_decay": 0.5, "learning_rate": 1e-2}},
    "lora on one layer": {"lora": {**LORA, "layers_to_transform": [1], "exclude_modules": ["mlp"], "use_rslora": True}},
    "sgd with momentum, clipped": {
        "train": {"optim": "sgd", "optim_args": {"momentum": 0.9, "nesterov": 1.0}, "learning_rate": 0.1, "max_grad_norm": 0.5}
    },
    "packing": {"train": {"packing": True}},
    "checkpointing": {"train": {"gradient_checkpointing": True}, "lora": LORA},
    "grouped by length": {"train": {"train_sampling_strategy": "group_by_length"}},
    "balanced by sampling": {"train": {"class_balance": "sampling"}},
    "random weights, two and a half epochs": {"model": {"random_weights": True}, "train": {"num_train_epochs": 2.5}},
}


def case(base: Path, table: Path, sections: dict[str, Any]) -> Recipe:
    """The recipe of one case."""
    return recipe(table, base, **sections)


def run_scripts(scripts: list[Path]) -> None:
    """Runs them one after the other in one Python that knows nothing of whet, as each would run alone."""
    code = "import runpy, sys; [runpy.run_path(script, run_name='__main__') for script in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *map(str, scripts)],
        cwd=scripts[0].parent, env=OFFLINE, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "table.csv", rows=ROWS)


@pytest.fixture(scope="module")
def folder(tiny_base: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the script of each case lies, `0.py` the first of them, and what it has trained."""
    where = tmp_path_factory.mktemp("scripts")
    scripts = [where / f"{number}.py" for number in range(len(CASES))]
    for path, sections in zip(scripts, CASES.values(), strict=True):
        made = stages.eject(case(tiny_base, table, sections), path, same_order=True)
        assert made.rows % 8, "the last step of an epoch is to be a smaller one"
    run_scripts(scripts)
    return where


def theirs(model: Path) -> list[dict[str, float]]:
    log = json.loads((model / "trainer_state.json").read_text())["log_history"]
    return [line for line in log if "loss" in line]


def ours(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_trl_and_whet_lose_the_same(number: int, folder: Path, tiny_base: Path, table: Path, tmp_path: Path) -> None:
    run = stages.prepare(case(tiny_base, table, list(CASES.values())[number]), tmp_path / "run")
    mine, others = ours(stages.train(run)), theirs(folder / f"{number}_model")
    assert len(mine) == len(others) >= 6
    for one, other in zip(mine, others, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert one["lr"] == pytest.approx(other["learning_rate"], rel=1e-6)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-2)


def settings_of(script: Path) -> dict[str, str]:
    """The arguments of SFTConfig, as written."""
    calls = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    (found,) = [call for call in calls if ast.unparse(call.func) == "SFTConfig"]
    return {str(keyword.arg): ast.unparse(keyword.value) for keyword in found.keywords}


# What stands in the script of the plainest recipe: what the recipe says, and what TRL would do otherwise by itself.
PLAIN = {
    "output_dir", "seed", "per_device_train_batch_size", "num_train_epochs", "max_length", "optim", "learning_rate",
    "lr_scheduler_type", "max_grad_norm", "bf16", "activation_checkpointing", "logging_steps", "save_strategy",
}  # fmt: skip
# A key of [train] with a value, and what it changes among the settings.
KNOBS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"optim": "lion_32bit"}, {"optim": "'lion_32bit'"}),
    ({"optim": "ademamix", "optim_args": {"t_alpha": 1e6}}, {"optim": "'ademamix'", "optim_args": "'t_alpha=1000000'"}),
    ({"learning_rate": 3e-4}, {"learning_rate": "0.0003"}),
    ({"weight_decay": 0.01}, {"weight_decay": "0.01"}),
    ({"adam_beta1": 0.8}, {"adam_beta1": "0.8"}),
    ({"adam_beta2": 0.95}, {"adam_beta2": "0.95"}),
    ({"adam_epsilon": 1e-6}, {"adam_epsilon": "1e-06"}),
    ({"lr_scheduler_type": "cosine"}, {"lr_scheduler_type": "'cosine'"}),
    (
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}},
        {"lr_scheduler_type": "'cosine_with_min_lr'", "lr_scheduler_kwargs": "{'min_lr_rate': 0.1}"},
    ),
    ({"warmup_ratio": 0.03}, {"warmup_steps": "0.03"}),
    ({"warmup_ratio": 0.03, "warmup_steps": 5}, {"warmup_steps": "5"}),
    ({"num_train_epochs": 2.5}, {"num_train_epochs": "2.5"}),
    ({"max_steps": 3}, {"max_steps": "3", "num_train_epochs": ""}),
    ({"max_steps": 900}, {"max_steps": "8", "num_train_epochs": ""}),
    ({"per_device_train_batch_size": "auto"}, {"per_device_train_batch_size": "16"}),
    ({"gradient_accumulation_steps": 4}, {"gradient_accumulation_steps": "4"}),
    ({"max_grad_norm": 0}, {"max_grad_norm": "0"}),
    ({"label_smoothing_factor": 0.1}, {"label_smoothing_factor": "0.1"}),
    ({"label_smoothing_factor": 0.1, "label_smoothing_over": "labels"}, {}),
    ({"neftune_noise_alpha": 5}, {"neftune_noise_alpha": "5"}),
    ({"class_balance": "weights"}, {}),
    ({"train_sampling_strategy": "group_by_length"}, {"train_sampling_strategy": "'group_by_length'"}),
    ({"packing": True}, {"padding_free": "True"}),
    ({"max_length": 128}, {}),
    ({"save_steps": 50}, {"save_steps": "50", "save_strategy": ""}),
    ({"logging_steps": 10}, {"logging_steps": "10"}),
    ({"bf16": True}, {"bf16": "True"}),
    ({"gradient_checkpointing": True}, {"activation_checkpointing": "True"}),
    ({"eval_steps": 10}, {}),
    ({"too_long": "drop"}, {}),
    ({"share_prefix": False}, {}),
]


def test_nothing_stands_in_the_script_that_was_not_asked_for(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    script = stages.eject(recipe(table, tiny_base), tmp_path / "plain.py").script
    assert settings_of(script).keys() == PLAIN
    text = script.read_text()
    assert not any(word in text for word in ("peft", "bitsandbytes", "class ", "LambdaLR", "import re\n", "whet import"))


def test_every_key_of_train_changes_what_it_names_and_nothing_else(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    plain = settings_of(stages.eject(recipe(table, tiny_base), tmp_path / "script.py").script)
    for number, (train, changes) in enumerate(KNOBS):
        script = stages.eject(recipe(table, tiny_base, train=train), tmp_path / f"script{number}.py").script
        wanted = {**plain, **changes, "output_dir": f"str(HERE / 'script{number}_model')"}
        assert settings_of(script) == {key: value for key, value in wanted.items() if value}, train
    assert {key for train, _ in KNOBS for key in train} == set(Train.model_fields)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, "keeps the best weights; the script keeps the last"),
        ({}, "the script only trains"),
        ({}, "The order of the rows is drawn by TRL"),
        ({"train": {"per_device_train_batch_size": "auto"}}, "TRL would shrink the step with the micro-batch"),
        ({"train": {"label_smoothing_factor": 0.1, "label_smoothing_over": "labels"}}, "the script does not smooth at all"),
        ({"train": {"neftune_noise_alpha": 5}}, "by the padded length of the micro-batch"),
        ({"train": {"class_balance": "weights"}}, "TRL weights no examples"),
        ({"train": {"class_balance": "sampling"}}, "TRL draws no label more often"),
        ({"train": {"optim": "muon"}}, 'optim = "muon": Transformers has no such name'),
        ({"train": {"optim_args": {"amsgrad": 1}}}, "Transformers passes no amsgrad to adamw_torch"),
        ({"train": {"optim": "rmsprop_bnb", "optim_args": {"alpha": 0.9}}}, "passes none that rmsprop_bnb could read"),
        ({"lora": {"lora_dropout": 0.1}}, "Dropout is drawn by torch as it comes"),
        ({"lora": {"use_dora": True}, "train": {"weight_decay": 0.1}}, "the magnitudes of DoRA"),
    ],
)
def test_what_the_script_does_not_do_is_said_at_its_top(
    sections: dict[str, Any], said: str, tiny_base: Path, table: Path, tmp_path: Path
) -> None:
    made = stages.eject(recipe(table, tiny_base, **sections), tmp_path / "script.py")
    assert any(said in sentence for sentence in made.differences)
    top = " ".join(str(ast.get_docstring(ast.parse(made.script.read_text()))).split())
    assert all(f"- {sentence}" in top for sentence in made.differences)


def test_what_the_script_does_is_not_said_to_be_missing(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    balanced = recipe(table, tiny_base, train={"class_balance": "sampling"})
    assert len(stages.eject(balanced, tmp_path / "script.py", same_order=True).differences) == 2


def test_the_adapters_of_a_stack_are_merged_first_and_that_is_said(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    below = stages.prepare(recipe(table, tiny_base, lora=LORA, train={"max_steps": 1}), tmp_path / "below")
    stages.train(below)
    on_run = recipe(table, below.path, lora=LORA, train={"max_steps": 2})
    made = stages.eject(on_run, tmp_path / "script.py", same_order=True)
    assert any("adapters on the base are merged into it" in sentence for sentence in made.differences)
    run_scripts([made.script])
    mine, others = ours(stages.train(stages.prepare(on_run, tmp_path / "on_run"))), theirs(tmp_path / "script_model")
    assert [line["loss"] for line in mine] == pytest.approx([line["loss"] for line in others], abs=1e-4)


def test_names_of_layers_mean_what_they_mean_in_whet(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    """As PEFT reads them where it reads them alike, else spelled out."""
    for number, (lora, line) in enumerate([
        ({"target_modules": ["q_proj", "v_proj"]}, '    target_modules=["q_proj", "v_proj"],'),
        ({"target_modules": "q_proj"}, '    target_modules=["q_proj"],'),
        ({"target_modules": r".*\.[qk]_proj"}, r'    and re.fullmatch(".*\\.[qk]_proj", name)'),
        ({"exclude_modules": ["mlp"]}, '    and not any(f".{part}." in f".{name}." for part in ["mlp"])'),
        ({"bias": "all", "modules_to_save": ["lm_head"], "init_lora_weights": "gaussian"}, '    modules_to_save=["lm_head"],'),
    ]):  # fmt: skip
        script = stages.eject(recipe(table, tiny_base, lora=lora), tmp_path / f"{number}.py").script
        assert line in script.read_text().splitlines()


def test_layers_are_kept_whole_on_a_cpu_only_where_their_rows_are_odd(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    """The tiny base has an input of 96, which bitsandbytes spoils there; Llama 2 has none."""
    nf4 = {"lora": LORA, "model": {"quantize": "nf4"}}
    odd = stages.eject(recipe(table, tiny_base, **nf4), tmp_path / "odd.py").script.read_text()
    assert "module.in_features % 64 and not torch.cuda.is_available()" in odd and "llm_int8_skip_modules=whole" in odd
    even_base = make_base(tmp_path / "even", EMBEDDED, intermediate_size=128)
    even = stages.eject(recipe(table, even_base, **nf4), tmp_path / "even.py").script.read_text()
    assert "skeleton" not in even and "skip_modules" not in even
    assert "module.support_avx512bf16_for_cpu = False" in odd and "module.support_avx512bf16_for_cpu = False" in even


def test_the_scripts_are_as_a_formatter_would_have_them(folder: Path, tmp_path: Path) -> None:
    stages.eject(load(BOOK), tmp_path / "book.py")
    for command in ("check", "--select=E,F,I,UP,B"), ("format", "--check"):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length=128", str(tmp_path), str(folder)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def test_plain_text_and_a_script_that_is_there_are_refused(tiny_base: Path, table: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("We will build.\n\n" * 40)
    text = parse({"name": "text", "task": {"kind": "text"}, "data": {"path": str(tmp_path / "notes.txt")}})
    with pytest.raises(RecipeError, match="the script knows prompts and completions only"):
        stages.eject(text, tmp_path / "text.py")
    (tmp_path / "mine.py").write_text("# changed by hand\n")
    with pytest.raises(RunError, match=r"mine.py: there is a file already, and you may have changed it. Name another"):
        stages.eject(recipe(table, tiny_base), tmp_path / "mine.py")
    assert (tmp_path / "mine.py").read_text() == "# changed by hand\n"


def test_the_command_and_its_script_on_the_embedded_base(tmp_path: Path) -> None:
    """As a user would: one command, one script, no whet needed for it, and the losses of whet to 1e-4."""
    short = ["--set", "train.max_steps=2", "--set", "train.per_device_train_batch_size=4", "--set", "train.warmup_ratio=0.0"]
    short += ["--set", "train.label_smoothing_over=vocabulary"]  # over the labels, as the recipe has it, TRL cannot smooth
    recipe_file = str(BOOK.with_name("promise-detector.toml"))
    shell: dict[str, Any] = {
        "cwd": tmp_path,
        "env": OFFLINE,
        "capture_output": True,
        "text": True,
        "check": False,
        "timeout": 300,
    }
    command = [sys.executable, "-m", "whet", "eject", recipe_file, "--same-order", *short]
    done = subprocess.run(command, **shell)
    assert done.returncode == 0 and done.stdout == "promise-detector_trl.py\n", done.stderr
    assert "What whet does and this script does not:" in done.stderr and "keeps the last." in done.stderr
    assert subprocess.run(command, **shell).returncode == 2
    told = subprocess.run([*command, "--json", "-o", "other.py"], **shell)
    assert json.loads(told.stdout)["rows"] == 1723 and json.loads(told.stdout)["script"] == "other.py"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("promise-detector_trl.py", "promise-detector_trl_data"):
        (tmp_path / name).rename(moved / name)
    run_scripts([moved / "promise-detector_trl.py"])
    overrides = [text for text in short if text != "--set"]
    run = stages.train(stages.prepare(load(Path(recipe_file), [*overrides, "evaluate.batch_size=64"]), tmp_path / "run"))
    others = theirs(moved / "promise-detector_trl_model")
    assert [line["loss"] for line in ours(run)] == pytest.approx([line["loss"] for line in others], abs=1e-4)
    assert (moved / "promise-detector_trl_model" / "model.safetensors").exists()
