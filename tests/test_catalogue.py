"""The catalogue of corpora: whole, consistent, and the way to each corpus with and without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from whet.cli import main
from whet.data.corpora.catalogue import Corpus, corpora, find_corpus
from whet.data.corpora.reading import Reading, read_corpus
from whet.data.corpora.registry import FORMATS
from whet.errors import DataError

# The corpora that whet promises to know.
PROMISED = (
    "oig flan-2021 flan-collection p3 natural-instructions super-ni unnatural lima self-instruct evol-instruct "
    "evol-instruct-v2 evol-instruct-h2o evol-instruct-code instruction-wild instruction-wild-v2 alpaca alpaca-cleaned guanaco "
    "oasst-guanaco vicuna dolly oasst1 oasst2"
).split()


def test_every_promised_corpus_is_known() -> None:
    assert [corpus.name for corpus in corpora()] == PROMISED


@pytest.mark.parametrize("corpus", corpora(), ids=lambda corpus: corpus.name)
def test_facts_hold_together(corpus: Corpus) -> None:
    assert set(corpus.made_by) <= {"rules", "templates", "LLM", "people"} and corpus.made_by
    assert bool(corpus.models) == ("LLM" in corpus.made_by), "an LLM that wrote is named"
    assert corpus.commercial in ("yes", "no", "mixed", None)
    assert corpus.forbids_competing in ("yes", "no", "in part")
    assert corpus.models or corpus.forbids_competing == "no", "terms are those of a model"
    assert "NC" not in (corpus.licence or "") or corpus.commercial == "no"
    assert corpus.licence != "non-commercial" or corpus.commercial == "no"
    assert 2020 < corpus.year < 2027 and (corpus.rows is None or corpus.rows > 1000)
    assert corpus.known_from and corpus.unit and corpus.maker and corpus.files and corpus.tasks and corpus.languages
    assert all(name.count("/") == 1 for name in corpus.hub)


def test_formats_of_the_catalogue_are_those_that_are_read() -> None:
    named = {name for corpus in corpora() for name in corpus.formats}
    known = {format_.name for format_ in FORMATS}
    assert named <= known, f"unknown: {sorted(named - known)}"
    assert known - named == {"messages", "chatml"}, "every other format is that of a corpus"


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(DataError, match="Did you mean lima"):
        find_corpus("lma")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> None:
    monkeypatch.setattr("whet.cli.corpus.console", lambda stream: _console(stream, width))
    assert main(["corpus", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(line.startswith(name) for line in lines) for name in PROMISED)


def _console(stream: Any, width: int) -> Any:
    from rich.console import Console

    return Console(file=stream, width=width, highlight=False)


@pytest.mark.parametrize("name", PROMISED)
def test_info_says_licence_and_terms_of_each(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["corpus", "info", name]) == 0
    shown = capsys.readouterr().out
    corpus = find_corpus(name)
    assert corpus.title in shown and (corpus.licence or "unstated") in shown
    assert main(["corpus", "info", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == corpus.to_json()


# -- the way to a corpus -----------------------------------------------------------------------------------------------


def a_hub(monkeypatch: pytest.MonkeyPatch, answers: bool, rows: list[dict[str, Any]] | None) -> list[tuple[str, bool]]:
    """Stands in for the Hub (it is a network away): whether it answers, and what it or the local copy holds; what is asked."""
    asked: list[tuple[str, bool]] = []

    def load_dataset(name: str, split: str, streaming: bool) -> Iterator[dict[str, Any]]:
        asked.append((name, streaming))
        if rows is None:
            raise ConnectionError("no route to the Hub.")
        return iter(rows)

    monkeypatch.setattr("whet.data.corpora.hub.hub_answers", lambda name: answers)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return asked


CHATS = [{"conversations": ["Hi", f"Ho {n}"], "source": "x"} for n in range(5)]


@pytest.mark.parametrize("answers", [True, False])
def test_a_name_is_read_from_the_hub_or_its_local_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers: bool) -> None:
    monkeypatch.chdir(tmp_path)
    asked = a_hub(monkeypatch, answers, CHATS)
    (reading,) = read_corpus("lima")
    assert isinstance(reading, Reading) and asked == [("GAIR/lima", answers)], "as a stream where there is a network"
    assert [example.target for item in reading.items for example in item.examples] == [f"Ho {n}" for n in range(5)]
    assert (reading.report.file, reading.report.format, reading.report.read) == ("GAIR/lima", "lima", 5)
    (reading,) = read_corpus("somebody/chats")
    assert isinstance(reading, Reading) and asked[1:] == [("somebody/chats", answers)]


def test_without_a_network_it_says_what_to_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a_hub(monkeypatch, False, None)
    assert main(["corpus", "read", "alpaca"]) == 2
    said = capsys.readouterr().err
    assert "alpaca: it cannot be had from the Hub, and there is no local copy (ConnectionError: no route to the Hub)" in said
    assert "download alpaca_data.json" in said and "huggingface.co/datasets/tatsu-lab/alpaca" in said
    assert main(["corpus", "read", "unnatural"]) == 2
    assert "it is not on the Hub. Where there is a network, download data/core_data.zip" in capsys.readouterr().err
    assert main(["corpus", "read", "alpacca"]) == 2
    assert "there is no such file or folder. Check the path, or did you mean the corpus alpaca" in capsys.readouterr().err


def test_a_connection_that_breaks_off_is_said_with_the_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    a_hub(monkeypatch, True, CHATS)

    def broken(name: str, split: str, streaming: bool) -> Iterator[dict[str, Any]]:
        yield from CHATS * 20
        raise ConnectionError("reset")

    monkeypatch.setattr("datasets.load_dataset", broken)
    (reading,) = read_corpus("lima")
    assert isinstance(reading, Reading)
    with pytest.raises(DataError, match="broke off behind row 100"):
        list(reading.items)


def test_a_folder_of_that_name_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lima").mkdir()
    (tmp_path / "lima" / "train.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in CHATS))
    (reading,) = read_corpus("lima")
    assert isinstance(reading, Reading) and reading.report.file == "train.jsonl"
