"""The readers of tasks: what instructions, inputs and answers each format's records become, whole and broken."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whet import stages
from whet.data.corpora.choices import choices_of, is_choice
from whet.data.corpora.format import Item
from whet.data.corpora.reading import Reading, read_corpus
from whet.data.corpora.report import Report
from whet.errors import DataError, Problem
from whet.example import Example
from whet.recipe import parse


def read(path: Path, **asked: Any) -> tuple[Report, list[Example]]:
    """The report and the examples of the first corpus file of a path."""
    for reading in read_corpus(path, **asked):
        if isinstance(reading, Reading):
            items: list[Item] = list(reading.items)
            return reading.report, [example for item in items for example in item.examples]
    raise AssertionError("no corpus")


def read_records(folder: Path, records: Sequence[Any], **asked: Any) -> tuple[Report, list[Example]]:
    """The same of records, written as JSON lines."""
    file = folder / "corpus.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return read(file, **asked)


def rows(examples: Sequence[Example]) -> list[tuple[str | None, str, str]]:
    """Instruction, input and answer of each."""
    return [(e.instruction, e.inputs["input"], e.target) for e in examples]


# -- Alpaca, Evol-Instruct, Guanaco ------------------------------------------------------------------------------------


def test_a_real_answer_that_holds_the_next_task_gives_both(shared: Path) -> None:
    report, examples = read(shared / "data/alpaca/alpaca_5000.json")
    (first, second) = [e for e in examples if e.origin.row == 2711]
    assert report.reasons["merged"] == 1 and first.group == second.group == "alpaca_5000-2711"
    assert [first.id, second.id] == ["alpaca_5000-2711.1", "alpaca_5000-2711.2"]
    assert "Instruction:" not in first.target and "##" not in first.target
    assert second.instruction and second.target and "Output:" not in second.instruction


def test_merged_tasks_are_parted(tmp_path: Path) -> None:
    merged = "It depends.\n\n \n##\n\n18. Instruction: Find the noun.\n18. Input:\nThe apple fell.\n18. Output:\napple"
    broken_off = "Yes.\n###\n4. Instruction: Name a bird.\n4. Input: <noinput>"
    records = [{"instruction": "Invest?", "input": "", "output": merged}, {"instruction": "Is it?", "output": broken_off},
               {"instruction": "Heading?", "output": "## Instruction: none\ntext", "input": "x"}]  # fmt: skip
    report, examples = read_records(tmp_path, records, format="alpaca")
    assert rows(examples) == [
        ("Invest?", "", "It depends."), ("Find the noun.", "The apple fell.", "apple"), ("Is it?", "", "Yes."),
        ("Heading?", "x", "## Instruction: none\ntext"),
    ]  # fmt: skip
    assert (report.read, report.repaired, report.reasons) == (3, 2, Counter(merged=2))


def test_many_empty_lines_take_no_time(tmp_path: Path) -> None:
    blank, hashes = "\n" * 300_000, "\n##" * 100_000  # a pattern that begins with any number of them needs minutes
    answers = [f"a{blank}b", f"a{hashes}b", f"a{blank}\n## \r\nInstruction: c{blank}Output: d"]
    report, examples = read_records(tmp_path, [{"instruction": "Do.", "input": "", "output": answer} for answer in answers])
    assert [e.target for e in examples] == [*answers[:2], "a", "d"] and report.reasons == Counter(merged=1)


def test_marks_for_nothing_are_not_learned(tmp_path: Path) -> None:
    marks = ["< noinput >", "[No input]", "(no input)", "No input required.", "no_input", "N/A", "No", "none of these"]
    records = [{"instruction": "Do.", "input": mark, "output": "Done."} for mark in marks]
    report, examples = read_records(tmp_path, [*records, {"instruction": "Draw.", "input": "", "output": "<No Output>"}])
    assert [e.inputs["input"] for e in examples] == ["", "", "", "", "", "", "No", "none of these"]
    assert report.reasons == Counter(no_input_mark=6, empty_target=1)


def test_evol_instruct_has_an_instruction_or_an_input(tmp_path: Path) -> None:
    report, examples = read_records(tmp_path, [{"instruction": "Sort.", "output": "Sorted."}])
    assert (report.format, rows(examples)) == ("evol-instruct", [("Sort.", "", "Sorted.")])
    report, examples = read_records(tmp_path, [{"input": "Sort.", "output": "Sorted."}, {"input": ["x"], "output": "y"}, 3])
    assert (report.format, rows(examples)) == ("evol-instruct", [("Sort.", "", "Sorted.")])
    assert report.reasons == Counter(bad_field=2)


def test_guanaco_chats_are_conversations(tmp_path: Path) -> None:
    chat = [
        {"instruction": "", "input": "User: Hi", "output": "Hello."},
        {
            "instruction": "User: Hi\nAssistant: Hello.",
            "input": "User: Name a bird.\nAny bird.",
            "output": "Assistant: A crow.",
        },
        {"instruction": "User: Hi\nAssistant: Hello.\nUser: More?\nAssistant:", "input": "", "output": "No."},
        {"instruction": "You are brief.", "input": "User: Ho", "output": "Hu."},
        {"instruction": "User: Only this", "input": "and that", "output": ""},
    ]
    report, examples = read_records(tmp_path, chat)
    assert (report.format, report.reasons) == ("guanaco", Counter(empty_turn=1, unanswered=1))
    said = [([tuple(m) for m in e.history], e.instruction, e.target) for e in examples]
    assert said == [
        ([], "Hi", "Hello."),
        ([("user", "Hi"), ("assistant", "Hello.")], "Name a bird.\nAny bird.", "A crow."),
        ([("user", "Hi"), ("assistant", "Hello.")], "More?", "No."),
        ([("system", "You are brief.")], "Ho", "Hu."),
    ]
    assert examples[0].group == examples[1].group == examples[2].group != examples[3].group, "turns of one chat, row for row"


def test_guanaco_without_chats_is_alpaca_and_a_plain_row_among_chats_is_read_as_one(tmp_path: Path) -> None:
    row = {"instruction": "\u7528\u4e00\u53e5\u8bdd\u3002", "input": "", "output": "\u597d\u3002"}
    report, examples = read_records(tmp_path, [row])
    assert (report.format, len(examples)) == ("alpaca", 1)
    chats = [{"instruction": "", "input": f"User: {n}", "output": f"{n}."} for n in range(3)]
    report, examples = read_records(tmp_path, [*chats, row])
    assert report.format == "guanaco" and rows(examples)[3] == (row["instruction"], "", row["output"])


# -- Natural Instructions ----------------------------------------------------------------------------------------------

TASK = {
    "Contributors": ["A"], "Definition": ["Say if it is spam."], "Positive Examples": [{"input": "win", "output": "spam"}],
    "Negative Examples": [], "Instance License": ["CC BY 4.0", "Apache 2.0"],
    "Instances": [
        {"id": "task9-0a", "input": "hello", "output": ["ham"]}, {"id": "task9-0b", "input": "win", "output": "spam"},
        {"id": "task9-0c", "input": "who?", "output": ["ham", "", "ham", "no spam"]},
    ],
}  # fmt: skip


def write_task(path: Path, **changed: Any) -> Path:
    """A Super-NI file, with other values for some of its keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**TASK, **changed}, indent=4), "utf-8")
    return path


def test_instances_are_rows_and_outputs_references(tmp_path: Path) -> None:
    report, examples = read(write_task(tmp_path / "task9_spam.json"))
    assert (report.format, report.read, report.skipped) == ("super-ni", 3, 0)
    do = "Say if it is spam."
    assert rows(examples) == [(do, "hello", "ham"), (do, "win", "spam"), (do, "who?", "ham")]
    assert [e.references for e in examples] == [(), (), ("no spam",)]
    assert [e.id for e in examples] == ["task9_spam-1", "task9_spam-2", "task9_spam-3"]
    assert {e.origin.licence for e in examples} == {"CC BY 4.0 AND Apache 2.0"}
    assert {e.group for e in examples} == {None}, "instances of one task may stand in all splits"


def test_the_definition_is_a_text_or_a_list(tmp_path: Path) -> None:
    for definition in ("Say it.\nNow.", ["Say it.", "Now."]):
        _, examples = read(write_task(tmp_path / "t.json", Definition=definition))
        assert {e.instruction for e in examples} == {"Say it.\nNow."}


def test_what_is_broken_in_a_task_is_said_with_the_number_of_the_instance(tmp_path: Path) -> None:
    instances = [{"input": "a", "output": []}, {"input": "b"}, "c", {"output": "d"}, {"input": "e", "output": [["x"]]},
                 {"input": "", "output": 7}, {"input": "g", "output": ["ok"]}]  # fmt: skip
    report, examples = read(write_task(tmp_path / "t.json", Instances=instances))
    assert (report.read, report.skipped, [e.target for e in examples]) == (7, 5, ["7", "ok"])
    assert [(d.origin.row, d.reason) for d in report.drops] == [
        (1, "empty_target"), (2, "bad_field"), (3, "bad_field"), (4, "bad_field"), (5, "bad_field")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"Instances": []}, "no_instances"), ({"Definition": [" "]}, "bad_field"), ({"Definition": 3}, "bad_field")],
)
def test_a_task_that_cannot_be_read_is_said(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    report, examples = read(write_task(tmp_path / "t.json", **changed))
    assert not examples and report.reasons == Counter({reason: 1}) and report.lost == 1


def test_rows_of_the_hub_bring_their_definition(tmp_path: Path) -> None:
    table = [
        {"task_name": "t", "id": f"t-{n}", "definition": "Do it.", "inputs": f"x{n}", "targets": f"y{n}"} for n in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "train.parquet")
    report, examples = read(tmp_path / "train.parquet")
    assert (report.format, rows(examples)[2]) == ("super-ni", ("Do it.", "x2", "y2"))
    report, examples = read_records(tmp_path, [{"definition": "Do it.", "input": "x", "output": ["y", "z"]}])
    assert (report.format, rows(examples), examples[0].references) == ("super-ni", [("Do it.", "x", "y")], ("z",))


def test_a_file_of_many_tasks_gives_each_instance_an_id_of_its_own(tmp_path: Path) -> None:
    other = {**TASK, "Definition": "Do.", "Instances": [{"input": "x", "output": "y"}, {"input": "z"}]}
    report, examples = read_records(tmp_path, [TASK, other])
    assert (report.format, report.read) == ("super-ni", 5)
    assert [e.id for e in examples] == ["corpus-1.1", "corpus-1.2", "corpus-1.3", "corpus-2.1"]
    assert [e.origin.row for e in examples] == [1, 1, 1, 2], "the row is the line of the file"
    (drop,) = report.drops
    assert (drop.origin.row, drop.detail) == (2, "instance 2: the output is neither a text nor a list of texts")


def test_exemplars_of_flan_have_no_definition(tmp_path: Path) -> None:
    empty = {"id": "b", "input": "", "output": ""}
    tasks = [{"task": f"task{n}_x", "sample": [{"id": "a", "input": f"in {n}", "output": "out"}, empty]} for n in range(3)]
    with zipfile.ZipFile(tmp_path / "niv2_exemplars.jsonl-00000-of-00010.zip", "w") as archive:
        archive.writestr("niv2_exemplars.jsonl-00000-of-00010", "".join(json.dumps(task) + "\n" for task in tasks))
    report, examples = read(tmp_path / "niv2_exemplars.jsonl-00000-of-00010.zip")
    assert (report.format, report.reasons, len({e.id for e in examples})) == ("super-ni", Counter(empty_target=3), 3)
    assert rows(examples) == [("", f"in {n}", "out") for n in range(3)], "the instruction is left to the recipe"


def super_ni(folder: Path) -> Path:
    """A copy of Super-NaturalInstructions with four tasks, three of them in the default splits."""
    for name in ("task1_a", "Task59__b", "task2_c", "task3_d"):
        write_task(folder / "tasks" / f"{name}.json", Definition=f"Do {name}.")
    lists = {"default/train": "task1_a\ntask59__b\n\ntask1_a\ntask77_gone\n", "default/test": "task2_c\r\n",
             "default/excluded": "", "xlingual/test": "task3_d\n"}  # fmt: skip
    for name, tasks in lists.items():
        file = folder / "splits" / f"{name}_tasks.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tasks.encode())
    (folder / "README.md").write_text("Tasks.")
    return folder


def test_a_split_is_the_tasks_that_its_list_names_whatever_their_case(tmp_path: Path) -> None:
    folder = super_ni(tmp_path / "ni")
    found = [*read_corpus(folder, split="train")]
    assert [r.report.file for r in found if isinstance(r, Reading)] == ["tasks/task1_a.json", "tasks/Task59__b.json"]
    (missing,) = [each for each in found if isinstance(each, Problem)]
    assert missing.where == "tasks/task77_gone.json" and "train_tasks.txt names it" in missing.what
    (test,) = [r for r in read_corpus(folder, split="test") if isinstance(r, Reading)]
    (xlingual,) = [r for r in read_corpus(folder, split="xlingual/test") if isinstance(r, Reading)]
    assert (test.report.file, xlingual.report.file) == ("tasks/task2_c.json", "tasks/task3_d.json")
    everything = [r for r in read_corpus(folder) if isinstance(r, Reading)]
    assert len(everything) == 4 and all(r.format.name == "super-ni" for r in everything)


def test_a_split_that_is_not_there_is_said(tmp_path: Path) -> None:
    folder = super_ni(tmp_path / "ni")
    with pytest.raises(DataError, match=r"no list splits/default/dev_tasks.txt(.|\n)*excluded, test, train"):
        list(read_corpus(folder, split="dev"))
    with pytest.raises(DataError, match="there is no file in this folder"):
        list(read_corpus(folder, split="excluded"))
    with pytest.raises(DataError, match="no list"):
        list(read_corpus(folder / "tasks", split="train"))


def test_real_tasks(shared: Path) -> None:
    _, examples = read(shared / "data/natural_instructions_v1/subtask045_miscellaneous_sentence_paraphrasing.json")
    assert max(len(e.references) for e in examples) > 5 and all(e.target not in e.references for e in examples)
    _, repeated = read(shared / "data/natural_instructions_v1/subtask003_mctaco_question_generation_event_duration.json")
    assert {e.references for e in repeated} == {()}, "its lists hold one text many times"
    assert {str(e.instruction)[:46] for e in repeated} == {"In this task, we ask you to write a question t"}
    licences = {}
    for file in sorted((shared / "data/super_ni").iterdir()):
        _, examples = read(file)
        licences[file.name.partition("_")[0]] = examples[0].origin.licence
    assert licences == {
        "task1510": "Unknown", "task1572": "CC BY-NC-ND 4.0", "task1687": None, "task181": "Unknown", "task363": None,
        "task591": "CC BY-NC 3.0", "task639": "Apache 2.0", "task875": None,
    }  # fmt: skip


# -- Self-Instruct, Unnatural Instructions -----------------------------------------------------------------------------


def test_seeds_and_user_oriented_instructions(tmp_path: Path, shared: Path) -> None:
    report, examples = read(shared / "data/self_instruct/seed_tasks.jsonl")
    assert (report.format, report.read, len(examples), report.reasons) == ("self-instruct", 175, 175, Counter())
    user = {"id": "user_oriented_task_0", "motivation_app": "Grammarly", "instruction": "Mend it.",
            "instances": [{"input": "I is.", "output": "I am."}, {"input": "You is.", "output": ""},
                          {"input": "He are.", "output": "He is."}]}  # fmt: skip
    report, examples = read_records(
        tmp_path, [user, {"instruction": "x", "instances": []}, {"instruction": "y", "instances": 1}]
    )
    assert rows(examples) == [("Mend it.", "I is.", "I am."), ("Mend it.", "He are.", "He is.")]
    assert {e.group for e in examples} == {"corpus-1"} and len({e.id for e in examples}) == 2
    assert report.reasons == Counter(empty_instance=1, no_instances=1, bad_field=1)


def raw(text: str, ending: str = "stop") -> dict[str, Any]:
    """A row of machine_generated_instances.jsonl."""
    metadata = {"response": {"choices": [{"text": text, "finish_reason": ending}]}}
    return {"instruction": "Do it.", "raw_instances": text, "instance_metadata": metadata, "instruction_metadata": {},
            "most_similar": {"a": 0.3}, "avg_similarity_score": 0.1}  # fmt: skip


def test_what_gpt3_wrote_is_parted_into_instances(tmp_path: Path) -> None:
    two = "Example 1\nInput: a\nb\nOutput: c\nd\n\nExample 2\nInput: e\nOutput: f"
    texts = [raw(two), raw(two, "length"), raw("Output: only"),
             raw("\n\nClass label: yes\nIt is.\nClass label: no\nIt is not."), raw("Nothing of the kind."),
             raw("Text before\nOutput:\nafter")]  # fmt: skip
    report, examples = read_records(tmp_path, texts)
    assert [(e.origin.row, e.inputs["input"], e.target) for e in examples] == [
        (1, "a\nb", "c\nd"), (1, "e", "f"), (2, "a\nb", "c\nd"), (3, "", "only"), (4, "It is.", "yes"), (4, "It is not.", "no"),
        (6, "Text before", "after"),
    ]  # fmt: skip
    assert report.reasons == Counter(cut_instance=1, unparsed_instances=1) and report.format == "self-instruct"


def test_rows_for_fine_tuning_are_read_by_their_parts(tmp_path: Path) -> None:
    row = {"prompt": "Task: Add.\nInput: 1 1\nOutput:", "completion": " 2<|endoftext|>", "instruction": "Add.", "input": "1 1",
           "output": "2"}  # fmt: skip
    report, examples = read_records(tmp_path, [row])
    assert (report.format, rows(examples)) == ("self-instruct", [("Add.", "1 1", "2")])


def test_unnatural_instructions_core_and_full_out_of_a_zip(tmp_path: Path) -> None:
    core = {
        "instruction": "Sort the words.",
        "instances": [
            {"instruction_with_input": "Sort the words.\nb a", "input": "b a", "constraints": "None.", "output": "a b"}
        ],
    }
    full = {**core, "reformulations": [
        {"instruction": "Order these.", "instruction_with_input": "Order these.\nb a", "input": "b a", "output": "a b"},
        {"instruction": 'Put "{INPUT}" in order.', "instruction_with_input": 'Put "b a" in order.', "input": "b a",
         "output": "a b"},
        {"instruction": "Sort.", "instruction_with_input": "Sort.\nb a", "input": "b a", "output": ""},
    ]}  # fmt: skip
    with zipfile.ZipFile(tmp_path / "full_data.zip", "w") as archive:
        archive.writestr("full_data.jsonl", json.dumps(full) + "\n" + json.dumps(core) + '\n{"instruction": \n')
    report, examples = read(tmp_path / "full_data.zip")
    assert (report.format, report.read, report.repaired, report.reasons) == (
        "unnatural", 3, 1, Counter(empty_instance=1, bad_row=1)
    )  # fmt: skip
    assert rows(examples) == [
        ("Sort the words.", "b a", "a b"), ("Order these.", "b a", "a b"), ('Put "b a" in order.', "", "a b"),
        ("Sort the words.", "b a", "a b"),
    ]  # fmt: skip
    assert len({e.group for e in examples[:3]}) == 1 and examples[3].group is None


def test_instances_by_columns_as_parquet_may_hold_them(tmp_path: Path) -> None:
    columns = {"instruction_with_input": ["Sort.\nb a", "Sort.\nd c"], "input": ["b a", "d c"], "output": ["a b", "c d"]}
    pq.write_table(pa.Table.from_pylist([{"instruction": "Sort.", "instances": columns}] * 2), tmp_path / "core.parquet")
    report, examples = read(tmp_path / "core.parquet")
    assert (report.format, rows(examples)) == ("unnatural", [("Sort.", "b a", "a b"), ("Sort.", "d c", "c d")] * 2)
    uneven = {"instruction": "Sort.", "instances": {**columns, "output": ["a b"]}}
    report, _ = read_records(tmp_path, [uneven])
    assert (report.format, report.reasons) == ("unnatural", Counter(bad_field=1))


# -- FLAN, P3 ----------------------------------------------------------------------------------------------------------


def flan(inputs: str, targets: str, kind: str = "zs_opt") -> dict[str, str]:
    """A row of a submix."""
    return {"inputs": inputs, "targets": targets, "task_source": "Flan2021", "task_name": "demo:1.0", "template_type": kind}


def test_flan_rows_of_all_parts(tmp_path: Path) -> None:
    options = "Is it wet?\nOPTIONS:\n- yes\n- no"
    thought = {**flan(options, "It rains. So the answer is yes."), "task_source": "CoT", "task_name": "cot_creak"}
    dialog = {**flan("DIALOG:\nHello.\n- Who is it?\n- ", "It is I."), "task_source": "Dialog", "task_name": "qrecc:1.0.0"}
    turned = {**flan(options, "Is it dry?"), "task_name": "demo_ii"}
    shots = flan(f"{options}\nyes\n\nWrite a question.", "Is it dry?", "fs_opt")
    copy = {f"_{name}" if "_" in name else name: value for name, value in flan(options, "perhaps").items()}
    records = [flan(options, "yes"), flan(options, "perhaps"), flan(options, "perhaps", "zs_noopt"), flan("Say it.", "It."),
               flan("Is it? Options:- (A) yes - (B) no", "(B)"), {**flan("x", "y"), "targets": None}, thought, dialog, turned,
               shots, copy, {**flan(options, ""), "targets": ["yes"]}]  # fmt: skip
    report, examples = read_records(tmp_path, records)
    assert report.format == "flan" and rows(examples)[0] == (options, "", "yes")
    assert report.reasons == Counter(not_offered=2, empty_target=1, bad_field=1)
    assert {drop.origin.row: drop.reason for drop in report.drops} == {
        2: "not_offered", 6: "empty_target", 11: "not_offered", 12: "bad_field",
    }  # fmt: skip
    assert len(examples) == 10, "an answer that is no option is kept"
    assert [e.target for e in examples if e.origin.row in (7, 8)] == ["It rains. So the answer is yes.", "It is I."]


OPENINGS = [
    "OPTIONS:", "Possible answers:", "Available choices:", "OPT:", "Choose from:", "Choose your answer from:", "Options are:",
    "Pick your answer from:", "Select from:", "Pick from:", "Select from the following.", "pick from the following.",
]  # fmt: skip
BULLETS = [["\n - "], ["\n -"], ["\n-- "], ["\n + "], ["\n* "], ["\n[-] "], [" - "], [" --"], [" + "], [" [+] "]]
COUNTS = ["abc", "ABC", "123", ("i", "ii", "iii"), ("I", "II", "III")]
SHAPES = [
    "\n[%s]. ",
    "\n(%s). ",
    "\n%s). ",
    "\n (%s). ",
    "\n(%s) ",
    "\n[%s] ",
    " (%s). ",
    " [%s] ",
    " %s. ",
    " %s). ",
    "\n%s. ",
]


def test_options_are_found_however_the_collection_writes_them() -> None:
    texts = ("An apple", "a pear, a. k. a. Pyrus", "so")
    marks = [[*style * 3] for style in BULLETS] + [[shape % name for name in count] for shape in SHAPES for count in COUNTS]
    tried = 0
    for opening in OPENINGS:
        for mark in marks:
            for end in ("", ";", "."):
                tried += 1
                clause = opening + "".join(m + text + end for m, text in zip(mark, texts, strict=True))
                found = choices_of(f"Which is it? I have options.\n{clause}\nThe answer:")
                assert len(found) == 3, clause
                assert [is_choice(text, found) for text in (*texts, "a plum")] == [True] * 3 + [False], clause
                if mark[0] != mark[1]:
                    assert [is_choice(m.strip(), found) for m in mark] == [True] * 3, clause
    assert tried == 12 * 65 * 3


def test_of_several_lists_of_options_the_last_is_meant() -> None:
    shots = "Q: Is it?\nOPTIONS:\n- a\n- b\nAnswer: a\n\nQ: Was it?\nOPTIONS:\n- c c\n- d\nAnswer:"
    assert choices_of(shots) == ("c c", "d"), "those before it are of worked examples"
    assert choices_of("Pick. Options: - (A) well-known - (B) so - so") == ("(A) well-known", "(B) so", "so")
    assert choices_of("OPTIONS:\n- a\n- b\nHe has two options: \nto go or to stay.") == ("a", "b")
    assert choices_of("- " + "Options: none. " * 20_000) == (), "and at once, however often the word stands there"
    assert choices_of("Our options: we have none.") == choices_of("") == choices_of("Choices: b. c. d.") == ()


def test_a_chain_of_thought_leads_to_its_answer(tmp_path: Path) -> None:
    lines = [
        'Is "it" so?\\nOptions:\\n- no\tno\tIt is not so.',
        "One\ttwo",
        "Why?\tyes.\tBecause it is so.",
        "Q\t\tNo answer here.",
    ]
    (tmp_path / "cot.tsv").write_text("\n".join([*lines, *[lines[0]] * 9]) + "\n", "utf-8")
    report, examples = read(tmp_path / "cot.tsv", format="cot")
    assert rows(examples)[:2] == [
        ('Is "it" so?\nOptions:\n- no', "", "It is not so.\nSo the answer is no."),
        ("Why?", "", "Because it is so.\nSo the answer is yes."),
    ]
    assert {d.origin.row: d.detail for d in report.drops} == {
        2: "2 columns, where question, answer and explanation are 3", 4: "there is no answer",
    }  # fmt: skip


def test_a_table_of_three_columns_is_no_chain_of_thought(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("".join(f"{n}\tcat\tanimal\n" for n in range(40)))
    (tmp_path / "ok.jsonl").write_text(json.dumps({"instruction": "a", "output": "b"}))
    found = [reading.report.file for reading in read_corpus(tmp_path) if isinstance(reading, Reading)]
    assert found == ["ok.jsonl"]


def test_p3_as_the_hub_holds_it(tmp_path: Path) -> None:
    row = {"inputs": [1, 2], "inputs_pretokenized": "Is it good?", "targets": [3], "targets_pretokenized": "\nYes",
           "answer_choices": ["No", "Yes"], "idx": None, "is_correct": None, "weight": None}  # fmt: skip
    ranked = [
        {**row, "idx": [0, n], "is_correct": n == 1, "weight": 1.0, "targets_pretokenized": f"Choice {n}"} for n in range(4)
    ]
    pq.write_table(pa.Table.from_pylist([row, *ranked]), tmp_path / "p3.parquet")
    report, examples = read(tmp_path / "p3.parquet")
    assert (report.format, rows(examples)) == ("p3", [("Is it good?", "", "Yes"), ("Is it good?", "", "Choice 1")])
    assert (report.reasons, report.lost) == (Counter(wrong_choice=3), 0.0), "made to rank choices: the wrong ones are no loss"


def test_prompts_and_completions(tmp_path: Path) -> None:
    chat = {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Ho"}]}
    records = [{"prompt": "Is it?\n", "completion": " Yes<|endoftext|>"}, {"prompt": "Is it?\n", "completion": " Yes "}, chat,
               {"prompt": "Q", "completion": "<|endoftext|>"}, {"prompt": [], "completion": "x"}]  # fmt: skip
    report, examples = read_records(tmp_path, records)
    assert report.format == "prompt-completion"
    assert rows(examples) == [("Is it?", "", "Yes"), ("Is it?\n", "", " Yes "), ("Hi", "", "Ho")]
    assert report.reasons == Counter(empty_target=1, bad_field=1)


def test_files_with_one_answer_or_none_are_noted(shared: Path) -> None:
    notes = {}
    for reading in read_corpus(shared / "data/p3_rendered"):
        if isinstance(reading, Reading):
            list(reading.items)
            notes[reading.report.file] = reading.report.notes
    one = [name for name, said in notes.items() if any("the same answer" in note for note in said)]
    none = [
        name
        for name, said in notes.items()
        if said == ["No record of it has an answer: something went wrong when it was made."]
    ]
    assert len(one) >= 10 and all(name.startswith("rotten_tomatoes") for name in one if "wiki" not in name)
    assert len(none) == 5 and all(name.startswith("trec_") for name in none)
    assert notes["common_gen_Put_together.jsonl"] == []


# -- instructions that nobody has answered -----------------------------------------------------------------------------


@pytest.mark.parametrize("record", [
    {"instruction": "Do.", "instruction_type": "Open QA", "special_tag": "x"}, {"instruction": "Do."},
    {"idx": 1, "Skill": "Math", "Difficulty": 3, "Instruction": "Do."}, {"instruction": "Do.", "is_classification": " Yes"},
    {"instruction": "Do.", "most_similar": {}, "avg_similarity_score": 0.2, "metadata": {}, "request_idx": 1},
])  # fmt: skip
def test_instructions_alone_are_explained(tmp_path: Path, record: dict[str, Any]) -> None:
    report, examples = read_records(tmp_path, [record] * 3)
    assert (report.format, examples, report.reasons) == ("instructions", [], Counter(no_answer=3))
    assert "no answers" in report.drops[0].detail and report.lost == 1


def test_broken_lines_of_instruction_wild_are_counted(shared: Path) -> None:
    report, _ = read(shared / "data/instructwild_v2/user_2.jsonl")
    assert [d.origin.row for d in report.drops if d.reason == "bad_row"] == [134, 168]
    assert report.reasons == Counter(no_answer=246, bad_row=2)


# -- in a recipe -------------------------------------------------------------------------------------------------------


def run_on(path: Path, tiny_base: Path, task: dict[str, Any]) -> dict[str, Any]:
    """What two steps on a corpus file measure."""
    values = {
        "name": "corpus", "task": task, "data": {"path": str(path), "format": "auto"}, "model": {"base": str(tiny_base)},
        "lora": {"r": 4}, "evaluate": {"baselines": []},
        "train": {"max_steps": 2, "max_length": 400, "too_long": "truncate", "per_device_train_batch_size": 4},
    }  # fmt: skip
    run = stages.run(parse(values), path.with_suffix(""))
    first = run.examples("train")[0]
    assert first.instruction and first.target and first.origin.source == path.name
    assert len(run.read_lines("metrics.jsonl")) == 2 and run.has("report.html")
    return run.read_json("evaluation.json")


def test_whole_runs_on_real_tasks(shared: Path, tiny_base: Path, tmp_path: Path) -> None:
    task = json.loads((shared / "data/super_ni/task363_sst2_polarity_classification.json").read_text("utf-8"))
    write_task(tmp_path / "task363.json", **{**task, "Instances": task["Instances"][:60]})
    done = run_on(tmp_path / "task363.json", tiny_base, {"kind": "classify", "labels": ["POS", "NEG"]})
    assert done["n"] > 0 and set(done["per_label"]) == {"POS", "NEG"}
    chosen = json.loads((shared / "data/alpaca/alpaca_5000.json").read_text("utf-8"))[:40]
    (tmp_path / "alpaca.json").write_text(json.dumps(chosen), "utf-8")
    assert run_on(tmp_path / "alpaca.json", tiny_base, {"kind": "generate"})["n"] > 0


# -- Dolly -------------------------------------------------------------------------------------------------------------


def test_dolly_is_an_instruction_its_context_and_the_response(tmp_path: Path) -> None:
    records = [
        {"instruction": "Who?", "context": "Ann came.", "response": "Ann", "category": "closed_qa"},
        {"instruction": "Name a bird.", "context": "", "response": "A tit.", "category": "open_qa"},
        {"instruction": "Name a fish.", "input": "small", "response": "A smelt."},
        {"instruction": "Name a tree.", "context": None, "response": ""},
    ]
    report, examples = read_records(tmp_path, records)
    assert rows(examples) == [
        ("Who?", "Ann came.", "Ann"),
        ("Name a bird.", "", "A tit."),
        ("Name a fish.", "small", "A smelt."),
    ]
    assert (report.format, report.read, report.skipped, report.reasons) == ("dolly", 4, 1, Counter(empty_target=1))


def test_a_missing_cell_of_a_table_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "nan.jsonl"
    file.write_text('{"instruction": "Do.", "input": NaN, "output": "x"}\n{"instruction": "Do.", "input": "", "output": NaN}\n')
    report, examples = read(file)
    assert rows(examples) == [("Do.", "", "x")] and report.reasons == Counter(empty_target=1)
