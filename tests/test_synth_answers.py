"""Answers of models, as they really come: what is read, what is repaired, what is classified and never guessed."""

from __future__ import annotations

import json

import pytest

from whet.synth.answers import Fault, is_refusal, read_fields, read_label, read_objects

ROW = {"text": "We will build.", "label": "True"}
LABELS = ("complaint", "praise", "not sure")

READ = {
    "alone": ('{"text": "a"}', [{"text": "a"}], [], []),
    "in a list": ('[{"text": "a"}, {"text": "b"}]', [{"text": "a"}, {"text": "b"}], [], ["several_objects"]),
    "under a name": ('{"rows": [{"text": "a"}, {"text": "b"}]}', [{"text": "a"}, {"text": "b"}], [], []),
    "in a fence": ('```json\n{"text": "a"}\n```', [{"text": "a"}], [], []),
    "prose around": ('Of course!\n{"text": "a"}\nAnything else?', [{"text": "a"}], [], ["prose_around"]),
    "two objects": ('{"text": "a"}\n{"text": "b"}', [{"text": "a"}, {"text": "b"}], [], ["several_objects"]),
    "after thinking": ('<think>Maybe {"text": "no"}?</think>{"text": "a"}', [{"text": "a"}], [], ["thinking"]),
    "line ends inside a text": ('{"text": "a\nb"}', [{"text": "a\nb"}], [], []),
    "braces inside a text": ('{"text": "a {b} c"}', [{"text": "a {b} c"}], [], []),
    "cut in a row": ('{"rows": [{"text": "a"}, {"text": "b', [{"text": "a"}], ["cut_json"], []),
    "cut behind a row": ('{"rows": [{"text": "a"},', [{"text": "a"}], ["cut_json"], []),
    "cut in its thinking": ('<think>Let me see {"text": "a"}', [], ["cut_json"], []),
    "a comma too many": ('{"rows": [{"text": "a"}, {"text": "b",}]}', [{"text": "a"}], ["bad_json"], []),
    "single quotes": ("{'text': 'a'}", [], ["bad_json"], []),
    "NaN": ('{"text": "a", "score": NaN}', [], ["not_a_number"], []),
    "NaN in one of two": ('{"rows": [{"text": NaN}, {"text": "b"}]}', [{"text": "b"}], ["not_a_number"], []),
    "a key twice": ('{"text": "a", "text": "b"}', [], ["duplicate_key"], []),
    "nothing": ("  \n", [], ["empty"], []),
    "prose": ("Here are two sentences for you.", [], ["no_json"], []),
    "a refusal": ("I'm sorry, but I cannot help with that.", [], ["refusal"], []),
    "only brackets": ("{" * 50_000, [], ["bad_json"], []),
}


@pytest.mark.parametrize("case", READ, ids=str)
def test_objects_are_read_or_classified(case: str) -> None:
    text, objects, faults, repairs = READ[case]
    found = read_objects(text)
    assert found.objects == objects
    assert [fault.reason for fault in found.faults] == faults
    assert found.repairs == repairs


@pytest.mark.parametrize("place", range(1, len(json.dumps({"rows": [ROW, ROW]}))))
def test_an_answer_that_is_cut_anywhere_gives_its_whole_rows_and_says_that_it_was_cut(place: int) -> None:
    whole = json.dumps({"rows": [ROW, ROW]})
    found = read_objects(whole[:place])
    assert all(value == ROW for value in found.objects)
    assert len(found.objects) == whole[:place].count('"True"}')
    assert [fault.reason for fault in found.faults] == ["cut_json"]


def test_fields_are_texts_or_a_reason() -> None:
    assert read_fields({"text": " a ", "n": 2, "yes": True, "more": []}, ["text", "n", "yes"]) == {
        "text": "a",
        "n": "2",
        "yes": "true",
    }
    assert read_fields({"text": "a"}, ["text"], optional=["note"]) == {"text": "a", "note": ""}
    faults: list[tuple[str, dict[str, object]]] = [
        ("missing_field", {"other": "a"}), ("missing_field", {"text": None}), ("empty_field", {"text": " \n"}),
        ("wrong_shape", {"text": ["a"]}), ("wrong_shape", {"text": "a\x00"}), ("wrong_shape", {"text": "\ud800"}),
    ]  # fmt: skip
    for reason, value in faults:
        found = read_fields(value, ["text"])
        assert isinstance(found, Fault) and found.reason == reason and "text" in found.detail


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("praise", "praise"), (" Praise.\n", "praise"), ('"praise"', "praise"), ("Label: praise", "praise"),
        ("**Praise**", "praise"),
        ("The answer is: not sure", "not sure"), ('{"label": "praise"}', "praise"), ('Here: {"label": "PRAISE"}', "praise"),
        ("<think>It could be complaint.</think>praise", "praise"),
        ("praise or complaint", None), ("I would say praise", None), ("", None), ("prais", None), ('{"label": "joy"}', None),
        ('{"label": "praise"} {"label": "complaint"}', None), ('{"a": "praise", "b": "complaint"}', None), ("sure", None),
    ],
)  # fmt: skip
def test_a_label_is_the_whole_answer_or_there_is_none(text: str, label: str | None) -> None:
    assert read_label(text, LABELS) == label


def test_labels_that_differ_in_case_only_are_taken_letter_for_letter() -> None:
    assert read_label("US", ("us", "US")) == "US"
    assert read_label("Us", ("us", "US")) is None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.", "I’m sorry, but I can’t help with this request.",
        "I am unable to provide that.",
        "As an AI language model, I do not have feelings.", "Sorry, I cannot do that.",
        "Unfortunately, I am not able to answer.",
        "I cannot create content of this kind.", "I apologize, but I can't generate that.",
    ],
)  # fmt: skip
def test_refusals_are_recognised(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry for your loss.", "Sorry, wrong number.", "I cannot believe how good this is!",
        "I can't find my parcel anywhere.",
        "As an artist I work alone.", "Unfortunately the train was late again.", "We cannot and will not raise this tax.",
        "I won't buy here again.",
    ],
)  # fmt: skip
def test_what_people_write_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)
