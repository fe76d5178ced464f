"""`whet prepare` at many rows: `python benchmarks/data.py [--rows N ...] [--quick] [--peers PYTHON] [--json FILE]`.

Two questions. Does memory stay flat and time linear? Read, template, tokenize, drop repeats and leaks, split and write are
measured at 10^4, 10^5, 10^6 (and 10^7 with --rows 10000000) made instructions, 2 % of them copies and 3 % with a word changed.
Rows a second, processor seconds, and the highest resident size of the whole process tree, looked at every tenth of a second.
--tables: the same rows as a CSV table too, read twice instead of held, plainly and with templates.

Against whom? `datasets.map` does the same reading, templating, tokenizing and dropping of repeats; datasketch and datatrove
look for near copies among the same 5-grams with the same 20 bands of 5. `whet prepare` does both and more: it divides the rows,
compares near copies exactly, and says of each drop why. So it is held against `datasets.map` alone, which does less, and
against `datasets.map` with datatrove's search over what it wrote, which comes nearest to the same work. Two things favour whet
here: it needs the number of tokens of a row and never their ids, and made rows use 20,000 words over and over, each of which it
counts once (the tokenizer of `datasets.map` remembers words too, but takes every text apart again).

All in one process each, in turns, medians of three of processor seconds: they say what a job costs even where other work runs
beside it, and wall seconds do not. Recall is counted against the exact search on a slice: of the rows that have a near copy
(Jaccard similarity 0.8 or more), how many are in a pair that was found.

Peers are run by a Python that has them: pip install datasets datasketch datatrove xxhash regex spacy (datatrove
asks for the last three). Without --peers they are left out.
By their bytes these rows surely fit into 1,024 tokens, so whet need not tokenize them to know: in the jobs called `counted`
the most is 200 tokens, and the tokens of nearly every row are counted.

Exits 1 when memory grows by more than half between two sizes and by more than 16 bytes a row, or a peer needs less than three
times as long. --quick: 10^4 and a slice of 2,000, one minute.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

WORKER = Path(__file__).with_name("data_worker.py")
OURS, NEAR_OF_PEERS = "whet_near", ("datasketch_near", "datatrove_near")
MAPS = ("datasets_map", "datasets_map_counted", "datasets_and_datatrove", "datasets_and_datatrove_counted")
TABLES = ("whet_prepare_table", "whet_prepare_templates")
FLOOR, GROWTH, TIMES = 3.0, 1.5, 3
ROW_BYTES = 16  # of a row of 250, that may stay in memory: where its split and its fate stand
DOES_LESS = "datasets_map_counted"  # the tokenizer's time alone, which nobody can be three times as fast as: it has no floor
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Took:
    """What a job took, over `rows` rows, and what it found."""

    job: str
    rows: int
    wall_seconds: float
    processor_seconds: float
    peak_bytes: int
    found: dict[str, Any]

    @property
    def microseconds(self) -> float:
        """Processor time a row."""
        return 1e6 * self.processor_seconds / self.rows


def make(path: Path, rows: int, seed: int = 7) -> Path:
    """A file of made instructions and answers, 10 to 30 and 5 to 25 words of 20,000: a table where it is a CSV, else JSONL."""
    draw = random.Random(seed)
    syllables = [consonant + vowel for consonant in "bcdfghklmnprstvw" for vowel in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(20_000)]
    known: list[dict[str, str]] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ("instruction", "input", "output"))
        if path.suffix == ".csv":
            table.writeheader()
        for _ in range(rows):
            chance = draw.random()
            if known and chance < 0.02:
                row = draw.choice(known)
            elif known and chance < 0.05:
                row = dict(draw.choice(known))
                said = row["instruction"].split()
                said[draw.randrange(len(said))] = draw.choice(words)
                row["instruction"] = " ".join(said)
            else:
                said = draw.choices(words, k=draw.randint(10, 30))
                answer = draw.choices(words, k=draw.randint(5, 25))
                row = {"instruction": " ".join(said), "input": "", "output": " ".join(answer)}
            if len(known) < 1000:
                known.append(row)
            else:
                known[draw.randrange(1000)] = row
            if path.suffix == ".csv":
                table.writerow(row)
            else:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def run(job: str, file: Path, rows: int, python: str) -> Took | str:
    """The job in a process of its own; a sentence where it cannot be done."""
    environment = {**os.environ, **ONE_THREAD, "TOKENIZER": str(resources.files("whet.base") / "whetstone/tokenizer.json")}
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, tempfile.TemporaryFile("w+") as said:
        command = [python, str(WORKER), job, str(file), folder]
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.PIPE, text=True, env=environment)
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(_resident_bytes, _tree(process.pid))))
            time.sleep(0.1)
        said.seek(0)
        printed, errors = said.read(), process.stderr.read() if process.stderr else ""
    if process.returncode:
        return f"{job} is left out: {(errors.strip().splitlines() or ['it ended without a word'])[-1]}"
    found = json.loads(printed)
    return Took(job, rows, found.pop("wall_seconds"), found.pop("processor_seconds"), peak, found)


def _tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def recall(found: Sequence[Sequence[int]], true: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Of the rows that have a near copy, the share in a pair that was found; and of the rows in one, the share that has one."""
    have, are = ({row for pair in pairs for row in pair} for pairs in (true, found))
    return len(have & are) / max(1, len(have)), len(have & are) / max(1, len(are))


def grows(sizes: Sequence[int], folder: Path, job: str = "whet_prepare") -> tuple[list[Took], list[str]]:
    """`whet prepare --processes 1` at each size, and what is wrong with how it grows."""
    done, wrong = list[Took](), list[str]()
    print(f"\n{job}")
    print(f"{'rows':>11} {'rows/s':>8} {'wall s':>8} {'CPU s':>8} {'us/row':>7} {'peak MiB':>9}  kept")
    for rows in sizes:
        file = make(folder / f"{rows}{'.csv' if job in TABLES else '.jsonl'}", rows)
        took = run(job, file, rows, sys.executable)
        file.unlink()
        if isinstance(took, str):
            wrong.append(took)
            continue
        rate, peak = rows / took.wall_seconds, took.peak_bytes / 2**20
        seconds = f"{took.wall_seconds:8.1f} {took.processor_seconds:8.1f} {took.microseconds:7.0f}"
        print(f"{rows:11,} {rate:8,.0f} {seconds} {peak:9,.0f}  {took.found['kept']:,}", flush=True)
        before = done[-1] if done else took
        if took.peak_bytes > max(GROWTH * before.peak_bytes, before.peak_bytes + ROW_BYTES * (rows - before.rows)):
            wrong.append(f"{rows:,} rows take {peak:,.0f} MiB, and {before.rows:,} took {before.peak_bytes / 2**20:,.0f}")
        done.append(took)
    return done, wrong


def turns(jobs: dict[str, str], file: Path, rows: int) -> dict[str, list[Took]]:
    """Each job three times, in turns (A B C A B C ...)."""
    done: dict[str, list[Took]] = {}
    left_out = set[str]()
    for _ in range(TIMES):
        for job, python in jobs.items():
            if job in left_out:
                continue
            took = run(job, file, rows, python)
            if isinstance(took, str):
                print(took)
                left_out.add(job)
            else:
                done.setdefault(job, []).append(took)
    return done


def against_peers(rows: int, slice_rows: int, peers: str | None, folder: Path) -> tuple[list[Took], list[str]]:
    """whet beside its peers, and which of them is not slow enough."""
    file, here = make(folder / "rows.jsonl", rows), sys.executable
    ours = dict.fromkeys(("whet_prepare", "whet_prepare_counted", "whet_prepare_2", "whet_in_memory", OURS), here)
    theirs = {} if peers is None else dict.fromkeys((*MAPS, *NEAR_OF_PEERS), peers)
    if not theirs:
        print("datasets, datasketch and datatrove are left out: name a Python that has them with --peers.")
    done, wrong = turns({**ours, **theirs}, file, rows), list[str]()
    cut = make(folder / "slice.jsonl", slice_rows)
    true = run("exact_near", cut, slice_rows, here)
    medians = {job: median(took.microseconds for took in each) for job, each in done.items()}
    print(f"\n{rows:,} rows, median of {TIMES}; recall and precision over {slice_rows:,}")
    print(f"{'job':31} {'us/row':>7} {'peak MiB':>9} {'whet is':>9}   recall  precision")
    for job, each in done.items():
        whet = OURS if job in NEAR_OF_PEERS else "whet_prepare_counted" if job.endswith("_counted") else "whet_prepare"
        times = medians[job] / medians[whet]
        line = f"{job:31} {medians[job]:7.0f} {max(took.peak_bytes for took in each) / 2**20:9,.0f}"
        line += f" {times:8.1f}x" if job in theirs else " " * 10
        if job.endswith("_near") and not isinstance(true, str):
            cut_found = run(job, cut, slice_rows, theirs.get(job, here))
            if not isinstance(cut_found, str):
                line += "   {:.4f}  {:.4f}".format(*recall(cut_found.found["pairs"], true.found["pairs"]))
        print(line, flush=True)
        if job in theirs and job != DOES_LESS and times < FLOOR:
            wrong.append(f"{job} takes {times:.1f} times as long as {whet}, and should take {FLOOR}")
    return [took for each in done.values() for took in each], wrong


def main() -> int:
    """Measures, prints, and says what is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--against", type=int, default=100_000, metavar="N", help="rows at which peers are measured")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has datasets, datasketch and datatrove")
    parser.add_argument("--tables", action="store_true", help="measure tables and templates, too")
    parser.add_argument("--quick", action="store_true", help="10^4 rows, and a slice of 2,000")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="where rows are made (default: the system's own)")
    args = parser.parse_args()
    sizes, rows, slice_rows = ([10_000], 10_000, 2_000) if args.quick else (args.rows, args.against, min(args.against, 20_000))
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        grown, wrong = grows(sizes, Path(name))
        for job in TABLES if args.tables else ():
            more, less = grows(sizes, Path(name), job)
            grown, wrong = [*grown, *more], [*wrong, *less]
        compared, slow = against_peers(rows, slice_rows, args.peers, Path(name)) if rows else ([], [])
    if args.json:
        every = [asdict(took) for took in (*grown, *compared)]
        kept = [{**took, "found": {key: value for key, value in took["found"].items() if key != "pairs"}} for took in every]
        args.json.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    for sentence in (*wrong, *slow):
        print(sentence)
    return int(bool(wrong or slow))


if __name__ == "__main__":
    sys.exit(main())
