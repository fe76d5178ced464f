"""One contender of benchmarks/training.py in a process of its own: takes a step whenever a line comes in, says what it took.

The first line on stdin is the case as JSON; then come "step", "memory" or "profile", each answered by a line of JSON.

The Python of a peer (training_peers.py) runs this file too: nothing of whet, and no more of torch and transformers than the
releases that peers pin have, is imported at its top.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

OPTIMIZER = "adamw_torch_fused"
STEPS = 4000  # more than any run of the benchmark asks for
SHAPES: dict[str, dict[str, Any]] = {
    "15 M": {"hidden_size": 288, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6,
             "intermediate_size": 768, "vocab_size": 32_000, "tie_word_embeddings": True},
    "135 M": {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
              "intermediate_size": 1536, "vocab_size": 49_152, "tie_word_embeddings": True},
}  # fmt: skip
VOCABULARIES = {shape["vocab_size"] for shape in SHAPES.values()}
RANKS = {16, 32, 48}  # of one adapter, and of those that whet computes side by side


def base(shape: str) -> LlamaForCausalLM:
    """A model of that shape with random weights, the same in every process."""
    torch.manual_seed(0)
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, "max_position_embeddings": 2048}
    return LlamaForCausalLM(LlamaConfig(**SHAPES[shape], **special)).eval()


class Clock:
    """Stands between two steps: says what the last one took, waits for a line, and lets the next one begin."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.order, self.resident, self.cpu = "", 0, 0.0
        self.profile: Any = None
        self.loss: float | None = None  # of the first step

    def between(self) -> None:
        """Called when a step has ended."""
        if self.began is not None:
            self.say()
        self.order = sys.stdin.readline().strip()
        if not self.order:
            sys.exit()
        if self.order == "memory":
            gc.collect()
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # begins the count of the highest resident size anew
            self.resident = status("VmRSS")
        if self.order == "profile":
            self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True)
            self.profile.__enter__()
        self.began, self.cpu = time.perf_counter(), time.thread_time()

    def say(self) -> None:
        assert self.began is not None
        said: dict[str, Any] = {"seconds": time.perf_counter() - self.began, "cpu_seconds": time.thread_time() - self.cpu}
        if self.loss is not None:
            said["loss"] = self.loss
        if self.order == "memory":
            said["bytes"] = status("VmHWM") - self.resident
        if self.profile is not None:
            self.profile.__exit__(None, None, None)
            said["parts"] = parts(self.profile.key_averages(group_by_input_shape=True))
            self.profile = None
        print(json.dumps(said), flush=True)


class Gate(TrainerCallback):  # type: ignore[misc]
    """The clock between the steps of a Trainer, whoever made it; it must log the first step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.clock.between()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.clock.between()

    def on_log(self, *_: Any, **given: Any) -> None:
        if self.clock.loss is None:
            self.clock.loss = float(given["logs"]["loss"])


def parts(events: Any) -> dict[str, float]:
    """Seconds of a step's operations, by what they are for."""
    found: Counter[str] = Counter()
    for event in events:
        sizes = {size for shape in event.input_shapes for size in shape}
        if event.key in ("aten::mm", "aten::addmm", "aten::addmm_", "mkldnn::_linear_pointwise"):
            part = "head" if sizes & VOCABULARIES else "adapters" if sizes & RANKS else "frozen products"
        elif "attention" in event.key:
            part = "attention kernels"
        elif "adam" in event.key.lower() or "foreach" in event.key:
            part = "optimizer"
        else:
            part = "other operations"
        found[part] += event.self_cpu_time_total / 1e6
    return dict(found)


def status(key: str) -> int:
    """A line of this process's memory status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def whet(case: dict[str, Any], clock: Clock, folder: Path) -> None:
    """whet's own loop; the progress that it reports to is the clock."""
    from whet.data.tokens import Encoded
    from whet.engine import adapters, loop
    from whet.engine.course import Course
    from whet.engine.timetable import Timetable
    from whet.progress import Silent
    from whet.sections import Lora, Train

    class Gated(Silent):
        def advance(self, count: int = 1, note: str = "") -> None:
            if clock.began is not None and clock.loss is None:
                clock.loss = json.loads((folder / "metrics.jsonl").read_text("utf-8"))["loss"]
            clock.between()

        def say(self, line: str) -> None:
            print(line, file=sys.stderr)

    model: Any = base(case["shape"])
    if case["lora"]:
        model = adapters.add_adapter(model, Lora(r=16, lora_alpha=16), seed=0)
    rows = [Encoded(str(i), tuple(row["prompt"]), tuple(row["completion"])) for i, row in enumerate(case["rows"])]
    train = Train(max_steps=STEPS, num_train_epochs=STEPS, per_device_train_batch_size=case["batch"], optim=OPTIMIZER,
                  learning_rate=1e-4, train_sampling_strategy="sequential")  # fmt: skip
    course = Course(rows, Timetable(len(rows), train, 0), 1, lambda model: (0.0, None), folder)
    loop.train(model, course, Gated())


def trl(case: dict[str, Any], clock: Clock, folder: Path, kind: str) -> None:
    """TRL's SFTTrainer on the same ids; `kind` is one of best, default, grouped, packed, patched."""
    import trl.trainer.utils
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    if kind == "patched":  # as on CUDA: label positions only in its fused head
        trl.trainer.utils._use_triton = lambda device: True

    disable_progress_bars()
    whole = [{"input_ids": [*r["prompt"], *r["completion"]],
              "completion_mask": [0] * len(r["prompt"]) + [1] * len(r["completion"])} for r in case["rows"]]  # fmt: skip
    longest = max(len(row["input_ids"]) for row in whole)
    more: dict[str, Any] = {"train_sampling_strategy": "sequential"}
    if kind == "grouped":
        more = {"train_sampling_strategy": "group_by_length"}
    if kind == "packed":  # as many tokens in a step as the rows of a step have
        mean = sum(len(row["input_ids"]) for row in whole) / len(whole)
        more |= {"packing": True, "packing_strategy": "bfd", "max_length": max(longest, round(mean * case["batch"]))}
    rows = 1 if kind == "packed" else case["peer_rows"] or case["batch"]
    settings = SFTConfig(
        output_dir=str(folder), max_steps=STEPS, learning_rate=1e-4, bf16=False, use_cpu=True, report_to=[], disable_tqdm=True,
        per_device_train_batch_size=rows, gradient_accumulation_steps=1 if kind == "packed" else case["batch"] // rows,
        save_strategy="no", logging_steps=1000, logging_first_step=True,
        activation_checkpointing=kind == "default", completion_only_loss=True, dataloader_pin_memory=False, optim=OPTIMIZER,
        **{"max_length": None, **more},
    )  # fmt: skip
    lora = LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM") if case["lora"] else None
    tokenizer = AutoTokenizer.from_pretrained(case["tokenizer"])
    trainer = SFTTrainer(base(case["shape"]), settings, train_dataset=Dataset.from_list(whole), peft_config=lora,
                         processing_class=tokenizer, callbacks=[Gate(clock)])  # fmt: skip
    trainer.remove_callback(next(c for c in trainer.callback_handler.callbacks if type(c).__name__ == "PrinterCallback"))
    trainer.train()


def main(contender: str) -> None:
    case = json.loads(sys.stdin.readline())
    torch.set_num_threads(case["threads"])
    with tempfile.TemporaryDirectory() as folder:
        name, _, kind = contender.partition("-")
        clock = Clock()
        if name == "whet":
            whet(case, clock, Path(folder))
        elif name == "trl":
            trl(case, clock, Path(folder), kind)
        else:
            import training_peers

            training_peers.CONTENDERS[name](case, Gate(clock), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1])
