"""whet's training against TRL's SFTTrainer: `python benchmarks/training.py [--quick] [--case NAME ...] [--json FILE]`.

The same random weights, the same rows, the same LoRA (r 16 on all linear layers, float32), the same steps on the same two
threads. Each contender is a process of its own; they take turns of a second or one step (A B C A B C ...), and the medians of
all steps are compared. A step is everything from one to the next: collation, forward, backward, clipping, the optimizer, the
log. Turns are no shorter, because the first step after a pause, with cold caches, is no step of a training: 30 % slower where
it takes a tenth of a second. Step memory is the highest resident size during a step above that before it.

Both use AdamW in one kernel (adamw_torch_fused). TRL runs at its best setting here (completion only, no checkpointing) as it
is shipped, where on a CPU its fused head scores every position; and *patched*, so that it scores label positions only as it
does on CUDA: the honest measure of what the layout of a step gains. --all adds its default (checkpointing), length groups and
packing. The last two cases are real text in the tokens of whetstone: a task of Super-NaturalInstructions, and pledges of
manifestos; without ../shared they are left out.

--peers names Pythons of environments that may have LLaMA-Factory or axolotl (training_peers.py): those found take turns too, on
the same weights, read from a folder, and the same ids. The first loss must be TRL's to 1e-3 for all that begin with
the same rows.

With 1,000 tokens and 135 M parameters TRL takes its 8 rows in four micro-batches: together they need some 30 GB.

The limit of a case is the time that the arithmetic of its token trees would take at the best matrix-product rate measured here.
--profile says where one more step of each went. Exits 1 when a ratio is below its floor. --quick: the first two cases, three
minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

from training_peers import CONTENDERS, WHOLE_STEPS, find_peers, write_model

from whet.data import tokens as tokenizers
from whet.engine.tree import grow
from whet.example import Task
from whet.prompts import plain

WORKER = Path(__file__).with_name("training_worker.py")
RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "pledges.toml"
END = 0
TURN_SECONDS = 1.0
OTHER_ROWS = ("trl-grouped", "trl-packed")  # in their first step


@dataclass(frozen=True, slots=True)
class Case:
    """What is trained, and the floors: speed over TRL as shipped and patched, memory of TRL as shipped over ours."""

    name: str
    shape: str
    instruction: int
    batch: int = 8
    instruction_first: bool = True
    shipped: float = 0.0
    patched: float = 0.0
    memory: float = 0.0
    lora: bool = True
    source: str = ""
    peer_rows: int = 0  # in a micro-batch of TRL's, where all rows of a step together need more memory than there is


CASES = (
    Case("15 M, 60-token instruction first", "15 M", 60, shipped=10, patched=3, memory=12),
    Case("15 M, 300-token instruction first", "15 M", 300, shipped=15, patched=5, memory=20),
    Case("15 M, input first, nothing shared", "15 M", 60, instruction_first=False, shipped=8, patched=1.8, memory=6),
    Case("135 M, 60-token instruction first", "135 M", 60, shipped=5, patched=4, memory=6),
    Case("135 M, 300-token instruction first", "135 M", 300, shipped=9, patched=6, memory=10),
    Case("135 M, 1,000-token instruction first", "135 M", 1000, shipped=14, patched=9, memory=12, peer_rows=2),
    Case("15 M, 60-token instruction first, 32 rows", "15 M", 60, batch=32),
    Case("15 M, 1,000-token instruction first", "15 M", 1000),
    Case("135 M, input first, nothing shared", "135 M", 60, instruction_first=False),
    Case("15 M, 60-token instruction first, all weights", "15 M", 60, lora=False),
    Case(
        "15 M, Super-NI task 363 (sentiment of reviews)", "15 M", 0, source="super_ni/task363_sst2_polarity_classification.json"
    ),
    Case("15 M, pledges in manifestos", "15 M", 0, source="promises/mimac_pledges_en_a.tsv"),
)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def synthetic(case: Case, count: int = 400) -> list[dict[str, list[int]]]:
    """Rows of random ids: an instruction that all share, 20 to 60 ids of their own, one of four labels and its end."""
    rng = random.Random(0)

    def ids(count: int) -> list[int]:
        return [rng.randrange(2, 6000) for _ in range(count)]

    instruction, labels = ids(case.instruction), [[*ids(1 + i % 2), END] for i in range(4)]
    rows = []
    for _ in range(count):
        own = ids(rng.randint(20, 60))
        prompt = [*instruction, *own] if case.instruction_first else [*own, *instruction]
        rows.append({"prompt": [END, *prompt], "completion": rng.choice(labels)})
    return rows


def real(source: str, count: int = 400) -> list[dict[str, list[int]]]:
    """Rows of real text as whet's plain template puts them, the instruction first, in the tokens of whetstone."""
    if source.endswith(".json"):
        task = json.loads((SHARED / source).read_text("utf-8"))
        instruction = " ".join(task["Definition"])
        pairs = [(i["input"], i["output"] if isinstance(i["output"], str) else i["output"][0]) for i in task["Instances"]]
    else:
        instruction = tomllib.loads(RECIPE.read_text("utf-8"))["task"]["instruction"]
        with (SHARED / source).open(encoding="utf-8") as file:
            table = csv.DictReader(file, delimiter="\t")
            pairs = [(row["text"], {"0": "False", "1": "True"}[row["binary_pledge"]]) for row in table]
    tokens, drawn = tokenizers.load("whetstone"), random.Random(0).sample(pairs, count)
    ids = [(tokens.prompt(plain.prompt(Task(instruction=instruction), {"text": text})), target) for text, target in drawn]
    return [{"prompt": list(p), "completion": list(tokens.completion(plain.completion(target)))} for p, target in ids]


class Contender:
    """A worker process, what its steps took, and the loss of its first step, known when the second has ended."""

    def __init__(self, name: str, python: str, given: dict[str, Any]) -> None:
        is_peer = name in CONTENDERS
        command = [python, *(["-E"] if is_peer else []), str(WORKER), name]  # -E: no PYTHONPATH of ours
        self.name, self.seconds, self.loss = name, list[float](), 0.0
        # A peer prints its settings: shown if it ends early.
        self.talk = tempfile.TemporaryFile() if is_peer else None  # noqa: SIM115  # open as long as the process
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.talk, text=True)
        assert self.process.stdin
        self.process.stdin.write(json.dumps(given) + "\n")

    def step(self, order: str = "step") -> dict[str, Any]:
        """Lets it take one step; returns what it says of it."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            if line.startswith('{"seconds"'):
                said: dict[str, Any] = json.loads(line)
                self.loss = said.get("loss", self.loss)
                return said
        code = self.process.wait()
        if self.talk:
            self.talk.seek(0)
            sys.stderr.write(self.talk.read().decode("utf-8", "replace"))
        raise SystemExit(f"{self.name} ended with exit code {code}")

    def take_turn(self) -> None:
        """Steps until a turn is over."""
        ends = time.monotonic() + TURN_SECONDS
        while True:
            self.seconds.append(self.step()["seconds"])
            if time.monotonic() >= ends:
                return

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def compare(
    case: Case, names: Mapping[str, str], rounds: int, threads: int, rows: list[dict[str, list[int]]], is_profiled: bool
) -> dict[str, Any]:
    """Median seconds of a step, step memory and, if asked, seconds of one more step by what they are for, by contender;
    `names`: the Python that runs each."""
    tokenizer = str(resources.files("whet.base") / "whetstone")
    with tempfile.TemporaryDirectory() as folder:
        if any(name in CONTENDERS for name in names):
            write_model(case.shape, tokenizer, folder)
        given = {**asdict(case), "threads": threads, "rows": rows, "tokenizer": tokenizer, "model": folder}
        contenders = [Contender(name, python, given) for name, python in names.items()]
        for contender in contenders:
            for _ in range(2):  # libraries warm up, optimizer states come to be
                contender.step()
    losses = {c.name: c.loss for c in contenders if c.name not in OTHER_ROWS}
    if astray := [f"{name} {loss:.4f}" for name, loss in losses.items() if not abs(loss - losses["trl-best"]) <= 1e-3]:
        raise SystemExit(f"{case.name}: the first loss of {', '.join(astray)} is not TRL's {losses['trl-best']:.4f}")
    for _ in range(rounds):
        for contender in contenders:
            contender.take_turn()
    memory = {c.name: max(c.step("memory")["bytes"] for _ in range(2)) for c in contenders}
    parts = {c.name: [c.step("profile") for _ in range(3)][-1] for c in contenders} if is_profiled else {}
    for contender in contenders:
        contender.close()
    return {
        c.name: {"seconds": median(c.seconds), "all_seconds": c.seconds, "bytes": memory[c.name], "first_loss": c.loss,
                 "profile": parts.get(c.name)}
        for c in contenders
    }  # fmt: skip


# -- the limit -----------------------------------------------------------------------------------------------------------

RATE = """
import time, torch
torch.set_num_threads({threads})
a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
ways = [lambda: a @ b] + ([lambda: linear(a, b, None, "none", [], "")] if linear else [])
best = 0.0
for way in ways:
    for _ in range(40):
        began = time.perf_counter()
        way()
        best = max(best, 2 * 1024**3 / (time.perf_counter() - began))
print(best)
"""


def matmul_rate(threads: int) -> float:
    """The best float32 matrix-product rate found here, in FLOP/s."""
    done = subprocess.run([sys.executable, "-c", RATE.format(threads=threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def tree_flops(case: Case, rows: list[dict[str, list[int]]], steps: range) -> float:
    """Mean FLOPs of a step's matrix products over its token tree: forward and input gradient of every frozen linear layer
    for each token of the tree, three products of each adapter, and the head for each target. Attention is left out."""
    from training_worker import SHAPES

    shape = SHAPES[case.shape]
    width, ffn, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    kv = width * shape["num_key_value_heads"] // shape["num_attention_heads"]
    linears = [(width, width), (width, kv), (width, kv), (width, width), (width, ffn), (width, ffn), (ffn, width)]
    weights = layers * sum(i * o for i, o in linears)
    adapter = layers * sum(16 * (i + o) for i, o in linears)
    found = 0.0
    for step in steps:
        taken = [rows[i % len(rows)] for i in range(step * case.batch, (step + 1) * case.batch)]
        tokens = len(grow([(*r["prompt"], *r["completion"]) for r in taken]).ids)
        targets = sum(len(r["completion"]) for r in taken)
        a_token = 4 * weights + 6 * adapter if case.lora else 6 * weights
        found += tokens * a_token + targets * (4 if case.lora else 6) * width * shape["vocab_size"]
    return found / len(steps)


# -- the table -----------------------------------------------------------------------------------------------------------


def row_of(case: Case, found: dict[str, Any], limit_seconds: float) -> dict[str, Any]:
    """One line of the table."""
    ours = found["whet"]

    def faster(name: str) -> float | None:
        return found[name]["seconds"] / ours["seconds"] if name in found else None

    return {
        "case": case.name,
        "whet_ms_a_row": 1000 * ours["seconds"] / case.batch,
        "of_the_limit": limit_seconds / ours["seconds"],
        "vs_shipped": faster("trl-best"), "vs_patched": faster("trl-patched"),
        "memory_vs_shipped": found["trl-best"]["bytes"] / ours["bytes"],
        "others": {n: faster(n) for n in found if n not in ("whet", "trl-best", "trl-patched")},
        "floors": {"vs_shipped": case.shipped, "vs_patched": case.patched, "memory_vs_shipped": case.memory},
        "contenders": found,
    }  # fmt: skip


def line_of(row: dict[str, Any]) -> str:
    """The same as a line of Markdown."""
    cells = [row["case"], f"{row['whet_ms_a_row']:.1f}"]
    for key in ("vs_shipped", "vs_patched", "memory_vs_shipped"):
        floor = row["floors"][key]
        sign = "1/" if key.startswith("memory") else ""
        cells.append(f"{sign}{row[key]:.1f}" + (f" (floor {sign}{floor:g})" if floor else ""))
    others = ", ".join(f"{name.removeprefix('trl-')} {ratio:.1f}" for name, ratio in row["others"].items())
    return "| " + " | ".join([*cells, f"{row['of_the_limit']:.0%}", others or "–"]) + " |"


def profiles_of(row: dict[str, Any]) -> str:
    """Where one more step of each went, in milliseconds; what no operation accounts for is Python and the profiler itself."""
    lines = []
    for name, found in row["contenders"].items():
        parts = {**found["profile"]["parts"], "between operations": 0.0}
        parts["between operations"] = found["profile"]["seconds"] - sum(parts.values())
        lines.append(f"  {name} {1000 * found['profile']['seconds']:.0f} ms: " + ", ".join(
            f"{part} {1000 * seconds:.0f}" for part, seconds in sorted(parts.items(), key=lambda item: -item[1])))  # fmt: skip
    return "\n".join(lines)


HEAD = (
    "| case | ms a row | faster than TRL as shipped | than TRL patched | step memory | of the limit | than others |\n"
    "|---|---|---|---|---|---|---|"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first two cases")
    parser.add_argument("--case", action="append", default=[], help="a case that contains this; may be given again")
    parser.add_argument("--all", action="store_true", help="TRL's other settings too")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PYTHON", help="of environments with llamafactory or axolotl")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="where the time of a step goes, too")
    parser.add_argument("--json", type=Path, help="where the figures are written")
    args = parser.parse_args()
    cases = [c for c in CASES if any(part in c.name for part in args.case)] if args.case else list(CASES)
    cases = cases[:2] if args.quick else cases
    ours = ["whet", "trl-best", "trl-patched", *(["trl-default", "trl-grouped", "trl-packed"] if args.all else [])]
    names = dict.fromkeys(ours, sys.executable) | find_peers(args.peers)
    rate, began, rows = matmul_rate(args.threads), time.monotonic(), []
    print(f"{date.today()}, {platform.processor() or platform.machine()}, {args.threads} threads, "
          f"best matrix product {rate / 1e9:.0f} GFLOP/s\n\n{HEAD}", flush=True)  # fmt: skip
    for case in cases:
        if case.source and not (SHARED / case.source).is_file():
            print(f"left out: {case.name} needs {case.source} of ../shared/data, which is not here", file=sys.stderr)
            continue
        taking = {name: python for name, python in names.items() if not (case.peer_rows and name in WHOLE_STEPS)}
        for name in names.keys() - taking.keys():
            print(f"left out: {name} of {case.name}: in micro-batches it minimizes another loss", file=sys.stderr)
        made = real(case.source) if case.source else synthetic(case)
        limit = tree_flops(case, made, range(2, 2 + args.rounds)) / rate
        rows.append(row_of(case, compare(case, taking, args.rounds, args.threads, made, args.profile), limit))
        print(line_of(rows[-1]), flush=True)
        if args.profile:
            print(profiles_of(rows[-1]), flush=True)
    missed = [f"{r['case']}: {k} {r[k]:.1f} < {f:g}" for r in rows for k, f in r["floors"].items() if r[k] < f]
    if args.json:
        record = {"date": str(date.today()), "threads": args.threads, "gflops": rate / 1e9, "rows": rows, "missed": missed}
        args.json.write_text(json.dumps(record, indent=1), "utf-8")
    ratios = [f"{r['case']}: {r['vs_shipped']:.1f}x, {r['vs_patched']:.1f}x, 1/{r['memory_vs_shipped']:.1f}" for r in rows]
    print(f"\n{'; '.join(ratios)} ({time.monotonic() - began:.0f} s){'; BELOW: ' + '; '.join(missed) if missed else ''}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
