"""promptsource's templates: read as data, rendered as promptsource renders them, made into slots where slots say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whet.errors import DataError
from whet.example import Template
from whet.prompts import promptsource, set_file
from whet.prompts.library import open_set
from whet.prompts.render import Rendered, Skipped, render

# Rows made by hand with the fields of each data set. Where a template wants a certain kind of row, there is one of each kind.
MEANINGS = (
    "name[The Vaults], eatType[pub], food[Indian], priceRange[high], customer rating[5 out of 5], near[Café Adriatic]",
    "name[Aromi], eatType[restaurant], area[riverside], familyFriendly[yes]",
)
FINE_LABELS = {0: range(0, 2), 1: range(2, 24), 2: range(24, 28), 3: range(28, 32), 4: range(32, 37), 5: range(37, 50)}
ROWS: dict[str, list[dict[str, Any]]] = {
    "ag_news": [{"text": "Oil falls as fears of a shortage ease.", "label": n} for n in range(4)],
    "anli": [{"premise": "The mill closed in 1911.", "hypothesis": "It was open in 1910.", "label": n, "reason": ""}
             for n in range(3)],
    "banking77": [{"text": "Why was my card declined?", "label": n} for n in (0, 25, 76)],
    "cnn_dailymail/3.0.0": [{"article": "A bridge was opened. Many came.", "highlights": "Bridge opened."}],
    "common_gen": [{"concepts": ["dog", "ball", "catch"], "target": "The dog catches a ball.", "concept_set_idx": 0}],
    "cos_e/v1.11": [{"question": "Where do you keep milk?", "choices": ["oven", "fridge", "shelf", "car", "roof"],
                     "answer": "fridge", "abstractive_explanation": "Milk has to be cold.", "extractive_explanation": "milk"}],
    "dbpedia_14": [{"title": "Elm Road", "content": "Elm Road is a street.", "label": n} for n in (0, 13)],
    "e2e_nlg_cleaned": [{"meaning_representation": mr, "human_reference": "It is a good place."} for mr in MEANINGS],
    "financial_phrasebank/sentences_allagree": [{"sentence": "Sales rose by a tenth.", "label": n} for n in range(3)],
    "glue/mrpc": [{"sentence1": "He left.", "sentence2": "He went away.", "label": n, "idx": n} for n in range(2)],
    "glue/sst2": [{"sentence": "a quiet joy", "label": n, "idx": n} for n in range(2)],
    "imdb": [{"text": "I laughed for an hour.", "label": n} for n in range(2)],
    "paws/labeled_final": [{"id": n, "sentence1": "A met B.", "sentence2": "B met A.", "label": n} for n in range(2)],
    "rotten_tomatoes": [{"text": "a slow film with a warm heart", "label": n} for n in range(2)],
    "samsum": [{"id": "1", "dialogue": "Ann: Tea?\nBo: Yes!", "summary": "Bo wants tea."}],
    "sciq": [{"question": "What do plants take in?", "distractor1": "helium", "distractor2": "neon", "distractor3": "gold",
              "correct_answer": "carbon dioxide", "support": "Plants take in carbon dioxide."}],
    "sms_spam": [{"sms": "You won! Call now.\n", "label": n} for n in range(2)],
    "squad_v2": [{"id": "1", "title": "Paris_France", "context": "Paris lies on the Seine.", "question": "Where is Paris?",
                  "answers": {"text": found, "answer_start": [11] * len(found)}} for found in (["on the Seine"], [])],
    "super_glue/boolq": [{"passage": "Tin melts at 232 degrees.", "question": "does tin melt", "label": n, "idx": 0}
                         for n in range(2)],
    "super_glue/cb": [{"premise": "B: I think so.", "hypothesis": "it is so", "label": n, "idx": 0} for n in range(3)],
    "super_glue/rte": [{"premise": "Cats purr.", "hypothesis": "Cats make a sound.", "label": n, "idx": 0} for n in range(2)],
    "trec": [{"text": "What is an atom?", "coarse_label": coarse, "fine_label": fine}
             for coarse, fines in FINE_LABELS.items() for fine in fines],
    "xsum": [{"document": "The river rose overnight. Roads are closed.", "summary": "A flood closed roads.", "id": "1"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "promptsource"


def test_every_template_of_every_file_is_rendered(folder: Path) -> None:
    """All 220 templates give a prompt and a completion for some row; what is skipped, the template's own condition skips."""
    files = sorted(file.parent.relative_to(folder).as_posix() for file in folder.rglob("templates.yaml"))
    assert files == sorted(ROWS)
    count = rendered = skipped = 0
    for name in files:
        found = open_set(folder / name / "templates.yaml")
        assert found.name == name
        count += len(found.templates)
        for template in found.templates:
            made = [render(template, row) for row in ROWS[name]]
            good = [each for each in made if isinstance(each, Rendered)]
            bad = [each for each in made if isinstance(each, Skipped)]
            assert good, f"{name}, {template.name}: {bad[0].reason if bad else 'no row'}"
            assert not [each.reason for each in bad if each.is_fault], f"{name}, {template.name}"
            rendered, skipped = rendered + len(good), skipped + len(bad)
    assert (len(files), count, rendered, skipped) == (23, 220, 828, 485)


def test_slots_say_the_same_as_jinja(folder: Path) -> None:
    """Most templates need no Jinja; those that are made into slots render every row as they did before."""
    simple = 0
    for name, rows in ROWS.items():
        found = open_set(folder / name / "templates.yaml")
        converted = promptsource.simplified(found)
        for before, after in zip(found.templates, converted.templates, strict=True):
            simple += not after.jinja
            for row in rows:
                one, other = render(before, row), render(after, row)
                assert isinstance(one, Skipped) == isinstance(other, Skipped) and (isinstance(one, Skipped) or one == other)
        assert set_file.read(set_file.write(converted), converted.name, "out.toml") == converted
    assert simple == 154


# -- what promptsource does --------------------------------------------------------------------------------------------


def made(jinja: str, row: dict[str, Any], choices: str = "", seed: int = 0) -> Rendered | Skipped:
    return render(Template("t", completion="", jinja=jinja, answer_choices=choices), row, seed=seed)


def test_a_separator_in_a_field_is_no_separator() -> None:
    row = {"text": "a ||| b", "list": ["x ||| y"], "table": {"k": "p|||q"}, "label": 1}
    found = made("{{ text }} {{ list[0] }} {{ table.k }} ||| {{ answer_choices[label] }} {{ text }}", row, "No ||| Yes")
    assert found == Rendered("t", "a ||| b x ||| y p|||q", "Yes a ||| b")


def test_answers_may_be_jinja_themselves() -> None:
    row = {"choices": ["one", "three"], "label": 0}
    found = made("{{ answer_choices | join('; ') }} ||| {{ answer_choices | length }}", row, '{{ choices | join("|||") }}')
    assert found == Rendered("t", "one; three", "2")


@pytest.mark.parametrize(
    ("jinja", "row", "reason", "is_fault"),
    [
        ("{% if label == 1 %}{{ text }} ||| yes{% endif %}", {"text": "a", "label": 0}, "condition does not hold", False),
        ("{% if label == 1 %}{{ text }} ||| yes{% endif %}", {"text": "a"}, "which has no field 'label'", True),
        ("{{ text }} ||| {% if label != -1 %}{{ label }}{% endif %}", {"text": "a", "label": -1}, "completion is empty", False),
        ("{{ text }}", {"text": "a"}, "no completion: there is no |||", True),
        ("{{ text }} ||| b ||| c", {"text": "a"}, "3 parts where two are wanted", True),
        ("{{ txet }} ||| b", {"text": "a"}, "missing: 'txet' is undefined", True),
        ("{{ answer_choices[7] }} ||| b", {"text": "a"}, "missing: ", True),
        ("{{ text.__class__ }} ||| b", {"text": "a"}, "forbidden: ", True),
        ("{{ text }} ||| b", {"text": "a", "answer_choices": "x"}, "a field of its own that is called 'answer_choices'", True),
    ],
)
def test_what_gives_no_pair_is_skipped(jinja: str, row: dict[str, Any], reason: str, is_fault: bool) -> None:
    found = made(jinja, row, "No ||| Yes")
    assert isinstance(found, Skipped) and reason in found.reason and found.is_fault == is_fault, found


def test_nothing_is_cut() -> None:
    """promptsource's own `apply` cuts each field to 2,048 characters, and breaks `}}` of a table; neither happens here."""
    found = made("{{ {'a': {'b': text}}['a']['b'] }} ||| {{ text }}", {"text": "x" * 3000})
    assert isinstance(found, Rendered) and found.prompt == found.completion == "x" * 3000


def test_choices_are_drawn_by_seed() -> None:
    drawn = {str(made("{{ ['a', 'b', 'c'] | choice }} ||| d", {}, seed=seed)) for seed in range(20)}
    assert len(drawn) == 3
    assert made("{{ ['a', 'b'] | choice }} ||| d", {}, seed=3) == made("{{ ['a', 'b'] | choice }} ||| d", {}, seed=3)


# -- files -------------------------------------------------------------------------------------------------------------


def read(jinja: str, choices: str = "No ||| Yes", *, is_original: bool = True) -> Template:
    """The one template of a file with this text, made into slots if it can be."""
    text = json.dumps(jinja)
    file = (
        f"dataset: demo\ntemplates:\n  1a: !Template\n    answer_choices: {choices}\n    jinja: {text}\n    name: q1\n"
        f"    metadata: !TemplateMetadata\n      original_task: {is_original}\n"
    )
    return promptsource.simplified(promptsource.read(file, "templates.yaml")).templates[0]


def test_a_template_becomes_slots_where_slots_say_it() -> None:
    found = read('{{text}} {braces} {{"Spam"}}? {{ answer_choices | join(" or ") }} ||| {{ answer_choices[label] }}')
    assert (found.prompt, found.completion) == ("{text} {{braces}} Spam? No or Yes", "{answer}")
    assert dict(found.answers) == {"0": "No", "1": "Yes"} and found.target == "label" and not found.jinja


@pytest.mark.parametrize(
    "jinja",
    [
        "{{ text | upper }} ||| {{ answer_choices[label] }}",
        "{{ text }} ||| {{ answer_choices[label - 1] }}",
        "{% for w in text.split() %}{{ w }}{% endfor %} ||| {{ answer_choices[label] }}",
        "{% if label == 1 %}{{ text }} ||| b{% endif %}",
        "{{ text }} ||| {% if label != 0 %}{{ answer_choices[label] }}{% endif %}",
        "{{ text }}{{ answer }} ||| {{ answer_choices[label] }}",
        "{{ options }} ||| {{ answer_choices[label] }}",
    ],
)
def test_what_only_jinja_says_stays_jinja(jinja: str) -> None:
    assert read(jinja).jinja == jinja


def test_two_labels_of_one_name_stay_jinja() -> None:
    assert read("{{ text }} ||| {{ answer_choices[label] }}", "Yes ||| Yes").jinja


def test_the_original_task_is_forward_and_another_is_inverted() -> None:
    assert not read("{{ text }} ||| {{ label }}").is_inverted
    assert read("{{ label }} ||| {{ text }}", is_original=False).is_inverted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset: [", "it is not promptsource's YAML"),
        ("dataset: demo", "it holds no `templates`"),
        ("templates: !!python/object/apply:os.system ['id']", "it is not promptsource's YAML"),
        ("templates: {1a: !Other {name: a}}", "it is not promptsource's YAML"),
        ("templates: {1a: !Template {name: a}}", "it has no name or no jinja text"),
        ("templates: {1a: !Template {name: a, jinja: 'x', answer_choices: [1]}}", "its answer_choices are no text"),
        ("templates: {1a: !Template {name: a, jinja: '{% if %}'}}", "'a' is no Jinja: "),
        ("templates: {1a: 3}", "it is no !Template"),
        ("[" * 3000, "it "),
    ],
    ids=range(9),
)
def test_another_file_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        promptsource.read(text, "templates.yaml")
    assert said in str(caught.value) and str(caught.value).startswith("templates.yaml")


def test_templates_of_one_name_are_numbered() -> None:
    text = "templates: {1: !Template {name: a, jinja: 'x ||| y'}, 2: !Template {name: a, jinja: 'z ||| y'}}"
    assert [template.name for template in promptsource.read(text, "t.yaml").templates] == ["a", "a 2"]
