"""The contenders of benchmarks/training.py that are found, not required: LLaMA-Factory and axolotl.

Both pin other releases of transformers, peft and trl than whet does, so the Python of an environment of their own runs their
worker; nothing of whet is imported there. They load the same weights from a folder, get the same ids and labels without
tokenizing anything, and use the same kernel of AdamW, no checkpointing and no packing. LLaMA-Factory pads to 8 tokens always.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

VERSIONS = """
import json, sys
from importlib import metadata, util
print(json.dumps({name: metadata.version(name) for name in sys.argv[1:] if util.find_spec(name)}))
"""
WHOLE_STEPS = ("axolotl",)  # 0.19.0 averages the means of a step's micro-batches, however many targets each has
LIBRARIES = ("torch", "transformers", "trl", "peft")


def find_peers(pythons: Sequence[str]) -> dict[str, str]:
    """The Python of each peer found; says of each what it is, and what was not found."""
    found: dict[str, str] = {}
    for python in pythons:
        try:
            command = [python, "-E", "-c", VERSIONS, *CONTENDERS, *LIBRARIES]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            what = f"--peers {python}: {error}. Name the python of an environment, such as peers/bin/python"
            raise SystemExit(what) from None
        versions = json.loads(done.stdout)
        for peer in CONTENDERS:
            if peer in versions and peer not in found:
                found[peer] = python
                others = ", ".join(f"{name} {versions[name]}" for name in LIBRARIES if name in versions)
                print(f"{peer} {versions[peer]} ({others})", file=sys.stderr)
    if missing := [peer for peer in CONTENDERS if peer not in found]:
        print(f"left out: {' and '.join(missing)}, in none of the Pythons that --peers names", file=sys.stderr)
    return found


def write_model(shape: str, tokenizer: str, folder: str) -> None:
    """Puts the weights that our own contenders make from a seed where a peer loads them: other releases draw other ones."""
    from training_worker import base
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    base(shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tokenizer) / name, folder)


# -- in the worker -------------------------------------------------------------------------------------------------------


def rows(case: dict[str, Any]) -> list[dict[str, list[int]]]:
    """The rows as a Trainer takes them: a label at each id of a completion, -100 elsewhere."""
    return [
        {
            "input_ids": [*row["prompt"], *row["completion"]],
            "attention_mask": [1] * (len(row["prompt"]) + len(row["completion"])),
            "labels": [-100] * len(row["prompt"]) + row["completion"],
        }
        for row in case["rows"]
    ]


def llamafactory(case: dict[str, Any], gate: Any, folder: Path) -> None:
    """What `llamafactory-cli train` calls, on rows tokenized before."""
    from datasets import Dataset
    from llamafactory.train.tuner import run_exp  # type: ignore[import-not-found]
    from training_worker import OPTIMIZER, STEPS

    Dataset.from_list(rows(case)).save_to_disk(folder / "rows")
    micro_batch = case["peer_rows"] or case["batch"]
    tuned = {"finetuning_type": "lora", "lora_rank": 16, "lora_alpha": 16, "lora_target": "all", "lora_dropout": 0.0}
    run_exp({
        "stage": "sft", "do_train": True, **(tuned if case["lora"] else {"finetuning_type": "full"}),
        "model_name_or_path": case["model"], "template": "empty", "flash_attn": "sdpa",
        "dataset": "rows", "tokenized_path": str(folder / "rows"), "cutoff_len": 2048, "disable_shuffling": True,
        "output_dir": str(folder / "out"), "max_steps": STEPS, "learning_rate": 1e-4, "optim": OPTIMIZER,
        "per_device_train_batch_size": micro_batch, "gradient_accumulation_steps": case["batch"] // micro_batch,
        "bf16": False, "use_cpu": True, "disable_gradient_checkpointing": True, "dataloader_pin_memory": False,
        "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "logging_steps": 1000, "logging_first_step": True,
    }, [gate])  # fmt: skip


def axolotl(case: dict[str, Any], gate: Any, folder: Path) -> None:
    """What `axolotl train` calls, on rows tokenized before."""
    os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"  # it tells its makers of each run otherwise
    from axolotl.cli.config import load_cfg  # type: ignore[import-not-found]
    from axolotl.common.datasets import TrainDatasetMeta  # type: ignore[import-not-found]
    from axolotl.train import setup_model_and_trainer  # type: ignore[import-not-found]
    from datasets import Dataset
    from training_worker import OPTIMIZER, STEPS
    from transformers import ProgressCallback

    micro_batch = case["peer_rows"] or case["batch"]
    tuned = {"adapter": "lora", "lora_r": 16, "lora_alpha": 16, "lora_target_linear": True, "lora_dropout": 0.0}
    tuned |= {"lora_mlp_kernel": False, "lora_embedding_kernel": False}  # on by default; the first takes CUDA memory (0.19.0)
    settings = {
        "base_model": case["model"], **(tuned if case["lora"] else {}), "attn_implementation": "sdpa",
        "datasets": [{"path": str(folder), "type": "alpaca"}], "sequence_len": 2048, "curriculum_sampling": True,
        "output_dir": str(folder / "out"), "max_steps": STEPS, "learning_rate": 1e-4, "optimizer": OPTIMIZER,
        "lr_scheduler": "linear", "micro_batch_size": micro_batch,
        "gradient_accumulation_steps": case["batch"] // micro_batch, "num_epochs": 1, "val_set_size": 0,
        "bf16": False, "fp16": False, "tf32": False, "gradient_checkpointing": False, "sample_packing": False,
        "save_strategy": "no", "logging_steps": 1000, "dataloader_pin_memory": False, "dataloader_num_workers": 0,
        "pad_to_sequence_len": False,  # else to 64 tokens
    }  # fmt: skip
    file = folder / "axolotl.yml"
    file.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
    meta = TrainDatasetMeta(Dataset.from_list(rows(case)), None, STEPS)
    trainer, *_ = setup_model_and_trainer(load_cfg(str(file)), meta)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(gate)
    trainer.args.logging_first_step = True
    trainer.train()


CONTENDERS: dict[str, Callable[[dict[str, Any], Any, Path], None]] = {"llamafactory": llamafactory, "axolotl": axolotl}
