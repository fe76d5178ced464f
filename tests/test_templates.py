"""Template sets: whet's own, files of our own, rendering, few-shot, and labels that come back from what was rendered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from whet.errors import DataError
from whet.example import Template
from whet.prompts import set_file, slots
from whet.prompts.cells import values
from whet.prompts.library import builtin_names, open_set
from whet.prompts.lint import lint
from whet.prompts.render import Rendered, Skipped, few_shot, label_of, render, render_prompt, render_shown
from whet.prompts.sets import TemplateSet, template_fields

KINDS = {"nli", "sentiment", "paraphrase", "closed_book_qa", "open_book_qa", "summarisation", "translation", "data_to_text",
         "coreference", "commonsense", "topic", "classification"}  # fmt: skip


def own_sets() -> Iterator[TemplateSet]:
    yield from map(open_set, builtin_names())


def row_of(found: TemplateSet) -> dict[str, object]:
    """A row with every field of a set but the answer."""
    fields = {field: f"the {field} of it" for field in found.fields}
    return {**fields, **({"options": ["first", "second"]} if "options" in fields else {})}


def read(text: str) -> TemplateSet:
    return set_file.read(text, "mine", "mine.toml")


# -- whet's own sets ---------------------------------------------------------------------------------------------------


def test_there_are_ten_templates_for_each_kind_of_task() -> None:
    sets = list(own_sets())
    assert {found.name for found in sets} == KINDS
    for found in sets:
        assert len(found.templates) == 10 and found.about, found.name
        assert 2 <= sum(template.is_inverted for template in found.templates) <= 3, found.name
        assert not lint(found).findings, found.name
        assert not found.templates[0].is_inverted, "the first is what everything that is counted is asked with"
    prompts = [" ".join(t.prompt.split()).casefold() for found in sets for t in found.templates]
    assert len(set(prompts)) == len(prompts) == 120


@pytest.mark.parametrize("found", list(own_sets()), ids=lambda found: found.name)
def test_every_template_reads_every_field_and_is_rendered(found: TemplateSet) -> None:
    row = {**row_of(found), found.target: found.labels[0] if found.labels else "the answer"}
    for template in found.templates:
        made = render(template, row)
        assert isinstance(made, Rendered), made
        assert "{" not in made.prompt + made.completion
        if not template.is_inverted:
            read_fields = {*template_fields(template), *(["options"] if "{options}" in template.prompt else [])}
            assert read_fields >= set(found.fields), template.name
            assert set(slots.slots(template.completion)) <= {"answer", found.target}, template.name


def test_a_label_is_what_its_completion_says() -> None:
    """The round trip: parse(render(x)) == x for every label of every template that classifies, with options and without."""
    counted = 0
    for found in own_sets():
        if found.kind != "classify":
            continue
        labels = found.labels or ("sport", "trade & industry", "007", "not a promise", "{braces}")
        for template, options in itertools.product(found.templates, (True, False)):
            if template.is_inverted:
                continue
            answers = dict(template.answers) or {label: label for label in labels}
            bound = Template(template.name, template.prompt, template.completion, found.target, answers)
            for label in labels:
                made = render(bound, {**row_of(found), found.target: label}, with_options=options)
                assert isinstance(made, Rendered)
                assert label_of(bound, made.completion) == label == label_of(bound, f" {made.completion}\n")
                counted += 1
            assert label_of(bound, "something else") is None
    assert counted == 272


# -- rendering ---------------------------------------------------------------------------------------------------------

SPAM = Template("spam", "{text}\n\nSpam?\n\n{options}", target="label", answers={"0": "no", "1": "yes"})


def test_the_options_clause_comes_and_goes() -> None:
    made = render(SPAM, {"text": "Hi", "label": 1})
    assert made == Rendered("spam", "Hi\n\nSpam?\n\nOPTIONS:\n- no\n- yes", "yes")
    bare = render(SPAM, {"text": "Hi", "label": 1}, with_options=False)
    assert bare == Rendered("spam", "Hi\n\nSpam?", "yes")
    own = render(SPAM, {"text": "Hi", "label": "0", "options": ["yes", "no", "who knows"]})
    assert isinstance(own, Rendered) and own.prompt.endswith("OPTIONS:\n- yes\n- no\n- who knows")


def test_what_stands_in_a_field_is_never_read_again() -> None:
    for text in ("{label}", "{options}", "{{x}}", "a ||| b", "%s {0.__class__}"):
        made = render(SPAM, {"text": text, "label": 0}, with_options=False)
        assert isinstance(made, Rendered) and made.prompt == f"{text}\n\nSpam?"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"label": 1}, "the row has no field 'text'; it has label"),
        ({"text": " ", "label": 1}, "the field 'text' is empty"),
        ({"text": None, "label": 1}, "the field 'text' is empty"),
        ({"text": ["a"], "label": 1}, "the field 'text' is a list, and a slot takes text"),
        ({"text": "a", "label": -1}, "label is '-1', and not one of 0, 1"),
        ({"text": "a", "label": 1, "options": 3}, "the field 'options' is 3, and no list of answers"),
    ],
)
def test_a_row_that_does_not_fit_is_skipped_with_its_reason(row: dict[str, object], reason: str) -> None:
    assert render(SPAM, row) == Skipped("spam", reason)


def test_a_prompt_needs_no_answer() -> None:
    assert render_prompt(SPAM, {"text": "Hi"}).startswith("Hi\n\nSpam?")
    with pytest.raises(ValueError, match="no field 'text'"):
        render_prompt(SPAM, {})


def test_worked_examples_stand_before_what_is_asked() -> None:
    shown = [{"text": "Win!", "label": 1}, {"text": "Lunch?", "label": 0}]
    made = render_shown(SPAM, {"text": "Hi", "label": 0}, shown, with_options=False)
    assert made == Rendered("spam", "Win!\n\nSpam?\nAnswer: yes\n\nLunch?\n\nSpam?\nAnswer: no\n\nHi\n\nSpam?", "no")
    wrong = render_shown(SPAM, {"text": "Hi", "label": 0}, [{"text": "Win!", "label": 7}])
    assert isinstance(wrong, Skipped) and wrong.reason.startswith("worked example 1: label is '7'")
    colon = Template("c", "In: {text}\nOut:", target="label")
    pair = Rendered("c", "In: a\nOut:", "b")
    assert few_shot(colon, [pair], pair).prompt == "In: a\nOut: b\n\nIn: a\nOut:"


def test_cells_are_values_where_jinja_reckons_with_them() -> None:
    row = values({"n": "12", "id": "007", "big": "9" * 30, "neg": "-3", "list": "[1, 2]", "cut": "[1, 2", "none": None, "f": "0.10"})  # noqa: E501
    assert row == {"n": 12, "id": "007", "big": "9" * 30, "neg": -3, "list": [1, 2], "cut": "[1, 2", "none": None, "f": "0.10"}


# -- files of our own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", list(own_sets()), ids=lambda found: found.name)
def test_a_set_that_is_written_is_read_as_the_same(found: TemplateSet) -> None:
    assert set_file.read(set_file.write(found), found.name, "x.toml") == found


def test_odd_texts_survive_a_file() -> None:
    odd = Template('a "name"', 'line\r\n{text} \\n """ {{x}}', "{answer}\t", "label", {"ja, gewiß": "ja", "": "nein"}, between="\n")  # noqa: E501
    found = TemplateSet("odd", "", "generate", ("text",), "label", (), (odd,))
    assert set_file.read(set_file.write(found), "odd", "odd.toml") == found


FAULTS = {
    'abuot = "x"\n[[template]]\nname = "a"\nprompt = "{t}"': "no such key as 'abuot'. Did you mean 'about'?",
    '[[template]]\nname = "a"\nprompt = "{t"': "template a: expected '}' before end of string",
    '[[template]]\nname = "a"\nprompt = "{t.x}"': "the slot {t.x} holds more than a name",
    '[[template]]\nname = "a"\nprompt = "{t!r}"': "the slot {t!r} holds more than a name",
    '[[template]]\nname = "a"': "needs either a prompt or a jinja text",
    '[[template]]\nprompt = "{t}"': "template 1: it has no name",
    '[[template]]\nname = "a"\nprompt = 3': "prompt: 3 does not do. Write a text",
    '[[template]]\nname = "a"\nprompt = "{t}"\n[[template]]\nname = "a"\nprompt = "{u}"': "the name of several templates",
    'labels = ["x"]\n[[template]]\nname = "a"\nprompt = "{t}"\nanswers = ["p", "q"]': "2 answers, and the set 1 labels",
    'fields = ["t"]\ntarget = "l"\n[[template]]\nname = "a"\nprompt = "{tt}"': "no field 'tt'. Its fields are t, l",
    'kind = "classify"\nlabels = ["x", "y"]\n[[template]]\nname = "a"\nprompt = "{t}"\nanswers = ["p", "p"]': "both called 'p'",
    'kind = "classify"\n[[template]]\nname = "a"\nprompt = "{t}"\ncompletion = "{u}"': "its completion does not hold {answer}",
    '[[template]]\nname = "a"\njinja = "{% if %}"': "template a: ",
    'kind = "sort"\n[[template]]\nname = "a"\nprompt = "{t}"': "'sort' is none",
    "about = [": "not valid TOML",
    'about = "nothing in it"': "it holds no template",
    "template = 3": "does not do. Write a list",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_faulty_file_says_what_to_do(text: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    assert FAULTS[text] in str(caught.value) and str(caught.value).startswith("mine.toml")


def test_all_faults_of_a_file_are_said_at_once() -> None:
    with pytest.raises(DataError) as caught:
        read('[[template]]\nname = "a"\nprompt = "{a"\n[[template]]\nname = "b"\nprompt = "{b.c}"')
    assert len(caught.value.problems) == 2


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'sentiment'"):
        open_set("sentimnt")
    with pytest.raises(DataError, match="Did you mean 'textbook'"):
        open_set("nli").named("textbok")
    with pytest.raises(DataError, match="holds no task 'rte'"):
        open_set("nli", "rte")


def test_slots_are_names_and_nothing_else() -> None:
    assert slots.slots("{a} {is promise} {a}") == ("a", "is promise")
    for text in ("{}", "{a[0]}", "{ }", "{a:>9}", "}"):
        with pytest.raises(ValueError):
            slots.slots(text)
    assert slots.without("{options}", "options") == ""
    assert slots.without("a", "options") == "a"
