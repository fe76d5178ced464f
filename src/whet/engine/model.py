"""Base models and what is trained on them: load, put an adapter on, save, load a finished run."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from whet.data.tokens import TOKENIZER_FILES, base_folder
from whet.errors import ModelError, Problem
from whet.recipe import Recipe
from whet.run import Run, file_hash, replace_folder
from whet.sections import Lora

if TYPE_CHECKING:
    from peft import PeftModel

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

MODEL_FILES = (*TOKENIZER_FILES, "*.safetensors", "*.safetensors.index.json")


def device() -> torch.device:
    """Where models run: on CUDA where there is some, else on the CPU (Apple's MPS knows no float64 and is untested)."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(recipe: Recipe) -> PreTrainedModel:
    """The base model in float32 and evaluation mode, or one of its shape with random weights.

    Only safetensors are read and no code that comes with a model is run.

    Raises:
        ModelError: if it cannot be had, read, or is no causal language model.
    """
    base = recipe.model.base
    folder = base_folder(base, MODEL_FILES)
    try:
        if recipe.model.random_weights:
            torch.manual_seed(recipe.derive_seed("weights"))
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
        else:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        what = f"it cannot be loaded: {first}"
        raise ModelError(Problem(f"[model] base {base}", what, "It must be a causal model in safetensors")) from error
    return model.eval().to(device())


def base_hash(recipe: Recipe) -> str:
    """SHA-256 over the base's configuration and weight files, in order of their names."""
    folder = base_folder(recipe.model.base, MODEL_FILES)
    files = sorted([*folder.glob("*.safetensors"), folder / "config.json"])
    return hashlib.sha256("".join(file_hash(f) for f in files).encode()).hexdigest()


def add_adapter(model: PreTrainedModel, lora: Lora, seed: int) -> PeftModel:
    """The model with a fresh LoRA adapter; only the adapter trains.

    Raises:
        ModelError: if no layer has one of the wanted names.
    """
    from peft import LoraConfig, get_peft_model

    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    torch.manual_seed(seed)
    alpha: Any = lora.lora_alpha  # PEFT's type says int; it divides by the rank and takes any number
    config = LoraConfig(
        r=lora.r, lora_alpha=alpha, lora_dropout=lora.lora_dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT still asks the model by its old names
            return get_peft_model(model, config)
    except ValueError as error:
        linear = sorted({n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
        do = f'Linear layers here: {", ".join(linear)}; or write "all-linear"'
        raise ModelError(Problem("[lora] target_modules", str(error).splitlines()[0], do)) from None


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter that trains, by name."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def save_result(model: torch.nn.Module, run: Run, tokenizer_folder: Path) -> Path:
    """Writes `adapter/` (PEFT's own files) or `model/` (a plain model folder with its tokenizer); returns the folder."""
    from peft import PeftModel

    is_adapter = isinstance(model, PeftModel)
    final = run.path / ("adapter" if is_adapter else "model")
    beside = run.path / f".{final.name}.new"
    shutil.rmtree(beside, ignore_errors=True)  # what a kill left of an earlier try
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT wonders about embedding sizes of bases without a Hub id
        model.save_pretrained(beside)  # type: ignore[operator]  # torch types a model's attributes as tensors
    for name in TOKENIZER_FILES[:2]:
        if not is_adapter and (tokenizer_folder / name).is_file():
            (beside / name).write_bytes((tokenizer_folder / name).read_bytes())
    replace_folder(beside, final)
    return final


def load_result(run: Run) -> torch.nn.Module:
    """The trained model of a run, in evaluation mode.

    Raises:
        ModelError: if the run has none yet, or its base is not the one that it was trained on.
    """
    recipe = run.recipe
    if run.has("model"):
        trained = AutoModelForCausalLM.from_pretrained(run.path / "model", dtype=torch.float32, use_safetensors=True)
        return trained.eval().to(device())
    if not run.has("adapter"):
        raise ModelError(Problem(str(run.path), "this run holds no trained model yet", "Run `whet train` first"))
    wanted, found = run.manifest["base"]["sha256"], base_hash(recipe)
    if wanted != found:
        what = f"the base {recipe.model.base} is not the one this adapter was trained on ({found[:12]}, not {wanted[:12]})"
        raise ModelError(Problem(str(run.path), what, "Restore the base, or train again"))
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(load_base(recipe), run.path / "adapter").eval()
