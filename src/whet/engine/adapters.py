"""LoRA adapters: which layers get one, how it begins, what stands below it, how it is saved, read back and merged."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from whet.data.bases import ADAPTER_FILES
from whet.engine.layers import bare, target_layers, whole_modules
from whet.errors import ModelError, Problem
from whet.sections import Lora

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

OWN = "default"  # PEFT's name of the adapter that a run trains; those below it are called below0, below1, ...
# These begin with A and B from the base's own weights and take their product out of the base, which so changes.
CHANGING_INITS = ("pissa", "olora")
FOREIGN_INITS = (*CHANGING_INITS, "corda", "lora_ga", "loftq")  # those of others do, too; an adapter of ours is saved without
START = "_whet_start"  # where a model keeps what A and B began with, under an init that changes the base


def add_adapter(model: PreTrainedModel | PeftModel, lora: Lora, seed: int) -> PeftModel:
    """The model with a fresh LoRA adapter, on top of those that it has; only the fresh one trains.

    Args:
        model: a base model, or one with the adapters of `[model] adapters`.
        lora: the `[lora]` section.
        seed: of the random half of the adapter.

    Raises:
        ModelError: if a name leads to no layer, or a setting does not go with this base.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    saved = whole_modules(model, lora.modules_to_save)
    targets = target_layers(model, lora, saved)
    _refuse_misfits(model, lora, targets)
    alpha: Any = lora.lora_alpha  # PEFT's type says int; it divides by the rank and takes any number
    init: Any = True if lora.init_lora_weights == "default" else lora.init_lora_weights
    config = LoraConfig(
        r=lora.r, lora_alpha=alpha, lora_dropout=lora.lora_dropout, target_modules=targets, use_rslora=lora.use_rslora,
        use_dora=lora.use_dora, init_lora_weights=init, bias=lora.bias, modules_to_save=saved or None, task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(seed)
    with _said_plainly("[lora]", "Change that setting"):
        if isinstance(model, PeftModel):
            model.add_adapter(OWN, config)
            adapted = model
            _activate_all(adapted)
            _train_only_own(adapted)
        else:
            adapted = get_peft_model(model, config)
    if lora.init_lora_weights in CHANGING_INITS:
        setattr(adapted, START, {n: t.detach().clone() for n, t in _state(adapted).items() if "lora_" in n})
    return adapted


def load_adapters(model: PreTrainedModel, folders: Sequence[Path], own: Path | None = None) -> PeftModel:
    """The model with these adapters on it, frozen and all active; `own` goes on top, under the name that runs give theirs.

    Raises:
        ModelError: if one is no LoRA adapter, or belongs to another model.
    """
    from peft import PeftModel, get_peft_model

    names = [(f"below{i}", folder) for i, folder in enumerate(folders)] + ([(OWN, own)] if own else [])
    adapted: Any = model
    for name, folder in names:
        config = _config(folder)
        if config.use_dora:
            _refuse_dora_on_int8(model, str(folder))
        with _said_plainly(str(folder), "Name an adapter that was trained on this base, and adapters that go together"):
            if isinstance(adapted, PeftModel):
                adapted.add_adapter(name, config)
            else:
                adapted = get_peft_model(adapted, config, adapter_name=name)
            strays = adapted.load_adapter(str(folder), name)
        if strays.missing_keys or strays.unexpected_keys:
            layer = (strays.missing_keys or strays.unexpected_keys)[0]
            what = f"it belongs to another model: {layer} is only on one side"
            raise ModelError(Problem(str(folder), what, "Name an adapter that was trained on this base"))
    _activate_all(adapted)
    return adapted.requires_grad_(False).eval()


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Writes the adapter that was trained, in PEFT's own files, so that it can be put on the base as it was.

    Where the init changed the base, what is written is the difference to the start, [B, -B0] [A; A0], with twice the rank.
    """
    config, state = model.peft_config[OWN].to_dict(), _state(model)
    start: dict[str, torch.Tensor] | None = getattr(model, START, None)
    if start is not None:
        for name, tensor in start.items():
            if "lora_A" in name:
                state[name] = torch.cat([state[name], tensor])
            elif "lora_B" in name:
                state[name] = torch.cat([state[name], -tensor], 1)
        scaling = config["lora_alpha"] / (config["r"] ** 0.5 if config["use_rslora"] else config["r"])
        config |= {"r": 2 * config["r"], "lora_alpha": 2 * config["r"] * scaling, "use_rslora": False}
        config |= {"init_lora_weights": True}
    folder.mkdir(parents=True)
    name = config["base_model_name_or_path"] or bare(model).name_or_path
    config |= {"inference_mode": True, "base_model_name_or_path": name}
    in_order = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    (folder / ADAPTER_FILES[0]).write_text(json.dumps(in_order, indent=2, sort_keys=True) + "\n", "utf-8")
    save_file({n: t.detach().contiguous().cpu() for n, t in state.items()}, folder / ADAPTER_FILES[1], {"format": "pt"})


def merge_adapters(model: PeftModel) -> PreTrainedModel:
    """The base with all active adapters merged into its weights, in order: a plain model that can train.

    Args:
        model: whose base is not quantized; what is merged into 4 bits is rounded once more.
    """
    with warnings.catch_warnings():
        # Said by PEFT where embedding and head part ways, as they must where one of them was trained alone.
        warnings.filterwarnings("ignore", "Input and output embeddings are no longer tied")
        merged: PreTrainedModel = model.merge_and_unload()
    return merged.requires_grad_(True)


def adapted_layers(model: PeftModel) -> list[str]:
    """The names of the layers that the run's own adapter is on, in the base's order."""
    from peft.tuners.lora import LoraLayer

    layers = bare(model).named_modules()
    return [name for name, module in layers if isinstance(module, LoraLayer) and OWN in module.lora_A]


def describe(model: PeftModel) -> str:
    """What trains, in words: an adapter of rank 16 on 14 linear layers (q_proj, k_proj, ...)."""
    layers = adapted_layers(model)
    kinds = ", ".join(dict.fromkeys(name.rsplit(".", 1)[-1] for name in layers))
    config: Any = model.peft_config[OWN]
    whole = f"; {', '.join(config.modules_to_save)} trained whole" if config.modules_to_save else ""
    return f"an adapter of rank {config.r} on {len(layers)} linear layers ({kinds}){whole}"


def _refuse_misfits(model: Any, lora: Lora, targets: Sequence[str]) -> None:
    """Raises a ModelError where a setting would do something else than it says with this base."""
    below: list[Any] = list(getattr(model, "peft_config", {}).values())
    layers = [bare(model).get_submodule(n) for n in targets]
    is_exact = all(p.is_floating_point() for m in layers for p in m.parameters())
    sides = min(min(m.in_features, m.out_features) if hasattr(m, "in_features") else min(m.weight.shape) for m in layers)
    init, where = lora.init_lora_weights, "[lora] init_lora_weights"
    if init in CHANGING_INITS and lora.r > sides:
        what = f"{init} takes {lora.r} singular directions, and the smallest layer has {sides}"
        raise ModelError(Problem(where, what, f"Lower r to {sides}, or leave it out"))
    if init in CHANGING_INITS and not is_exact:
        what = f"{init} takes the adapter's start out of the base, which a quantized base cannot hold exactly"
        raise ModelError(Problem(where, what, "Leave it out, or leave [model] quantize out"))
    if init in CHANGING_INITS and any(c.use_dora for c in below):
        what = f"{init} changes the base's weights, and a DoRA adapter below stands on them"
        raise ModelError(Problem(where, what, "Merge it first with `whet export`, or leave it out"))
    if init == "orthogonal" and lora.r % 2:
        raise ModelError(Problem(where, f"orthogonal splits the rank in two halves, and r is {lora.r}", "Make r even"))
    if lora.use_dora:
        _refuse_dora_on_int8(model, "[lora] use_dora")
    if lora.use_dora and below and lora.lora_dropout:
        what = "with dropout, DoRA trains against the base alone and would not see the adapters below"
        raise ModelError(Problem("[lora] use_dora", what, "Set lora_dropout to 0, or merge them first with `whet export`"))
    if lora.bias != "none" and below:
        what = "it would train the base's own biases, and adapters below stand on them"
        raise ModelError(Problem("[lora] bias", what, "Leave it out, or merge them first with `whet export`"))
    has_biases = any(n.endswith("bias") and "lora_" not in n for n, _ in model.named_parameters())
    if lora.bias != "none" and not has_biases:
        raise ModelError(Problem("[lora] bias", "this base has no biases", "Leave it out"))


def _refuse_dora_on_int8(model: torch.nn.Module, where: str) -> None:
    """Raises a ModelError on the CPU, where PEFT 0.21 loses an int8 layer's scale once DoRA has looked at its weights."""
    if any(p.dtype == torch.int8 and p.device.type == "cpu" for p in model.parameters()):
        what = "DoRA on an int8 base works on an accelerator only"
        raise ModelError(Problem(where, what, 'Write quantize = "nf4", or leave one of them out'))


def _config(folder: Path) -> LoraConfig:
    """The configuration of an adapter on disk, without its dropout: what is frozen answers the same each time."""
    from peft import LoraConfig, PeftConfig

    with _said_plainly(str(folder), "Name a LoRA adapter in PEFT's format"):
        config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        kind = str(config.peft_type).rsplit(".", 1)[-1]
        what = f"it is an adapter of type {kind}, and only LoRA can be read"
        raise ModelError(Problem(str(folder), what, "Merge it into the base with PEFT first"))
    if str(config.init_lora_weights).lower().startswith(FOREIGN_INITS):
        what = f"it stands on a base that its init ({config.init_lora_weights}) changed, not on the base itself"
        do = "Save it with PEFT's path_initial_model_for_weight_conversion"
        raise ModelError(Problem(str(folder), what, do))
    config.lora_dropout, config.inference_mode, config.base_model_name_or_path = 0.0, True, None
    return config


def _activate_all(model: PeftModel) -> None:
    """Makes all adapters work, in order."""
    whole = [name for config in model.peft_config.values() for name in getattr(config, "modules_to_save", None) or ()]
    shared = sorted({name for name in whole if whole.count(name) > 1})
    if shared:
        what = f"{', '.join(shared)} is trained whole by more than one of them, and only one can stand"
        raise ModelError(Problem("[model] adapters", what, "Merge the first ones with `whet export`"))
    tuner: Any = model.base_model
    tuner.set_adapter(list(model.peft_config))


def _train_only_own(model: PeftModel) -> None:
    """Freezes all but the run's own adapter; PEFT would train every active one."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{OWN}." in f"{name}.")


def _state(model: PeftModel) -> dict[str, torch.Tensor]:
    """The weights of the run's own adapter, by the names that PEFT gives them on disk."""
    from peft import get_peft_model_state_dict

    # Embeddings are saved where modules_to_save names them; PEFT's "auto" would ask the Hub whether they were resized.
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=OWN, save_embedding_layers=False)
    return found


@contextmanager
def _said_plainly(where: str, do: str) -> Iterator[None]:
    """Turns PEFT's refusals into ModelErrors, and keeps back its warnings about what is meant here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT still asks the model by its old names
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # a part trained alone is saved and merged so
        warnings.filterwarnings("error", "Unexpected keyword arguments")  # of a newer PEFT; it would pass over them
        try:
            yield
        except (ValueError, TypeError, RuntimeError, KeyError, UserWarning) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(Problem(where, " ".join(map(str.strip, lines[:2])), do)) from error
