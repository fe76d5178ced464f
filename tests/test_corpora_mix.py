"""Mixes of corpora: how many rows of each, which, in what order, under which terms."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from whet.cli import main
from whet.data.corpora import blend
from whet.data.corpora.export import open_export
from whet.data.corpora.reading import Source, read_corpus
from whet.data.corpora.shares import Mixing, parse_shares, rows_of_each
from whet.data.corpora.sources import parse_sources
from whet.errors import DataError
from whet.progress import Silent

# -- shares ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "mixing", "drawn"),
    [
        ({"a": 9000, "b": 100}, Mixing(), {"a": 9000, "b": 100}),
        ({"a": 9000, "b": 100}, Mixing(cap=3000), {"a": 3000, "b": 100}),
        ({"a": 9000, "b": 5000}, Mixing(cap=3000), {"a": 3000, "b": 3000}),
        ({"a": 9000, "b": 100}, Mixing(rows=910), {"a": 900, "b": 10}),
        ({"a": 9000, "b": 1000}, Mixing(temperature=2, rows=400), {"a": 300, "b": 100}),
        ({"a": 9000, "b": 1000}, Mixing(temperature=2), {"a": 3000, "b": 1000}),
        ({"a": 9000, "b": 1000}, Mixing(temperature=1e9), {"a": 1000, "b": 1000}),
        ({"a": 10**6, "b": 1000}, Mixing(cap=4000, temperature=2), {"a": 2000, "b": 1000}),
        ({"a": 90, "b": 10}, Mixing(shares={"b": 0.5, "a": 0.5}), {"a": 10, "b": 10}),
        ({"a": 90, "b": 60}, Mixing(shares={"a": 2, "b": 1}, rows=30), {"a": 20, "b": 10}),
        ({"a": 5, "b": 5, "c": 5}, Mixing(rows=10), {"a": 4, "b": 3, "c": 3}),
        ({"a": 5000}, Mixing(cap=10, rows=100), {"a": 100}),
    ],
)
def test_how_many_rows_of_each(sizes: dict[str, int], mixing: Mixing, drawn: dict[str, int]) -> None:
    assert rows_of_each(sizes, mixing) == drawn


def test_the_sum_is_exact_and_shares_are_as_near_as_whole_numbers_can_be() -> None:
    chance = random.Random(5)
    for _ in range(300):
        sizes = {str(n): chance.randint(1, 10_000) for n in range(chance.randint(1, 9))}
        cap, temperature = chance.choice((None, 50, 3000)), chance.choice((1.0, 2.0, 5.0))
        free = rows_of_each(sizes, Mixing(cap=cap, temperature=temperature))
        assert all(rows <= min(sizes[name], cap or sizes[name]) for name, rows in free.items())
        weights = {name: min(size, cap or size) ** (1 / temperature) for name, size in sizes.items()}
        rows = chance.randint(1, max(1, sum(free.values())))
        some = rows_of_each(sizes, Mixing(cap=cap, temperature=temperature, rows=rows))
        assert sum(some.values()) == rows
        assert all(abs(some[name] - rows * weight / sum(weights.values())) < 1 for name, weight in weights.items())


@pytest.mark.parametrize(
    ("sizes", "mixing", "said"),
    [
        (
            {"a": 10, "b": 3},
            Mixing(shares={"a": 0.5, "b": 0.5}, rows=8),
            "b: its share is 4 rows, and it has 3 examples. Ask for 6",
        ),
        ({"a": 10, "b": 0}, Mixing(), "b: it has no examples. Leave it out"),
        ({"a": 10, "b": 5}, Mixing(shares={"a": 1.0}), "--share: b has none"),
        ({"a": 10}, Mixing(shares={"a": 1.0, "c": 1.0}), "--share: there is no source c. They are a"),
        ({"a": 10}, Mixing(shares={"a": 0.0}), "a share is not above 0"),
        ({"a": 10}, Mixing(shares={"a": float("nan")}), "a share is not above 0"),
        ({"a": 10}, Mixing(shares={"a": 1.0}, cap=5), "Give one or the other"),
        ({"a": 10}, Mixing(temperature=0), "above 0"),
        ({"a": 10}, Mixing(rows=-1), "above 0"),
        ({"a": 10}, Mixing(rows=11), "Ask for 10 rows at most"),
    ],
)
def test_what_cannot_be_drawn_is_said(sizes: dict[str, int], mixing: Mixing, said: str) -> None:
    with pytest.raises(DataError, match=said):
        rows_of_each(sizes, mixing)


def test_shares_are_parsed() -> None:
    assert parse_shares(["a=0.4", "b=1"]) == {"a": 0.4, "b": 1.0}
    with pytest.raises(DataError, match="--share a: it is no name and number"):
        parse_shares(["a"])


# -- draws -------------------------------------------------------------------------------------------------------------


def write_corpora(folder: Path, sizes: Mapping[str, int]) -> list[str]:
    """Alpaca files of these sizes, as sources."""
    for name, size in sizes.items():
        rows = [{"instruction": f"Say {name} {n}.", "input": "", "output": f"{name} {n}"} for n in range(size)]
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return [str(folder / f"{name}.json") for name in sizes]


def mixed(sources: list[str], out: Path, *options: str) -> list[dict[str, Any]]:
    """The records of a mix."""
    assert main(["corpus", "mix", *sources, "-o", str(out), "--as", "alpaca", *options]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_a_mix_is_drawn_and_shuffled_and_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = write_corpora(tmp_path, {"a": 4000, "b": 300})
    one = mixed(sources, tmp_path / "1.jsonl", "--cap", "900", "--seed", "3")
    assert Counter(row["source"] for row in one) == {"a.json": 900, "b.json": 300}
    assert len({row["id"] for row in one}) == 1200 and one[0]["id"].startswith(("a/a-", "b/b-"))
    assert mixed(sources, tmp_path / "2.jsonl", "--cap", "900", "--seed", "3") == one
    other = mixed(sources, tmp_path / "3.jsonl", "--cap", "900", "--seed", "4")
    assert {row["id"] for row in other} != {row["id"] for row in one} and sorted(r["id"] for r in other) != [
        r["id"] for r in other
    ]
    rows = [row["row"] for row in one if row["source"] == "a.json"]
    assert 1700 < sum(rows) / len(rows) < 2300 and rows != sorted(rows), "from all of the file, and not in its order"
    heads = Counter(row["source"] for row in one[:300])
    assert 190 < heads["a.json"] < 260, "no head of one source"
    capsys.readouterr()


def test_each_row_is_as_likely_as_any_other(tmp_path: Path) -> None:
    counts: Counter[int] = Counter()
    (source,) = write_corpora(tmp_path, {"a": 20})
    for seed in range(120):
        out = tmp_path / f"{seed}.jsonl"
        with open_export(out, "alpaca") as export:
            sources = [Source("a", lambda: read_corpus(source))]
            blend.mix(sources, Mixing(rows=5, seed=seed), export, "research", Silent())
        counts.update(json.loads(line)["row"] for line in out.read_text().splitlines())
    assert counts.total() == 600 and len(counts) == 20
    # A binomial with 120 tries at 1/4 has a deviation of 4.7; 20 counts stay within 4 of them.
    assert all(abs(count - 30) < 19 for count in counts.values())


def test_a_large_mix_goes_over_disk_and_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = write_corpora(tmp_path, {"a": 700, "b": 300})
    one = mixed(sources, tmp_path / "1.jsonl")
    monkeypatch.setattr("whet.data.corpora.blend.BUCKET_ROWS", 90)
    assert mixed(sources, tmp_path / "2.jsonl") == one and len(one) == 1000
    assert not [*tmp_path.glob(".*")], "nothing is left behind"
    capsys.readouterr()


def test_memory_does_not_grow_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.data.corpora.blend.BUCKET_ROWS", 150)
    peaks = []
    for size in (1000, 3000):
        (tmp_path / str(size)).mkdir()
        rows = [{"instruction": f"Say {n}.", "input": "x" * 300, "output": "y" * 300} for n in range(size)]
        file = tmp_path / str(size) / "a.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        del rows
        sources = [Source("a", lambda file=file: read_corpus(file))]  # type: ignore[misc]
        tracemalloc.start()
        with open_export(tmp_path / str(size) / "out.jsonl", "alpaca") as export:
            blend.mix(sources, Mixing(), export, "research", Silent())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


def test_a_source_that_changes_is_noticed(tmp_path: Path) -> None:
    one, other = write_corpora(tmp_path, {"a": 50, "b": 40})
    files = iter((one, other))
    said = pytest.raises(DataError, match="it had 50 examples when it was counted, and 40")
    with said, open_export(tmp_path / "out.jsonl", "alpaca") as export:
        blend.mix([Source("a", lambda: read_corpus(next(files)))], Mixing(), export, "research", Silent())
    assert not (tmp_path / "out.jsonl").exists()


# -- names, terms, the command -----------------------------------------------------------------------------------------


def test_sources_have_names_of_their_own(tmp_path: Path) -> None:
    named = parse_sources(
        ["x/train.jsonl", "y/train.jsonl.gz", "mine=x/train.jsonl", "alpaca=z.json", "oasst1", "a/b", "train.zip"]
    )
    assert [one.name for one in named] == ["train", "train-2", "mine", "alpaca", "oasst1", "b", "train-3"]
    assert [one.corpus.name if one.corpus else None for one in named] == [None, None, None, "alpaca", "oasst1", None, None]


def test_a_mix_for_commercial_use_refuses_before_anything_is_written(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = shared / "data", tmp_path / "out.parquet"
    sources = [f"alpaca={data}/alpaca/alpaca_5000.json", f"oasst1={data}/oasst/en_100_tree.first60.jsonl"]
    assert main(["corpus", "mix", *sources, "-o", str(out), "--use", "commercial"]) == 2
    said = capsys.readouterr().err
    assert "alpaca_5000.json, rows 1, 2, 3 and 4,992 more: their licence (CC-BY-NC-4.0) forbids commercial use" in said
    assert "were written by text-davinci-003" in said and "oasst" not in said.partition("whet: error")[2]
    assert not [*tmp_path.iterdir()]
    assert main(["corpus", "mix", sources[1], "-o", str(out), "--use", "commercial"]) == 0
    assert "Commercial use is allowed; its authors are named." in capsys.readouterr().out


def test_the_command_says_what_was_drawn_under_which_terms(
    tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared / "data"
    sources = [f"alpaca={data}/alpaca/alpaca_5000.json", f"cot={data}/flan/cot", f"{data}/oasst/en_100_tree.first60.jsonl"]
    out = tmp_path / "set"
    asked = ["--share", "alpaca=0.5", "--share", "cot=0.4", "--share", "en_100_tree=0.1", "--rows", "200"]
    assert main(["corpus", "mix", *sources, "-o", str(out), *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(part["source"], part["rows"], part["examples"]) for part in found["sources"]] == [
        ("alpaca", 100, 4995), ("cot", 80, 3145), ("en_100_tree", 20, 82),
    ]  # fmt: skip
    assert found["written"]["rows"] == 200 and found["written"]["terms"]["commercial"] is False
    assert found["reasons"] == {"no_input_mark": 58, "empty_target": 6, "merged": 1}
    card = (out / "README.md").read_text()
    assert "Mixed in fixed shares (alpaca 0.5, cot 0.4, en_100_tree 0.1), with the seed 7." in card
    assert "| cot | 80 of 3,145 | unstated | unstated |" in card


def test_a_mix_needs_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "mix", "a.json"]) == 2
    assert "it has no place to write to. Name one, as in -o mix.parquet" in capsys.readouterr().err


def test_a_recipe_learns_from_a_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = write_corpora(tmp_path, {"a": 60, "b": 40})
    assert main(["corpus", "mix", *sources, "-o", str(tmp_path / "mix.parquet")]) == 0
    (tmp_path / "t.toml").write_text(
        'name = "t"\n[task]\nkind = "generate"\n[data]\npath = "mix.parquet"\nformat = "auto"\nnear_duplicate_threshold = 1.0\n'
    )
    capsys.readouterr()
    assert main(["check", str(tmp_path / "t.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 100
