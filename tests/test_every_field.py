"""Every setting of the recipe changes something: for each, the same recipe twice, once with another value, and what differs.

A witness is what is looked at: the dataset, the rows of ids, the base as it is loaded, the training step by step with its
weights, the evaluation, what is kept in memory. Each witness gives the same twice for the same recipe (that is tested first),
so a difference is the setting's doing. Whether it is the right difference is what the tests of each module say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_parts import LABELS, OBJECTS, SUBJECTS, VERBS, make_base
from engine_parts import recipe as recipe_for
from scripted_server import ScriptedServer
from synth_witness import KEY, servers, synthesised

from whet import stages
from whet.data import dataset
from whet.data import tokens as tokenizers
from whet.data.table import Row, Scan
from whet.engine.course import build_course
from whet.engine.layout import choose_layout
from whet.engine.model import load_base
from whet.errors import UserError
from whet.progress import Silent
from whet.recipe import Recipe, known_keys
from whet.run import file_hash

ROOT = Path(__file__).resolve().parent.parent
Sections = Mapping[str, Any]
COLUMNS = ("sentence", "other", "is_promise", "mood", "do", "speech", "party")


# -- the witnesses -----------------------------------------------------------------------------------------------------


class Listening(Silent):
    """A Progress that remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.counts: list[int] = []

    def advance(self, count: int = 1, note: str = "") -> None:
        self.counts.append(count)
        self.notes.append(note)


def place_of(recipe: Recipe, folder: Path) -> object:
    """What the run is called and where it lies."""
    return stages.prepare(recipe).path.as_posix()


def read(recipe: Recipe, folder: Path) -> object:
    """The dataset: every example of every split, and what was dropped."""
    made = dataset.build(recipe, tokenizers.load(recipe.model.base))
    splits = {name: [e.to_json() for e in examples] for name, examples in made.splits.items()}
    return json.dumps([made.labels, splits, [d.to_json() for d in made.drops]])


def rows(recipe: Recipe, folder: Path) -> object:
    """The ids of the training rows."""
    tokens = tokenizers.load(recipe.model.base)
    made = dataset.build(recipe, tokens)
    return tokenizers.encode_all(made.splits["train"], recipe.task, tokens, recipe.train.max_length)


def base(recipe: Recipe, folder: Path) -> object:
    """What the loaded base computes, and what its layers are."""
    model = load_base(recipe)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[0, 5, 600, 70, 8]])).logits.float()
    return logits.tolist(), sorted({type(module).__name__ for module in model.modules()})


def trained(recipe: Recipe, folder: Path) -> object:
    """Each step's line without the clock's figures, the checkpoints that are left, and the hash of the weights."""
    run = stages.train(stages.prepare(recipe, folder))
    lines = [{k: v for k, v in r.items() if k not in ("seconds", "peak_bytes")} for r in run.read_lines("metrics.jsonl")]
    weights = {p.relative_to(run.path).as_posix(): file_hash(p) for p in run.path.glob("[am]*/*.safetensors")}
    return lines, weights, sorted(p.name for p in (run.path / "checkpoints").iterdir())


def told(recipe: Recipe, folder: Path) -> object:
    """What the training says on its way, without the figures in it."""
    progress = Listening()
    stages.train(stages.prepare(recipe, folder), progress)
    return [bool(note) for note in progress.notes]


def laid_out(recipe: Recipe, folder: Path) -> object:
    """The shape of the tensors that a micro-batch becomes."""
    run = stages.prepare(recipe, folder)
    tokens = tokenizers.load(recipe.model.base)
    encoded = tokenizers.encode_all(run.examples("train"), run.task, tokens, recipe.train.max_length)
    course = build_course(recipe, run.task, encoded, tokens, lambda model: (1.0, None), folder)
    layout = choose_layout(load_base(recipe), course, torch.device("cpu"), Silent())
    return [tuple(batch.ids.shape) for batch in layout.lay(encoded[:8])]


def kept(recipe: Recipe, folder: Path) -> object:
    """Bytes that the forward passes of a training keep for the backward passes."""
    total = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.nbytes
        return tensor

    run = stages.prepare(recipe, folder)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stages.train(run)
    return total


def judged(recipe: Recipe, folder: Path) -> object:
    """What evaluation.json and predictions.jsonl hold."""
    run = stages.train(stages.prepare(recipe, folder))
    return stages.evaluate(run), run.read_lines("predictions.jsonl")


def scored_at_a_time(recipe: Recipe, folder: Path) -> object:
    """How many examples are done each time that the evaluation says so."""
    progress = Listening()
    stages.evaluate(stages.train(stages.prepare(recipe, folder)), progress)
    return progress.counts


def made_up(recipe: Recipe, folder: Path) -> object:
    """What `whet synth` asks and makes."""
    return synthesised(MAKERS[0], recipe, folder)


WITNESSES: tuple[Callable[[Recipe, Path], object], ...] = (
    place_of, read, rows, base, trained, told, laid_out, kept, judged, scored_at_a_time, made_up
)  # fmt: skip


# -- the files that settings name --------------------------------------------------------------------------------------


def write_table(path: Path, seed: int, count: int = 96, encoding: str = "utf-8", mark: str = "") -> Path:
    """A table with a second choice for each column."""
    rng = np.random.default_rng(seed)

    def sentence(n: int) -> str:
        return f"{SUBJECTS[rng.integers(8)]} {VERBS[rng.integers(8)]} {OBJECTS[rng.integers(8)]} in ward {seed}{n}{mark}."

    lines = [",".join(COLUMNS)]
    for n in range(count):
        text = sentence(n)
        promise = "will" in text or "promise" in text
        mood, do = ("calm", "loud")[n % 2], ("Judge it.", "Decide it.")[n % 2]
        lines.append(f"{text},{sentence(n)},{promise},{mood},{do},{n // 8},{n // 24}")
    path.write_text("\n".join(lines) + "\n", encoding)
    return path


@pytest.fixture(scope="module")
def files(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Name to path of every file that a case may name, and to the address of two servers."""
    folder = tmp_path_factory.mktemp("files")
    tables = {name: write_table(folder / f"{name}.csv", seed) for seed, name in enumerate(("table", "table2", "held"), 1)}
    tables["french"] = write_table(folder / "french.csv", 4, encoding="cp1252", mark=" à Paris")
    pages = [write_table(folder / "page.csv", seed).read_text("utf-8") for seed in range(10, 18)]
    (folder / "book.txt").write_text("\n\n".join(pages).replace("\n", "\n\n"), "utf-8")
    tasks = [{"instruction": f"Say {n}.", "input": f"{n}", "output": f"{n}!", "do": f"Shout {n}.", "read": "x", "say": f"{n}?"}
             for n in range(300)]  # fmt: skip
    (folder / "tasks.json").write_text(json.dumps(tasks), "utf-8")
    (folder / "tasks2.json").write_text(json.dumps([{**t, "output": f"no {t['output']}"} for t in tasks]), "utf-8")
    tokenizer = ROOT / "src/whet/base/whetstone"
    bases = {"base": tiny_base, "base2": make_base(folder / "base2", tokenizer, rope_theta=500.0),
             "biased": make_base(folder / "biased", tokenizer, attention_bias=True)}  # fmt: skip
    below = recipe_for(tables["table"], tiny_base, lora={"r": 2}, train={"max_steps": 1})
    run = stages.train(stages.prepare(below, folder / "below"))
    stages.evaluate(run)
    adapter = run.path / "adapter"
    cells = tables["table"].read_text("utf-8").splitlines()
    judged = [f"{line},{'good' if n == 0 else ('no', 'yes')[n % 2]}" for n, line in enumerate(cells[:25])]
    tables["judged"] = folder / "judged.csv"
    tables["judged"].write_text("\n".join(judged) + "\n", "utf-8")
    said = [[{"role": "user", "content": f"Name {n}."}, {"role": "assistant", "content": f"{n}!"}] for n in range(40)]
    (folder / "chat.jsonl").write_text("\n".join(json.dumps({"messages": turns}) for turns in said), "utf-8")
    texts = {name: folder / file for name, file in
             {"chat": "chat.jsonl", "book": "book.txt", "tasks": "tasks.json", "tasks2": "tasks2.json"}.items()}  # fmt: skip
    prompts = folder / "prompts"
    prompts.mkdir()
    (prompts / "rows.toml").write_text('user = "Write {{ count }} of {{ label }}."', "utf-8")
    with servers() as both:
        MAKERS[:] = [both]
        urls = {"server": both[0].base_url, "server2": both[1].base_url}
        paths = {**tables, **bases, **texts, **urls, "adapter": adapter, "prompts": prompts, "run": run.path}
        yield {name: str(path) for name, path in paths.items()}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub with one data set, whose splits differ."""

    def scan_hub(name: str, split: str, keep: bool) -> Scan:
        texts = [f"A sentence of {split} number {n}, and more." for n in range(40)]
        cells = [(text, "x", LABELS[n % 2], "calm", "Do.", str(n), "1") for n, text in enumerate(texts)]
        return Scan(name, COLUMNS, (), len(cells), lambda: [Row(n, n, c) for n, c in enumerate(cells, 1)])

    monkeypatch.setattr("whet.data.read._scan_hub", scan_hub)


# -- the cases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One setting: its other value, who sees the difference, and what else the recipe needs for it to matter.

    `refused` says how an error begins that one of the two values is answered with; elsewhere none may be.
    """

    key: str
    value: Any
    witness: Callable[[Recipe, Path], object]
    given: Sections = field(default_factory=dict)
    refused: str = ""


NO_LABELS: Sections = {"task": {"labels": []}}
WRITE: Sections = {"task": {"labels": [], "kind": "generate"}}
TEXT: Sections = {"task": {"kind": "text", "instruction": "", "labels": []}, "train": {"max_length": 64},
                  "data": {"path": "@book", "input": [], "target": None, "group": None, "mix_path": "@tasks"}}  # fmt: skip
CHAT: Sections = {"path": "@chat", "format": "oig-text", "input": [], "target": None, "group": None}
WORDED: Sections = {"data": {"templates": "classification"}}
QUESTIONS: Sections = {"data": {"templates": "open_book_qa", "input": ["sentence", "other"],
                                "template_fields": {"passage": "sentence", "question": "other"}}}  # fmt: skip
LORA: Sections = {"lora": {"r": 2}}
NF4: Sections = {**LORA, "model": {"quantize": "nf4"}}
INT8: Sections = {**LORA, "model": {"quantize": "int8"}}
SHORT: Sections = {"train": {"max_length": 34, "too_long": "drop"}}
ONE_STEP: Sections = {"train": {"max_steps": 1}, "evaluate": {"baselines": ["few_shot"]}}
PADDED: Sections = {"train": {"share_prefix": False}}
TASKS: dict[str, Any] = {"task": {"labels": [], "kind": "generate"}, "data": {"instruction": "do", "target": "mood"}}
PAIRS: dict[str, Any] = {**TASKS, "data": {**TASKS["data"], "input": ["sentence", "other"]}}
JUDGED = {"judge_rubric": "It is clear.", "patience": 12}


def train(**settings: Any) -> Sections:
    """What a case needs of `[train]`."""
    return {"train": settings}


def synth(**settings: Any) -> dict[str, Any]:
    """What a case needs of `[synth]`: a server that is there."""
    small = {"model": "scripted", "base_url": "@server", "rows": 16, "concurrency": 8, "patience": 12}
    return {"synth": {**small, **settings}}


MAKERS: list[tuple[ScriptedServer, ScriptedServer]] = []  # the two servers of `files`

CASES = (
    Case("name", "other", place_of),
    Case("seed", 8, trained),
    Case("task.kind", "generate", read, NO_LABELS),
    Case("task.instruction", "Will they do it?", rows),
    Case("task.labels", ["True", "False"], read),
    Case("task.definition", "A promise is a deed announced.", rows),
    Case("task.constraints", "No guesses.", rows),
    Case("task.positive_examples", [{"input": "We will.", "output": "True"}], rows),
    Case("task.negative_examples", [{"input": "We may.", "output": "True", "explanation": "Not sure."}], rows),
    Case("data.path", "@table2", read),
    Case("data.format", "auto", read, {**WRITE, "data": CHAT}, "chat.jsonl: it holds JSON"),
    Case("data.input", ["other"], read),
    Case("data.target", "mood", read, NO_LABELS),
    Case("data.instruction", "do", rows, WRITE),
    Case("data.group", "party", read),
    Case("data.label_names", {"True": "yes"}, read, NO_LABELS),
    Case("data.validation_path", "@held", read, {"data": {"group": None}}),
    Case("data.test_path", "@held", read, {"data": {"group": None}}),
    Case("data.validation_fraction", 0.3, read),
    Case("data.test_fraction", 0.4, read),
    Case("data.encoding", "cp1252", read, {"data": {"path": "@french"}}, "french.csv, row 2"),
    Case("data.delimiter", "|", read, refused="table.csv: there is no column 'sentence'"),
    Case("data.header", False, read, refused="table.csv: there is no column 'sentence'"),
    Case("data.split", "test", read, {"data": {"path": "someone/talks"}}),
    Case("data.licence", "MIT", read),
    Case("data.maker", "mood", read),
    Case("data.use", "commercial", read, refused="table.csv, rows"),
    Case("data.near_duplicate_threshold", 0.4, read),
    Case("data.templates", "topic", rows, WORDED),
    Case("data.template", "sort", rows, WORDED),
    Case("data.template_fields", {"passage": "other", "question": "sentence"}, rows, {**WRITE, **QUESTIONS}),
    Case("data.options_fraction", 1.0, rows, WORDED),
    Case("data.inverted_fraction", 0.4, rows, {**WRITE, **WORDED}),
    Case("data.few_shot_fraction", 0.9, rows, WORDED),
    Case("data.shots", 3, rows, {"data": {**WORDED["data"], "few_shot_fraction": 0.9}}),
    Case("data.document_characters", 1000, read, TEXT),
    Case("data.extra_path", ["@table2"], read, {"data": {"group": None}}),
    Case("data.mix_path", "@tasks2", read, TEXT),
    Case("data.mix_fraction", 0.4, read, TEXT),
    Case("data.mix_instruction", "do", read, TEXT),
    Case("data.mix_input", "read", read, TEXT),
    Case("data.mix_target", "say", read, TEXT),
    Case("model.base", "@base2", base),
    Case("model.random_weights", True, base),
    Case("model.adapters", ["@adapter"], base),
    Case("model.dtype", "bfloat16", base),
    Case("model.quantize", "fp4", base, LORA),
    Case("model.bnb_4bit_use_double_quant", True, base, NF4),
    Case("model.bnb_4bit_compute_dtype", "bfloat16", base, NF4),
    Case("model.llm_int8_threshold", 0.5, base, INT8),
    Case("model.llm_int8_skip_modules", ["q_proj"], base, INT8),
    Case("model.llm_int8_enable_fp32_cpu_offload", True, base, INT8, "[model] llm_int8_enable"),
    Case("lora.r", 4, trained, LORA),
    Case("lora.lora_alpha", 4.0, trained, LORA),
    Case("lora.lora_dropout", 0.5, trained, LORA),
    Case("lora.target_modules", ["q_proj"], trained, LORA),
    Case("lora.exclude_modules", ["q_proj"], trained, LORA),
    Case("lora.layers_to_transform", [1], trained, LORA),
    Case("lora.use_rslora", True, trained, LORA),
    Case("lora.use_dora", True, trained, LORA),
    Case("lora.init_lora_weights", "gaussian", trained, LORA),
    Case("lora.bias", "all", trained, {**LORA, "model": {"base": "@biased"}}),
    Case("lora.modules_to_save", ["lm_head"], trained, LORA),
    Case("train.optim", "adafactor", trained),
    Case("train.optim_args", {"momentum": 0.9}, trained, train(optim="sgd")),
    Case("train.learning_rate", 2e-3, trained),
    Case("train.weight_decay", 0.1, trained),
    Case("train.adam_beta1", 0.8, trained),
    Case("train.adam_beta2", 0.9, trained),
    Case("train.adam_epsilon", 1e-3, trained),
    Case("train.lr_scheduler_type", "cosine", trained),
    Case("train.lr_scheduler_kwargs", {"num_cycles": 2}, trained, train(lr_scheduler_type="cosine_with_restarts")),
    Case("train.warmup_ratio", 0.5, trained),
    Case("train.warmup_steps", 2, trained),
    Case("train.num_train_epochs", 0.5, trained, train(max_steps=None, num_train_epochs=1.0)),
    Case("train.max_steps", 2, trained),
    Case("train.per_device_train_batch_size", 4, trained),
    Case("train.gradient_accumulation_steps", 2, trained),
    Case("train.max_grad_norm", 0.01, trained),
    Case("train.label_smoothing_factor", 0.2, trained),
    Case("train.label_smoothing_over", "labels", trained, train(label_smoothing_factor=0.2)),
    Case("train.neftune_noise_alpha", 5.0, trained),
    Case("train.class_balance", "weights", trained),
    Case("train.train_sampling_strategy", "group_by_length", trained),
    Case("train.share_prefix", False, laid_out),
    Case("train.packing", True, laid_out, PADDED),
    Case("train.max_length", 40, read, SHORT),
    Case("train.too_long", "truncate", read, SHORT),
    Case("train.eval_steps", 2, trained),
    Case("train.save_steps", 2, trained),
    Case("train.logging_steps", 2, told),
    Case("train.bf16", True, trained),
    Case("train.gradient_checkpointing", True, kept),
    Case("evaluate.baselines", ["zero_shot"], judged, ONE_STEP),
    Case("evaluate.few_shot_examples", 1, judged, ONE_STEP),
    Case("evaluate.batch_size", 5, scored_at_a_time, ONE_STEP),
    Case("evaluate.bootstrap_samples", 200, judged, {**ONE_STEP, "data": {"group": None}}),
    Case("synth.method", "contrast", made_up, synth(seeds="@table")),
    Case("synth.model", "another", made_up, synth()),
    Case("synth.base_url", "@server2", made_up, synth()),
    Case("synth.weights", [3.0, 1.0], made_up, synth(base_url=["@server", "@server2"], concurrency=1)),
    Case("synth.api_key_env", KEY, made_up, synth()),
    Case("synth.licence", "Apache-2.0", made_up, synth()),
    Case("synth.rows", 12, made_up, synth()),
    Case("synth.shares", {"True": 3.0, "False": 1.0}, made_up, synth()),
    Case("synth.slices", {"tone": ["calm", "angry"]}, made_up, synth()),
    Case("synth.output_first_fraction", 0.5, made_up, synth()),
    Case("synth.classification_fraction", 1.0, made_up, TASKS | synth(method="self_instruct", seeds="@table")),
    Case("synth.rewordings", 0, made_up, PAIRS | synth(method="unnatural", seeds="@table")),
    Case("synth.rounds", 1, made_up, TASKS | synth(method="evol", seeds="@table", rows=120)),
    Case("synth.operations", ["breadth"], made_up, TASKS | synth(method="evol", seeds="@table")),
    Case("synth.from_run", "@run", made_up, synth(method="weak"), "[synth] from_run: weak aims"),
    Case("synth.rows_per_request", 2, made_up, synth()),
    Case("synth.seeds", "@table", made_up, synth()),
    Case("synth.prompts", "@prompts", made_up, synth()),
    Case("synth.temperature", 0.1, made_up, synth()),
    Case("synth.max_tokens", 99, made_up, synth()),
    Case("synth.structured", "parse", made_up, synth()),
    Case("synth.concurrency", 1, made_up, synth(rows=60)),
    Case("synth.timeout_seconds", 0.1, made_up, synth(model="slow", max_tries=1, rows=4), "[synth] model: the last"),
    Case("synth.max_tries", 2, made_up, synth(model="ill", rows=4), "[synth] model: the last"),
    Case("synth.price_in", 1.0, made_up, synth(price_out=1.0)),
    Case("synth.price_out", 1.0, made_up, synth(price_in=1.0)),
    Case("synth.budget_tokens", 2000, made_up, synth()),
    Case("synth.budget_cost", 0.002, made_up, synth(price_in=1.0, price_out=1.0)),
    Case("synth.budget_minutes", 1e-9, made_up, synth()),
    Case("synth.patience", 3, made_up, synth(model="dull")),
    Case("synth.pilot_rows", 2, made_up, synth(rows=60)),
    Case("synth.novelty_threshold", 1.0, made_up, synth()),
    Case("synth.near_duplicate_threshold", 1.0, made_up, synth(novelty_threshold=1.0)),
    Case("synth.embedding_model", "whetstone", made_up, synth()),
    Case("synth.embedding_url", "@server", made_up, synth(embedding_model="whetstone")),
    Case("synth.embedding_key_env", KEY, made_up, synth(embedding_model="m", embedding_url="@server")),
    Case("synth.embedding_threshold", 0.2, made_up, synth(embedding_model="m", embedding_url="@server")),
    Case("synth.heuristics", "self_instruct", made_up, synth()),
    Case("synth.min_words", 9, made_up, synth()),
    Case("synth.max_words", 9, made_up, synth()),
    Case("synth.banned_words", ["tax"], made_up, synth()),
    Case("synth.language", "de", made_up, synth()),
    Case("synth.check_labels", True, made_up, synth()),
    Case("synth.judge_rubric", "It is clear.", made_up, synth(), "[synth] judge_rubric: nobody knows"),
    Case("synth.judge_threshold", 3.0, made_up, synth(**JUDGED, judge_unmeasured=True)),
    Case("synth.judge_human", "@judged", made_up, synth(**JUDGED, judge_unmeasured=True)),
    Case("synth.judge_kappa", -1.0, made_up, synth(**JUDGED, judge_human="@judged"), "[synth] judge_kappa: the judge's kappa"),
    Case("synth.judge_unmeasured", True, made_up, synth(**JUDGED), "[synth] judge_rubric: nobody knows"),
    Case("synth.taken_out", list("01234567"), made_up, synth()),
    Case("evaluate.max_new_tokens", 2, judged, {**WRITE, **ONE_STEP, "evaluate": {"max_new_tokens": 6, "baselines": []}}),
)


def made(files: Mapping[str, str], given: Sections, key: str = "", value: Any = None) -> Recipe:
    """The small recipe with what the case needs, and one more setting."""

    def named(thing: Any) -> Any:
        """`@table` is the path of that file."""
        if isinstance(thing, list):
            return [named(each) for each in thing]
        return files[thing[1:]] if isinstance(thing, str) and thing.startswith("@") else thing

    sections: dict[str, Any] = {"train": {"max_steps": 3, "num_train_epochs": 2}, "data": {"group": "speech"}}
    for name, section in given.items():
        sections[name] = {**sections.get(name, {}), **{k: named(v) for k, v in section.items()}}
    section, _, setting = key.rpartition(".")
    if section:
        sections[section] = {**sections.get(section, {}), setting: named(value)}
    elif key:
        sections[key] = value
    return recipe_for(Path(files["table"]), files["base"], **sections)


def test_every_setting_has_a_case() -> None:
    settings = [f"{section}.{key}" for section, keys in known_keys().items() for key in keys if section] + ["name", "seed"]
    assert len(settings) == len(CASES) == 147
    assert sorted(case.key for case in CASES) == sorted(settings)
    assert {case.witness for case in CASES} == set(WITNESSES)


@pytest.mark.parametrize("witness", WITNESSES, ids=lambda w: w.__name__)
def test_a_witness_says_the_same_twice(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, witness: Callable[[Recipe, Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = made(files, {**ONE_STEP, **LORA, **synth()})
    assert witness(recipe, tmp_path / "a") == witness(recipe, tmp_path / "b")


@pytest.fixture(scope="module")
def unchanged() -> dict[str, object]:
    """What a witness said of a recipe without the other value, so that each is asked once."""
    return {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_the_setting_changes_something(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchanged: dict[str, object], case: Case
) -> None:
    monkeypatch.chdir(tmp_path)
    before, after = made(files, case.given), made(files, case.given, case.key, case.value)
    one, other = before.settings(), after.settings()
    differing = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    assert differing and all(key.startswith(case.key) for key in differing), "the recipes differ in this setting alone"
    asked = hashlib.sha256(f"{case.witness.__name__} {before.fingerprint()}".encode()).hexdigest()
    if asked not in unchanged:
        unchanged[asked] = said(case, before, tmp_path / "before")
    assert said(case, after, tmp_path / "after") != unchanged[asked]


def said(case: Case, recipe: Recipe, folder: Path) -> object:
    """What the witness says, or the refusal that the case expects of one of its values."""
    try:
        return case.witness(recipe, folder)
    except UserError as error:
        if case.refused and str(error).startswith(case.refused):
            return str(error)
        raise
