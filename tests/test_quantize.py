"""Bases in 8 and 4 bits: every key does what it says, the head stays whole, and an adapter trains on top from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import make_base, random_rows, recipe, write_table
from safetensors.torch import load_file

from whet import stages
from whet.engine import loop, model
from whet.engine.adapters import add_adapter, load_adapters, save_adapter
from whet.engine.course import Course
from whet.engine.layers import linear_layers
from whet.engine.quantize import describe, quantized_layers, spread
from whet.engine.timetable import Timetable
from whet.errors import ModelError, RecipeError
from whet.progress import Silent
from whet.sections import Lora, Model, Train

ROOT = Path(__file__).resolve().parent.parent
IDS = torch.randint(2, 6000, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose head is its embedding, as in whetstone."""
    return make_base(tmp_path_factory.mktemp("base") / "tied", ROOT / "src/whet/base/whetstone", tie_word_embeddings=True)


def load(base: Path, **section: Any) -> Any:
    return model.load_base(recipe(Path("t.csv"), base, model=section, lora={}))


def logits(asked: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = asked.eval()(input_ids=IDS).logits
    return found.float()


def test_every_key_of_quantization_changes_the_model(tiny_base: Path) -> None:
    """Each beside the setting that it belongs to."""
    with_four, with_eight = {"quantize": "nf4"}, {"quantize": "int8"}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "quantize": ({}, with_four), "bnb_4bit_use_double_quant": (with_four, {"bnb_4bit_use_double_quant": True}),
        "bnb_4bit_compute_dtype": (with_four, {"bnb_4bit_compute_dtype": "bfloat16"}),
        "llm_int8_threshold": (with_eight, {"llm_int8_threshold": 1.5}),
        "llm_int8_skip_modules": (with_eight, {"llm_int8_skip_modules": ["down_proj"]}),
        "dtype": (with_four, {"dtype": "bfloat16"}),
    }  # fmt: skip
    untold = {"base", "adapters", "random_weights", "llm_int8_enable_fp32_cpu_offload"}  # the last needs an accelerator
    assert cases.keys() == Model.model_fields.keys() - untold and len(cases) == 6
    for key, (plain, change) in cases.items():
        assert not torch.equal(logits(load(tiny_base, **plain)), logits(load(tiny_base, **{**plain, **change}))), key


@pytest.mark.parametrize(
    ("section", "error", "kind"),
    [
        ({"quantize": "int8"}, 0.1, "Linear8bitLt"), ({"quantize": "nf4"}, 0.5, "Linear4bit"),
        ({"quantize": "fp4"}, 0.6, "Linear4bit"),
        ({"quantize": "nf4", "bnb_4bit_use_double_quant": True}, 0.5, "Linear4bit"),
        ({"quantize": "nf4", "dtype": "bfloat16", "bnb_4bit_compute_dtype": "bfloat16"}, 0.5, "Linear4bit"),
        ({"quantize": "nf4", "bnb_4bit_compute_dtype": "float16"}, 0.5, "Linear4bit"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
def test_linear_layers_are_quantized_and_nothing_else(
    tiny_base: Path, tied_base: Path, section: dict[str, Any], error: float, kind: str, tied: bool
) -> None:
    """The errors are those of a tiny model with large random weights; what matters is that they are neither none nor 1.4."""
    base, is_int8 = tied_base if tied else tiny_base, section["quantize"] == "int8"
    exact, coarse = load(base), load(base, **section)
    whole_layers = [] if is_int8 else [f"model.layers.{i}.mlp.down_proj" for i in (0, 1)]  # 96 wide: see traps
    assert quantized_layers(coarse) == [name for name in linear_layers(exact) if name not in whole_layers]
    says = "14 of 14 linear layers in 8 bits" if is_int8 else "12 of 14 linear layers in 4 bits; down_proj kept whole"
    assert describe(coarse) == says
    assert {type(m).__name__ for n, m in coarse.named_modules() if n in quantized_layers(coarse)} == {kind}
    whole = torch.bfloat16 if section.get("dtype") else torch.float32
    assert type(coarse.lm_head) is torch.nn.Linear and coarse.lm_head.weight.dtype == whole
    assert coarse.model.embed_tokens.weight.dtype == coarse.model.norm.weight.dtype == whole
    assert (coarse.lm_head.weight is coarse.model.embed_tokens.weight) == tied
    wanted = logits(exact)
    assert 0.001 < torch.linalg.norm(logits(coarse) - wanted) / torch.linalg.norm(wanted) < error
    assert model.parameter_counts(coarse)[1] == model.parameter_counts(exact)[1]


@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_skipped_modules_are_skipped_and_the_head_with_them(tiny_base: Path, quantize: str) -> None:
    coarse = load(tiny_base, quantize=quantize, llm_int8_skip_modules=["q_proj", "layers.1.mlp"])
    assert len(quantized_layers(coarse)) == 14 - 2 - 3 - (quantize == "nf4") and type(coarse.lm_head) is torch.nn.Linear
    assert not any("q_proj" in name or "layers.1.mlp" in name for name in quantized_layers(coarse))


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"llm_int8_skip_modules": ["query"]}, "'query' is the name of no linear layer.*Linear layers here: q_proj"),
        ({"llm_int8_skip_modules": ["self_attn", "mlp"]}, "nothing would be quantized"),
        ({"llm_int8_enable_fp32_cpu_offload": True}, "without an accelerator all layers stay on the CPU"),
    ],
)
def test_what_cannot_be_done_is_said(tiny_base: Path, section: dict[str, Any], says: str) -> None:
    if torch.cuda.is_available() and "accelerator" in says:
        pytest.skip("there is an accelerator here")
    with pytest.raises(ModelError, match=says):
        load(tiny_base, quantize="int8", **section)


def test_a_base_of_which_nothing_could_be_quantized_is_refused(tmp_path: Path) -> None:
    narrow = make_base(tmp_path / "narrow", ROOT / "src/whet/base/whetstone", hidden_size=48, intermediate_size=80)
    with pytest.raises(ModelError, match="no layer's input is a multiple of 64 wide"):
        load(narrow, quantize="nf4")
    assert len(quantized_layers(load(narrow, quantize="int8"))) == 14


def test_what_does_not_fit_on_the_accelerator_goes_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer takes 31 kB in int8, embedding and head 16 kB each in float32; room for one more layer is kept free."""
    monkeypatch.setattr("accelerate.utils.modeling.get_max_memory", lambda room: room)  # as if there were an accelerator
    deep = make_base(tmp_path / "deep", ROOT / "src/whet/base/whetstone", num_hidden_layers=6, vocab_size=64)
    skeleton = load(deep).to("meta")
    assert set(spread(skeleton, {0: 1 << 30}, torch.float32).values()) == {0}
    most = spread(skeleton, {0: 150_000}, torch.float32)
    assert most["model.embed_tokens"] == most["model.layers.0"] == most["model.layers.2"] == 0
    assert most["model.layers.3"] == most["model.layers.5"] == most["lm_head"] == "cpu"
    assert most["model.layers.4"] == spread(skeleton, {0: 150_000}, torch.bfloat16)["model.layers.3"] == "cpu"


@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_a_base_that_is_stored_quantized_is_refused(tiny_base: Path, tmp_path: Path, quantize: str | None) -> None:
    load(tiny_base, quantize="nf4").save_pretrained(tmp_path / "stored")
    with pytest.raises(ModelError, match=r"already quantized\. Name the model that it was made from"):
        load(tmp_path / "stored", quantize=quantize)


def test_a_quantized_base_needs_an_adapter(tiny_base: Path) -> None:
    with pytest.raises(RecipeError, match=r"add a \[lora\] section"):
        recipe(Path("t.csv"), tiny_base, model={"quantize": "nf4"})
    for init in ("pissa", "olora"):
        with pytest.raises(ModelError, match="which a quantized base cannot hold exactly"):
            add_adapter(load(tiny_base, quantize="nf4"), Lora(r=4, init_lora_weights=init), 0)
    with pytest.raises(ModelError, match=r"o_proj is quantized.*llm_int8_skip_modules"):
        add_adapter(load(tiny_base, quantize="nf4"), Lora(r=4, modules_to_save=("o_proj",)), 0)
    skipped = load(tiny_base, quantize="nf4", llm_int8_skip_modules=["o_proj"])
    tuned = add_adapter(skipped, Lora(r=4, modules_to_save=("o_proj",)), 0)
    assert sum(p.requires_grad and "modules_to_save" in n for n, p in tuned.named_parameters()) == 2


def moved(tuned: Any) -> Any:
    """The model with B no longer at zero, so that A has a gradient and the adapter says something."""
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.02)
    return tuned


@pytest.mark.parametrize("quantize", ["int8", "nf4", "fp4"])
@pytest.mark.parametrize("lora", [{}, {"use_dora": True}, {"use_rslora": True}], ids=["plain", "dora", "rslora"])
def test_every_adapter_weight_gets_a_gradient(tiny_base: Path, quantize: str, lora: dict[str, Any]) -> None:
    """With and without activation checkpointing, which must not change them; the input needs no gradient of its own."""

    if quantize == "int8" and lora.get("use_dora"):
        with pytest.raises(ModelError, match="DoRA on an int8 base works on an accelerator only"):
            add_adapter(load(tiny_base, quantize=quantize), Lora(r=4, **lora), 0)
        return

    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        tuned = moved(add_adapter(load(tiny_base, quantize=quantize), Lora(r=4, **lora), 0))
        if checkpointing:
            tuned.activation_checkpointing_enable()
        tuned.train()(input_ids=IDS, labels=IDS).loss.backward()
        return {n: p.grad for n, p in tuned.named_parameters() if p.requires_grad and p.grad is not None}

    plain, again = gradients(False), gradients(True)
    assert len(plain) == (42 if lora.get("use_dora") else 28) and all(float(g.abs().sum()) > 0 for g in plain.values())
    assert plain.keys() == again.keys() and all(torch.allclose(plain[n], again[n], rtol=1e-4, atol=1e-6) for n in plain)


@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_a_task_adapter_on_another_one_on_a_quantized_base(tiny_base: Path, tmp_path: Path, quantize: str) -> None:
    save_adapter(moved(add_adapter(load(tiny_base), Lora(r=4), 1)), tmp_path / "below")
    stacked = load(tiny_base, quantize=quantize, adapters=[str(tmp_path / "below")])
    start = logits(stacked)
    assert not torch.equal(start, logits(load(tiny_base, quantize=quantize)))
    tuned = add_adapter(stacked, Lora(r=4), 2)
    assert torch.equal(logits(tuned), start)
    plan = Train(learning_rate=1e-2, per_device_train_batch_size=4, num_train_epochs=1)
    loop.train(tuned, Course(random_rows(12), Timetable(12, plan, 1), 1, lambda m: (1.0, None), tmp_path), Silent())
    save_adapter(tuned, tmp_path / "own")
    bare = load(tiny_base, quantize=quantize)
    again = load_adapters(bare, [tmp_path / "below"], own=tmp_path / "own")
    assert torch.equal(logits(again), logits(tuned)) and not torch.equal(logits(tuned), start)


def test_a_llama_in_nf4_with_rank_64_from_end_to_end(tmp_path: Path) -> None:
    """Four layers of Llama 2's shape with random weights, from a local directory, through every stage."""
    base = make_base(
        tmp_path / "llama", ROOT / "src/whet/base/whetstone", hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, intermediate_size=688, initializer_range=0.02,
    )  # fmt: skip
    wanted = recipe(
        write_table(tmp_path / "table.csv"), base, model={"quantize": "nf4", "bnb_4bit_use_double_quant": True},
        lora={"r": 64, "lora_alpha": 8, "lora_dropout": 0.1},
        train={"max_steps": 4, "num_train_epochs": 1, "bf16": True, "gradient_checkpointing": True, "packing": True,
               "gradient_accumulation_steps": 2, "max_grad_norm": 2, "weight_decay": 0.01, "neftune_noise_alpha": 5,
               "label_smoothing_factor": 0.1, "train_sampling_strategy": "group_by_length", "max_length": 128},
        evaluate={"baselines": ["majority"]},
    )  # fmt: skip
    run = stages.run(wanted, tmp_path / "run")
    training = run.manifest["training"]
    assert training["method"] == "lora" and training["steps"] == 4
    linear = 4 * (4 * 256 * 256 + 3 * 256 * 688)
    assert training["parameters"] - training["trainable_parameters"] == linear + 2 * 6144 * 256 + 9 * 256
    assert training["trainable_parameters"] == 64 * 4 * (4 * 512 + 3 * (256 + 688))
    assert len(run.manifest["adapter"]["layers"]) == 28
    assert run.read_json("evaluation.json")["n"] > 0
    saved = load_file(run.path / "adapter" / "adapter_model.safetensors")
    assert len(saved) == 56 and {t.dtype for t in saved.values()} == {torch.float32}
    assert all(float(t.abs().max()) > 0 for t in saved.values()), "each adapter has learned something"


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"bnb_4bit_use_double_quant": True}, r"bnb_4bit_use_double_quant \(which goes with nf4 or fp4\) would do nothing"),
        ({"quantize": "int8", "bnb_4bit_compute_dtype": "float16"}, "bnb_4bit_compute_dtype"),
        ({"quantize": "nf4", "llm_int8_threshold": 0}, r"llm_int8_threshold \(which goes with int8\)"),
        ({"llm_int8_skip_modules": ["q_proj"]}, "llm_int8_skip_modules"),
        ({"llm_int8_enable_fp32_cpu_offload": True}, "llm_int8_enable_fp32_cpu_offload"),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(tiny_base: Path, section: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe(Path("t.csv"), tiny_base, model=section, lora={})
