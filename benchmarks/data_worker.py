"""One contender of `benchmarks/data.py`, in a process and a Python of its own: does one job and says what it took.

`python data_worker.py JOB FILE FOLDER`; JOB is a function here. Prints one JSON object: wall and processor seconds (libraries
are imported before the clock starts), and what the job found. whet is imported only by its own jobs, a peer only by the peer's.
"""

from __future__ import annotations

import json
import os
import re
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GRAM, BANDS, ROWS, THRESHOLD = 5, 20, 5, 0.8
LONGEST, NEAR = 1024, 200  # tokens that whetstone can take; tokens that long rows here have
Job = Callable[[], dict[str, Any]]


def texts(file: Path) -> Iterator[str]:
    """What the rows of a file read."""
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line)["instruction"] for line in lines)


def grams(text: str) -> set[str]:
    """The 5-grams of a text's letters and digits: what whet compares (these texts are ASCII, and hold no punctuation)."""
    form = re.sub(r"[^a-z0-9]+", "", text.lower())
    return {form[i : i + GRAM] for i in range(len(form) - GRAM + 1)} or {form}


def whet_prepare(file: Path, folder: Path, processes: int = 1, longest: int = LONGEST) -> Job:
    """`whet prepare --processes`: read, put into words, count tokens, drop repeats and leaks, split, write."""
    from whet import stages
    from whet.data.scale import prepare as _  # noqa: F401
    from whet.recipe import parse

    train = {"max_length": longest, "too_long": "drop"}
    data = {"path": str(file), "format": "alpaca"}
    recipe = parse({"name": "b", "task": {"kind": "generate"}, "data": data, "train": train})

    def job() -> dict[str, Any]:
        made = stages.prepare_stream(recipe, folder / "run", processes=processes)
        return {"kept": made.manifest["dataset"]["kept"], "dropped": made.manifest["dataset"]["dropped"]}

    return job


def whet_prepare_table(file: Path, folder: Path, templates: dict[str, Any] | None = None) -> Job:
    """`whet prepare --processes 1` of a CSV table."""
    from whet import stages
    from whet.data.scale import prepare as _  # noqa: F401
    from whet.recipe import parse

    task = {"kind": "generate", "instruction": "" if templates else "Answer."}
    data = {"path": str(file), "input": "instruction", "target": "output", **(templates or {})}
    recipe = parse({"name": "b", "task": task, "data": data, "train": {"max_length": LONGEST, "too_long": "drop"}})
    return lambda: {"kept": stages.prepare_stream(recipe, folder / "run").manifest["dataset"]["kept"]}


def whet_prepare_templates(file: Path, folder: Path) -> Job:
    """The same table with a template for each row, a tenth of the rows turned around and a tenth behind worked examples."""
    fractions = {"inverted_fraction": 0.1, "few_shot_fraction": 0.1}
    fields = {"question": "instruction"}
    return whet_prepare_table(file, folder, {"templates": "closed_book_qa", "template_fields": fields, **fractions})


def whet_prepare_2(file: Path, folder: Path) -> Job:
    """The same in two processes."""
    return whet_prepare(file, folder, 2)


def whet_prepare_counted(file: Path, folder: Path) -> Job:
    """In one process, at a length that rows are near, so that nearly every row has to be read to know."""
    return whet_prepare(file, folder, longest=NEAR)


def whet_in_memory(file: Path, folder: Path) -> Job:
    """Plain `whet prepare`."""
    from whet import stages
    from whet.recipe import parse

    recipe = parse({"name": "b", "task": {"kind": "generate"}, "data": {"path": str(file), "format": "alpaca"}})
    return lambda: {"kept": stages.prepare(recipe, folder / "run").manifest["dataset"]["kept"]}


def datasets_map_counted(file: Path, folder: Path) -> Job:
    """The same at a length that rows are near; it reads every row in any case."""
    return datasets_map(file, folder, NEAR)


def datasets_map(file: Path, folder: Path, longest: int = LONGEST) -> Job:
    """`datasets`: read JSONL, put into words and count tokens in a batched `map`, drop repeats, write; no near copies."""
    import datasets
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.environ["TOKENIZER"])
    datasets.disable_progress_bars()

    def words(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        prompts = [f"{said}\n\n{given}\n\nAnswer:" for said, given in zip(batch["instruction"], batch["input"], strict=True)]
        answers = [f" {answer}" for answer in batch["output"]]
        counts = [len(one) + len(other) for one, other in zip(*map(tokenizer.encode_batch, (prompts, answers)), strict=True)]
        return {"prompt": prompts, "completion": answers, "tokens": counts}

    def short(counts: list[int]) -> list[bool]:
        return [count <= longest for count in counts]

    def job() -> dict[str, Any]:
        table = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder / "cache"))
        table = table.map(words, batched=True).filter(short, input_columns="tokens", batched=True)
        seen: set[tuple[str, str]] = set()

        def is_new(said: list[str], answers: list[str]) -> list[bool]:
            found = []
            for pair in zip(said, answers, strict=True):
                found.append(pair not in seen)
                seen.add(pair)
            return found

        table = table.filter(is_new, input_columns=["prompt", "completion"], batched=True)
        table.to_json(folder / "out.jsonl")
        return {"kept": len(table)}

    return job


def datasets_and_datatrove_counted(file: Path, folder: Path) -> Job:
    """The same at a length that rows are near."""
    return datasets_and_datatrove(file, folder, NEAR)


def datasets_and_datatrove(file: Path, folder: Path, longest: int = LONGEST) -> Job:
    """What `datasets_map` writes, searched by datatrove for near copies, one after the other."""
    mapped, near = datasets_map(file, folder, longest), datatrove_near(folder / "out.jsonl", folder)

    def job() -> dict[str, Any]:
        return {**mapped(), "near": len(near()["pairs"])}

    return job


def whet_near(file: Path, folder: Path) -> Job:
    """Near copies as whet looks for them: MinHash on disk, each pair compared exactly."""
    from whet.data.scale.near import similar_rows

    return lambda: {"pairs": [(met.row, met.other) for met in similar_rows(texts(file), THRESHOLD, folder)]}


def exact_near(file: Path, folder: Path) -> Job:
    """Near copies as plain `whet prepare` and `whet audit` look for them, by an exact search: the truth here."""
    from whet.data.near import near_duplicates

    return lambda: {"pairs": [(pair.first, pair.second) for pair in near_duplicates(list(texts(file)), THRESHOLD)]}


def datasketch_near(file: Path, folder: Path) -> Job:
    """datasketch: MinHash and LSH over the same sets of grams, the same bands; candidates are taken as they come."""
    from datasketch import MinHash, MinHashLSH

    def job() -> dict[str, Any]:
        index, pairs = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS)), []
        for row, text in enumerate(texts(file)):
            signature = MinHash(num_perm=BANDS * ROWS)
            signature.update_batch([gram.encode() for gram in grams(text)])
            pairs += [(row, int(other)) for other in index.query(signature)]
            index.insert(row, signature)
        return {"pairs": pairs}

    return job


def datatrove_near(file: Path, folder: Path) -> Job:
    """datatrove: its MinHash signatures, buckets and clusters on disk, over the same sets of grams, the same bands."""
    import numpy as np
    from datatrove.data import Document
    from datatrove.pipeline.dedup import minhash
    from loguru import logger

    logger.remove()
    config = minhash.MinhashConfig(n_grams=GRAM, num_buckets=BANDS, hashes_per_bucket=ROWS)

    class Signature(minhash.MinhashDedupSignature):
        """Over characters instead of words."""

        def get_shingles(self, text: str) -> Any:
            return np.fromiter((self._hash_func(gram.encode()) for gram in grams(text)), dtype=np.uint64).reshape((-1, 1))

    def job() -> dict[str, Any]:
        Signature(str(folder / "signatures"), config).run(Document(text, str(row)) for row, text in enumerate(texts(file)))
        for bucket in range(BANDS):
            minhash.MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=config).run(
                rank=bucket, world_size=BANDS
            )
        minhash.MinhashDedupCluster(str(folder / "buckets"), str(folder / "removed"), config=config).run()
        found = b"".join(path.read_bytes() for path in (folder / "buckets").glob("*.dups"))
        return {"pairs": [(row, other) for _, row, _, other in struct.iter_unpack("<4I", found)]}

    return job


def main() -> None:
    """Does the job."""
    job = globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    wall, processor = time.perf_counter(), _processor_seconds()
    found = job()
    took = {"wall_seconds": time.perf_counter() - wall, "processor_seconds": _processor_seconds() - processor}
    print(json.dumps({**took, **found}))


def _processor_seconds() -> float:
    """Of this process and those that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
