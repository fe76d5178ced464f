"""Dealing templates: by seed, all equally often, in the shares that were asked for; and what a run keeps of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from whet.errors import DataError
from whet.example import Example, Origin, Task, Template
from whet.prompts import asking
from whet.prompts.deal import Bound, Shares, bind, called_alike, deal
from whet.prompts.library import open_set
from whet.prompts.sets import TemplateSet

NLI = open_set("nli")
TASK = Task(kind="classify", labels=NLI.labels)
WRITE = Task(kind="generate")


def pairs(count: int = 240) -> list[Example]:
    """Examples of NLI, all labels equally often."""
    return [
        Example(f"t-{n}", {"premise": f"premise {n}", "hypothesis": f"hypothesis {n}"}, NLI.labels[n % 3], None, Origin("t", n))
        for n in range(count)
    ]


def names(examples: list[Example]) -> Counter[str]:
    return Counter(example.template.name for example in examples if example.template)


def test_every_template_is_dealt_equally_often_within_each_label() -> None:
    bound = bind(NLI, TASK, Shares(options=0))
    dealt = deal(pairs(), bound, Shares(options=0), seed=1)
    assert set(names(dealt).values()) == {30} and len(names(dealt)) == 8
    for label in NLI.labels:
        assert set(names([e for e in dealt if e.target == label]).values()) == {10}
    odd = names(deal(pairs(101), bound, Shares(options=0), seed=1))
    assert max(odd.values()) - min(odd.values()) <= 1


def test_the_seed_decides_and_nothing_else_does() -> None:
    bound, shares = bind(NLI, TASK, Shares()), Shares()
    one = deal(pairs(), bound, shares, seed=1)
    assert one == deal(pairs(), bound, shares, seed=1) != deal(pairs(), bound, shares, seed=2)
    backwards = deal(pairs()[::-1], bound, shares, seed=1)
    assert backwards[::-1] == one, "the order of the rows does not matter"


@pytest.mark.parametrize("share", [0.0, 0.25, 1 / 3, 0.5, 1.0])
def test_the_options_clause_stands_in_its_share_of_each_template(share: float) -> None:
    shares = Shares(options=share)
    dealt = deal(pairs(), bind(NLI, TASK, shares), shares, seed=1)
    with_slot = [t.name for t in NLI.templates if "{options}" in t.prompt and not t.is_inverted]
    counts = names(dealt)
    assert len(with_slot) == 6
    for name in with_slot:
        full = counts[f"{name}, options"]
        assert full + counts[name] == 30 and abs(full - 30 * share) <= 1, name
    for example in dealt:
        assert example.template is not None
        assert ("OPTIONS:" in asking.ask(TASK, example)) == example.template.name.endswith(", options")


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_inverted_templates_get_their_share(share: float) -> None:
    shares = Shares(inverted=share)
    dealt = deal(pairs(), bind(NLI, WRITE, shares), shares, seed=1)
    turned = [example for example in dealt if example.template and example.template.is_inverted]
    assert abs(len(turned) - 240 * share) <= 1
    counts = names(turned)
    assert len(counts) == 2 and max(counts.values()) - min(counts.values()) <= 1
    example = next(e for e in turned if e.template and e.template.name == "write a premise")
    assert asking.answer(example) == example.inputs["premise"]
    assert example.inputs["premise"] not in asking.ask(WRITE, example)


def test_worked_examples_get_their_share_and_none_is_shown_to_itself() -> None:
    shares = Shares(few_shot=0.5, shots=3)
    dealt = deal(pairs(), bind(NLI, TASK, shares), shares, seed=1)
    behind = [e for e in dealt if e.template and e.template.name.endswith(", 3-shot")]
    assert abs(len(behind) - 120) <= 8
    assert {e.template.name.endswith(", options, 3-shot") for e in behind if e.template} == {True, False}
    asked = {e.id: asking.ask(TASK, e) for e in behind}
    shown = {e.id for e in pairs() for id_, text in asked.items() if e.id != id_ and f"{e.inputs['premise']}\n" in text}
    assert len(shown) == 3 and not shown & {e.id for e in behind}
    assert {e.target for e in pairs() if e.id in shown} == set(NLI.labels), "the labels take turns"


def test_worked_examples_are_asked_as_the_example_is() -> None:
    bound = bind(NLI, TASK, Shares())
    one, two = (replace(example, template=bound.asked) for example in pairs(2))
    assert asking.ask(TASK, two, [one]) == f"{asking.ask(TASK, one)}{asking.completion(one)}\n\n{asking.ask(TASK, two)}"


def test_what_is_asked_is_asked_in_one_way() -> None:
    assert bind(NLI, TASK, Shares()).asked.name == "must be true, options"
    assert bind(NLI, TASK, Shares(options=0.49)).asked.name == "must be true"
    assert bind(NLI, TASK, Shares(), "textbook").asked.name == "textbook"
    only = bind(NLI, WRITE, Shares(), "write a premise")
    assert only.asked.name == "write a premise" and only.forward == ((only.asked, only.asked),)


def test_a_bound_template_needs_no_set_any_more() -> None:
    """The form with options says them, the form without does not, and braces of a label are only braces."""
    task = Task(kind="classify", labels=("{a}", "b"))
    bound = bind(open_set("topic"), task, Shares())
    assert bound.asked.prompt.startswith("What is the text about?\n\nOPTIONS:\n- {{a}}\n- b\n\nText: {text}")
    example = Example("1", {"text": "x"}, "{a}", None, Origin("f", 1), template=bound.asked)
    assert "- {a}\n- b" in asking.ask(task, example) and asking.completion(example) == " {a}"
    assert asking.label_completions(bound.asked, task.labels) == [" {a}", " b"]


def test_fields_that_are_the_same_for_every_row_are_written_in() -> None:
    bound = bind(open_set("translation"), WRITE, Shares(), fixed={"language": "French"})
    assert bound.fields == ("text",)
    assert all("{language}" not in form.prompt for forms in bound.forward for form in forms)
    assert "French" in bound.asked.prompt


def test_a_list_of_choices_that_each_row_brings_stays_a_field() -> None:
    bound = bind(open_set("commonsense"), WRITE, Shares())
    assert set(bound.fields) == {"question", "options"}
    example = Example("1", {"question": "Q?", "options": '["a", "b"]'}, "a", None, Origin("f", 1), template=bound.asked)
    assert "OPTIONS:\n- a\n- b" in asking.ask(WRITE, example)


def test_do_the_templates_call_the_labels_alike() -> None:
    assert not called_alike(bind(NLI, TASK, Shares()))
    assert called_alike(bind(NLI, TASK, Shares(), "textbook"))
    assert called_alike(bind(open_set("topic"), Task(labels=("a", "b")), Shares()))


def jinja_only() -> TemplateSet:
    template = Template("j", completion="", target="label", jinja="{{ text | upper }} ||| {{ label }}")
    return TemplateSet("j", "", "classify", ("text",), "label", (), (template,))


@pytest.mark.parametrize(
    ("found", "task", "shares", "said"),
    [
        (open_set("summarisation"), TASK, Shares(), 'its answers are texts, and kind is "classify"'),
        (NLI, Task(labels=("yes", "no")), Shares(), "'yes' is none of its labels. They are entailment, neutral"),
        (NLI, TASK, Shares(inverted=0.2), "a template that is turned around writes no label"),
        (jinja_only(), TASK, Shares(), "it has no template with slots whose answer is a label"),
        (jinja_only(), WRITE, Shares(inverted=0.2), "j has no inverted template"),
    ],
    ids=range(5),
)
def test_a_set_that_does_not_fit_says_why(found: TemplateSet, task: Task, shares: Shares, said: str) -> None:
    with pytest.raises(DataError) as caught:
        bind(found, task, shares)
    assert said in str(caught.value)


def test_an_example_that_its_template_makes_nothing_of_is_named() -> None:
    bound: Bound = bind(NLI, TASK, Shares())
    example = Example("1", {"premise": "a", "hypothesis": " "}, "neutral", None, Origin("talks.csv", 7), template=bound.asked)
    assert asking.why_not(example) == "the field 'hypothesis' is empty"
    with pytest.raises(DataError, match=r"talks.csv, row 7: the template 'must be true, options' makes nothing of it"):
        asking.ask(TASK, example)
