"""Preparing as a stream: the same bytes as in memory, in one process, in several, over Ray; near copies in flat memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whet import stages
from whet.cli import main
from whet.data.near import near_duplicates, normal_form
from whet.data.read import read_rows
from whet.data.scale import near, spill
from whet.data.scale.minhash import BANDS, ROWS, band_keys, signatures
from whet.data.scale.near import OUT, Meetings, similar_rows
from whet.data.scale.spill import Buckets, Column, Texts, groups_of
from whet.data.scale.workplace import workplace
from whet.errors import DataError, RecipeError, RunError
from whet.recipe import Recipe, parse
from whet.run import Run

PARTS = ("dataset/train.jsonl", "dataset/validation.jsonl", "dataset/test.jsonl", "dropped.jsonl")
WORDS = [f"{a}{b}" for a in "ba ce di fo gu ha je ki lo mu na pe".split() for b in "ran tel mis dor fun gas heb".split()]


# -- a whole corpus ----------------------------------------------------------------------------------------------------


def rows(n: int, seed: int = 5) -> list[dict[str, str]]:
    """Instructions of which some stand twice, and some nearly."""
    draw, made = random.Random(seed), list[dict[str, str]]()
    for _ in range(n):
        if made and draw.random() < 0.05:
            made.append(dict(draw.choice(made)))
        elif made and draw.random() < 0.1:
            made.append({**draw.choice(made), "output": " ".join(draw.choices(WORDS, k=5))})
            made[-1]["instruction"] += " " + draw.choice(WORDS)
        else:
            said = " ".join(draw.choices(WORDS, k=draw.randint(8, 16)))
            given = " ".join(draw.choices(WORDS, k=6)) if draw.random() < 0.5 else ""
            made.append({"instruction": said, "input": given, "output": " ".join(draw.choices(WORDS, k=draw.randint(2, 20)))})
    return made


def chats(n: int, seed: int = 6) -> list[dict[str, Any]]:
    """Conversations of several answers, each a group; one stands twice under another id."""
    draw = random.Random(seed)
    made = []
    for i in range(n):
        turns = [
            {"from": "human" if t % 2 == 0 else "gpt", "value": " ".join(draw.choices(WORDS, k=draw.randint(6, 12)))}
            for t in range(2 * draw.randint(1, 6))
        ]
        made.append({"id": f"chat{i}", "conversations": turns})
    long = max(made, key=lambda chat: len(chat["conversations"]))
    return [*made, {**long, "id": "again"}]


def write(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def recipe(path: Path, train: dict[str, Any] | None = None, **data: Any) -> Recipe:
    sections = {"data": {"path": str(path), "format": "auto", **data}, "train": train or {}}
    return parse({"name": "made", "task": {"kind": "generate"}, **sections})


def same(one: Run, other: Run) -> bool:
    """Whether two runs hold the same dataset, byte for byte, and say the same of it."""
    files = all((one.path / part).read_bytes() == (other.path / part).read_bytes() for part in PARTS)
    return files and json.dumps(one.manifest["dataset"]) == json.dumps(other.manifest["dataset"])


def both(given: Recipe, folder: Path, processes: int = 1) -> tuple[Run, Run]:
    """The recipe prepared in memory, and as a stream."""
    streamed = stages.prepare_stream(given, folder / "streamed", processes=processes)
    return stages.prepare(given, folder / "in_memory"), streamed


@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_bytes_as_in_memory(tmp_path: Path, processes: int) -> None:
    one, other = both(recipe(write(tmp_path / "made.jsonl", rows(2500))), tmp_path, processes)
    assert same(one, other)
    assert {"duplicate", "leak"} <= one.manifest["dataset"]["dropped"].keys()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "what lay beside the run is gone"


def test_conversations_stay_whole(tmp_path: Path) -> None:
    one, other = both(recipe(write(tmp_path / "chats.jsonl", chats(150))), tmp_path)
    assert same(one, other)
    assert all(split["groups"] for split in one.manifest["dataset"]["splits"].values())
    assert any("largely the same document" in note for note in one.manifest["dataset"]["notes"])


@pytest.mark.parametrize("too_long", ["drop", "truncate"])
def test_rows_that_are_too_long(tmp_path: Path, too_long: str) -> None:
    made = rows(400)
    for i in (3, 50, 51, 300):
        made[i] = {**made[i], "input": " ".join(WORDS * 2)}
    made[301] = dict(made[300])
    given = recipe(write(tmp_path / "made.jsonl", made), {"too_long": too_long, "max_length": 256})
    one, other = both(given, tmp_path)
    assert same(one, other)
    assert one.manifest["dataset"]["dropped"][{"drop": "too_long", "truncate": "truncated"}[too_long]] == 4


def test_rows_that_are_too_long_are_refused_alike(tmp_path: Path) -> None:
    made = rows(100)
    made[7] = {**made[7], "input": " ".join(WORDS)}
    made[9] = {**made[9], "input": " ".join(WORDS * 2)}
    given = recipe(write(tmp_path / "made.jsonl", made), {"max_length": 256})
    said = []
    for prepare in (stages.prepare, stages.prepare_stream):
        with pytest.raises(DataError) as error:
            prepare(given, tmp_path / "run")
        said.append(str(error.value))
    assert said[0] == said[1] and "2 examples are longer than 256 tokens" in said[0]
    assert not (tmp_path / "run").exists()


def test_rows_that_are_too_long_are_counted_file_by_file(tmp_path: Path) -> None:
    paths = [tmp_path / "all.jsonl", tmp_path / "held.jsonl"]
    for path, seed in zip(paths, (5, 6), strict=True):
        made = rows(100, seed=seed)
        made[7] = {**made[7], "input": " ".join(WORDS * seed)}
        write(path, made)
    given, said = recipe(paths[0], {"max_length": 256}, validation_path=str(paths[1])), []
    for prepare in (stages.prepare, stages.prepare_stream):
        with pytest.raises(DataError, match=r"all\.jsonl, row 8: 1 examples are longer") as error:
            prepare(given, tmp_path / "run")
        said.append(str(error.value))
    assert said[0] == said[1]


def test_files_that_are_splits_of_their_own(tmp_path: Path) -> None:
    made = rows(900)
    held = [*rows(100, seed=9), *made[3:9]]
    paths = [
        write(tmp_path / f"{name}.jsonl", part) for name, part in (("all", made), ("held", held), ("last", rows(80, seed=10)))
    ]
    one, other = both(recipe(paths[0], validation_path=str(paths[1]), test_path=str(paths[2])), tmp_path)
    assert same(one, other) and one.manifest["dataset"]["dropped"]["leak"] >= 6


def test_rows_that_cannot_be_read_are_listed_in_their_place(tmp_path: Path) -> None:
    path = write(tmp_path / "made.jsonl", rows(60))
    lines = path.read_text("utf-8").splitlines()
    lines[5], lines[20] = lines[5][:-4], json.dumps({"instruction": "Say nothing.", "input": "", "output": ""})
    path.write_text("\n".join(lines), "utf-8")
    one, other = both(recipe(path), tmp_path)
    assert same(one, other) and {"bad_row", "empty_target"} <= one.manifest["dataset"]["dropped"].keys()


@pytest.mark.parametrize("n", [3, 12])
def test_too_few_rows_are_refused_alike(tmp_path: Path, n: int) -> None:
    path = write(tmp_path / "made.jsonl", [{"instruction": f"{word} {word}", "input": "", "output": "x"} for word in WORDS[:n]])
    said = []
    for prepare in (stages.prepare, stages.prepare_stream):
        try:
            said.append(json.dumps(prepare(recipe(path), tmp_path / prepare.__name__).manifest["dataset"]))
        except DataError as error:
            said.append(str(error))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "name",
    [
        "alpaca", "self_instruct/machine_generated_2500.jsonl", "sharegpt/vicuna_dummy_conversation.json", "lima", "oasst",
        "super_ni/task875_emotion_classification.json", "evol",
    ],
)  # fmt: skip
def test_real_corpora(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "data" / name
    if not path.exists():
        path = sorted((shared / "data" / name.split("/")[0]).glob("*.json*"))[0]
    given = recipe(path, {"too_long": "drop"})
    try:
        in_memory = stages.prepare(given, tmp_path / "in_memory")
    except DataError as error:
        with pytest.raises(DataError, match=error.problems[0].what[:20]):
            stages.prepare_stream(given, tmp_path / "streamed")
    else:
        assert same(in_memory, stages.prepare_stream(given, tmp_path / "streamed"))


def test_a_stream_is_prepared_once(tmp_path: Path) -> None:
    given = recipe(write(tmp_path / "made.jsonl", rows(200)))
    first = stages.prepare_stream(given, tmp_path / "run")
    before = (first.path / "dataset/train.jsonl").stat().st_mtime_ns
    again = stages.prepare_stream(given, tmp_path / "run")
    assert (again.path / "dataset/train.jsonl").stat().st_mtime_ns == before
    assert same(stages.prepare(given, tmp_path / "run"), again), "and is the run that prepare goes on with"


def table(path: Path, n: int, *, with_groups: bool = False) -> Path:
    """Sentences with a label each; some stand twice, some with another label, some nearly, some cannot be read."""
    draw, lines = random.Random(n), ["text,label,talk"]
    said: list[str] = []
    for i in range(n):
        if said and draw.random() < 0.1:
            text = draw.choice(said) + draw.choice(["", "", "!", f" {draw.choice(WORDS)}"])
        else:
            text = " ".join(draw.choices(WORDS, k=draw.randint(6, 14)))
        said.append(text)
        label = draw.choices(["yes", "no", "perhaps", "J"], [5, 3, 1, 1])[0]
        lines.append(f"{text},{label},{f'talk{i // 9}' if with_groups and draw.random() < 0.9 else ''}")
    lines[7], lines[20], lines[-1] = "too,many,cells,here", ",yes,talk3", ",no,talk1"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def table_recipe(path: Path, train: dict[str, Any] | None = None, **data: Any) -> Recipe:
    columns = {"input": "text", "target": "label", "label_names": {"J": "yes"}}
    task = {"kind": "classify", "instruction": "Is it so?"}
    return parse({"name": "made", "task": task, "data": {"path": str(path), **columns, **data}, "train": train or {}})


@pytest.mark.parametrize(("with_groups", "processes"), [(False, 1), (True, 2)])
def test_a_table_with_labels(tmp_path: Path, with_groups: bool, processes: int) -> None:
    path = table(tmp_path / "t.csv", 1500, with_groups=with_groups)
    given = table_recipe(path, group="talk" if with_groups else None)
    one, other = both(given, tmp_path, processes)
    assert same(one, other)
    made = one.manifest["dataset"]
    assert {"duplicate", "conflict", "leak", "bad_row", "empty_input"} <= made["dropped"].keys()
    assert made["labels"] == ["no", "perhaps", "yes"] and any("more than one label" in note for note in made["notes"])
    assert bool(made["splits"]["train"]["groups"]) == with_groups


def test_tables_that_are_splits_of_their_own(tmp_path: Path) -> None:
    paths = [table(tmp_path / f"{name}.csv", n) for name, n in (("all", 300), ("held", 60), ("last", 50))]
    rest = paths[2].read_text("utf-8").replace(",perhaps,", ",no,")
    paths[2].write_text(rest, "utf-8")
    one, other = both(table_recipe(paths[0], validation_path=str(paths[1]), test_path=str(paths[2])), tmp_path)
    assert same(one, other) and "No test row has the label 'perhaps'." in one.manifest["dataset"]["notes"]


def test_an_answer_that_is_no_label_is_refused_alike(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", 100)
    path.write_text(path.read_text("utf-8").replace("perhaps", "yess", 1), "utf-8")
    said = []
    for prepare in (stages.prepare, stages.prepare_stream):
        with pytest.raises(DataError) as error:
            prepare(table_recipe(path), tmp_path / "run")
        said.append(str(error.value))
    assert said[0] == said[1] and "'yess' (1 row: " in said[0]


def test_answers_of_a_corpus_that_are_labels(tmp_path: Path) -> None:
    made = [{**row, "output": "good" if i % 3 else "bad"} for i, row in enumerate(rows(200))]
    given = parse({
        "name": "made", "task": {"kind": "classify", "labels": ["good", "bad"]},
        "data": {"path": str(write(tmp_path / "made.jsonl", made)), "format": "auto"},
    })  # fmt: skip
    assert same(*both(given, tmp_path))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("classification/banking77_test.csv", {"input": "text", "target": "category"}),
        ("promises/mimac_pledges_sv_a.tsv", {"input": "text", "target": "binary_pledge", "group": "manifesto_id"}),
    ],
)
def test_real_tables(shared: Path, tmp_path: Path, name: str, data: dict[str, Any]) -> None:
    path = shared / "data" / name
    columns = read_rows(path).columns
    assert {data["input"], data["target"]} <= set(columns), columns
    labels = tuple(sorted({cell for cell in read_rows(path).column(data["target"]) if cell}))
    task = {"kind": "classify", "instruction": "Which?", "labels": labels}
    given = parse({"name": "real", "task": task, "data": {"path": str(path), **data}, "train": {"too_long": "drop"}})
    assert same(*both(given, tmp_path))


def test_what_is_no_stream_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = table_recipe(table(tmp_path / "t.csv", 40), extra_path="more.csv")
    with pytest.raises(RecipeError) as error:
        stages.prepare_stream(given, tmp_path / "run")
    assert [problem.where for problem in error.value.problems] == ["[data] extra_path"]
    file = tmp_path / "t.toml"
    file.write_text(given.dump(), "utf-8")
    assert main(["prepare", str(file), "--processes", "2"]) == 2
    with pytest.raises(SystemExit):
        main(["prepare", str(file), "--processes", "none"])
    assert "none is no number from 1 to 1024" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # Ray warns of its own deprecated settings
def test_ray_makes_the_same_bytes(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason='needs Ray, which the lock leaves out: pip install "ray[data]==2.60.*"')
    ray.init(num_cpus=2, object_store_memory=150_000_000, include_dashboard=False, log_to_driver=False, logging_level="error")
    given = recipe(write(tmp_path / "made.jsonl", rows(2500)))
    try:
        streamed = stages.prepare_stream(given, tmp_path / "ray", ray=True)
    finally:
        ray.shutdown()
    assert same(stages.prepare(given, tmp_path / "in_memory"), streamed)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """The folder beside the run, killed in the middle: it is in nobody's way, and gone afterwards."""
    left = tmp_path / ".run-preparing" / "files"
    left.mkdir(parents=True)
    (left / "lines").write_text("half a", "utf-8")
    given = recipe(write(tmp_path / "made.jsonl", rows(200)))
    assert same(stages.prepare(given, tmp_path / "in_memory"), stages.prepare_stream(given, tmp_path / "run"))
    assert not left.parent.exists()


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Killed, it can tell them nothing; the pipe that all of them hold ends only when all of them have."""
    file = tmp_path / "r.toml"
    file.write_text(recipe(write(tmp_path / "made.jsonl", rows(20_000))).dump(), "utf-8")
    command = [sys.executable, "-m", "whet", "prepare", str(file), "--processes", "2", "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        lines = tmp_path / ".run-preparing" / "files" / "lines"
        while process.poll() is None and not (lines.exists() and lines.stat().st_size):
            time.sleep(0.01)
        assert process.poll() is None, "it was killed in the middle"
        process.kill()
        assert process.stdout.read() is not None, "everyone has let go of it"


def test_two_processes_do_not_prepare_one_run(tmp_path: Path) -> None:
    given = recipe(write(tmp_path / "made.jsonl", rows(50)))
    with workplace(tmp_path / "run"), pytest.raises(RunError, match="another process prepares this run"):
        stages.prepare_stream(given, tmp_path / "run")


def test_without_ray_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match="Ray is not installed"):
        stages.prepare_stream(recipe(write(tmp_path / "made.jsonl", rows(50))), tmp_path / "run", ray=True)


# -- MinHash -----------------------------------------------------------------------------------------------------------


def test_signatures_agree_as_often_as_texts_do() -> None:
    draw = random.Random(2)
    pairs = []
    for _ in range(400):
        text = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=120))
        other = list(text)
        for at in draw.sample(range(120), draw.randint(0, 12)):
            other[at] = draw.choice("0123456789")
        pairs.append((text, "".join(other)))
    one, other_ = signatures([a for a, _ in pairs]), signatures([b for _, b in pairs])
    true = np.array([len(grams(a) & grams(b)) / len(grams(a) | grams(b)) for a, b in pairs])
    estimate = (one == other_).mean(axis=1)
    assert abs(float((estimate - true).mean())) < 0.006, "unbiased"
    expected = np.sqrt(true * (1 - true) / (BANDS * ROWS))
    assert float(np.abs(estimate - true).mean()) < 1.2 * float(expected.mean()), "and no noisier than so many functions allow"


def grams(form: str) -> set[str]:
    return {form[i : i + 5] for i in range(len(form) - 4)} or {form}


def test_keys_do_not_depend_on_the_neighbours() -> None:
    forms = [
        normal_form(text)
        for text in ("", "a", "we will", "Straße Größe Äpfel", "我们将建造新的住房", "x" * 5000, "abcde", "\U0001f44d")
    ]
    together = band_keys(forms)
    for place, form in enumerate(forms):
        assert (band_keys([form])[0] == together[place]).all()
    assert len({row.tobytes() for row in together}) == len(forms)
    assert band_keys([]).shape == (0, BANDS)


def test_the_same_pairs_as_the_exact_search_on_real_sentences(shared: Path, tmp_path: Path) -> None:
    """Recall 1 on the pledge corpus with 300 edited copies: all pairs at 0.8 or more, with the same similarity."""
    texts = [text for text in read_rows(shared / "data/promises/mimac_pledges_en_a.tsv").column("text") if text]
    draw = random.Random(8)
    for text in draw.sample(texts, 300):
        words = text.split()
        words.insert(draw.randrange(len(words)), draw.choice(WORDS))
        texts.append(" ".join(words))
    exact = {(pair.second, pair.first): pair.similarity for pair in near_duplicates(texts, 0.8)}
    found = {(met.row, met.other): met.similarity for met in similar_rows(texts, 0.8, tmp_path)}
    assert len(exact) > 700 and found == exact


def test_recall_at_the_threshold(tmp_path: Path) -> None:
    """Of pairs between 0.8 and 0.85, 1 in 2,800 or fewer may be missed: of 600, none is expected."""
    draw, texts = random.Random(3), list[str]()
    while len(texts) < 1200:
        text = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=150))
        other = list(text)
        for at in draw.sample(range(150), 3):
            other[at] = draw.choice("0123456789")
        if 0.8 <= len(grams(text) & grams("".join(other))) / len(grams(text) | grams("".join(other))) < 0.85:
            texts += [text, "".join(other)]
    assert sum(1 for _ in similar_rows(texts, 0.8, tmp_path)) >= 598


def test_a_band_that_many_rows_share_is_no_square(tmp_path: Path) -> None:
    texts = [f"the same letter to every voter in the whole of the county, number {n}" for n in range(1000)]
    found = list(similar_rows(texts, 0.8, tmp_path))
    assert {met.row for met in found} == set(range(1, 1000)), "each has an earlier one that it is like"
    assert len(found) <= 1000 * near.MOST_MET * 4


def test_rows_meet_other_sides_only(tmp_path: Path) -> None:
    forms = ["abcdefghijk", "abcdefghijk", "abcdefghijk", "zzzzyyyyxxxx", "abcdefghijk"]
    meetings = Meetings(tmp_path)
    meetings.add(band_keys(forms))
    sides = np.array([0, 0, 2, 1, OUT], dtype=np.uint8)
    assert list(meetings.pairs(sides)) == [(0, [2]), (1, [2])]


# -- on disk -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [2**22, 2**14])
def test_buckets_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
    monkeypatch.setattr(spill, "WAITING_BYTES", waiting)  # written at once, or in several pieces
    rng = np.random.default_rng(1)
    keys, values = rng.integers(0, 2**64, 5000, dtype=np.uint64), np.arange(5000, dtype=np.uint64)
    keys[100:200] = keys[0]
    buckets = Buckets(tmp_path / "b", 2)
    for start in range(0, 5000, 700):
        buckets.add(keys[start : start + 700], values[start : start + 700])
    found = np.concatenate(list(buckets.sorted()))
    order = np.lexsort((values, keys))
    assert (found == np.stack([keys[order], values[order]], axis=1)).all()
    assert (np.concatenate(list(buckets.sorted())) == found).all(), "and can be read again"
    assert [len(group) for part in buckets.sorted() for group in groups_of(part)] == [101]


def test_texts_and_columns(tmp_path: Path) -> None:
    lines = [b"one", b"", "zwölf".encode(), b"last"]
    texts, column = Texts(tmp_path / "t"), Column(tmp_path / "c")
    texts.add(lines[:2])
    texts.add(lines[2:])
    column.add(np.array([7, 2**64 - 1], dtype=np.uint64))
    assert list(texts) == lines and [texts[i] for i in range(4)] == lines
    assert (column[0], column[1]) == (7, 2**64 - 1) and [block.tolist() for block in column.blocks()] == [[7, 2**64 - 1]]
    texts.close()
    column.close()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the rows, as much memory: what Python allocates while near copies are looked for."""
    import tracemalloc

    def texts(n: int) -> Iterator[str]:
        draw = random.Random(n)
        return (" ".join(draw.choices(WORDS, k=12)) for _ in range(n))

    monkeypatch.setattr(spill, "WAITING_BYTES", 2**18)  # so that what waits to be written is full in both
    peaks = []
    for n in (8_192, 32_768):
        (tmp_path / str(n)).mkdir()
        tracemalloc.start()
        list(similar_rows(texts(n), 0.8, tmp_path / str(n)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
