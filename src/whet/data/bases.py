"""Where a base model lies: the embedded one, a folder, a Hub id or a finished run, and the adapters that stand on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from whet.errors import ModelError, Problem
from whet.run import Run, file_hash
from whet.sections import EMBEDDED_BASE, Model

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Base:
    """A base model on disk: the folder of its weights and tokenizer, and the adapter folders put on it, in order."""

    folder: Path
    adapters: tuple[Path, ...] = ()

    def digest(self) -> str:
        """SHA-256 over configuration and weights, those of the adapters included."""
        files = sorted([*self.folder.glob("*.safetensors"), self.folder / "config.json"])
        files += [adapter / name for adapter in self.adapters for name in ADAPTER_FILES]
        return hashlib.sha256("".join(file_hash(f) for f in files).encode()).hexdigest()


def find(model: Model, files: Sequence[str]) -> Base:
    """The Base that a `[model]` section names.

    Args:
        model: its `base` and `adapters` are read.
        files: patterns of what is fetched first where the base is a Hub id.

    Raises:
        ModelError: if something is not there, or is no adapter.
    """
    run = run_at(model.base)
    below = _finished(run, files) if run else Base(base_folder(model.base, files))
    return Base(below.folder, (*below.adapters, *map(_adapter_folder, model.adapters)))


def run_at(base: str) -> Run | None:
    """The run whose folder a `base` names, None where it names something else."""
    run = Run(Path(base))
    return run if run.has("manifest.json") and run.has("recipe.toml") else None


def refuse_changed(run: Run) -> None:
    """Raises a ModelError if the base is not the one that the run's adapter was trained on."""
    name = run.recipe.model.base
    wanted, found = run.manifest["base"]["sha256"], find(run.recipe.model, ("*.safetensors", "config.json")).digest()
    if wanted != found:
        what = f"the base {name} is not the one this adapter was trained on ({found[:12]}, not {wanted[:12]})"
        raise ModelError(Problem(str(run.path), what, "Restore the base, or train again"))


def _finished(run: Run, files: Sequence[str]) -> Base:
    """The model that a finished run made: its plain model, or its base with its adapter on top."""
    where = f"[model] base {run.path}"
    if run.has("model"):
        return Base(run.path / "model")
    if not run.has("adapter"):
        raise ModelError(Problem(where, "this run holds no trained model yet", "Run `whet train` first"))
    if run.recipe.model.random_weights:
        what = "its adapter stands on random weights, which lie on no disk"
        raise ModelError(Problem(where, what, f"Run `whet export {run.path} FOLDER`, and name FOLDER as base"))
    below = find(run.recipe.model, files)
    return Base(below.folder, (*below.adapters, run.path / "adapter"))


def _adapter_folder(name: str) -> Path:
    """The folder of a PEFT adapter in safetensors."""
    folder, where = Path(name), f"[model] adapters {name}"
    missing = [file for file in ADAPTER_FILES if not (folder / file).is_file()]
    if not folder.is_dir():
        raise ModelError(Problem(where, "there is no such folder", "Name a folder that holds a PEFT adapter"))
    if missing and run_at(name):
        raise ModelError(Problem(where, "this is a run, not an adapter", f"Name {folder / 'adapter'}, or set base to the run"))
    if missing:
        what = f"it holds no {' and no '.join(missing)}"
        raise ModelError(Problem(where, what, "Name a folder that PEFT's save_pretrained wrote, in safetensors"))
    return folder


def base_folder(base: str, files: Sequence[str]) -> Path:
    """The local folder of a base model; for a Hub id these `files` (patterns) are fetched into the Hub cache first."""
    if base == EMBEDDED_BASE:
        return Path(str(resources.files("whet.base") / "whetstone"))
    if Path(base).is_dir():
        return Path(base)
    where = f"[model] base {base}"
    if Path(base).is_absolute() or base.startswith(".") or base.count("/") > 1:
        do = "Mend the path, or name a Hub id as owner/name; an earlier stage is trained by `whet run`"
        raise ModelError(Problem(where, "there is no such folder", do))
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=list(files)))
    except HFValidationError:
        raise ModelError(Problem(where, "it is neither a folder nor a Hub id", "Write owner/name, or a path")) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        what = f"the Hub refused it ({status}: unknown, private or gated)"
        raise ModelError(Problem(where, what, "Check the spelling and your access token")) from None
    except (LocalEntryNotFoundError, OSError):
        what = "the Hub cannot be reached and the model is not in the local cache"
        instead = f"set base to its folder, or leave base out for the embedded {EMBEDDED_BASE}"
        raise ModelError(Problem(where, what, f"Download it where there is a network and {instead}")) from None
