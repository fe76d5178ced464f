"""The Recipe: the whole intention in one TOML file. Each setting exists once, here, with its default, range and help."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from whet.errors import Problem, RecipeError
from whet.example import Task

EMBEDDED_BASE = "whetstone"
EMBEDDED_DATA = "embedded:"  # a data path that begins so names a file shipped with whet

# Names that tutorials and older versions use, and what the setting is called here.
OLD_NAMES = {
    "max_seq_length": "[train] max_length",
    "max_train_epochs": "[train] num_train_epochs",
    "epochs": "[train] num_train_epochs",
    "lr": "[train] learning_rate",
    "batch_size": "[train] per_device_train_batch_size",
    "per_gpu_train_batch_size": "[train] per_device_train_batch_size",
    "evaluation_strategy": "[train] eval_steps (validation is always scored at the end of an epoch)",
    "eval_strategy": "[train] eval_steps (validation is always scored at the end of an epoch)",
    "torch_dtype": "[train] bf16",
    "model_name_or_path": "[model] base",
    "dataset_text_field": "[data] input",
    "lora_r": "[lora] r",
    "alpha": "[lora] lora_alpha",
    "dropout": "[lora] lora_dropout",
    "output_dir": "the command line's --out",
}


class Section(BaseModel):
    """A section of the recipe: frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(Section):
    """Where the examples are and which columns they stand in. The `[data]` section."""

    path: str = Field(description="a CSV, TSV, JSONL, JSON, Parquet or Arrow file, or a Hub id; relative to the recipe")
    input: tuple[str, ...] = Field(description="the column (or list of columns) that the model reads", min_length=1)
    target: str = Field(description="the column that it must answer")
    group: str | None = Field(None, description="a column whose rows never straddle two splits (a speech, an author)")
    label_names: dict[str, str] = Field(
        default_factory=dict, description="what a cell of the target column is called as a label"
    )
    validation_path: str | None = Field(None, description="a file of its own for validation, instead of a share of `path`")
    test_path: str | None = Field(None, description="a file of its own for the test split, instead of a share of `path`")
    validation_fraction: float = Field(0.1, description="share of the examples for validation", gt=0, lt=0.5)
    test_fraction: float = Field(0.2, description="share of the examples for the test split", gt=0, lt=0.9)
    encoding: str | None = Field(None, description="the text encoding, where it is not UTF-8 and no byte-order mark says it")
    delimiter: str | None = Field(
        None, description="the column separator, where it should not be found by itself", max_length=1
    )
    header: bool = Field(
        True, description="does the first row of a CSV or TSV file name the columns? If not: column_1, column_2, ..."
    )
    split: str = Field("train", description="the split of a Hub data set that `path` names")
    near_duplicate_threshold: float = Field(
        0.8, description="Jaccard similarity from which two texts are the same for a leak", gt=0, le=1
    )

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Model(Section):
    """The model to sharpen. The `[model]` section."""

    base: str = Field(EMBEDDED_BASE, description="`whetstone` (embedded), a local directory or a Hub id")
    random_weights: bool = Field(False, description="start from random weights of the same shape: what is pretraining worth?")


class Lora(Section):
    """A low-rank adapter in PEFT's own format. Without the `[lora]` section all weights are trained."""

    r: int = Field(16, description="rank of the update", ge=1)
    lora_alpha: float = Field(32.0, description="the update is scaled by lora_alpha / r", gt=0)
    lora_dropout: float = Field(0.0, description="dropout before the adapter", ge=0, lt=1)
    target_modules: str | tuple[str, ...] = Field("all-linear", description="which linear layers get one; the head never does")


class Train(Section):
    """How the weights move. The `[train]` section; names as in Hugging Face's TrainingArguments."""

    optim: Literal["adamw_torch", "adafactor", "sgd"] = Field("adamw_torch", description="the optimizer")
    learning_rate: float = Field(5e-4, description="its peak", gt=0)
    weight_decay: float = Field(0.0, description="decoupled decay of matrices; never of norms and biases", ge=0)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "linear", description="how the learning rate goes down after warm-up"
    )
    warmup_ratio: float = Field(0.0, description="share of the steps that the learning rate climbs", ge=0, lt=1)
    warmup_steps: int = Field(0, description="the same in steps; wins over the ratio", ge=0)
    num_train_epochs: float = Field(3.0, description="passes over the training split", gt=0)
    max_steps: int | None = Field(None, description="stop after so many steps, whatever the epochs say", ge=1)
    per_device_train_batch_size: int = Field(16, description="examples in a micro-batch", ge=1)
    gradient_accumulation_steps: int = Field(1, description="micro-batches in a step", ge=1)
    max_grad_norm: float = Field(1.0, description="gradients are clipped to this norm; 0 is off", ge=0)
    max_length: int | None = Field(None, description="most tokens of an example; left out: what the model can take", ge=8)
    too_long: Literal["error", "drop", "truncate"] = Field(
        "error", description="what happens to a longer example: refuse, drop it, or cut the end of its input; each is listed"
    )
    eval_steps: int | None = Field(
        None, description="score validation every so many steps too, not only after each epoch", ge=1
    )
    save_steps: int | None = Field(
        None, description="write a checkpoint every so many steps too, not only after each epoch", ge=1
    )
    bf16: bool = Field(False, description="bfloat16 arithmetic in the forward pass (autocast); weights stay float32")
    gradient_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")

    @model_validator(mode="after")
    def _constant_has_no_warmup(self) -> Train:
        if self.lr_scheduler_type == "constant" and (self.warmup_steps or self.warmup_ratio):
            raise ValueError('lr_scheduler_type = "constant" ignores warm-up; write "constant_with_warmup"')
        return self


class Evaluate(Section):
    """What the result is compared with. The `[evaluate]` section."""

    baselines: tuple[Literal["majority", "tfidf", "zero_shot", "few_shot"], ...] = Field(
        ("majority", "tfidf", "zero_shot", "few_shot"), description="what the fine-tune must beat"
    )
    few_shot_examples: int = Field(4, description="worked examples in the few-shot prompt, from the training split", ge=1)
    batch_size: int = Field(32, description="examples scored at a time", ge=1)
    bootstrap_samples: int = Field(1000, description="resamples behind each 95 % interval", ge=100)
    max_new_tokens: int = Field(128, description="longest answer of a `generate` task", ge=1)


class Recipe(Section):
    """The whole intention: task, data, model, how to train and how to judge."""

    name: str = Field(description="the run's name; its folder is runs/<name>", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(7, description="every random choice derives from it", ge=0)
    task: Task
    data: Data
    model: Model = Field(default_factory=lambda: Model())
    lora: Lora | None = Field(None, description="left out: full fine-tuning")
    train: Train = Field(default_factory=lambda: Train())
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate())

    @model_validator(mode="after")
    def _labels_fit(self) -> Recipe:
        labels = self.task.labels
        if self.task.kind == "generate" and labels:
            raise ValueError('[task] labels belong to kind = "classify"; leave them out')
        if len(set(labels)) != len(labels):
            raise ValueError("[task] labels holds a label twice")
        if len(labels) == 1:
            raise ValueError("[task] labels needs at least two")
        unknown = sorted(set(self.data.label_names.values()) - set(labels)) if labels else []
        if unknown:
            raise ValueError(f"[data.label_names] leads to {', '.join(unknown)}, which [task] labels does not hold")
        return self

    def dump(self) -> str:
        """The recipe as TOML, every setting written out."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def fingerprint(self) -> str:
        """SHA-256 of all settings: equal for equal intentions, however the file was written."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def derive_seed(self, use: str) -> int:
        """The seed of one use, so that no two uses share a stream: SHA-256 of the recipe's seed and the use's name."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{use}".encode()).digest()[:4], "big")

    def settings(self) -> dict[str, Any]:
        """All settings, flat: `{"train.learning_rate": 0.0005, ...}`."""
        return dict(_flat(self.model_dump(mode="json")))


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, with `key=value` overrides parsed as TOML values.

    Args:
        path: the file; relative data paths in it are taken from its folder.
        overrides: such as `train.learning_rate=1e-4`; what is no TOML value counts as a string.

    Raises:
        RecipeError: with everything that is wrong, each with the nearest known key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        do = "Write one with `whet new NAME --from TABLE`"
        raise RecipeError(Problem(str(path), "there is no such recipe", do)) from None
    except IsADirectoryError:
        raise RecipeError(Problem(str(path), "this is a folder, not a recipe", "Name the .toml file in it")) from None
    except UnicodeDecodeError as error:
        raise RecipeError(Problem(str(path), f"it is not UTF-8 text (byte {error.start})", "Save it as UTF-8")) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(Problem(str(path), f"it is not valid TOML: {error}", "Mend that line")) from None
    for override in overrides:
        _override(values, override)
    recipe = parse(values, where=path.name)
    return recipe.model_copy(update={"data": _anchored(recipe.data, path.parent)})


def parse(values: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """The recipe that these values make.

    Raises:
        RecipeError: with every wrong key and value at once.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(*(_problem(where, e) for e in error.errors(include_url=False))) from None


def known_keys() -> dict[str, list[str]]:
    """Section name ("" for the top) to the keys it knows."""
    sections: dict[str, type[BaseModel]] = {
        "": Recipe, "task": Task, "data": Data, "model": Model, "lora": Lora, "train": Train, "evaluate": Evaluate,
    }  # fmt: skip
    return {name: list(section.model_fields) for name, section in sections.items()}


def _problem(where: str, error: Any) -> Problem:
    """One pydantic error as where + what + do."""
    loc = [str(part) for part in error["loc"]]
    section, key = (loc[0], loc[1]) if len(loc) > 1 else ("", loc[0] if loc else "")
    place = f"{where}, [{section}] {key}" if section else f"{where}, {key}" if key else where
    if error["type"] == "extra_forbidden":
        return Problem(place, "there is no such key", _nearest(section, key))
    if error["type"] == "missing":
        needs = f"the section [{key}] is missing" if key in ("task", "data") and not section else "this key is missing"
        return Problem(place, needs, f"Add it: {_help(section, key)}")
    if error["type"] == "value_error":
        return Problem(place, str(error["ctx"]["error"]), "")
    message = error["msg"][0].lower() + error["msg"][1:]
    meant = _help(section, key)
    return Problem(place, f"{error['input']!r} does not do: {message}", f"It is {meant}" if meant else "")


def _help(section: str, key: str) -> str:
    models: dict[str, type[BaseModel]] = {
        "": Recipe, "task": Task, "data": Data, "model": Model, "lora": Lora, "train": Train, "evaluate": Evaluate,
    }  # fmt: skip
    field = models[section].model_fields.get(key) if section in models else None
    return (field.description or "") if field else ""


def _nearest(section: str, key: str) -> str:
    """What the writer probably meant: a current name of an old one, or the known key spelled most alike."""
    if key in OLD_NAMES:
        return f"It is called {OLD_NAMES[key]} now"
    known = known_keys()
    here = difflib.get_close_matches(key, known.get(section, []), n=1)
    if here:
        return f"Did you mean `{here[0]}`?"
    anywhere = {k: s for s, keys in known.items() for k in keys}
    close = difflib.get_close_matches(key, anywhere, n=1)
    if close:
        home = anywhere[close[0]]
        return f"Did you mean `{close[0]}` {f'in [{home}]' if home else 'at the top'}?"
    return f"Known here: {', '.join(known.get(section, known['']))}"


def _override(values: dict[str, Any], text: str) -> None:
    """Sets one `section.key=value` in the raw values."""
    key, sign, raw = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        do = "Write it as in --set train.learning_rate=1e-4"
        raise RecipeError(Problem(f"--set {text}", "it is not of the form key=value", do))
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    place = values
    for part in parts[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise RecipeError(Problem(f"--set {text}", f"{part} is not a section", "Name a key as section.key"))
    place[parts[-1]] = value


def _anchored(data: Data, folder: Path) -> Data:
    """The data section with its paths absolute, where they name files; a Hub id stays what it is."""

    def anchor(name: str | None) -> str | None:
        if name is None or name.startswith(EMBEDDED_DATA):
            return name
        file = (folder / name).expanduser()
        return str(file.resolve()) if file.exists() or file.suffix else name

    update = {key: anchor(getattr(data, key)) for key in ("path", "validation_path", "test_path")}
    return data.model_copy(update=update)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value and prefix + key != "data.label_names":
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
