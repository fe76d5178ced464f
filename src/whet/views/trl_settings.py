"""What a recipe comes to in the words of TRL, PEFT and bitsandbytes, and what none of their words can say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whet.knobs.optimizers import OPTIMIZERS, Family
from whet.recipe import Recipe
from whet.sections import Lora, Model, Train

# What Transformers passes on of `optim_args`, by family; of bitsandbytes only AdEMAMix gets any.
PASSED: dict[Family, frozenset[str]] = {
    "sgd": frozenset({"momentum", "dampening", "nesterov"}),
    "rmsprop": frozenset({"alpha", "eps", "momentum", "centered"}),
    "adagrad": frozenset({"lr_decay", "eps"}),
    "ademamix": frozenset({"beta3", "alpha", "t_beta3", "t_alpha"}),
}


class Code(str):
    """Text that is Python already."""


def differences(recipe: Recipe, *, same_order: bool, on_adapters: bool) -> tuple[str, ...]:
    """What whet does for this recipe and the script does not, a sentence each.

    Args:
        recipe: whose training the script does.
        same_order: whether the script takes the rows in whet's order.
        on_adapters: whether the base has adapters on it.
    """
    of_model = _of_the_model(recipe, on_adapters)
    return (*_of_every_recipe(same_order), *of_model, *_of_training(recipe.train, same_order))


def _of_every_recipe(same_order: bool) -> Iterator[str]:
    yield (
        "whet scores validation by plain NLL after each epoch (and every eval_steps) and keeps the best weights; "
        "the script keeps the last."
    )
    yield "whet calibrates, evaluates and compares with baselines; the script only trains."
    if not same_order:
        yield "The order of the rows is drawn by TRL; `whet eject --same-order` keeps whet's."


def _of_the_model(recipe: Recipe, on_adapters: bool) -> Iterator[str]:
    if on_adapters and recipe.lora:
        rounded = ", and rounded with it" if recipe.model.quantize else ""
        yield f"The adapters on the base are merged into it{rounded}; whet leaves them beside it as they are."
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


def trainer(recipe: Recipe, steps: int, same_order: bool) -> Iterator[tuple[str, Any, str]]:
    """Name, value and reason of each argument of SFTConfig; what the recipe leaves at the default of both is left out.

    Args:
        steps: what the recipe comes to.
        same_order: whether the script orders the rows itself.
    """
    train = recipe.train
    yield "seed", recipe.seed, ""
    size = train.per_device_train_batch_size
    yield "per_device_train_batch_size", 16 if size == "auto" else size, ""
    if train.gradient_accumulation_steps != 1:
        yield "gradient_accumulation_steps", train.gradient_accumulation_steps, ""
    if train.max_steps is not None:
        yield "max_steps", steps, ""
    else:
        yield "num_train_epochs", train.num_train_epochs, ""
    if train.packing:
        yield "padding_free", True, "whet's packing: the rows of a micro-batch end to end. TRL's would change what is in a step"
    yield "max_length", None, "whet has seen to it; TRL's default would cut at 1024"
    if train.train_sampling_strategy != "random" and not same_order:
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
    given = ",".join(f"{key}={_plain(value)}" for key, value in train.optim_args.items() if key in passed)
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


def adapter(lora: Lora, targets: Any) -> dict[str, Any]:
    """The arguments of LoraConfig, with these targets; what stands at PEFT's default is left out."""
    return {
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        **({"lora_dropout": lora.lora_dropout} if lora.lora_dropout else {}),
        "target_modules": targets,
        **{key: True for key in ("use_rslora", "use_dora") if getattr(lora, key)},
        **({"init_lora_weights": lora.init_lora_weights} if lora.init_lora_weights != "default" else {}),
        **({"bias": lora.bias} if lora.bias != "none" else {}),
        **({"modules_to_save": lora.modules_to_save} if lora.modules_to_save else {}),
        "task_type": "CAUSAL_LM",
    }


def quantization(model: Model, keeps_some_whole: bool) -> dict[str, Any]:
    """The arguments of BitsAndBytesConfig; `whole` in them names the layers that stay unquantized, where there are some."""
    rest: dict[str, Any] = {"llm_int8_skip_modules": Code("whole")} if keeps_some_whole else {}
    if model.llm_int8_enable_fp32_cpu_offload:
        rest["llm_int8_enable_fp32_cpu_offload"] = True
    if model.quantize == "int8":
        threshold = Code(repr(model.llm_int8_threshold))  # Transformers takes no whole number
        return {"load_in_8bit": True, "llm_int8_threshold": threshold, **rest}
    double = {"bnb_4bit_use_double_quant": True} if model.bnb_4bit_use_double_quant else {}
    dtype = Code(f"torch.{model.bnb_4bit_compute_dtype}")
    return {"load_in_4bit": True, "bnb_4bit_quant_type": model.quantize, **double, "bnb_4bit_compute_dtype": dtype, **rest}


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
