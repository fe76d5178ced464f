"""Corpora as streams: what a file is, what becomes of every record, and that memory does not grow with them."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from whet.cli import main
from whet.data.corpora.format import Format, Item, Options, Record, each, has, share, text
from whet.data.corpora.reading import Reading, read_corpus, survey
from whet.data.corpora.registry import FORMATS, find_format, recognise
from whet.data.corpora.report import Report
from whet.data.corpora.streams import Damaged, Stream, open_streams
from whet.data.corpora.turns import to_item
from whet.errors import DataError, Problem
from whet.example import Example, Message, Origin
from whet.progress import Silent


def turns(*texts: str) -> list[dict[str, str]]:
    """Messages of user and assistant in turn."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def rows(count: int) -> list[dict[str, Any]]:
    """So many chats of one answer."""
    return [{"messages": turns(f"Name number {n} ü.", f"It is {n}.")} for n in range(count)]


def read_one(source: Path, **asked: Any) -> tuple[Report, list[Item]]:
    """The report and the Items of the first corpus file of a source."""
    for reading in read_corpus(source, **asked):
        if isinstance(reading, Reading):
            return reading.report, list(reading.items)
    raise AssertionError("no corpus")


def answers(items: list[Item]) -> list[str]:
    """The answers in Items, in order."""
    return [example.target for item in items for example in item.examples]


def jsonl(records: list[Any]) -> str:
    """JSON lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


# -- one corpus, in every wrapping -------------------------------------------------------------------------------------


def plain_lines(path: Path, records: list[Any]) -> None:
    path.write_text(jsonl(records), "utf-8")


def marked_lines(path: Path, records: list[Any]) -> None:
    path.write_text(jsonl(records).replace("\n", "\r\n\r\n"), "utf-8-sig")


def one_line_list(path: Path, records: list[Any]) -> None:
    path.write_text(json.dumps(records), "utf-8")


def pretty_list(path: Path, records: list[Any]) -> None:
    path.write_text(json.dumps(records, indent=2, ensure_ascii=False), "utf-8-sig")


def pretty_values(path: Path, records: list[Any]) -> None:
    path.write_text("\n".join(json.dumps(record, indent=1) for record in records), "utf-8")


def gzipped(path: Path, records: list[Any]) -> None:
    path.write_bytes(gzip.compress(jsonl(records).encode()))


def zstd_frames(path: Path, records: list[Any]) -> None:
    half = len(records) // 2
    path.write_bytes(b"".join(zstandard.compress(jsonl(part).encode()) for part in (records[:half], records[half:])))


def parquet(path: Path, records: list[Any]) -> None:
    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=7)


WRAPPINGS = {
    "a.jsonl": plain_lines, "b.jsonl": marked_lines, "c.json": one_line_list, "d.json": pretty_list, "e.json": pretty_values,
    "f.jsonl.gz": gzipped, "g.jsonl.zst": zstd_frames, "h.parquet": parquet, "no_suffix": plain_lines,
    "wrong.csv": one_line_list,
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_corpus_is_the_same_in_every_wrapping(tmp_path: Path, name: str) -> None:
    records = rows(41)
    WRAPPINGS[name](tmp_path / name, records)
    report, items = read_one(tmp_path / name)
    assert (report.format, report.read, report.repaired, report.skipped, report.examples) == ("messages", 41, 0, 0, 41)
    assert answers(items) == [f"It is {n}." for n in range(41)]
    assert [example.instruction for item in items for example in item.examples] == [f"Name number {n} ü." for n in range(41)]
    numbers = [item.origin.row for item in items]
    assert numbers == ([1 + 2 * n for n in range(41)] if name == "b.jsonl" else list(range(1, 42)))


def test_folders_and_archives_give_each_of_their_files(tmp_path: Path) -> None:
    for name, write in WRAPPINGS.items():
        (tmp_path / "deep" / "er").mkdir(parents=True, exist_ok=True)
        write(tmp_path / "deep" / "er" / name, rows(3))
    (tmp_path / ".hidden").mkdir()
    plain_lines(tmp_path / ".hidden" / "x.jsonl", rows(3))
    (tmp_path / "README.md").write_text("A folder of chats.")
    (tmp_path / "empty.jsonl").write_text("\n \n")
    (tmp_path / "sheet.xlsx").write_bytes(b"\x00\x01")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("in/one.jsonl", jsonl(rows(5)))
        archive.writestr("in/two.jsonl.gz", gzip.compress(jsonl(rows(6)).encode()))
        archive.writestr("__MACOSX/._one.jsonl", "junk")
        archive.writestr("in/more.zip", b"PK\x03\x04" + bytes(20))
    done = survey(read_corpus(tmp_path), lambda item: None, Silent())
    assert len(done.reports) == len(WRAPPINGS) + 2
    assert {report.file: report.read for report in done.reports if report.read != 3} == {
        "z.zip/in/one.jsonl": 5, "z.zip/in/two.jsonl.gz": 6,
    }  # fmt: skip
    assert {problem.where for problem in done.left_aside} == {"README.md", "empty.jsonl", "sheet.xlsx", "z.zip/in/more.zip"}
    found = done.to_json()
    assert (found["format"], found["read"], found["examples"]) == ("messages", 41, 41)


def test_examples_of_two_files_never_share_an_id(tmp_path: Path) -> None:
    for name in ("a/train.jsonl", "b/train.jsonl"):
        (tmp_path / name).parent.mkdir()
        plain_lines(tmp_path / name, rows(4))
    examples: list[Example] = []
    survey(read_corpus(tmp_path), lambda item: examples.extend(item.examples), Silent())
    assert len({example.id for example in examples}) == len({example.group for example in examples}) == 8


# -- what is broken ----------------------------------------------------------------------------------------------------


def test_a_broken_line_is_counted_with_its_number_and_reason_in_the_order_of_the_file(tmp_path: Path) -> None:
    good = [line.encode() for line in jsonl(rows(4)).splitlines()]
    bad = (b'{"messages": [{"role": "\\d', b"", b"\xff\xfe", b"[1", b'"text"', b'{"messages": 3}')
    lines = [good[0], bad[0], bad[1], good[1], bad[2], good[2], bad[3], bad[4], good[3], bad[5]]
    (tmp_path / "chat.jsonl").write_bytes(b"\n".join(lines))
    report, items = read_one(tmp_path / "chat.jsonl")
    assert [item.origin.row for item in items] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert {drop.origin.row: (drop.reason, drop.detail) for drop in report.drops} == {
        2: ("bad_row", "no valid JSON (Invalid \\escape at column 25)"),
        5: ("bad_row", "byte 0 of the line, 0xff, is not UTF-8"),
        7: ("bad_row", "no valid JSON (Expecting ',' delimiter at column 3)"),
        8: ("bad_field", "a text, where an object with named fields was expected"),
        10: ("bad_field", "there is no list in the field 'messages'"),
    }
    assert (report.read, report.skipped, report.examples, report.reasons) == (9, 5, 4, Counter(bad_row=3, bad_field=2))
    assert answers(items) == [f"It is {n}." for n in range(4)]


def test_what_nobody_could_learn_from_is_no_example(tmp_path: Path) -> None:
    said = (("Hi", " \u200b "), ("Hi", "a\x00b"), ("Hi \ud800", "Ho"), ("Hi", "Ho", "", "Hm"), ("Hi", "Ho"))
    chats = [turns(*each_) for each_ in said]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    report, items = read_one(tmp_path / "chat.jsonl")
    assert [[example.target for example in item.examples] for item in items] == [[], [], [], ["Ho"], ["Ho"]]
    assert report.reasons == Counter(bad_row=2, empty_turn=2, unanswered=1, unasked_answer=1)
    assert (report.read, report.repaired, report.skipped) == (5, 1, 3)
    json.dumps(report.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["cut.json", "cut.jsonl.gz", "cut.jsonl.zst", "tail.json"])
def test_a_file_that_was_cut_off_has_lost_an_unknown_number_of_records(tmp_path: Path, name: str) -> None:
    many, random_ = rows(400), random.Random(3)
    for row in many:  # so that it cannot be packed into one block
        row["noise"] = random_.randbytes(400).hex()
    whole = {
        "cut.json": json.dumps(many).encode(), "cut.jsonl.gz": gzip.compress(jsonl(many).encode()),
        "cut.jsonl.zst": zstandard.compress(jsonl(many).encode()), "tail.json": json.dumps(many).encode() + b"\n[1]    ",
    }[name]  # fmt: skip
    (tmp_path / name).write_bytes(whole if name == "tail.json" else whole[: len(whole) // 2])
    report, items = read_one(tmp_path / name)
    assert report.reasons["cut_off"] == 1 and report.lost == 1
    assert 100 < report.examples <= 400
    assert answers(items) == [f"It is {n}." for n in range(report.examples)]


def test_what_was_unpacked_before_the_cut_is_read_to_its_last_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many, random_ = rows(400), random.Random(3)
    for row in many:
        row["noise"] = random_.randbytes(400).hex()
    for name, whole in (("a.jsonl.gz", jsonl(many)), ("a.json.gz", json.dumps(many))):
        packed = gzip.compress(whole.encode())[:-40_000]
        (tmp_path / name).write_bytes(packed)
        left = zlib.decompressobj(wbits=31).decompress(packed)
        report, items = read_one(tmp_path / name)
        assert report.examples == len(items) - 1 == left.count(b"noise") - (not left.endswith(b'"}'))
        assert (items[-1].drops[0].reason, items[-1].drops[0].origin.row) == ("cut_off", report.examples + 1)
    assert main(["corpus", "read", str(tmp_path / "a.json.gz")]) == 1
    assert "a.json.gz: it was cut off, and nobody knows how much is lost" in capsys.readouterr().err


def test_a_file_that_is_lost_as_a_whole_is_not_left_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain_lines(tmp_path / "good.jsonl", rows(3))
    (tmp_path / "notes.txt").write_text("[A remark] This is a text. [Another]")
    assert main(["corpus", "read", str(tmp_path)]) == 0
    (tmp_path / "task.json").write_text('{"Definition": ["Do it."], "Instances": [{"input": "a", "outp')
    assert main(["corpus", "read", str(tmp_path), "--max-lost", "1"]) == 1
    assert "task.json: lost; no record of it can be read" in capsys.readouterr().err.replace("\n", " ")


def test_gzip_of_several_members_with_zeros_behind_them_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl(rows(2)).encode()) + gzip.compress(b"\n") + bytes(512))
    (tmp_path / "none.jsonl.gz").write_bytes(gzip.compress(b""))
    report, _ = read_one(tmp_path / "a.jsonl.gz")
    assert (report.read, report.examples, report.reasons) == (2, 2, Counter())
    with pytest.raises(DataError, match="it is empty"):
        list(read_corpus(tmp_path / "none.jsonl.gz"))


def test_a_key_that_stands_twice_hides_no_value(tmp_path: Path) -> None:
    good, bad = '{"messages": [], "messages": []}', '{"messages": 1, "messages": 2}'
    chat = json.dumps({"messages": turns("Hi", "Ho")})
    for name, whole in (("a.jsonl", f"{chat}\n{good}\n{bad}\n{chat}"), ("a.json", f"[{chat},{good},{bad},{chat}]")):
        (tmp_path / name).write_text(whole)
        report, _ = read_one(tmp_path / name)
        assert (report.examples, report.reasons) == (2, Counter(unanswered=1, bad_row=1)), name
        assert "the key 'messages' stands twice, with two values" in report.drops[1].detail


def test_records_over_several_lines_are_read_whatever_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row, indent=1) for row in rows(3)))
    (tmp_path / "b.jsonl").write_text("{broken\n" + jsonl(rows(3)))
    assert [read_one(tmp_path / name)[0].examples for name in ("a.jsonl", "b.jsonl")] == [3, 3]
    assert read_one(tmp_path / "b.jsonl")[0].reasons == Counter(bad_row=1)


def test_a_nul_byte_costs_its_record_alone(tmp_path: Path) -> None:
    lines = jsonl(rows(3)).encode().splitlines()
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([lines[0], lines[1].replace(b"It", b"I\0t"), lines[2]]))
    report, _ = read_one(tmp_path / "a.jsonl")
    assert (report.examples, report.reasons) == (2, Counter(bad_row=1))


def test_a_damaged_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8bnothing")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04nothing")
    (tmp_path / "a.parquet").write_bytes(b"PAR1nothing")
    for file in tmp_path.iterdir():
        with pytest.raises(DataError, match=file.name):
            list(read_corpus(file))


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_reading_holds_no_more_than_the_records_it_was_sniffed_by(tmp_path: Path) -> None:
    records = [{"messages": turns(f"Question {n}?", "y" * 2000)} for n in range(4000)]
    gzipped(tmp_path / "many.jsonl.gz", records)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for reading in read_corpus(tmp_path / "many.jsonl.gz"):
        assert isinstance(reading, Reading)
        assert sum(len(item.examples) for item in reading.items) == 4000
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 3e6 < 4000 * 2000


# -- formats -----------------------------------------------------------------------------------------------------------


def test_formats_have_names_of_their_own_and_are_recognised_by_nobody_else() -> None:
    assert len(FORMATS) >= 11
    assert len({format_.name for format_ in FORMATS}) == len(FORMATS)
    for format_ in FORMATS:
        assert find_format(format_.name) is format_
        assert format_.sniff([]) == 0, f"{format_.name} recognises a file without a record"
        assert set(format_.takes) <= set(Options.__slots__)


def test_the_format_that_most_records_are_of_is_taken() -> None:
    chat, other = {"messages": turns("Hi", "Ho")}, {"something": "else"}
    found = recognise([chat, chat, other], False)
    assert found is not None and found.name == "messages"
    assert recognise([chat, other, other], False) is None


def test_a_reader_of_a_new_format_is_a_function_of_one_record() -> None:
    def item(record: Record) -> Item:
        return to_item(record, [Message("user", text(record.value, "q")), Message("assistant", text(record.value, "a"))])

    qa = Format("qa", "Questions", ("q", "a"), lambda values: share(values, has("q", "a")), each(item))
    values: list[Any] = [{"q": "1+1", "a": 2}, {"q": "?"}, {"q": [], "a": 1}]
    good, missing, wrong = qa.read((Record(Origin("f", n), value) for n, value in enumerate(values, 1)), Options())
    assert good.examples[0].target == "2"
    assert missing.drops[0].detail == "there is no field 'a'"
    assert wrong.drops[0].detail == "the field 'q' holds a list, where text was expected"


def test_a_reader_that_drops_without_a_reason_is_our_fault() -> None:
    with pytest.raises(AssertionError, match="without a reason"):
        Report("f", "qa").add(Item(Origin("f", 1)))


CHATS = jsonl(rows(2)).encode()


@pytest.mark.parametrize(
    ("content", "asked", "said"),
    [
        (b'{"quest": 1, "text": 2, "role": 3}\n', {}, "it holds records with quest, text, role. The nearest are "),
        (b"A line.\n", {}, "it holds lines of text, the first being 'A line.'. The nearest are oig-text (User:, Joi:)"),
        (b"[1, 2]", {}, "it holds records each of which is a number. Read it as a table"),
        (b"", {}, "it is empty"),
        (b"[nope]", {}, "no record of it can be read (row 1: no valid JSON (Expecting value))"),
        (b"\xff\xfeH\0i\0", {}, "this is UTF-16 text"),
        (CHATS, {"format": "mesages"}, "there is no such corpus format. Did you mean messages or "),
        (CHATS, {"format": "oig-text"}, "it holds JSON or Parquet records, and the format oig-text is made of lines"),
        (b"[]", {}, "it holds no record"),
        (b"\xef\xbb\xbf\n", {}, "it is empty"),
        (b"PK\x05\x06" + bytes(18), {}, "it is empty"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_as_asked_is_said_with_what_was_seen(
    tmp_path: Path, content: bytes, asked: dict[str, Any], said: str
) -> None:
    (tmp_path / "it.jsonl").write_bytes(content)
    with pytest.raises(DataError) as error:
        list(read_corpus(tmp_path / "it.jsonl", **asked))
    assert said in str(error.value)


def test_an_option_that_no_file_heeds_is_refused_and_one_that_some_heed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain_lines(tmp_path / "chat.jsonl", rows(2))
    node = {"message_id": "1", "text": "Q", "role": "prompter", "lang": "en"}
    plain_lines(tmp_path / "tree.jsonl", [{"prompt": {**node, "replies": [{**node, "text": "A", "role": "assistant"}]}}])
    asked = ["--language", "en", "-o"]
    assert main(["corpus", "read", str(tmp_path / "chat.jsonl"), *asked, str(tmp_path / "out" / "a.jsonl")]) == 2
    assert "format messages: it has no choice of languages" in capsys.readouterr().err
    assert not (tmp_path / "out" / "a.jsonl").exists()
    both = [str(tmp_path / name) for name in ("chat.jsonl", "tree.jsonl")]
    assert main(["corpus", "mix", *both, *asked, str(tmp_path / "out" / "b.jsonl")]) == 0
    assert "messages has no choice of languages" in capsys.readouterr().err
    assert main(["corpus", "read", *both, "--language", "en"]) == 0
    assert "messages has no choice of languages: all of it is read." in capsys.readouterr().out


def test_a_forced_format_is_not_questioned(tmp_path: Path) -> None:
    plain_lines(tmp_path / "chat.jsonl", rows(3))
    report, _ = read_one(tmp_path / "chat.jsonl", format="lima")
    assert (report.format, report.read, report.skipped, report.lost) == ("lima", 3, 3, 1)


# -- the real files ----------------------------------------------------------------------------------------------------

# Every folder of a known kind, and how many files of it are corpora.
KNOWN = {
    "oig": 1, "lima": 1, "sharegpt": 3, "oasst": 2, "guanaco": 2, "alpaca": 1, "evol": 5, "flan/cot": 2, "instructwild_v1": 1,
    "instructwild_v2": 2, "natural_instructions_v1": 4, "super_ni": 8, "super_ni_2021": 3, "self_instruct": 3,
    "p3_rendered": 35,
}  # fmt: skip
# What these files lack themselves: turns and answers that are empty, or all answers. And 58 rows of Alpaca write that they have
# no input, and one holds a second task in its answer.
EXPLAINED = {
    "axolotl_conversation.missingturns.json": Counter(empty_turn=1),
    "guanaco-llama2-1k.parquet": Counter(empty_turn=3, unasked_answer=2),
    "alpaca_5000.json": Counter(no_input_mark=58, empty_target=6, merged=1),
    "example_raw_instructions.jsonl": Counter(no_input_mark=2),
    "h2o_wizardlm.508e.json": Counter(empty_target=3),
    "h2o_wizardlm.c5c5.json": Counter(empty_target=3),
    "WizardLM_testset.jsonl": Counter(no_answer=218),
    "seed_prompts_en.jsonl": Counter(no_answer=429),
    "user_1.jsonl": Counter(no_answer=429),
    "user_2.jsonl": Counter(no_answer=246, bad_row=2),
    **{f"trec_{name}.jsonl": Counter(empty_target=200) for name in
       ("fine_grained_open", "fine_grained_open_context_first", "trec1", "trec2", "what_category_best_describe")},
}  # fmt: skip
# Of no kind: TREC's prompts for abbreviations, in which no row was rendered.
EMPTY = ["trec_fine_grained_ABBR.jsonl", "trec_fine_grained_ABBR_context_first.jsonl"]


def test_every_real_file_is_read_with_no_unexplained_row(shared: Path) -> None:
    files = 0
    for name, count in KNOWN.items():
        done = survey(read_corpus(shared / "data" / name), lambda item: None, Silent())
        aside = [problem.where for problem in done.left_aside]
        assert len(done.reports) == count and aside == (EMPTY if name == "p3_rendered" else []), name
        for report in done.reports:
            files += 1
            lost = report.reasons["empty_target"] + report.reasons["no_answer"] + report.reasons["bad_row"]
            assert report.skipped == lost and report.examples >= report.read - report.skipped, report
            assert report.reasons == EXPLAINED.get(report.file, Counter()), report
    assert files == sum(KNOWN.values()) == 73


def test_a_table_over_all_real_files_is_printed_by_one_command(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["corpus", "read", str(shared / "data"), "--json", "--max-lost", "1"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    files = [file for file in (shared / "data").rglob("*") if file.is_file() and file.suffix != ".zip"]
    zipped = 6  # the members of FinancialPhraseBank-v1.0.zip
    assert len(found["files"]) + len(found["left_aside"]) == len(files) + zipped
    for file in found["files"]:
        assert file["read"] >= file["skipped"] and sum(file["reasons"].values()) >= file["skipped"] + file["repaired"]
        assert len(file["drops"]) == min(sum(file["reasons"].values()), 1000)


def test_a_mark_for_no_input_is_not_read_as_text(tmp_path: Path) -> None:
    marks = ["", "Noinput", "<noinput>", "N/A", "n/a.", "No Input.", "no input given"]
    plain_lines(tmp_path / "a.jsonl", [{"instruction": "Do.", "input": mark, "output": "Done."} for mark in marks])
    report, items = read_one(tmp_path / "a.jsonl")
    assert [item.examples[0].inputs["input"] for item in items] == [""] * 6 + ["no input given"]
    assert (report.repaired, report.reasons) == (5, Counter(no_input_mark=5))


def test_the_page_names_every_format() -> None:
    page = (Path(__file__).parent.parent / "docs" / "corpora.md").read_text("utf-8")
    rows_ = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(rows_) == sorted(format_.name for format_ in FORMATS)


def test_the_exit_code_says_whether_more_was_lost_than_may_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(jsonl(rows(97)) + "nope\n" * 3)
    assert main(["corpus", "read", str(file)]) == 1
    out, err = capsys.readouterr()
    assert "row 98: no valid JSON" in out and "bad_row: 3" in out
    assert "chat.jsonl: 3.0% of its records gave no example, and --max-lost is 1.0%" in err
    assert main(["corpus", "read", str(file), "--max-lost", "0.03", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {key: found[key] for key in ("format", "read", "repaired", "skipped", "examples", "reasons")} == {
        "format": "messages", "read": 100, "repaired": 0, "skipped": 3, "examples": 97, "reasons": {"bad_row": 3},
    }  # fmt: skip
    with pytest.raises(SystemExit, match="2"):
        main(["corpus", "read", str(file), "--max-lost", "3"])
    assert "'3' is no number from 0 to 1" in capsys.readouterr().err
    assert main(["corpus", "read", str(file), "--language", "de"]) == 2
    assert main(["corpus", "read", str(file), str(tmp_path), "--max-lost", "1"]) == 0
    assert "2 files" in capsys.readouterr().out


def test_a_file_that_cannot_be_opened_is_lost_and_the_others_are_read(tmp_path: Path) -> None:
    plain_lines(tmp_path / "a.jsonl", rows(2))
    gone, good = open_streams(tmp_path, [tmp_path / "gone.jsonl", tmp_path / "a.jsonl"])
    assert isinstance(gone, Damaged) and gone.what.startswith("it cannot be opened: No such file")
    assert isinstance(good, Stream)


def test_a_stream_is_open_only_while_it_is_read(tmp_path: Path) -> None:
    plain_lines(tmp_path / "a.jsonl", rows(2))
    plain_lines(tmp_path / "b.jsonl", rows(3))
    counts = [sum(1 for _ in stream.records) for stream in open_streams(tmp_path) if isinstance(stream, Stream)]
    assert counts == [2, 3]
    assert not any(isinstance(stream, Problem) for stream in open_streams(tmp_path))
