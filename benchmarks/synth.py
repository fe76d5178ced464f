"""Making data: how fast the client, the novelty search and the journal are. `python benchmarks/synth.py novelty|client|kills`

novelty   rows/s of the exact ROUGE-L filter as the table grows, beside the Self-Instruct way (`rouge_score` against every row
          before), which is measured on a slice and extrapolated: it has n (n - 1) / 2 pairs to score. `--texts FILE...` takes
          JSON or JSONL instructions instead of made ones; `--all-pairs` scores every pair with `rouge_score` and compares
          decisions, for as many seconds as `--seconds` says.
client    requests/s with 64 under way, against a server that answers at once: whet (client, journal on disk, budget; then the
          whole `whet synth`) and the bare `openai` client; distilabel and bespoke curator where `--distilabel PYTHON` and
          `--curator PYTHON` name a Python that has them.
kills     kill -9 of the process, again and again at random moments, while it asks a scripted server: rows lost and answered
          requests asked again, both to be 0. `--kills 100`.

Prints one JSON line a measurement and a table at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from rouge_score import rouge_scorer  # type: ignore[import-untyped]  # noqa: E402
from scripted_server import Play, ScriptedServer  # noqa: E402
from synth_parts import maker, recipe  # noqa: E402

from whet import stages  # noqa: E402
from whet.data.read import read_rows  # noqa: E402
from whet.synth.client import Endpoint  # noqa: E402
from whet.synth.journal import Journal  # noqa: E402
from whet.synth.novelty import NearTwins, Novelty  # noqa: E402
from whet.synth.pool import Pool  # noqa: E402
from whet.synth.request import Message, Parameters, Request  # noqa: E402
from whet.synth.spending import Budget  # noqa: E402

SOURCE = ROOT / "src" / "whet" / "base" / "promises_train.csv"
IN_FLIGHT = 64


# -- novelty -----------------------------------------------------------------------------------------------------------


def texts_like(source: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """Texts with the words, lengths and phrases of real ones: each next word is one that followed the last two somewhere."""
    draw = random.Random(seed)
    following: dict[tuple[str, str], list[str]] = {}
    for text in source:
        words = ["", "", *text.split(), ""]
        for one, two, three in zip(words, words[1:], words[2:], strict=False):
            following.setdefault((one, two), []).append(three)
    found: list[str] = []
    while len(found) < count:
        words = ["", ""]
        while len(words) < 62 and (word := draw.choice(following[words[-2], words[-1]])):
            words.append(word)
        if len(words) > 5:
            found.append(" ".join(words[2:]))
    return found


def read_texts(files: Sequence[Path]) -> list[str]:
    """The column `instruction` of tables, in order."""
    return [text for file in files for text in read_rows(file).column("instruction") if text]


def self_instruct_seconds(texts: Sequence[str], seconds: float = 10.0) -> float:
    """Processor seconds that `rouge_score` takes for a pair, as Self-Instruct calls it, over random pairs."""
    scorer, draw = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False), random.Random(1)
    pairs, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        scorer.score(draw.choice(texts), draw.choice(texts))
        pairs += 1
    return (time.process_time() - began) / pairs


def novelty(args: argparse.Namespace) -> None:
    """Rows/s of both filters at growing sizes, and the extrapolated time of the other way."""
    real = read_texts(args.texts) if args.texts else [text for text in read_rows(SOURCE).column("sentence") if text]
    if args.all_pairs:
        return all_pairs(real, args.seconds)
    texts = (real if len(real) >= args.rows else real + texts_like(real, args.rows - len(real)))[: args.rows]
    random.Random(2).shuffle(texts)
    per_pair = self_instruct_seconds(texts)
    rows: list[dict[str, Any]] = []
    for name, kept in (("ROUGE-L", Novelty(0.7)), ("near twins", NearTwins(0.8))):
        began, rejected = time.process_time(), 0
        for number, text in enumerate(texts, 1):
            if kept.nearest(text):
                rejected += 1
            else:
                kept.add(text)
            if number in {args.rows // 16, args.rows // 8, args.rows // 4, args.rows // 2, args.rows}:
                seconds = time.process_time() - began
                other = number * (number - 1) / 2 * per_pair if name == "ROUGE-L" else None
                rows.append(
                    {"filter": name, "rows": number, "rejected": rejected, "seconds": seconds, "rouge_score_seconds": other}
                )
                print(json.dumps(rows[-1]), flush=True)
    made = max(0, args.rows - len(real))
    print(
        f"\n{len(real):,} real texts, {made:,} made like them; processor seconds; {per_pair * 1e6:.0f} us a pair by rouge_score"
    )
    print("| filter | rows | rejected | s | rows/s | Self-Instruct way, extrapolated | times faster |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        other = row["rouge_score_seconds"]
        beside = f"{other / 3600:.2f} h | {other / row['seconds']:,.0f}" if other else "|"
        rate = row["rows"] / row["seconds"]
        print(f"| {row['filter']} | {row['rows']:,} | {row['rejected']:,} | {row['seconds']:.1f} | {rate:,.0f} | {beside} |")


def all_pairs(texts: Sequence[str], seconds: float) -> None:
    """Compares every decision with `rouge_score` over all pairs, as far as the time goes."""
    from rouge_score.rouge_scorer import _score_lcs  # type: ignore[import-untyped]
    from rouge_score.tokenizers import DefaultTokenizer  # type: ignore[import-untyped]

    tokenizer, kept, pairs, differing = DefaultTokenizer(False), Novelty(0.7), 0, 0
    tokens, began = [tokenizer.tokenize(text) for text in texts], time.perf_counter()
    for number, text in enumerate(texts):
        if time.perf_counter() - began > seconds:
            break
        scores = [_score_lcs(tokens[other], tokens[number]).fmeasure for other in range(number)]
        best, found = max(scores, default=0.0), kept.nearest(text)
        same = found is None if best <= 0.7 else found is not None and (found.score, found.place) == (best, scores.index(best))
        differing, pairs = differing + (not same), pairs + number
        kept.add(text)
    print(json.dumps({"rows": len(kept), "of": len(texts), "pairs": pairs, "differing_decisions": differing}))


# -- client ------------------------------------------------------------------------------------------------------------


def serve() -> None:
    """A server that answers at once, until it is ended."""
    with ScriptedServer(lambda body, n: maker({"seed": n, **body}, n) if body.get("messages") else Play("Ready.")) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


def request(number: int) -> Request:
    """One of many small requests."""
    return Request("rows", (Message("user", f"Write sentence {number}."),), Parameters(temperature=1.0, max_tokens=64), number)


async def bare_openai(base_url: str, count: int) -> None:
    """The library alone."""
    import openai

    client, slots = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0), asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> str | None:
        async with slots:
            talk: Any = [{"role": "user", "content": f"Write sentence {number}."}]
            found = await client.chat.completions.create(model="m", messages=talk, temperature=1.0, max_tokens=64, seed=number)
            return found.choices[0].message.content

    await asyncio.gather(*map(one, range(count)))
    await client.close()


async def whet_pool(base_url: str, count: int) -> None:
    """whet's client with its journal on disk and its budget."""
    synth = recipe(base_url, concurrency=IN_FLIGHT, budget_tokens=10**12).synth
    assert synth is not None
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        pool = Pool("m", synth, [Endpoint(base_url, "m", None, 60)], journal, Budget(synth, journal.spent()))
        await pool.open()
        await asyncio.gather(*(pool.ask(request(number)) for number in range(count)))
        assert journal.spent().answers == count + 1
        await pool.close()
        journal.close()


def whet_synth(base_url: str, count: int) -> None:
    """The whole of `whet synth`: requests, journal, reading, filters, tables."""
    with tempfile.TemporaryDirectory() as folder:
        made = stages.synth(recipe(base_url, rows=5 * count, concurrency=IN_FLIGHT), Path(folder) / "run")
        assert made["rows"] == 5 * count


DISTILABEL = """
import sys
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
import time
if __name__ == "__main__":
    url, count = sys.argv[1], int(sys.argv[2])
    with Pipeline(name="x") as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": f"Write sentence {n}."} for n in range(count)], batch_size=64)
        ask = TextGeneration(llm=OpenAILLM(model="m", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": 64}),
                             input_batch_size=64)
        load >> ask
    began = time.perf_counter()
    found = pipeline.run(use_cache=False)
    assert len(found["default"]["train"]) == count
    print("SECONDS", time.perf_counter() - began)
"""
CURATOR = """
import os, sys, time
import litellm  # whose package holds the tokenizer that curator would fetch from the network
os.environ["TIKTOKEN_CACHE_DIR"] = os.path.join(os.path.dirname(litellm.__file__), "litellm_core_utils", "tokenizers")
os.environ["CURATOR_VIEWER"] = "0"; os.environ["TELEMETRY_ENABLED"] = "0"; os.environ["OPENAI_API_KEY"] = "none"
from bespokelabs import curator
url, count = sys.argv[1], int(sys.argv[2])
llm = curator.LLM(model_name="gpt-4o-mini", backend="openai", generation_params={"max_tokens": 64},
                  backend_params={"base_url": url, "max_concurrent_requests": 64, "max_requests_per_minute": 10**6,
                                  "max_tokens_per_minute": 10**9})
began = time.perf_counter()
found = llm([f"Write sentence {n}." for n in range(count)], working_dir=sys.argv[3])
print("SECONDS", time.perf_counter() - began)
"""


def peer(python: str, script: str, base_url: str, count: int) -> float:
    """Seconds that a peer took, by its own clock; its start is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-c", script, base_url, str(count), folder], capture_output=True, text=True, timeout=600, cwd=folder,
            env={**os.environ, "HOME": folder, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    seconds = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    if not seconds:
        raise SystemExit(f"the peer failed:\n{done.stdout[-500:]}\n{done.stderr[-2000:]}")
    return seconds[0]


def client(args: argparse.Namespace) -> None:
    """Requests/s of each, in turn, and the medians."""
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()

    def clocked(work: Callable[[], None]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    contestants: dict[str, Callable[[], float]] = {
        "openai, bare": lambda: clocked(lambda: asyncio.run(bare_openai(url, args.requests))),
        "whet: client, journal, budget": lambda: clocked(lambda: asyncio.run(whet_pool(url, args.requests))),
        "whet synth, whole": lambda: clocked(lambda: whet_synth(url, args.requests)),
    }
    for name, python, script in (("distilabel", args.distilabel, DISTILABEL), ("bespoke curator", args.curator, CURATOR)):
        if python:
            contestants[name] = partial(peer, python, script, url, args.requests)
        else:
            print(f"{name}: left out, no Python that has it was named", flush=True)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, measure in contestants.items():
            rates[name].append(args.requests / measure())
            print(json.dumps({"client": name, "requests_per_second": rates[name][-1]}), flush=True)
    server.terminate()
    print(f"\n{args.requests:,} requests, {IN_FLIGHT} under way, median of {args.rounds}")
    print("| client | requests/s | of bare openai |\n|---|---|---|")
    bare = statistics.median(rates["openai, bare"])
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):,.0f} | {statistics.median(found) / bare:.2f} |")


# -- kills -------------------------------------------------------------------------------------------------------------


def kills(args: argparse.Namespace) -> None:
    """The test of kills, with as many as wanted."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", str(ROOT / "tests" / "test_synth_kill.py")]
    raise SystemExit(subprocess.run(command, env={**os.environ, "WHET_KILLS": str(args.kills)}, check=False).returncode)


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True)
    one = what.add_parser("novelty")
    one.add_argument("--rows", type=int, default=50_000)
    one.add_argument("--texts", type=Path, nargs="*", default=[])
    one.add_argument("--all-pairs", action="store_true")
    one.add_argument("--seconds", type=float, default=200.0)
    one.set_defaults(work=novelty)
    two = what.add_parser("client")
    two.add_argument("--requests", type=int, default=2000)
    two.add_argument("--rounds", type=int, default=3)
    two.add_argument("--distilabel", metavar="PYTHON")
    two.add_argument("--curator", metavar="PYTHON")
    two.set_defaults(work=client)
    three = what.add_parser("kills")
    three.add_argument("--kills", type=int, default=100)
    three.set_defaults(work=kills)
    what.add_parser("serve").set_defaults(work=lambda args: serve())
    args = parser.parse_args()
    args.work(args)


if __name__ == "__main__":
    main()
