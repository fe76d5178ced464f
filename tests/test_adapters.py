"""Adapters: every key of [lora] does what its name says; saved, stacked and merged they are the model that was trained."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_parts import make_base, random_rows, recipe
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from whet.engine import adapters, loop, model
from whet.engine.adapters import add_adapter, load_adapters, merge_adapters, save_adapter
from whet.engine.course import Course
from whet.engine.timetable import Timetable
from whet.errors import Interrupted, ModelError
from whet.progress import Silent
from whet.sections import Lora, Train

ROOT = Path(__file__).resolve().parent.parent
IDS = torch.randint(2, 6000, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose head is its embedding, as in whetstone."""
    return make_base(tmp_path_factory.mktemp("base") / "tied", ROOT / "src/whet/base/whetstone", tie_word_embeddings=True)


@pytest.fixture(scope="module")
def biased_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose linear layers have biases."""
    folder = tmp_path_factory.mktemp("base") / "biased"
    return make_base(folder, ROOT / "src/whet/base/whetstone", attention_bias=True, mlp_bias=True)


def load(base: Path, **section: Any) -> Any:
    return model.load_base(recipe(Path("t.csv"), base, model=section, lora={}))


def nudged(tuned: Any, seed: int = 1) -> Any:
    """The model after a step of training, so to say: each weight that trains moved a little."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return tuned


def logits(tuned: torch.nn.Module) -> torch.Tensor:
    tuned.eval()
    with torch.inference_mode():
        found: torch.Tensor = tuned(input_ids=IDS).logits
    return found


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative difference of logits."""
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(other))


def adapter(base: Path, folder: Path, seed: int = 1, **lora: Any) -> Path:
    """An adapter folder that something was learned in."""
    save_adapter(nudged(add_adapter(load(base), Lora(r=4, **lora), seed), seed), folder)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def trains(tuned: torch.nn.Module) -> list[str]:
    return [name for name, parameter in tuned.named_parameters() if parameter.requires_grad]


# -- every key ---------------------------------------------------------------------------------------------------------

CHANGED: dict[str, Any] = {
    "r": 6, "lora_alpha": 8.0, "lora_dropout": 0.5, "target_modules": ("q_proj",), "exclude_modules": ("mlp",),
    "layers_to_transform": (1,), "use_rslora": True, "use_dora": True, "init_lora_weights": "gaussian", "bias": "all",
    "modules_to_save": ("lm_head",),
}  # fmt: skip


def test_every_key_of_lora_changes_the_model(biased_base: Path) -> None:
    assert CHANGED.keys() == Lora.model_fields.keys() and len(CHANGED) == 11

    def seen(**lora: Any) -> tuple[list[str], list[torch.Size], torch.Tensor]:
        tuned = nudged(add_adapter(load(biased_base), Lora(**{"r": 4, **lora}), seed=5)).train()
        torch.manual_seed(0)
        weights = [(n, p.shape) for n, p in tuned.named_parameters() if p.requires_grad]
        return [n for n, _ in weights], [s for _, s in weights], tuned(input_ids=IDS).logits

    plain = seen()
    assert torch.equal(plain[2], seen()[2]), "the comparison itself is repeatable"
    unchanged = [key for key, value in CHANGED.items() if torch.equal(plain[2], seen(**{key: value})[2])]
    assert not unchanged
    shapes = {key for key, value in CHANGED.items() if seen(**{key: value})[:2] != plain[:2]}
    assert shapes == {
        "r", "target_modules", "exclude_modules", "layers_to_transform", "use_dora", "bias", "modules_to_save",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lora", "scaling"),
    [({"lora_alpha": 8}, 2.0), ({"lora_alpha": 6.5}, 1.625), ({"lora_alpha": 8, "use_rslora": True}, 4.0)],
)
def test_the_update_is_scaled_as_said(tiny_base: Path, lora: dict[str, Any], scaling: float) -> None:
    before = {n: p.clone() for n, p in load(tiny_base).named_parameters()}
    tuned = nudged(add_adapter(load(tiny_base), Lora(r=4, **lora), 0))
    state = dict(tuned.named_parameters())
    name = "base_model.model.model.layers.1.mlp.up_proj"
    product = state[f"{name}.lora_B.default.weight"] @ state[f"{name}.lora_A.default.weight"]
    after = merge_adapters(tuned).get_parameter("model.layers.1.mlp.up_proj.weight")
    torch.testing.assert_close(after - before["model.layers.1.mlp.up_proj.weight"], scaling * product, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("lora", "layers"),
    [
        ({}, 14), ({"target_modules": ("q_proj", "mlp")}, 8), ({"target_modules": r".*\.(q|v)_proj"}, 4),
        ({"target_modules": "q_proj"}, 2), ({"exclude_modules": ("layers.0", "down_proj")}, 6),
        ({"layers_to_transform": (0,)}, 7), ({"target_modules": ("o_proj",), "layers_to_transform": (1,)}, 1),
        ({"modules_to_save": ("layers.0.self_attn.q_proj",)}, 13),
    ],
)  # fmt: skip
def test_which_layers_get_one(tiny_base: Path, lora: dict[str, Any], layers: int) -> None:
    tuned = add_adapter(load(tiny_base), Lora(r=2, **lora), 0)
    found = adapters.adapted_layers(tuned)
    assert len(found) == layers and len([n for n in trains(tuned) if "lora_A" in n]) == layers
    assert all(f"base_model.model.{name}.lora_A.default.weight" in trains(tuned) for name in found)
    assert f"an adapter of rank 2 on {layers} linear layers" in adapters.describe(tuned)
    assert not any("lm_head" in name for name in found)


@pytest.mark.parametrize(
    ("lora", "says"),
    [
        ({"target_modules": ("q_proj", "query")}, "'query' is the name of no linear layer.*q_proj, k_proj, v_proj, o_proj"),
        ({"target_modules": ("lm_head",)}, "'lm_head' is the name of no linear layer.*modules_to_save trains it whole"),
        ({"target_modules": "(q_proj"}, "no regular expression"),
        ({"target_modules": "proj"}, "'proj' is the name of no linear layer"),
        ({"exclude_modules": ("layers.0.*",)}, r"\[lora\] exclude_modules: 'layers.0.\*' is the name of no linear layer"),
        ({"exclude_modules": ("self_attn", "mlp")}, "nothing is left to train"),
        ({"layers_to_transform": (1, 2)}, "there is no layer 2 among those chosen. Layers here: 0, 1"),
        ({"modules_to_save": ("head",)}, "no module 'head'.*lm_head"),
        ({"bias": "all"}, "this base has no biases"),
        ({"init_lora_weights": "orthogonal", "r": 3}, "r is 3. Make r even"),
        ({"init_lora_weights": "pissa", "r": 33}, "takes 33 singular directions, and the smallest layer has 32"),
    ],
)
def test_what_cannot_be_done_is_said(tiny_base: Path, lora: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        add_adapter(load(tiny_base), Lora(**{"r": 4, **lora}), 0)


def test_only_the_biases_that_are_asked_for_train(biased_base: Path) -> None:
    def biases(**lora: Any) -> int:
        return sum(n.endswith("bias") for n in trains(add_adapter(load(biased_base), Lora(r=2, **lora), 0)))

    assert [biases(), biases(bias="all"), biases(bias="lora_only", target_modules=("q_proj",))] == [0, 14, 2]


# -- how it begins -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["default", "gaussian", "pissa", "olora", "orthogonal"])
def test_no_init_changes_what_the_model_says(tiny_base: Path, init: Any) -> None:
    before, tuned = logits(load(tiny_base)), add_adapter(load(tiny_base), Lora(r=4, init_lora_weights=init), 3)
    assert distance(logits(tuned), before) < 1e-5
    layer = tuned.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight  # type: ignore[index, union-attr]
    assert (b.abs().max() > 0) == (init not in ("default", "gaussian")) and a.abs().max() > 0
    if init == "gaussian":
        assert float(a.detach().std()) == pytest.approx(1 / 4, rel=0.15)
    if init == "pissa":
        weight = load(tiny_base).model.layers[0].self_attn.q_proj.weight.detach()
        u, s, v = torch.linalg.svd(weight)
        torch.testing.assert_close(8 * b @ a, u[:, :4] @ torch.diag(s[:4]) @ v[:4], rtol=0, atol=1e-4)


@pytest.mark.parametrize("init", ["default", "gaussian", "pissa", "olora", "orthogonal"])
def test_the_same_seed_begins_with_the_same_bits(tiny_base: Path, init: Any) -> None:
    """A run that goes on builds adapter and base anew, and only then loads what was trained."""
    one, two = (dict(add_adapter(load(tiny_base), Lora(r=4, init_lora_weights=init), 3).named_parameters()) for _ in range(2))
    assert len(one) == len(two) == 21 + 28 and all(torch.equal(one[n], two[n]) for n in one)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_changed_base_is_the_same_after_a_stop(tiny_base: Path, tmp_path: Path, init: Any) -> None:
    rows, plan = random_rows(16), Train(learning_rate=1e-2, per_device_train_batch_size=4, num_train_epochs=2)

    class Stopper(Silent):
        def advance(self, count: int = 1, note: str = "") -> None:
            if note and len((tmp_path / "b" / "metrics.jsonl").read_text().splitlines()) == 3:
                os.kill(os.getpid(), signal.SIGINT)

    def train(name: str, progress: Silent) -> Path:
        tuned, folder = add_adapter(load(tiny_base), Lora(r=4, init_lora_weights=init), 3), tmp_path / name
        folder.mkdir(exist_ok=True)
        loop.train(tuned, Course(rows, Timetable(16, plan, 1), 1, lambda m: (1.0, None), folder), progress)
        save_adapter(tuned, folder / "adapter")
        return folder / "adapter"

    whole = train("a", Silent())
    with pytest.raises(Interrupted):
        train("b", Stopper())
    assert weights(train("b", Silent())) == weights(whole)


# -- saved, loaded, merged ---------------------------------------------------------------------------------------------

KINDS: list[dict[str, Any]] = [
    {}, {"use_rslora": True}, {"use_dora": True}, {"init_lora_weights": "gaussian"}, {"init_lora_weights": "pissa"},
    {"init_lora_weights": "olora"}, {"init_lora_weights": "orthogonal"}, {"init_lora_weights": "pissa", "use_dora": True},
    {"init_lora_weights": "pissa", "use_rslora": True, "modules_to_save": ("lm_head",)}, {"modules_to_save": ("lm_head",)},
    {"modules_to_save": ("embed_tokens",)}, {"modules_to_save": ("lm_head", "embed_tokens", "norm")},
]  # fmt: skip


@pytest.mark.parametrize("lora", KINDS, ids=lambda k: " ".join(map(str, k.values())) or "plain")
@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
def test_saved_and_merged_are_the_model_that_was_trained(
    tiny_base: Path, tied_base: Path, tmp_path: Path, lora: dict[str, Any], tied: bool
) -> None:
    """On the base as it lies on disk, by us and by PEFT, and without PEFT once it is merged."""
    from peft import PeftModel

    base = tied_base if tied else tiny_base
    before = logits(load(base))
    tuned = nudged(add_adapter(load(base), Lora(r=4, **lora), 3))
    wanted = logits(tuned)
    assert distance(wanted, before) > 0.1
    save_adapter(tuned, tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own, about tied heads and the model's old names
        assert distance(logits(PeftModel.from_pretrained(load(base), tmp_path / "adapter")), wanted) < 1e-5
    again = load_adapters(load(base), [], own=tmp_path / "adapter")
    assert not trains(again) and distance(logits(again), wanted) < 1e-5
    plain = merge_adapters(again)
    assert distance(logits(plain), wanted) < 1e-5 and len(trains(plain)) == len(list(plain.parameters()))
    plain.save_pretrained(tmp_path / "plain")
    assert distance(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "plain")), wanted) < 1e-5


def test_biases_are_saved_with_the_adapter(biased_base: Path, tmp_path: Path) -> None:
    tuned = nudged(add_adapter(load(biased_base), Lora(r=4, bias="all"), 3))
    save_adapter(tuned, tmp_path / "adapter")
    again = load_adapters(load(biased_base), [], own=tmp_path / "adapter")
    assert distance(logits(again), logits(tuned)) < 1e-5
    assert distance(logits(merge_adapters(again)), logits(tuned)) < 1e-5


def test_the_same_adapter_is_the_same_bytes(tiny_base: Path, tmp_path: Path) -> None:
    one, two = adapter(tiny_base, tmp_path / "a"), adapter(tiny_base, tmp_path / "b")
    assert sorted(f.name for f in one.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert all((one / f.name).read_bytes() == f.read_bytes() for f in two.iterdir())
    config = json.loads((one / "adapter_config.json").read_text())
    assert config["r"] == 4 and config["peft_type"] == "LORA" and config["inference_mode"] is True
    pissa = json.loads((adapter(tiny_base, tmp_path / "c", init_lora_weights="pissa") / "adapter_config.json").read_text())
    assert (pissa["r"], pissa["lora_alpha"], pissa["init_lora_weights"]) == (8, 64.0, True)


def test_half_precision_bases_keep_adapters_in_float32(tiny_base: Path) -> None:
    tuned = add_adapter(load(tiny_base, dtype="bfloat16"), Lora(r=4), 0)
    assert {p.dtype for n, p in tuned.named_parameters() if "lora_" in n} == {torch.float32}
    assert {p.dtype for n, p in tuned.named_parameters() if "lora_" not in n} == {torch.bfloat16}


# -- stacks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "lora"),
    [
        ([{}], {}), ([{}, {"target_modules": ("q_proj",)}], {}), ([{"use_dora": True}], {}), ([{}], {"use_dora": True}),
        ([{"init_lora_weights": "pissa"}], {"init_lora_weights": "pissa"}), ([{"modules_to_save": ("lm_head",)}], {}),
        ([{}], {"modules_to_save": ("lm_head",)}), ([{"lora_dropout": 0.5}], {"lora_dropout": 0.0}),
        ([{"use_dora": True}, {"use_dora": True}], {"use_dora": True}),
    ],
)  # fmt: skip
def test_a_task_adapter_on_top_of_others(
    tiny_base: Path, tmp_path: Path, below: Sequence[dict[str, Any]], lora: dict[str, Any]
) -> None:
    """Those below work and do not move; only the one on top trains; all together are what is loaded and merged."""
    folders = [adapter(tiny_base, tmp_path / str(i), seed=i, **kind) for i, kind in enumerate(below)]
    names = [str(f) for f in folders]
    stacked = load(tiny_base, adapters=names)
    start = logits(stacked)
    assert distance(start, logits(load(tiny_base))) > 0.1
    tuned = add_adapter(stacked, Lora(r=4, **lora), 9)
    assert distance(logits(tuned), start) < 1e-5
    assert trains(tuned) and all(".default." in name for name in trains(tuned))
    frozen = {n: p.clone() for n, p in tuned.named_parameters() if not p.requires_grad}
    loss = tuned.train()(input_ids=IDS, labels=IDS).loss
    loss.backward()
    assert torch.equal(tuned(input_ids=IDS).logits, tuned(input_ids=IDS).logits), "what is frozen has no dropout"
    assert all(p.grad is not None for n, p in tuned.named_parameters() if p.requires_grad and "lora_A" not in n)
    wanted = logits(nudged(tuned))
    assert distance(wanted, start) > 0.01 and all(torch.equal(p, tuned.get_parameter(n)) for n, p in frozen.items())
    save_adapter(tuned, tmp_path / "own")
    assert not any("below" in name for name in load_file(tmp_path / "own" / "adapter_model.safetensors"))
    again = load_adapters(AutoModelForCausalLM.from_pretrained(tiny_base), folders, own=tmp_path / "own")
    assert distance(logits(again), wanted) < 1e-5 and distance(logits(merge_adapters(again)), wanted) < 1e-5


def test_full_fine_tuning_starts_from_the_merged_stack(tiny_base: Path, tmp_path: Path) -> None:
    folders = [str(adapter(tiny_base, tmp_path / "a")), str(adapter(tiny_base, tmp_path / "b", seed=2, use_dora=True))]
    whole = model.load_base(recipe(tmp_path / "t.csv", tiny_base, model={"adapters": folders}))
    assert len(trains(whole)) == 21 and not any("lora" in name for name in trains(whole))
    assert distance(logits(whole), logits(load(tiny_base, adapters=folders))) < 1e-5


@pytest.mark.parametrize(
    ("below", "lora", "says"),
    [
        ([{"modules_to_save": ("lm_head",)}], {"modules_to_save": ("lm_head",)}, "lm_head is trained whole by more than one"),
        ([{"use_dora": True}], {"init_lora_weights": "pissa"}, "a DoRA adapter below stands on them"),
        ([{}], {"use_dora": True, "lora_dropout": 0.1}, "DoRA trains against the base alone"),
        ([{}], {"bias": "all"}, "adapters below stand on them"),
    ],
)
def test_stacks_that_would_not_add_up_are_refused(
    biased_base: Path, tmp_path: Path, below: Sequence[dict[str, Any]], lora: dict[str, Any], says: str
) -> None:
    names = [str(adapter(biased_base, tmp_path / str(i), **kind)) for i, kind in enumerate(below)]
    with pytest.raises(ModelError, match=says):
        add_adapter(load(biased_base, adapters=names), Lora(r=4, **lora), 0)


def test_folders_that_are_no_adapter_of_this_base_are_refused(tiny_base: Path, biased_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"\[model\] adapters .*nowhere: there is no such folder"):
        load(tiny_base, adapters=[str(tmp_path / "nowhere")])
    with pytest.raises(ModelError, match=r"it holds no adapter_config.json and no adapter_model.safetensors"):
        load(tiny_base, adapters=[str(tiny_base)])
    wide = make_base(tmp_path / "wide", ROOT / "src/whet/base/whetstone", hidden_size=32)
    with pytest.raises(ModelError, match=r"size mismatch.*Name an adapter that was trained on this base"):
        load(tiny_base, adapters=[str(adapter(wide, tmp_path / "a"))])
    deep = make_base(tmp_path / "deep", ROOT / "src/whet/base/whetstone", num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"it belongs to another model: .*layers.2.*is only on one side"):
        load(tiny_base, adapters=[str(adapter(deep, tmp_path / "b"))])
    folder = adapter(tiny_base, tmp_path / "c")
    config = json.loads((folder / "adapter_config.json").read_text())
    for changed, says in (
        (config | {"init_lora_weights": "pissa"}, "a base that its init"),
        (config | {"twist": 1}, r"Unexpected keyword arguments \['twist'\]"),
        ({"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": []}, "of type IA3, and only LoRA"),
    ):
        (folder / "adapter_config.json").write_text(json.dumps(changed))
        with pytest.raises(ModelError, match=says):
            load(tiny_base, adapters=[str(folder)])


def test_a_changed_adapter_is_another_base(tiny_base: Path, tmp_path: Path) -> None:
    one, two = adapter(tiny_base, tmp_path / "a"), adapter(tiny_base, tmp_path / "b", seed=2)

    def sum_of(*names: Path) -> str:
        return model.base_hash(recipe(tmp_path / "t.csv", tiny_base, model={"adapters": [str(n) for n in names]}))

    sums = [sum_of(), sum_of(one), sum_of(two), sum_of(one, two), sum_of(two, one)]
    assert len(set(sums)) == 5
    (one / "adapter_model.safetensors").write_bytes(weights(two))
    assert sum_of(one) == sum_of(two) == sums[2]
