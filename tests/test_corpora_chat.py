"""The readers of conversations: what each format's real dirt becomes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from whet.data.corpora.format import Item, Options
from whet.data.corpora.page_text import is_drawn, to_text
from whet.data.corpora.reading import Reading, read_corpus
from whet.data.corpora.report import Report
from whet.data.corpora.turns import ROLES
from whet.example import Example


def read(path: Path, **asked: Any) -> tuple[Report, list[Item]]:
    """The report and the Items of the first corpus file of a path."""
    for reading in read_corpus(path, **asked):
        if isinstance(reading, Reading):
            return reading.report, list(reading.items)
    raise AssertionError("no corpus")


def read_records(folder: Path, records: Sequence[Any], **asked: Any) -> tuple[Report, list[Item]]:
    """The same of records, written as JSON lines."""
    file = folder / "corpus.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return read(file, **asked)


def said(example: Example) -> list[tuple[str, str]]:
    """A conversation up to the answer: who said what."""
    own = [("ask", example.instruction or ""), ("answer", example.target)]
    return [(m.role, m.text) for m in example.history] + own


def conversations(items: list[Item]) -> list[list[list[tuple[str, str]]]]:
    """What each Item's Examples say."""
    return [[said(example) for example in item.examples] for item in items]


# -- messages ----------------------------------------------------------------------------------------------------------


def test_messages_with_parts_tools_and_turns_that_are_not_to_be_learned(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "value": "1+1?"}]
    chat = [
        {"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts},
        {"role": "assistant", "content": "1.", "weight": 0}, {"role": "user", "content": "No."},
        {"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": 2},
        {"role": "assistant", "content": "2.", "loss_weight": 1.0},
    ]  # fmt: skip
    picture = [
        {"role": "user", "content": [{"type": "image_url", "image_url": "x"}]},
        {"role": "assistant", "content": "A cat."},
    ]
    stranger = [{"role": "user", "content": "Hi"}, {"role": "ghost", "content": "Hu"}]
    report, items = read_records(tmp_path, [{"messages": chat}, {"messages": picture}, {"messages": stranger}])
    assert conversations(items) == [
        [[("system", "Be brief."), ("user", "What is 1+1?"), ("assistant", "1."), ("user", "No."), ("ask", "2"),
          ("answer", "2.")]], [], [],
    ]  # fmt: skip
    assert report.reasons == Counter(empty_turn=1, not_text=1, unknown_role=1)


# -- ShareGPT ----------------------------------------------------------------------------------------------------------


def test_every_spelling_of_a_role_is_known(tmp_path: Path) -> None:
    assert len(ROLES) >= 18
    names = {role: [name for name, is_ in ROLES.items() if is_ == role] for role in ("user", "assistant", "system", "tool")}
    for answering in names["assistant"]:
        for asking in (*names["user"], *names["tool"]):
            chat = [{"from": asking.title(), "value": "Hi"}, {"from": answering, "value": "Ho"}]
            _, items = read_records(tmp_path, [{"conversations": chat}])
            assert conversations(items) == [[[("ask", "Hi"), ("answer", "Ho")]]]


def test_a_first_turn_of_the_model_stays_as_what_was_said_before(tmp_path: Path) -> None:
    chat = [{"from": "gpt", "value": "Hello."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    report, items = read_records(tmp_path, [{"id": "a", "system": "Be kind.", "conversations": chat}])
    assert conversations(items) == [[[("system", "Be kind."), ("assistant", "Hello."), ("ask", "Hi"), ("answer", "Ho")]]]
    assert (report.repaired, report.reasons) == (1, Counter(unasked_answer=1))


def test_missing_turns_of_a_real_file_are_said(shared: Path) -> None:
    report, (item,) = read(shared / "data/sharegpt/axolotl_conversation.missingturns.json")
    assert [drop.detail for drop in item.drops] == ["turn 2, of the assistant, is empty"]
    first = item.examples[0]
    assert [m.role for m in first.history] == ["user"], "the question that got no answer is still what was said before"
    assert len(item.examples) == report.examples == 5


def test_one_object_is_a_file_of_one_conversation(shared: Path) -> None:
    report, (item,) = read(shared / "data/sharegpt/axolotl_conversation.json")
    assert (report.format, report.read, len(item.examples)) == ("sharegpt", 1, 6)
    assert [len(example.history) for example in item.examples] == [0, 2, 4, 6, 8, 10]


def groups(folder: Path, *named: tuple[str, int]) -> list[str | None]:
    """The groups of conversations with these ids and so many exchanges."""
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    _, items = read_records(folder, [{"id": id_, "conversations": turns * count} for id_, count in named])
    return [item.examples[0].group for item in items]


def test_pieces_of_one_chat_are_one_group(tmp_path: Path) -> None:
    assert groups(tmp_path, ("long-chat_0", 2), ("long-chat_4", 1), ("long-chat_10", 1)) == ["long-chat_0"] * 3
    assert groups(tmp_path, ("QWJhYvA_0", 1), ("other", 1), ("QWJhYvA_6", 1)) == ["QWJhYvA", "other", "QWJhYvA"]
    assert groups(tmp_path, ("identity_0", 2), ("identity_1", 1), ("identity_2", 1)) == [
        "identity_0",
        "identity_1",
        "identity_2",
    ]


def test_the_five_hundred_real_dialogues_stay_five_hundred_groups(shared: Path) -> None:
    _, items = read(shared / "data/sharegpt/vicuna_dummy_conversation.json")
    assert len({item.examples[0].group for item in items}) == len(items) == 500


DRAWN = """<div class="markdown prose"><p>Use <strong>sorted</strong> &amp; <code>key</code>:</p>
<pre><div class="bg-black"><span>python</span><button>Copy code</button></div>
<div><code class="hljs language-python"><span class="k">def</span> f(x):
    return x &lt; 1
</code></div></pre>
<h3>Steps</h3><ol><li><p>First</p></li><li>Second<ul><li>inner</li></ul></li></ol>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></div>"""

PLAIN = """Use **sorted** & `key`:

```python
def f(x):
    return x < 1
```

### Steps

1. First
2. Second
  - inner

| a | b |
| --- | --- |
| 1 | 2 |"""


def test_a_drawn_answer_is_read_as_the_text_that_it_shows(tmp_path: Path) -> None:
    assert [line.rstrip() for line in to_text(DRAWN).splitlines()] == PLAIN.splitlines()
    chat = [{"from": "human", "value": "<p>How?</p>"}, {"from": "gpt", "value": DRAWN}]
    report, items = read_records(tmp_path, [{"id": "a", "conversations": chat}])
    assert (report.repaired, report.reasons) == (1, Counter(html=1))
    assert items[0].examples[0].target == to_text(DRAWN)
    assert items[0].examples[0].instruction == "<p>How?</p>", "what a person typed is left as it is"


@pytest.mark.parametrize(
    "answer",
    [
        "Write <p>Hello</p> in it.", "```html\n<p>Hi</p>\n```", "<p>Hi", "1 < 2 and 3 > 2", "",
        "<div><form action='/'><input name='q'></form></div>", "<html><body><p>Hi</p></body></html>",
    ],
)  # fmt: skip
def test_an_answer_that_shows_html_is_left_as_it_is(answer: str) -> None:
    assert not is_drawn(answer)


# -- LIMA --------------------------------------------------------------------------------------------------------------


def test_lima_in_both_forms(tmp_path: Path) -> None:
    hub = [{"conversations": ["Q1", "A1", "Q2", "A2"], "source": "multi_turn"}, {"conversations": ["Q3"], "source": "test"}]
    report, items = read_records(tmp_path, hub)
    assert (report.format, report.reasons) == ("lima", Counter(unanswered=1))
    assert conversations(items) == [
        [[("ask", "Q1"), ("answer", "A1")], [("user", "Q1"), ("assistant", "A1"), ("ask", "Q2"), ("answer", "A2")]], [],
    ]  # fmt: skip
    factory = {"instruction": "Q2", "input": "", "output": "A2", "history": [["Q1", "A1"]]}
    report, again = read_records(tmp_path, [factory])
    assert report.format == "lima" and conversations(again) == conversations(items[:1])


def test_lima_of_llama_factory(shared: Path) -> None:
    report, items = read(shared / "data/lima/lima_first500.json")
    assert (report.format, report.read, report.examples, report.skipped) == ("lima", 500, 500, 0)
    assert all(len(item.examples) == 1 for item in items)


# -- turns behind markers ----------------------------------------------------------------------------------------------


HI = [("ask", "Hi"), ("answer", "Ho")]
KIND = ("system", "Be kind.")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("oig", "Facts.\n<human>: Is <bot>: a mark?\n<bot>: Yes:\n\nhere.\n<human>: Ok",
         [("system", "Facts."), ("ask", "Is <bot>: a mark?"), ("answer", "Yes:\n\nhere.")]),
        ("oasst-guanaco", "### Human: Hi### Assistant: # One\n### Two### Human: Bye",
         [("ask", "Hi"), ("answer", "# One\n### Two")]),
        ("llama2-chat", "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Ho </s>", [KIND, *HI]),
        ("chatml", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
                   "<|im_start|>assistant\nHo<|im_end|>\n",
         [KIND, *HI]),
    ],
)  # fmt: skip
def test_turns_behind_markers(tmp_path: Path, name: str, content: str, expected: list[tuple[str, str]]) -> None:
    report, items = read_records(tmp_path, [{"text": content}, {"text": "no mark"}, {"text": content}])
    assert report.format == name
    assert conversations(items) == [[expected], [], [expected]]
    assert report.reasons["bad_field"] == 1 and report.skipped == 1


def test_markup_of_llama_2_with_and_without_an_end(tmp_path: Path) -> None:
    texts = [
        "<s>[INST] A [/INST] B </s><s>[INST] C [/INST] D </s>",
        "[INST] A [/INST] B [INST] C [/INST] D",
        "<s>[INST] A [/INST] B </s> <s>[INST] C",
    ]
    report, items = read_records(tmp_path, [{"text": text} for text in texts])
    both = [[("ask", "A"), ("answer", "B")], [("user", "A"), ("assistant", "B"), ("ask", "C"), ("answer", "D")]]
    assert conversations(items) == [both, both, both[:1]]
    assert report.reasons == Counter(unanswered=1)


def test_the_real_guanaco_in_llama_2_markup(shared: Path) -> None:
    report, items = read(shared / "data/guanaco/guanaco-llama2-1k.parquet")
    texts = [row["text"] for row in pq.read_table(shared / "data/guanaco/guanaco-llama2-1k.parquet").to_pylist()]
    assert len(texts) == report.read == len(items) == 1000
    exchanges = sum(text.count("[/INST]") for text in texts)
    assert report.examples == exchanges - report.reasons["empty_turn"] == 1377 + 0
    for text, item in zip(texts, items, strict=True):
        for example in item.examples:
            assert example.target in text and (example.instruction or "") in text


def test_pairs_of_the_small_set(tmp_path: Path) -> None:
    (tmp_path / "small.json").write_text(json.dumps([["Q1", "A1"], ["Q2"], ["Q3", "A3"]]))
    report, items = read(tmp_path / "small.json")
    assert (report.format, report.reasons) == ("oig-pairs", Counter(bad_field=1))
    assert conversations(items) == [[[("ask", "Q1"), ("answer", "A1")]], [], [[("ask", "Q3"), ("answer", "A3")]]]


def test_rendered_text_of_oig(shared: Path, tmp_path: Path) -> None:
    file = shared / "data/oig/training_text_example.txt"
    report, items = read(file)
    assert (report.format, report.read, report.examples, report.repaired) == ("oig-text", 4, 4, 0)
    assert [item.origin.row for item in items] == [
        n for n, line in enumerate(file.read_text().splitlines(), 1) if line.startswith("User:")
    ]
    assert not any("<|endoftext|>" in example.target or "Joi:" in example.target for item in items for example in item.examples)
    (tmp_path / "more.txt").write_text(
        "A story.\nUser: Hi\nthere\n\nJoi: Ho\nUser: And?\nJoi: No.<|endoftext|>\nUser: Bye\nJoi:"
    )
    report, items = read(tmp_path / "more.txt")
    story = [("system", "A story."), ("ask", "Hi\nthere"), ("answer", "Ho")]
    more = [("system", "A story."), ("user", "Hi\nthere"), ("assistant", "Ho"), ("ask", "And?"), ("answer", "No.")]
    assert conversations(items) == [[story, more], []]
    assert report.reasons == Counter(empty_turn=1, unanswered=1)


# -- OpenAssistant -----------------------------------------------------------------------------------------------------


def message(id_: str, text: str, replies: Sequence[dict[str, Any]] = (), **more: Any) -> dict[str, Any]:
    """A message of a tree; its role is in its text."""
    role = "prompter" if text.startswith("Q") else "assistant"
    return {"message_id": id_, "text": text, "role": role, "lang": "en", "review_result": True, "deleted": False,
            "replies": list(replies), **more}  # fmt: skip


TREE = message("m1", "Q1", [
    message("m2", "A unranked"),
    message("m3", "A second", [message("m5", "Q2", [message("m6", "A of second")])], rank=1),
    message("m4", "A best", [
        message("m7", "Q3", [message("m8", "A refused", review_result=False, rank=0), message("m9", "A german", lang="de")]),
        message("m10", "Q4"),
    ], rank=0),
    message("m11", "A deleted", [message("m12", "Q5", [message("m13", "A below it")])], deleted=True),
])  # fmt: skip


def flat(tree: dict[str, Any], tree_id: str = "m1", parent: str | None = None) -> list[dict[str, Any]]:
    """The messages of a tree, one by one."""
    own = {**tree, "parent_id": parent, "message_tree_id": tree_id}
    return [
        {k: v for k, v in own.items() if k != "replies"},
        *(m for r in tree["replies"] for m in flat(r, tree_id, tree["message_id"])),
    ]


def in_every_form(folder: Path) -> dict[str, Path]:
    """One tree, written in each of OpenAssistant's forms."""
    wrapped = {"message_tree_id": "m1", "tree_state": "ready_for_export", "prompt": TREE}
    files = {name: folder / f"{name}.jsonl" for name in ("oasst.tree", "oasst.root", "oasst-messages.flat")}
    for file, records in zip(files.values(), ([wrapped], [TREE], flat(TREE)), strict=True):
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    files["oasst-messages.hub"] = folder / "hub.parquet"
    labelled = [{"rank": None, **m, "labels": {"name": ["spam"], "value": [0.0], "count": [3]}} for m in flat(TREE)]
    pq.write_table(pa.Table.from_pylist(labelled), files["oasst-messages.hub"])
    return files


@pytest.mark.parametrize("form", ["oasst.tree", "oasst.root", "oasst-messages.flat", "oasst-messages.hub"])
def test_a_tree_is_the_same_in_every_form(tmp_path: Path, form: str) -> None:
    file = in_every_form(tmp_path)[form]
    best = [[("ask", "Q1"), ("answer", "A best")],
            [("user", "Q1"), ("assistant", "A best"), ("ask", "Q3"), ("answer", "A german")]]  # fmt: skip
    report, items = read(file)
    assert report.format == form.partition(".")[0]
    assert conversations(items) == [best]
    assert (report.read, report.repaired, report.reasons) == (1, 0, Counter(filtered=2)), (
        "one refused, one deleted with its answers"
    )

    _, items = read(file, options=Options(languages=("en", "fr")))
    assert conversations(items) == [best[:1]]

    _, items = read(file, options=Options(unreviewed=True))
    assert conversations(items)[0][1][-1] == ("answer", "A refused")

    report, items = read(file, options=Options(paths="all"))
    ((*answers,),) = [[example.target for example in item.examples] for item in items]
    assert answers == ["A best", "A german", "A second", "A of second", "A unranked"]
    assert {example.group for example in items[0].examples} == {items[0].examples[0].group}
    assert len({example.id for example in items[0].examples}) == 5

    report, items = read(file, options=Options(languages=("de",)))
    assert (report.skipped, report.filtered, report.lost, items[0].examples) == (1, 1, 0, ()), "what was asked for is not lost"


def test_flat_messages_out_of_place_are_said(tmp_path: Path) -> None:
    one, two = (
        flat(message("a", "Q1", [message("b", "A1", [message("c", "Q2")])]), "a"),
        flat(message("d", "Q3", [message("e", "A3")]), "d"),
    )
    report, items = read_records(tmp_path, [one[1], one[0], *two, one[2]])
    assert conversations(items) == [[[("ask", "Q1"), ("answer", "A1")]], [[("ask", "Q3"), ("answer", "A3")]], []]
    assert report.reasons == Counter(ungrouped=1), "an answer before its question in one tree is no trouble"
    report, items = read_records(tmp_path, [two[0], {**two[1], "parent_id": "z"}])
    assert report.reasons == Counter(no_parent=1, unanswered=1) and items[0].examples == ()


def test_the_real_trees_in_both_forms_give_the_same(shared: Path) -> None:
    folder = shared / "data/oasst"
    for options, count in ((Options(), 82), (Options(paths="all"), 402)):
        (report, trees), (other, roots) = (
            read(folder / f"en_100_{form}.first60.jsonl", options=options) for form in ("tree", "message")
        )
        assert conversations(trees) == conversations(roots)
        assert report.examples == other.examples == count and report.read == 60 and not report.reasons
