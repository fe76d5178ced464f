"""FLAN's templates.py: read from its syntax tree and never run; slips mended and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from whet.errors import DataError
from whet.prompts import flan, set_file
from whet.prompts.library import imported, open_set
from whet.prompts.render import Rendered, Skipped, few_shot, render

FILE = r"""
import os
from typing import Dict, List, Tuple
raise SystemExit("this file must not be run")

FewShotPattern = None
PATTERNS: Dict[str, List[Tuple[str, str]]] = {
    "rte": [
        ("{premise}\n\nDoes this mean that \"{hypothesis}\"?\n\n{options_}", "{answer}"),
        ("Premise: {premise}\nHypothesis: {hypothesis}n\n{options_}", "{answer}"),
        ("One {{brace}} " + "and " "{premise}?", "{answer}"),
        ("Make up a pair.", "Premise: {premise}\n\nHypothesis: {hypothesis}"),
    ],
    "cnn": [("Sum up: {text}", "{highlights}"), ("Highlights: {highlights}\n\nThe whole:", "{text}")],
    "record": [("{passage}\n{query}\n\n{options_str}", "{answer}")],
}
FEWSHOT_PATTERNS = {
    "rte": [
        FewShotPattern(
            inputs="{premise} So {hypothesis}?", targets="{answer}", inputs_prefix="Q: ", targets_prefix="A: ",
            x_y_delimiter="\n", example_separator="\n\n", in_template_mix=True),
    ],
}
"""
ROW: dict[str, object] = {
    "premise": "Cats purr.", "hypothesis": "Cats make a sound.", "answer": "yes", "options": ["yes", "no"],
}  # fmt: skip


def rendered(name: str, row: dict[str, object], *, with_options: bool = True) -> tuple[str, str]:
    made = render(flan.read(FILE, "templates.py").named(name), row, with_options=with_options)
    assert isinstance(made, Rendered), made
    return made.prompt, made.completion


def test_every_pattern_becomes_a_template() -> None:
    found = flan.read(FILE, "templates.py")
    names = ["rte-1", "rte-2", "rte-3", "rte-4", "cnn-1", "cnn-2", "record-1", "rte-few-shot-1"]
    assert [template.name for template in found.templates] == names
    assert [template.name for template in found.templates if template.is_inverted] == ["rte-4", "cnn-2"]
    assert set(found.fields) == {"premise", "hypothesis", "text", "highlights", "passage", "query"} and found.target == "answer"
    assert found.of_task("cnn").fields == ("text",) and found.of_task("cnn").target == "highlights"


def test_a_pattern_is_rendered_with_the_options_clause_and_without() -> None:
    question = 'Cats purr.\n\nDoes this mean that "Cats make a sound."?'
    assert rendered("rte-1", ROW) == (f"{question}\n\nOPTIONS:\n- yes\n- no", "yes")
    assert rendered("rte-1", ROW, with_options=False) == (question, "yes")
    assert rendered("rte-1", {**ROW, "options": "yes\nno"}) == rendered("rte-1", ROW)
    assert rendered("rte-1", {**ROW, "options_": "OPTIONS:\n- a"})[0] == f"{question}\n\nOPTIONS:\n- a"
    bare = {name: text for name, text in ROW.items() if name != "options"}
    assert rendered("rte-1", bare) == (question, "yes")
    assert rendered("record-1", {"passage": "P", "query": "Q", "answer": "A", "options": ["A", "B"]})[0].endswith("- A\n- B")
    assert rendered("rte-3", ROW)[0] == "One {brace} and Cats purr.?"
    assert rendered("rte-4", ROW) == ("Make up a pair.", "Premise: Cats purr.\n\nHypothesis: Cats make a sound.")


def test_a_row_of_another_task_is_skipped() -> None:
    made = render(flan.read(FILE, "templates.py").named("cnn-1"), ROW)
    assert isinstance(made, Skipped) and made.reason.startswith("the row has no field 'text'; it has premise")


def test_lost_backslashes_are_found_again_and_said() -> None:
    found = flan.read(FILE, "templates.py")
    assert rendered("rte-2", ROW, with_options=False)[0] == "Premise: Cats purr.\nHypothesis: Cats make a sound."
    assert rendered("rte-2", ROW)[0] == "Premise: Cats purr.\nHypothesis: Cats make a sound.\n\nOPTIONS:\n- yes\n- no"
    (repair,) = found.repairs
    assert repair.template == "rte-2" and "has lost a backslash" in repair.evidence
    assert not found.of_task("cnn").repairs


def test_worked_examples_are_divided_as_the_pattern_says() -> None:
    template = flan.read(FILE, "templates.py").named("rte-few-shot-1")
    one, two = render(template, ROW), render(template, {**ROW, "premise": "Dogs bark.", "answer": "no"})
    assert isinstance(one, Rendered) and isinstance(two, Rendered)
    made = few_shot(template, [one], two)
    shown = "Q: Cats purr. So Cats make a sound.?\nA: yes"
    assert made.prompt == f"{shown}\n\nQ: Dogs bark. So Cats make a sound.?\nA:" and made.completion == "no"


def test_an_imported_file_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "templates.py").write_text(FILE, "utf-8")
    found = imported(tmp_path / "templates.py")
    again = set_file.read(set_file.write(found), found.name, "out.toml")
    assert again.templates == found.templates and again.fields == found.fields
    assert open_set(tmp_path / "templates.py", "rte").templates == found.templates[:4] + found.templates[7:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "it holds no PATTERNS"),
        ("PATTERNS = {", "it is not valid Python"),
        ('PATTERNS = {"a": [("{x}", f"{y}")]}', "line 1: this is no text"),
        ('PATTERNS = {"a": [("{x}",)]}', "neither a pair of texts nor a FewShotPattern"),
        ('PATTERNS = {"a": 3}', "a task's patterns are no list"),
        ('PATTERNS = {"a": [("{x.y}", "{x}")]}', "the slot {x.y} holds more than a name"),
        ('PATTERNS = {"a": [("{x}", "{y")]}', "expected '}'"),
        ('PATTERNS = {**{}, "a": [("{x}", "{y}")]}', "this is no text"),
        ('PATTERNS = {"a": [(__import__("os").system("id"), "{y}")]}', "this is no text"),
        ('FEWSHOT_PATTERNS = {"a": [FewShotPattern(inputs="{x}")]}', "no inputs or no targets"),
        ("PATTERNS = {" + "(" * 3000, "it is not valid Python"),
    ],
    ids=range(11),
)
def test_another_file_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        flan.read(text, "templates.py")
    assert said in str(caught.value)


def test_what_is_added_to_a_table_below_it_is_read_too() -> None:
    added = (
        'PATTERNS["late"] = [("{a}?", "{b}")]\nPATTERNS.update({"more": [("{c}?", "{d}")]})\nOTHER["x"] = [("{e}", "{f}")]\n'
    )
    names = [template.name for template in flan.read(f"{FILE}\n{added}", "templates.py").templates]
    assert names[-2:] == ["late-1", "more-1"] and len(names) == 10
    with pytest.raises(DataError, match=r"^templates.py: line 1: this is no text. Write texts"):
        flan.read('PATTERNS["late"] = [("{a}?", f"{b}")]', "templates.py")
