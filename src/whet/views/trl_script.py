"""The text of the script that `whet eject` writes: the same recipe on TRL, for a person to read and own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent, fill
from typing import Any

from whet import __version__
from whet.knobs.optimizers import OPTIMIZERS
from whet.recipe import Recipe
from whet.sections import Lora, Train
from whet.views.trl_settings import Code, adapter, differences, quantization, trainer

WIDTH = 128
VERSIONS = {"torch": "2.13", "transformers": "5.23", "peft": "0.21", "trl": "1.16", "bitsandbytes": "0.50"}


@dataclass(frozen=True, slots=True)
class Ejection:
    """What the script needs to know beside the recipe.

    `folder` is the name of the folder beside the script that holds its rows; `base` a Hub id or a path, or None where the
    base lies in that folder, under `base_name`; `adapters` the folders put on it first. `end` is the id behind each answer;
    `pads_with_end` says that the tokenizer has no padding of its own, `has_odd_rows` that a layer's input may be no multiple of
    64 wide. `steps` is what the recipe comes to.
    """

    recipe: Recipe
    folder: str
    base: str | None
    base_name: str
    adapters: tuple[str, ...]
    end: int
    pads_with_end: bool
    has_odd_rows: bool
    rows: int
    steps: int
    same_order: bool


def render(facts: Ejection) -> str:
    """The script, as Python that a formatter leaves alone."""
    parts = [_header(facts), _imports(facts), _places(facts), _rows(facts)]
    if facts.same_order:
        parts.append(_ORDER)
    if facts.same_order or _climbs(facts.recipe.train):
        parts.append(_trainer(facts))
    return "\n\n\n".join(["\n\n".join(parts[:3]), *parts[3:], _model(facts) + "\n\n" + _training(facts)]) + "\n"


def _header(facts: Ejection) -> str:
    spared = {"peft": not (facts.recipe.lora or facts.adapters), "bitsandbytes": not _wants_bitsandbytes(facts.recipe)}
    needs = ", ".join(f"{name} {version}" for name, version in VERSIONS.items() if not spared.get(name))
    lines = [
        f"{facts.recipe.name}: what `whet train` does for this recipe, as a plain script on TRL.",
        "",
        fill(
            f"Written by whet {__version__} for {needs}. It is yours to change, and nothing in it needs whet. "
            f"It learns from {facts.rows:,} rows in {facts.folder}/train.jsonl, which whet has cleaned and split.",
            120,
        ),
        "",
        "What whet does and this script does not:",
        "",
    ]
    lines += [
        fill(sentence, 120, initial_indent="- ", subsequent_indent="  ")
        for sentence in differences(facts.recipe, same_order=facts.same_order, on_adapters=bool(facts.adapters))
    ]
    return '"""' + "\n".join(lines) + '\n"""'


def _imports(facts: Ejection) -> str:
    model, lora = facts.recipe.model, facts.recipe.lora
    from_transformers = ["AutoModelForCausalLM", "PreTrainedTokenizerFast"]
    from_transformers += ["BitsAndBytesConfig"] if model.quantize else []
    from_transformers += ["AutoConfig"] if model.random_weights or (model.quantize and _keeps_some_whole(facts)) else []
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
        placed = ', device_map="auto"' if model.llm_int8_enable_fp32_cpu_offload else ""
        lines = [
            *_whole(facts),
            *_call("quantization = BitsAndBytesConfig", quantization(model, _keeps_some_whole(facts))),
            f"model = AutoModelForCausalLM.from_pretrained(BASE, quantization_config=quantization, {dtype}{placed})",
        ]
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


def _keeps_some_whole(facts: Ejection) -> bool:
    """Does a layer besides the head stay unquantized, or might one on a CPU?"""
    model = facts.recipe.model
    return bool(model.llm_int8_skip_modules) or (model.quantize != "int8" and facts.has_odd_rows)


def _whole(facts: Ejection) -> Iterator[str]:
    """The lines that name the layers which stay unquantized. The head is one of them: Transformers forgets it beside others."""
    if not _keeps_some_whole(facts):
        return
    if facts.has_odd_rows and facts.recipe.model.quantize != "int8":
        yield "# On a CPU, bitsandbytes 0.50 cannot read 4-bit weights back whose rows are no multiple of 64."
    yield 'with torch.device("meta"):'
    yield "    skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(BASE))"
    yield "whole = ["
    yield "    name"
    yield "    for name, module in skeleton.named_modules()"
    conditions = ["module is skeleton.get_output_embeddings()"]
    if facts.recipe.model.llm_int8_skip_modules:
        conditions.append(_has_part(facts.recipe.model.llm_int8_skip_modules))
    if facts.has_odd_rows and facts.recipe.model.quantize != "int8":
        conditions.append("(isinstance(module, torch.nn.Linear) and module.in_features % 64 and not torch.cuda.is_available())")
    yield from _if(conditions, "or")
    yield "]"


def _adapter(lora: Lora, seed: int, is_quantized: bool) -> Iterator[str]:
    """The lines that put the LoRA adapter on."""
    conditions, chosen = _conditions(lora), "all-linear" if lora.target_modules == "all-linear" else _patterns(lora)
    if conditions:
        yield "targets = ["
        yield "    name"
        yield "    for name, module in model.named_modules()"
        is_layer = ["isinstance(module, torch.nn.Linear)", "module is not model.get_output_embeddings()"]
        yield from _if([*is_layer, *conditions], "and")
        yield "]"
    yield from _call("lora = LoraConfig", adapter(lora, Code("targets") if conditions else chosen))
    yield f"torch.manual_seed({seed})"
    yield "model = get_peft_model(model, lora)"
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
        found.append(_has_part(_patterns(lora)))
    if lora.layers_to_transform:
        found.append(f'any(f".{{number}}." in name for number in {_literal(lora.layers_to_transform)})')
    if lora.exclude_modules:
        found.append(f"not {_has_part(lora.exclude_modules)}")
    return found


def _has_part(patterns: Sequence[str]) -> str:
    """Python that asks whether one of these is the name, or whole parts of it in a row: what a layer's name means in whet."""
    return f'any(f".{{part}}." in f".{{name}}." for part in {_literal(patterns)})'


def _patterns(lora: Lora) -> tuple[str, ...]:
    return (lora.target_modules,) if isinstance(lora.target_modules, str) else lora.target_modules


def _is_expression(lora: Lora) -> bool:
    """Is target_modules a regular expression, and not a name or names?"""
    return isinstance(lora.target_modules, str) and not lora.target_modules.replace("-", "_").replace(".", "_").isidentifier()


def _training(facts: Ejection) -> str:
    kind = "Trainer" if facts.same_order or _climbs(facts.recipe.train) else "SFTTrainer"
    output = Code(f"str(HERE / {_literal(facts.folder.removesuffix('_data') + '_model')})")
    given = [("output_dir", output, ""), *trainer(facts.recipe, facts.steps, facts.same_order)]
    lines = list(_call("settings = SFTConfig", {key: value for key, value, _ in given}, {key: why for key, _, why in given}))
    lines.append(f"trainer = {kind}(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)")
    if facts.recipe.model.quantize:
        lines.append("for parameter, data in exact:")
        lines.append("    parameter.data = data  # TRL rounds the adapter of a quantized base to bfloat16")
    lines += ["trainer.train()", "trainer.save_model()", "trainer.save_state()  # trainer_state.json: the losses"]
    return "\n".join(lines)


def _climbs(train: Train) -> bool:
    """Does the learning rate warm up in another way than in Transformers?"""
    return bool(train.warmup_steps or train.warmup_ratio) and train.lr_scheduler_type != "cosine_warmup_with_min_lr"


def _wants_bitsandbytes(recipe: Recipe) -> bool:
    return bool(recipe.model.quantize or OPTIMIZERS[recipe.train.optim].bits)


def _literal(value: Any) -> str:
    """A value as Python writes it, with double quotes.

    Example:
        >>> _literal("a"), _literal(("q_proj", "v_proj")), _literal({"num_cycles": 2.0}), _literal(3e-4)
        ('"a"', '["q_proj", "v_proj"]', '{"num_cycles": 2}', '0.0003')
    """
    if isinstance(value, Code):
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


def _call(target: str, arguments: Mapping[str, Any], reasons: Mapping[str, str] | None = None) -> Iterator[str]:
    """The lines of a call: one for each argument, with the reason for it where there is one."""
    yield f"{target}("
    for key, value in arguments.items():
        why = (reasons or {}).get(key)
        yield f"    {key}={_literal(value)}," + (f"  # {why}" if why else "")
    yield ")"


def _if(conditions: Sequence[str], word: str) -> list[str]:
    """The condition of a comprehension, on one line where it fits."""
    whole = f"    if {f' {word} '.join(conditions)}"
    return [whole] if len(whole) <= WIDTH else [f"    if {conditions[0]}", *(f"    {word} {c}" for c in conditions[1:])]


def _names(names: list[str]) -> str:
    return ", ".join(sorted(names))
