"""Lint: each kind of fault is found with its evidence, and a sound set has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from whet.example import Template
from whet.prompts import flan
from whet.prompts.lint import Finding, lint
from whet.prompts.sets import TemplateSet

ROWS: list[dict[str, Any]] = [{"text": f"row {n} of a list", "label": n % 2} for n in range(10)]
ANSWERS = {"0": "ham", "1": "spam"}


def slotted(name: str = "t", prompt: str = "{text}\nWhich is it?", **more: Any) -> Template:
    return Template(name, prompt, target="label", **{"answers": ANSWERS, **more})


def findings(*templates: Template, rows: Sequence[dict[str, Any]] = (), fields: tuple[str, ...] = ("text",)) -> list[Finding]:
    return list(lint(TemplateSet("s", "", "classify", fields, "label", ("0", "1"), templates), rows).findings)


def only(found: list[Finding], kind: str) -> Finding:
    assert [finding.kind for finding in found] == [kind], found
    return found[0]


def test_a_sound_set_has_no_findings() -> None:
    assert findings(slotted(), slotted("u", "Sort this: {text}\n\n{options}"), rows=ROWS) == []


def test_the_answer_in_the_prompt_is_a_leak() -> None:
    assert "{answer}" in only(findings(slotted(prompt="{text} is {answer}, is it?")), "leak").evidence
    found = only(findings(slotted(prompt="{text}\nLabel {label}?"), rows=ROWS), "leak")
    assert found.template == "t" and "{label}" in found.evidence


def test_a_prompt_that_turns_the_task_around_may_hold_the_answer() -> None:
    assert findings(slotted(), slotted("u", "Write some {answer}.", completion="{text}", is_inverted=True), rows=ROWS) == []


def test_rows_that_name_their_own_label_are_a_leak() -> None:
    rows = [{"text": f"[{ANSWERS[str(n % 2)].upper()}] row {n}", "label": n % 2} for n in range(10)]
    found = only(findings(slotted(), rows=rows), "leak")
    assert "in 10 of 10 rows only the right answer is named" in found.evidence and "[HAM] row 0" in found.evidence
    assert findings(slotted(prompt="{text}\n\nham or spam?"), rows=rows) == [], "all answers are named"
    seldom = [*ROWS, *ROWS, rows[0]]
    assert findings(slotted(), rows=seldom) == [], "one text may well name its label"
    wrong = [{"text": row["text"], "label": (n + 1) % 2} for n, row in enumerate(rows)]
    assert findings(slotted(), rows=wrong) == [], "other answers are named as well"


def test_jinja_whose_prompt_changes_with_the_label_is_a_leak() -> None:
    jinja = "{{ text }}{% if label == 1 %}!{% endif %} Which? ||| {{ answer_choices[label] }}"
    leaky = Template("t", completion="", target="label", jinja=jinja, answer_choices="ham ||| spam")
    assert "another label makes another prompt" in only(findings(leaky, rows=ROWS), "leak").evidence
    conditional = Template(
        "t", completion="", target="label", answer_choices="ham ||| spam",
        jinja="{% if label == 1 %}{{ text }} Which? ||| {{ answer_choices[label] }}{% endif %}",
    )  # fmt: skip
    assert only(findings(conditional, rows=ROWS), "one_class").evidence == "all 5 rows it renders have the completion 'spam'"


def test_dropped_fields() -> None:
    whole, part = slotted("w", "{text} of {title}?"), slotted("p", "Is it {text}?")
    found = only(findings(whole, slotted("x", "{title}: is it {text}?"), part, fields=("text", "title")), "dropped_field")
    assert (found.template, found.evidence) == ("p", "it does not read 'title'; 2 of 3 templates do")
    rows = [{**row, "title": "T", "row_id": 1} for row in ROWS]
    found = only(findings(slotted(), rows=rows), "dropped_field")
    assert (found.template, found.evidence) == ("(all)", "no template reads 'title'")


def test_outputs_that_are_empty_or_all_the_same() -> None:
    jinja = "{{ text }} Which? ||| {% if label == 1 %}{% else %}{{ answer_choices[label] }}{% endif %}"
    half = Template("t", completion="", jinja=jinja, answer_choices="ham ||| spam")
    kinds = {finding.kind: finding.evidence for finding in findings(half, rows=ROWS)}
    assert kinds["empty_output"] == "5 of 10 rows have an empty completion"
    assert kinds["one_class"] == "all 5 rows it renders have the completion 'ham'"
    assert findings(slotted(), rows=ROWS[:2]) == [], "two rows say nothing"


def test_rows_that_cannot_be_rendered_are_counted() -> None:
    rows = [*ROWS, {"text": "x", "label": 7}]
    report = lint(TemplateSet("s", "", "classify", ("text",), "label", ("0", "1"), (slotted(),)), rows)
    found = only(list(report.findings), "render_rate")
    assert found.evidence == "10 of 11 rows are rendered: label is '7', and not one of 0, 1"
    assert report.to_json() == {"findings": [found.to_json()], "templates": 1, "rows": 11, "rendered": {"t": 10}}


@pytest.mark.parametrize(
    ("template", "evidence"),
    [
        (slotted(prompt="{text}"), "nothing but fields"),
        (slotted(prompt='Is "{text} spam?'), "a quotation mark has no other one"),
        (slotted(between=""), "`between` is empty"),
        (Template("t", completion="", jinja="{{ text }} {{ label }}?"), "there is no |||"),
        (Template("t", completion="", jinja="{{ text }} ||| {{ label }}"), "nothing but fields"),
    ],
)
def test_prompts_without_an_end(template: Template, evidence: str) -> None:
    assert evidence in only(findings(template), "no_end").evidence


def test_duplicates_and_lost_backslashes() -> None:
    found = only(findings(slotted("a", "{text}\nWhich?"), slotted("b", " {text}  which?")), "duplicate")
    assert (found.template, found.evidence) == ("b", "it says the same as 'a'")
    other = slotted("b", "{text}\nWhich?", answers={"0": "no", "1": "yes"})
    assert findings(slotted("a", "{text}\nWhich?"), other) == [], "other answers make it another template"
    for prompt in ("{text}n\nWhich?", "{text}\\nWhich?"):
        assert only(findings(slotted(prompt=prompt)), "lost_backslash").template == "t"
    found = only(list(lint(flan.read('PATTERNS = {"a": [("Sum {text}n\\n", "{x}")]}', "t.py")).findings), "lost_backslash")
    assert found.template == "a-1" and "is read as" in found.evidence
