"""Base models and what is trained on them: load, put an adapter on, save, load a finished run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from whet.data import bases
from whet.data.tokens import TOKENIZER_FILES
from whet.engine.adapters import load_adapters, merge_adapters, save_adapter
from whet.engine.quantize import load_quantized, weight_count
from whet.errors import ModelError, Problem, RunError
from whet.recipe import Recipe
from whet.run import Run, replace_folder
from whet.sections import Model

if TYPE_CHECKING:
    from peft import PeftModel

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

MODEL_FILES = (*TOKENIZER_FILES, "*.safetensors", "*.safetensors.index.json")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def device() -> torch.device:
    """Where models run: on CUDA where there is some, else on the CPU (Apple's MPS knows no float64 and is untested)."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(recipe: Recipe) -> PreTrainedModel | PeftModel:
    """The base model in evaluation mode, in the precision that the recipe wants, or one of its shape with random weights.

    Adapters that stand on it (`[model] adapters`, and those of a run that is the base) are frozen and active where the recipe
    trains an adapter of its own, and merged where it trains all weights. Only safetensors are read and no code that comes
    with a model is run.

    Raises:
        ModelError: if it cannot be had, read, or is no causal language model.
    """
    run = bases.run_at(recipe.model.base)
    if run and run.has("adapter"):
        bases.refuse_changed(run)
    base = bases.find(recipe.model, MODEL_FILES)
    if base.adapters and recipe.model.random_weights:
        what = "the adapters on this base learned on its own weights"
        raise ModelError(Problem("[model] random_weights", what, "Leave random_weights out, or name the base alone"))
    bare = _load_bare(base.folder, recipe)
    if not base.adapters:
        return bare
    stacked = load_adapters(bare, base.adapters)
    return stacked if recipe.lora else merge_adapters(stacked)


def _load_bare(folder: Path, recipe: Recipe) -> PreTrainedModel:
    """The model in a folder, on the device."""
    dtype, where = DTYPES[recipe.model.dtype], f"[model] base {recipe.model.base}"
    try:
        config = AutoConfig.from_pretrained(folder)
        if getattr(config, "quantization_config", None):
            # Nothing could be merged into it exactly, and bitsandbytes stores some 4-bit weights wrongly.
            do = "Name the model that it was made from, and set quantize"
            raise ModelError(Problem(where, "it lies on disk already quantized", do))
        if recipe.model.random_weights:
            torch.manual_seed(recipe.derive_seed("weights"))
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        elif recipe.model.quantize:
            return load_quantized(folder, recipe.model, dtype, device()).eval()
        else:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(Problem(where, f"it cannot be loaded: {first}", "It must be a causal model in safetensors")) from error
    return model.eval().to(device())


def base_hash(recipe: Recipe) -> str:
    """SHA-256 over the base's configuration and weight files, and those of the adapters that stand on it."""
    return bases.find(recipe.model, MODEL_FILES).digest()


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter that trains, by name."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """(weights that train, all weights); a weight in 4 bits counts as one."""
    counts = [(weight_count(p), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in counts if trains), sum(n for n, _ in counts)


def save_result(model: torch.nn.Module, run: Run, tokenizer_folder: Path) -> Path:
    """Writes `adapter/` (PEFT's own files) or `model/` (a plain model folder with its tokenizer); returns the folder."""
    is_adapter = hasattr(model, "peft_config")  # asked so, because PEFT takes seconds to import where no adapter needs it
    final = run.path / ("adapter" if is_adapter else "model")
    beside = run.path / f".{final.name}.new"
    shutil.rmtree(beside, ignore_errors=True)  # what a kill left of an earlier try
    if is_adapter:
        save_adapter(cast("PeftModel", model), beside)
    else:
        _save_plain(model, beside, tokenizer_folder)
    replace_folder(beside, final)
    return final


def load_result(run: Run, precision: Model | None = None) -> torch.nn.Module:
    """The trained model of a run, in evaluation mode.

    Args:
        run: a trained run.
        precision: another `[model]` section than the run's, for its `dtype` and `quantize`.

    Raises:
        ModelError: if the run has none yet, or its base is not the one that it was trained on.
    """
    recipe = run.recipe.model_copy(update={"model": precision or run.recipe.model})
    if run.has("model"):
        trained = Model(base=str(run.path / "model"), dtype=recipe.model.dtype)
        return _load_bare(run.path / "model", recipe.model_copy(update={"model": trained}))
    if not run.has("adapter"):
        raise ModelError(Problem(str(run.path), "this run holds no trained model yet", "Run `whet train` first"))
    bases.refuse_changed(run)
    base = bases.find(recipe.model, MODEL_FILES)
    return load_adapters(_load_bare(base.folder, recipe), base.adapters, own=run.path / "adapter")


def export_model(run: Run, folder: Path, dtype: str) -> Path:
    """Writes the trained model of a run as a plain model folder, which Transformers loads without PEFT; returns the folder.

    Adapters are merged in float32 into the base as it was before it was quantized.

    Args:
        run: a trained run.
        folder: where to; it must be empty or not exist.
        dtype: "float32" or "bfloat16".

    Raises:
        RunError: if the folder is not empty.
        ModelError: as `load_result`.
    """
    from peft import PeftModel

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(Problem(str(folder), "it exists and is not empty", "Name another folder"))
    section = run.recipe.model
    trained: Any = load_result(run, section.model_copy(update={"quantize": None, "dtype": "float32"}))
    plain: Any = merge_adapters(trained) if isinstance(trained, PeftModel) else trained
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    tokenizer_folder = run.path / "model" if run.has("model") else bases.find(section, MODEL_FILES).folder
    _save_plain(plain.to(DTYPES[dtype]), beside, tokenizer_folder)
    replace_folder(beside, folder)
    return folder


def _save_plain(model: Any, folder: Path, tokenizer_folder: Path) -> None:
    """Writes a model folder with its configuration, safetensors and tokenizer."""
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES[:2]:
        if (tokenizer_folder / name).is_file():
            (folder / name).write_bytes((tokenizer_folder / name).read_bytes())
