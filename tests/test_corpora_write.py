"""What is written of corpora: every form gives the same Examples back, in every kind of file, with a card that is true."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from whet.cli import main
from whet.data.corpora.card import Facts, render
from whet.data.corpora.format import Item
from whet.data.corpora.forms import FORMS, Form
from whet.data.corpora.reading import Reading, read_corpus, survey
from whet.data.corpora.report import Report
from whet.data.corpora.rows import read_rows_of
from whet.data.corpora.write import SUFFIXES, open_writer
from whet.data.provenance import Tally, terms_of
from whet.errors import DataError
from whet.example import Example, Message, Origin, Task
from whet.progress import Silent
from whet.sections import Data

ORIGIN = Origin("a.jsonl", 7, "CC-BY-4.0", "people")


def read_all(source: Path, **asked: Any) -> tuple[list[Example], list[Report]]:
    """Every Example of a source, and what became of each file."""
    examples: list[Example] = []

    def take(item: Item) -> None:
        examples.extend(item.examples)

    return examples, list(survey(read_corpus(source, **asked), take, Silent()).reports)


def write(path: Path, examples: Sequence[Example], form: Form) -> Path:
    """A file of these Examples."""
    with open_writer(path, form) as put:
        for example in examples:
            put(example)
    return path


ROWS = [
    Example("a-1", {"input": ""}, "A crow.", None, Origin("a.json", 1), "Name a bird."),
    Example("a-2", {"input": "b a\nc"}, "a b c", "g", ORIGIN, "Sort.", references=("c b a", "a, b, c")),
    Example("a-3", {"input": "N/A"}, " kept as it is \n", None, ORIGIN, "Noinput"),
    Example("a-4", {"input": "only this"}, "<|endoftext|>", None, ORIGIN, ""),
    Example("a-5", {"input": "x"}, "y", None, ORIGIN, None),
    Example("a-6", {"title": "T", "text": "", "more": "m\u2028n"}, "Ja \u00fc \U0001f600", None, ORIGIN, "Two\n\nlines"),
    Example("a-7", {"input": "x"}, "Yes.\n##\n2. Instruction: Go on.\n2. Output:\nNo.", None, ORIGIN, "x"),
]
TURNS = [
    Example("c-1.1", {"input": ""}, "Ho", "c-1", ORIGIN, "Hi"),
    Example("c-1.2", {"input": ""}, "Hu", "c-1", ORIGIN, "More", (Message("system", "Be brief."), Message("user", "Hi"),
            Message("assistant", "Ho"))),
    Example("c-1.3", {"input": "read this"}, "He", "c-1", ORIGIN, "And", (Message("assistant", "Hm"), Message("tool", "2"))),
]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read_back_the_same(tmp_path: Path, form: Form, suffix: str) -> None:
    examples = ROWS + (TURNS if form == "messages" else [])
    back, (report,) = read_all(write(tmp_path / f"out{suffix}", examples, form))
    assert report.format == form and (report.read, report.skipped, report.repaired) == (len(examples), 0, 0)
    assert back == examples


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, form: Form) -> None:
    for suffix in SUFFIXES:
        one, other = (write(tmp_path / f"{n}{suffix}", ROWS, form).read_bytes() for n in (1, 2))
        assert one == other, suffix


def test_more_rows_than_a_group_of_parquet_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.data.corpora.write.PARQUET_ROWS", 4)
    path = write(tmp_path / "x.parquet", ROWS * 3, "alpaca")
    assert pq.ParquetFile(path).num_row_groups == 6
    assert [example.id for example in read_all(path)[0]] == [example.id for example in ROWS * 3]


REAL = {
    "alpaca/alpaca_5000.json": ("alpaca", "messages", "prompt-completion"), "lima/lima_first500.json": ("messages",),
    "oasst/en_100_tree.first60.jsonl": ("messages",), "guanaco/guanaco-llama2-1k.parquet": ("messages",),
    "natural_instructions_v1/subtask045_miscellaneous_sentence_paraphrasing.json": ("alpaca", "messages"),
    "super_ni/task591_sciq_answer_generation.json": ("prompt-completion",), "flan/cot/qasc_train.tsv": ("alpaca", "messages"),
    "p3_rendered/common_gen_Put_together.jsonl": ("prompt-completion", "messages"),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_corpora_go_round(tmp_path: Path, shared: Path, name: str) -> None:
    examples, _ = read_all(shared / "data" / name)
    assert len(examples) > 50
    for form in REAL[name]:
        for suffix in (".jsonl.zst", ".parquet"):
            back, _ = read_all(write(tmp_path / f"{form}{suffix}", examples, form))  # type: ignore[arg-type]
            assert back == examples, form


def test_text_that_was_changed_since_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS[:2], "messages")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[1]["messages"][0]["content"] = "Sort these words: b a c"
    records[1]["messages"][1]["content"] = "a, b, c"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    changed = read_all(path)[0][1]
    assert (changed.instruction, dict(changed.inputs), changed.target) == ("Sort these words: b a c", {"input": ""}, "a, b, c")
    assert (changed.id, changed.origin) == ("a-2", ORIGIN)


@pytest.mark.parametrize("broken", [
    {"whet": 3}, {"whet": "{"}, {"whet": {}}, {"whet": '{"inputs": ["x"]}'}, {"whet": '{"inputs": {"a": 1}}'},
    {"whet": '{"references": "x"}'}, {"whet": '{"references": [1]}'}, {"whet": '{"instruction": "x"}'}, {"whet": None},
    {"row": "1"}, {"id": None}, {"licence": 4},
])  # fmt: skip
@pytest.mark.parametrize("form", FORMS)
def test_a_record_that_somebody_broke_is_said(tmp_path: Path, form: Form, broken: dict[str, Any]) -> None:
    path = write(tmp_path / "a.jsonl", ROWS[:1], form)
    path.write_text(json.dumps({**json.loads(path.read_text()), **broken}) + "\n")
    examples, (report,) = read_all(path)
    assert not examples and report.reasons["bad_field"] == 1 and "as whet wrote" in report.drops[0].detail


def test_two_files_with_the_same_examples_stay_apart_in_a_recipe(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", ROWS[:3], "alpaca")
    _, made = read_rows_of(str(tmp_path), Data(path=str(tmp_path), format="auto"), Task(kind="generate"))
    assert [example.id for example in made.examples] == ["a-1", "a-2", "a-3", "a-1~2", "a-2~2", "a-3~2"]


def test_a_conversation_wants_messages(tmp_path: Path) -> None:
    forms: tuple[Form, ...] = ("alpaca", "prompt-completion")
    for form in forms:
        with pytest.raises(DataError, match=r"a.jsonl, row 7: it answers a turn of a conversation.* Write --as messages"):
            write(tmp_path / "a.jsonl", TURNS, form)
    assert not [*tmp_path.iterdir()], "nothing is left of what was not finished"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS, "alpaca")
    before = path.read_bytes()
    with pytest.raises(DataError, match="there is something of this name already"):
        write(path, ROWS[:1], "alpaca")
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="does not know what kind of file"):
        write(tmp_path / "a.csv", ROWS, "alpaca")


def test_earlier_answers_are_not_learned_twice_by_others_either(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", TURNS, "messages")
    chats = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
    weights = [[turn.get("weight", 1) for turn in chat if turn["role"] == "assistant"] for chat in chats]
    assert weights == [[1], [0, 1], [0, 1]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_the_library_of_the_hub_reads_it(tmp_path: Path, form: Form, suffix: str) -> None:
    import datasets

    path = write(tmp_path / f"train{suffix}", ROWS * 3 + (TURNS if form == "messages" else []), form)
    kind = "parquet" if suffix == ".parquet" else "json"
    loaded = datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == len(ROWS) * 3 + (len(TURNS) if form == "messages" else 0)
    assert loaded[1]["licence"] == "CC-BY-4.0" and {"id", "source", "row", "maker", "whet"} <= set(loaded.column_names)


# -- the command and the card ------------------------------------------------------------------------------------------


def header(card: Path) -> dict[str, Any]:
    """The YAML at the top of a card."""
    found: dict[str, Any] = yaml.safe_load(card.read_text().split("---\n")[1])
    return found


def test_the_command_writes_a_file_and_its_card(tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = shared / "data/alpaca/alpaca_5000.json", tmp_path / "out.jsonl.gz"
    assert main(["corpus", "read", f"alpaca={source}", "-o", str(out), "--as", "alpaca", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"]["rows"] == found["examples"] == 4995
    assert found["written"]["terms"]["licences"] == {"CC-BY-NC-4.0": 4995}
    rows = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    assert len(rows) == 4995 and rows[0]["maker"] == "text-davinci-003" and rows[0]["input"].startswith("Sentence 1")
    card = tmp_path / "out.md"
    assert header(card) == {
        "pretty_name": "out", "license": "cc-by-nc-4.0", "language": ["en"], "size_categories": ["1K<n<10K"],
        "task_categories": ["text-generation"], "tags": ["instruction-tuning"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "out.jsonl.gz"}]}],
    }  # fmt: skip
    text = card.read_text()
    assert "| alpaca_5000.json | 5,000 | 59 | 6 | no_input_mark 58, empty_target 6, merged 1 |" in text
    assert "develop models that compete with OpenAI" in text and "corpus read" not in str(header(card))


def test_a_folder_is_laid_out_for_the_hub_and_read_again_with_its_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"instruction": f"Say {n}.", "output": f"{n}"}) + "\n" for n in range(30))
    )
    out = tmp_path / "set"
    assert main(["corpus", "read", str(tmp_path / "a.jsonl"), "--licence", "mit", "--maker", "people", "-o", str(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["README.md", "train.parquet"]
    assert header(out / "README.md")["license"] == "mit" and header(out / "README.md")["pretty_name"] == "set"
    assert pq.read_table(out / "train.parquet").column_names == [
        "messages", "id", "group", "source", "row", "licence", "maker", "whet",
    ]  # fmt: skip
    before, _ = read_all(tmp_path / "a.jsonl")
    back, _ = read_all(out)
    assert [(e.id, e.instruction, e.target) for e in back] == [(e.id, e.instruction, e.target) for e in before]
    assert {(e.origin.source, e.origin.licence, e.origin.maker) for e in back} == {("a.jsonl", "mit", "people")}
    assert main(["corpus", "read", str(tmp_path / "a.jsonl"), "-o", str(out)]) == 2
    assert "Name a folder that is new or empty" in capsys.readouterr().err


def test_a_card_states_the_licence_of_the_files_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"instruction": "Say.", "output": "x"}) + "\n")
    for text, licence in {
        "---\nlicense: cc-by-sa-4.0\n---\n# A": "cc-by-sa-4.0", "---\nlicense: [mit, apache-2.0]\n---": "mit AND apache-2.0",
        "---\nlicense: other\nlicense_name: house rules\n---": "house rules", "---\nlicense: unknown\n---": None,
        "# no header": None, "---\n: [\n---": None, "---\nlicense: 3\n---": None,
    }.items():  # fmt: skip
        (tmp_path / "README.md").write_text(text)
        assert read_all(file)[0][0].origin.licence == read_all(tmp_path)[0][0].origin.licence == licence, text


def test_several_sources_in_one_file_never_share_an_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "train.jsonl", ROWS[:2], "alpaca")
    sources = [str(tmp_path / folder / "train.jsonl") for folder in ("a", "b")]
    assert main(["corpus", "read", *sources, "-o", str(tmp_path / "both.jsonl")]) == 0
    ids = [(e.id, e.group) for e in read_all(tmp_path / "both.jsonl")[0]]
    assert ids == [("train/a-1", None), ("train/a-2", "train/g"), ("train-2/a-1", None), ("train-2/a-2", "train-2/g")]
    capsys.readouterr()


def test_what_a_card_says_of_mixed_licences() -> None:
    rows = [Example("a", {}, "x", None, Origin("a", 1, licence, "people")) for licence in ("MIT", "CC BY-SA 4.0", None)]
    facts = Facts("x", "x.parquet", "messages", "Made.", "whet", terms_of(Tally(rows)), {}, [], [])
    card = yaml.safe_load(render(facts).split("---\n")[1])
    assert (card["license"], card["license_name"]) == ("other", "CC-BY-SA-4.0 AND MIT AND unstated")
    assert "language" not in card and card["size_categories"] == ["n<1K"]
    silent = Facts(
        "x", "x.parquet", "alpaca", "Made.", "whet", terms_of(Tally(rows[2:])), {"en": 95, "de": 5, "fr": 1, "": 4}, [], []
    )
    card = yaml.safe_load(render(silent).split("---\n")[1])
    assert (card["license"], card["language"]) == ("unknown", ["en"])


def test_splits_of_super_ni(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {"train": "task1_a\nTASK2_b\n\ntask9_gone\n", "test": "task3_c\n"}
    (tmp_path / "splits" / "default").mkdir(parents=True)
    (tmp_path / "tasks").mkdir()
    for name, text in lists.items():
        (tmp_path / f"splits/default/{name}_tasks.txt").write_text(text)
    for name in ("task1_a", "Task2__b".replace("__", "_"), "task3_c"):
        task = {"Definition": [f"Do {name}."], "Positive Examples": [], "Instances": [{"input": "x", "output": ["y"]}] * 3}
        (tmp_path / f"tasks/{name}.json").write_text(json.dumps(task))
    train, reports = read_all(tmp_path, split="train")
    assert {report.file for report in reports} == {"tasks/task1_a.json", "tasks/Task2_b.json"} and len(train) == 6
    aside = [reading.where for reading in read_corpus(tmp_path, split="train") if not isinstance(reading, Reading)]
    assert aside == ["tasks/task9_gone.json"]
    assert len(read_all(tmp_path)[0]) == 9, "without a split, all tasks"
    data = Data(path=str(tmp_path), format="auto", split="test")
    assert [e.instruction for e in read_rows_of(str(tmp_path), data, Task(kind="generate"))[1].examples] == ["Do task3_c."] * 3
    assert main(["corpus", "read", str(tmp_path), "--split", "dev"]) == 2
    assert "there is no list splits/default/dev_tasks.txt. Its splits are test, train." in capsys.readouterr().err
    assert main(["corpus", "read", str(tmp_path / "tasks"), "--split", "train"]) == 2
    assert "Leave --split out" in capsys.readouterr().err
