"""The text of the script that `whet eject` writes: the same recipe on TRL, for a person to read and own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import dedent, fill
from typing import Any

from whet import __version__
from whet.knobs.optimizers import OPTIMIZERS, Family
from whet.recipe import Recipe
from whet.sections import Lora, Model, Train

VERSIONS = "torch 2.13, transformers 5.23, peft 0.21, trl 1.16"
# What Transformers passes on of `optim_args`, by family; of bitsandbytes only AdEMAMix gets any.
PASSED: dict[Family, frozenset[str]] = {
    "sgd": frozenset({"momentum", "dampening", "nesterov"}),
    "rmsprop": frozenset({"alpha", "eps", "momentum", "centered"}),
    "adagrad": frozenset({"lr_decay", "eps"}),
    "ademamix": frozenset({"beta3", "alpha", "t_beta3", "t_alpha"}),
}


@dataclass(frozen=True, slots=True)
class Ejection:
    """What the script needs to know beside the recipe.

    `folder` is the name of the folder beside the script that holds its rows; `base` a Hub id or a path, or None where the
    base lies in that folder, under `base_name`; `adapters` the folders put on it first. `end` is the id behind each answer;
    `pads_with_end` says that the tokenizer has no padding of its own. `steps` is what the recipe comes to.
    """

    recipe: Recipe
    folder: str
    base: str | None
    base_name: str
    adapters: tuple[str, ...]
    end: int
    pads_with_end: bool
    rows: int
    steps: int
    same_order: bool


def differences(recipe: Recipe, same_order: bool) -> tuple[str, ...]:
    """What whet does for this recipe and the script does not, a sentence each."""
    return tuple(_of_every_recipe(same_order)) + tuple(_of_the_model(recipe)) + tuple(_of_training(recipe.train, same_order))


def _of_every_recipe(same_order: bool) -> Iterator[str]:
    yield (
        "whet scores validation by plain NLL after each epoch (and every eval_steps) and keeps the best weights; "
        "the script keeps the last."
    )
    yield "whet calibrates, evaluates and compares with baselines; the script only trains."
    if not same_order:
        yield "The order of the rows is drawn by TRL; `whet eject --same-order` keeps whet's."


def _of_the_model(recipe: Recipe) -> Iterator[str]:
    if recipe.model.adapters:
        rounds = " and rounded with it" if recipe.model.quantize else ""
        yield f"[model] adapters are merged into the base{rounds}; whet leaves them beside it as they are."
    if recipe.lora and recipe.lora.use_dora and recipe.train.weight_decay:
        yield "weight_decay also shrinks the magnitudes of DoRA, which whet leaves alone."
    if recipe.lora and recipe.lora.lora_dropout:
        yield "Dropout is drawn by torch as it comes; whet draws it from seed and step, so that a run can be resumed."


def _of_training(train: Train, same_order: bool) -> Iterator[str]:
    if train.per_device_train_batch_size == "auto":
        yield (
            'per_device_train_batch_size = "auto": TRL would shrink the step with the micro-batch, '
            "so it is 16 here; if memory runs out, halve it and double gradient_accumulation_steps."
        )
    if train.label_smoothing_factor and train.label_smoothing_over == "labels":
        yield 'label_smoothing_over = "labels": TRL smooths over the vocabulary only, so the script does not smooth at all.'
    if train.neftune_noise_alpha:
        yield "neftune_noise_alpha: TRL scales the noise by the padded length of the micro-batch, whet by the example's own."
    if train.class_balance == "weights":
        yield 'class_balance = "weights": TRL weights no examples, so all weigh the same.'
    if train.class_balance == "sampling" and not same_order:
        yield 'class_balance = "sampling": TRL draws no label more often; with --same-order the rows are drawn as whet does.'
    if train.optim == "muon":
        yield 'optim = "muon": Transformers has no such name, so it is adamw_torch here, which wants another learning_rate.'
    elif lost := sorted(train.optim_args.keys() - PASSED.get(OPTIMIZERS[train.optim].family, frozenset())):
        yield f"optim_args: Transformers passes no {', '.join(lost)} to {train.optim}, so the default holds."
    elif train.optim_args and train.optim.startswith("rmsprop_bnb"):
        yield f"optim_args: Transformers passes none that {train.optim} could read, so the defaults hold."


def render(facts: Ejection) -> str:
    """The script, as Python that a formatter leaves alone."""
    parts = [_header(facts), _imports(facts), _places(facts), _rows(facts)]
    if facts.same_order:
        parts.append(_ORDER)
    if facts.same_order or _climbs(facts.recipe.train):
        parts.append(_trainer(facts))
    return "\n\n\n".join(["\n\n".join(parts[:3]), *parts[3:], _model(facts) + "\n\n" + _training(facts)]) + "\n"


def _header(facts: Ejection) -> str:
    needs = VERSIONS + (", bitsandbytes 0.50" if _wants_bitsandbytes(facts.recipe) else "")
    lines = [
        f"{facts.recipe.name}: what `whet train` does for this recipe, as a plain script on TRL.",
        "",
        fill(f"Written by whet {__version__} for {needs}. It is yours to change, and nothing in it needs whet.", 120),
        fill(f"It learns from {facts.rows} rows in {facts.folder}/train.jsonl, which whet has cleaned and split.", 120),
        "",
        "What whet does and this script does not:",
        "",
    ]
    lines += [
        fill(sentence, 120, initial_indent="- ", subsequent_indent="  ")
        for sentence in differences(facts.recipe, facts.same_order)
    ]
    return '"""' + "\n".join(lines) + '\n"""'


def _imports(facts: Ejection) -> str:
    model, lora = facts.recipe.model, facts.recipe.lora
    from_transformers = ["AutoModelForCausalLM", "PreTrainedTokenizerFast"]
    from_transformers += ["BitsAndBytesConfig"] if model.quantize else []
    from_transformers += ["AutoConfig"] if model.random_weights else []
    from_peft = (["LoraConfig", "get_peft_model"] if lora else []) + (["PeftModel"] if facts.adapters else [])
    lines = ["import json", *(["import re"] if lora and _is_expression(lora) else [])]
    lines += ["from pathlib import Path", "", "import torch"]
    lines += ["from bitsandbytes.nn import Linear4bit"] if model.quantize in ("nf4", "fp4") else []
    lines += ["from datasets import Dataset"]
    lines += [f"from peft import {_names(from_peft)}"] if from_peft else []
    lines += ["from torch.optim.lr_scheduler import LambdaLR"] if _climbs(facts.recipe.train) else []
    lines += [f"from transformers import {_names(from_transformers)}", "from trl import SFTConfig, SFTTrainer"]
    return "\n".join(lines)


def _places(facts: Ejection) -> str:
    base = _literal(facts.base) if facts.base is not None else f"DATA / {_literal(facts.base_name)}"
    lines = [
        "HERE = Path(__file__).resolve().parent",
        f"DATA = HERE / {_literal(facts.folder)}",
        f"BASE = {base}",
        f"END = {facts.end}  # the id of the end token, learned behind each answer",
        "",
        "tokenizer = PreTrainedTokenizerFast.from_pretrained(BASE)",
    ]
    if facts.pads_with_end:
        lines.append("tokenizer.pad_token = tokenizer.convert_ids_to_tokens(END)  # it has none; padding carries no loss")
    return "\n".join(lines)


def _rows(facts: Ejection) -> str:
    return dedent('''\
        def encode(row):
            """The ids of a row: its prompt, then its completion and the end token, which alone are learned."""
            prompt = tokenizer(row["prompt"])["input_ids"]
            completion = [*tokenizer(row["completion"], add_special_tokens=False)["input_ids"], END]
            return {"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion}


        with (DATA / "train.jsonl").open(encoding="utf-8") as lines:
            rows = Dataset.from_list([encode(json.loads(line)) for line in lines])''')


_ORDER = dedent('''\
    class WhetOrder(torch.utils.data.Sampler):
        """The rows in the order in which whet draws them, epoch by epoch."""

        def __init__(self):
            self.epochs, self.epoch = json.loads((DATA / "order.json").read_text()), 0

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __len__(self):
            return len(self.epochs[0])

        def __iter__(self):
            return iter(self.epochs[self.epoch])''')

_ORDERED = """
    def _get_train_sampler(self, train_dataset=None):
        return WhetOrder()"""

_WARM_UP = '''
    def create_scheduler(self, num_training_steps, optimizer=None):
        """Warm-up begins at 1/w of the peak, as in whet; Transformers spends the first step at a rate of zero."""
        theirs = super().create_scheduler(num_training_steps, optimizer)
        warmup, later = self.args.get_warmup_steps(num_training_steps), theirs.lr_lambdas[0]
        for group in theirs.optimizer.param_groups:
            group["lr"] = group["initial_lr"]  # the peak, which the next line starts from
        self.lr_scheduler = LambdaLR(theirs.optimizer, lambda step: (step + 1) / warmup if step < warmup else later(step))
        return self.lr_scheduler'''


def _trainer(facts: Ejection) -> str:
    methods = ([_ORDERED] if facts.same_order else []) + ([_WARM_UP] if _climbs(facts.recipe.train) else [])
    return "class Trainer(SFTTrainer):" + "\n".join(methods)


def _model(facts: Ejection) -> str:
    recipe, model = facts.recipe, facts.recipe.model
    dtype = f"dtype=torch.{model.dtype}"
    if model.random_weights:
        lines = [
            f"torch.manual_seed({recipe.derive_seed('weights')})",
            f"model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(BASE), {dtype})",
        ]
    elif model.quantize:
        lines = [f"quantization = BitsAndBytesConfig({_arguments(_quantization(model))})",
                 f"model = AutoModelForCausalLM.from_pretrained(BASE, quantization_config=quantization, {dtype})"]  # fmt: skip
    else:
        lines = [f"model = AutoModelForCausalLM.from_pretrained(BASE, {dtype})"]
    if model.quantize in ("nf4", "fp4"):
        lines += [
            "for module in model.modules():",
            "    if isinstance(module, Linear4bit):",
            "        # On CPUs with avx512_bf16, bitsandbytes 0.50 would spoil these weights at the first evaluation.",
            "        module.support_avx512bf16_for_cpu = False",
        ]
    for folder in facts.adapters:
        lines.append(f"model = PeftModel.from_pretrained(model, {_literal(folder)}).merge_and_unload()")
    if recipe.lora:
        lines += _adapter(recipe.lora, recipe.derive_seed("adapter"), is_quantized=bool(model.quantize))
    return "\n".join(lines)


def _adapter(lora: Lora, seed: int, is_quantized: bool) -> Iterator[str]:
    """The lines that put the LoRA adapter on."""
    conditions, chosen = _conditions(lora), "all-linear" if lora.target_modules == "all-linear" else _patterns(lora)
    if conditions:
        yield "targets = ["
        yield "    name"
        yield "    for name, module in model.named_modules()"
        yield "    if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()"
        yield from (f"    and {condition}" for condition in conditions)
        yield "]"
    settings: dict[str, Any] = {"r": lora.r, "lora_alpha": lora.lora_alpha}
    settings |= {"lora_dropout": lora.lora_dropout} if lora.lora_dropout else {}
    settings |= {"target_modules": _Code("targets") if conditions else chosen}
    settings |= {key: True for key in ("use_rslora", "use_dora") if getattr(lora, key)}
    settings |= {"init_lora_weights": lora.init_lora_weights} if lora.init_lora_weights != "default" else {}
    settings |= {"bias": lora.bias} if lora.bias != "none" else {}
    settings |= {"modules_to_save": lora.modules_to_save} if lora.modules_to_save else {}
    yield f"torch.manual_seed({seed})"
    yield f"model = get_peft_model(model, LoraConfig({_arguments({**settings, 'task_type': 'CAUSAL_LM'})}))"
    if is_quantized:
        yield "exact = [(parameter, parameter.data) for parameter in model.parameters() if parameter.requires_grad]"


def _conditions(lora: Lora) -> list[str]:
    """What a layer's name must be like, where PEFT would read the recipe's names otherwise: it refuses layers_to_transform
    beside "all-linear", and matches an expression with what is no linear layer, and excluded names by their ends only."""
    if not (lora.layers_to_transform or lora.exclude_modules or _is_expression(lora)):
        return []
    found = []
    if _is_expression(lora):
        found.append(f"re.fullmatch({_literal(lora.target_modules)}, name)")
    elif lora.target_modules != "all-linear":
        found.append(f'any(f".{{part}}." in f".{{name}}." for part in {_literal(_patterns(lora))})')
    if lora.layers_to_transform:
        found.append(f'any(f".{{number}}." in name for number in {_literal(lora.layers_to_transform)})')
    if lora.exclude_modules:
        found.append(f'not any(f".{{part}}." in f".{{name}}." for part in {_literal(lora.exclude_modules)})')
    return found


def _patterns(lora: Lora) -> tuple[str, ...]:
    return (lora.target_modules,) if isinstance(lora.target_modules, str) else lora.target_modules


def _is_expression(lora: Lora) -> bool:
    """Is target_modules a regular expression, and not a name or names?"""
    return isinstance(lora.target_modules, str) and not lora.target_modules.replace("-", "_").replace(".", "_").isidentifier()


def _training(facts: Ejection) -> str:
    recipe = facts.recipe
    trainer = "Trainer" if facts.same_order or _climbs(recipe.train) else "SFTTrainer"
    lines = ["settings = SFTConfig("]
    for key, value, why in _settings(facts):
        lines.append(f"    {key}={_literal(value)}," + (f"  # {why}" if why else ""))
    lines += [")", f"trainer = {trainer}(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)"]
    if recipe.model.quantize:
        lines += [
            "for parameter, data in exact:",
            "    parameter.data = data  # TRL rounds the adapter of a quantized base to bfloat16",
        ]
    lines += ["trainer.train()", "trainer.save_model()", "trainer.save_state()  # trainer_state.json: the losses"]
    return "\n".join(lines)


def _settings(facts: Ejection) -> Iterator[tuple[str, Any, str]]:
    """Name, value and reason of each argument of SFTConfig; what the recipe leaves at the default of both is left out."""
    train = facts.recipe.train
    yield "output_dir", _Code(f"str(HERE / {_literal(facts.folder.removesuffix('_data') + '_model')})"), ""
    yield "seed", facts.recipe.seed, ""
    size = train.per_device_train_batch_size
    yield "per_device_train_batch_size", 16 if size == "auto" else size, ""
    if train.gradient_accumulation_steps != 1:
        yield "gradient_accumulation_steps", train.gradient_accumulation_steps, ""
    if train.max_steps is not None:
        yield "max_steps", facts.steps, ""
    else:
        yield "num_train_epochs", train.num_train_epochs, ""
    if train.packing:
        yield "padding_free", True, "whet's packing: the rows of a micro-batch end to end. TRL's would change what is in a step"
    yield "max_length", None, "whet has seen to it; TRL's default would cut at 1024"
    if train.train_sampling_strategy != "random" and not facts.same_order:
        yield "train_sampling_strategy", train.train_sampling_strategy, ""
    yield from _optimizer(train)
    if train.label_smoothing_factor and train.label_smoothing_over == "vocabulary":
        yield "label_smoothing_factor", train.label_smoothing_factor, ""
    if train.neftune_noise_alpha:
        yield "neftune_noise_alpha", train.neftune_noise_alpha, ""
    for key, value in (("bf16", train.bf16), ("activation_checkpointing", train.gradient_checkpointing)):
        yield key, value, "" if value else "TRL's default is True"
    yield "logging_steps", train.logging_steps, ""
    if train.save_steps:
        yield "save_steps", train.save_steps, ""
    else:
        yield "save_strategy", "no", ""


def _optimizer(train: Train) -> Iterator[tuple[str, Any, str]]:
    yield "optim", "adamw_torch" if train.optim == "muon" else train.optim, ""
    passed = PASSED.get(OPTIMIZERS[train.optim].family, frozenset()) if not train.optim.startswith("rmsprop_bnb") else ()
    # Transformers reads nesterov = 1, and would take 1.0 for no.
    given = ",".join(f"{key}={value:g}" for key, value in train.optim_args.items() if key in passed)
    if given:
        yield "optim_args", given, ""
    yield "learning_rate", train.learning_rate, ""
    if train.weight_decay:
        yield "weight_decay", train.weight_decay, ""
    defaults = Train()
    for key in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        if getattr(train, key) != getattr(defaults, key):
            yield key, getattr(train, key), ""
    yield "lr_scheduler_type", train.lr_scheduler_type, ""
    if train.lr_scheduler_kwargs:
        yield "lr_scheduler_kwargs", train.lr_scheduler_kwargs, ""
    if train.warmup_steps:
        yield "warmup_steps", train.warmup_steps, ""
    elif train.warmup_ratio:
        yield "warmup_steps", train.warmup_ratio, "below 1: a share of all steps"
    yield "max_grad_norm", train.max_grad_norm, ""


def _quantization(model: Model) -> dict[str, Any]:
    """The arguments of BitsAndBytesConfig."""
    skipped: dict[str, Any] = {}
    if model.llm_int8_skip_modules:
        skipped["llm_int8_skip_modules"] = ["lm_head", *model.llm_int8_skip_modules]
    if model.llm_int8_enable_fp32_cpu_offload:
        skipped["llm_int8_enable_fp32_cpu_offload"] = True
    if model.quantize == "int8":
        threshold = _Code(repr(model.llm_int8_threshold))  # Transformers takes no whole number
        return {"load_in_8bit": True, "llm_int8_threshold": threshold, **skipped}
    double = {"bnb_4bit_use_double_quant": True} if model.bnb_4bit_use_double_quant else {}
    return {
        "load_in_4bit": True, "bnb_4bit_quant_type": model.quantize, **double,
        "bnb_4bit_compute_dtype": _Code(f"torch.{model.bnb_4bit_compute_dtype}"), **skipped,
    }  # fmt: skip


def _climbs(train: Train) -> bool:
    """Does the learning rate warm up in another way than in Transformers?"""
    return bool(train.warmup_steps or train.warmup_ratio) and train.lr_scheduler_type != "cosine_warmup_with_min_lr"


def _wants_bitsandbytes(recipe: Recipe) -> bool:
    return bool(recipe.model.quantize or OPTIMIZERS[recipe.train.optim].bits)


class _Code(str):
    """Text that is Python already."""


def _literal(value: Any) -> str:
    """A value as Python writes it, with double quotes.

    Example:
        >>> _literal("a"), _literal(("q_proj", "v_proj")), _literal({"num_cycles": 2.0}), _literal(3e-4)
        ('"a"', '["q_proj", "v_proj"]', '{"num_cycles": 2}', '0.0003')
    """
    if isinstance(value, _Code):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_literal(value)}" for key, value in values.items())


def _names(names: list[str]) -> str:
    return ", ".join(sorted(names))
