"""The records as JSON: a line is letter for letter what the standard library writes of the record."""

from __future__ import annotations

import json

import pytest

from whet.example import Drop, Example, Message, Origin, Template

ODD = 'say "no"\\\n\t\x00\x1f\x7f\u2028 é 我 \U0001f44d \ud800'
PLAIN = Example("a-1", {"input": ""}, "yes", None, Origin("a.jsonl", 1), "Is it?")


@pytest.mark.parametrize(
    "example",
    [
        PLAIN,
        Example(ODD, {ODD: ODD, "more": "x"}, ODD, ODD, Origin(ODD, 2, ODD, ODD), ODD),
        Example("a-2", {}, "", "", Origin("", 3, "", None)),
        Example("a-3", {"a": "b"}, "c", None, Origin("a", 4, None, "people"), None, (Message("user", ODD),), (ODD, "")),
        Example("a-4", {"a": "b"}, "c", None, Origin("a", 5, "MIT"), template=Template(ODD)),
    ],
)  # fmt: skip
def test_a_line_is_the_record(example: Example) -> None:
    record = example.to_json()
    assert example.to_line() == json.dumps(record, ensure_ascii=False)
    templates = {example.template.name: example.template} if example.template else {}
    assert Example.from_json(json.loads(example.to_line()), templates) == example


def test_a_drop_says_its_target_where_it_has_one() -> None:
    drop = Drop(PLAIN.origin, "leak", "in train", "text")
    said = {"origin": {"source": "a.jsonl", "row": 1}, "reason": "leak", "detail": "in train", "text": "text"}
    assert drop.to_json() == said
    assert Drop(PLAIN.origin, "leak", "in train", "text", "yes").to_json() == {**said, "target": "yes"}
