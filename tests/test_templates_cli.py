"""`whet template list | render | lint | import`, as a script calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whet.cli import main

ROW = '{"premise": "A dog runs.", "hypothesis": "An animal moves.", "label": "entailment"}'
YAML = """
dataset: demo
templates:
  1a: !Template {name: plain, answer_choices: No ||| Yes, jinja: '{{ text }} Spam? ||| {{ answer_choices[label] }}'}
  1b: !Template {name: loud, answer_choices: No ||| Yes, jinja: '{{ text | upper }} Spam? ||| {{ answer_choices[label] }}'}
  1c: !Template {name: some, answer_choices: No ||| Yes,
                 jinja: '{% if label == 1 %}{{ text }} What? ||| {{ answer_choices[label] }}{% endif %}'}
"""


@pytest.fixture
def yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("templates.yaml").write_text(YAML, "utf-8")
    return "templates.yaml"


def whet(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What the command prints with --json; it must end with this code."""
    ended = main(["template", *arguments, "--json"])
    printed = capsys.readouterr()
    assert ended == code, printed.err
    return json.loads(printed.out)


def test_list_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    sets = whet(capsys, "list")["sets"]
    assert len(sets) == 12 and all(found["templates"] == 10 for found in sets)
    found = whet(capsys, "list", "nli")
    assert found["set"] == "nli" and found["templates"][0]["name"] == "must be true"
    assert main(["template", "list", "nli"]) == 0
    assert "write a premise (inverted)" in capsys.readouterr().out


def test_render_is_a_list_of_pairs_and_reasons(capsys: pytest.CaptureFixture[str], yaml: str) -> None:
    made = whet(capsys, "render", "nli", "--row", ROW)
    assert len(made) == 10 and all(each.keys() == {"name", "prompt", "completion"} for each in made)
    (one,) = whet(capsys, "render", "nli", "--template", "textbook", "--row", ROW)
    assert one["completion"] == "entailment" and one["prompt"].endswith("Label:")
    made = whet(capsys, "render", yaml, "--row", '{"text": "a ||| b", "label": 0}')
    assert made[0] == {"name": "plain", "prompt": "a ||| b Spam?", "completion": "No"}
    assert made[1]["prompt"] == "A ||| B Spam?"
    assert made[2].keys() == {"name", "skipped"} and "condition does not hold" in made[2]["skipped"]


def test_render_shows_worked_examples_and_leaves_options_out(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("render", "nli", "--template", "must be true", "--row", ROW, "--shown", ROW.replace("dog", "cat"))
    (made,) = whet(capsys, *arguments, "--no-options")
    assert made["prompt"].count("Premise: ") == 2 and "OPTIONS" not in made["prompt"] and "Answer: yes" in made["prompt"]
    (made,) = whet(capsys, *arguments)
    assert made["prompt"].count("OPTIONS:") == 2


def test_render_says_no_where_something_is_wrong(capsys: pytest.CaptureFixture[str], yaml: str) -> None:
    assert whet(capsys, "render", yaml, "--row", '{"text": "a", "label": 0}', "--template", "some")[0]["name"] == "some"
    made = whet(capsys, "render", "nli", "--row", '{"premise": "a"}', code=1)
    assert "the row has no field 'hypothesis'" in made[0]["skipped"]
    for row in ("[1]", "{", "3"):
        assert main(["template", "render", "nli", "--row", row]) == 2
        assert "Write it as" in capsys.readouterr().err


def test_lint_ends_with_1_on_findings(capsys: pytest.CaptureFixture[str], yaml: str) -> None:
    assert whet(capsys, "lint", "nli")["findings"] == []
    rows = "text,label\n" + "".join(f"row {n},{n % 2}\n" for n in range(10))
    Path("rows.csv").write_text(rows, "utf-8")
    report = whet(capsys, "lint", yaml, "--rows", "rows.csv", code=1)
    assert report["rendered"] == {"plain": 10, "loud": 10, "some": 5} and report["rows"] == 10
    assert [(f["kind"], f["template"]) for f in report["findings"]] == [("one_class", "some")]
    assert main(["template", "lint", yaml, "--rows", "rows.csv"]) == 1
    assert "one_class 1" in capsys.readouterr().out


def test_import_writes_a_file_that_says_the_same(capsys: pytest.CaptureFixture[str], yaml: str) -> None:
    made = whet(capsys, "import", yaml, "-o", "spam.toml")
    assert made == {"file": "spam.toml", "templates": 3, "jinja": 2, "repaired": 0}
    row = '{"text": "a", "label": 1}'
    assert whet(capsys, "render", "spam.toml", "--row", row) == whet(capsys, "render", yaml, "--row", row)
    assert main(["template", "import", yaml, "-o", "spam.toml"]) == 2
    assert "give --force" in capsys.readouterr().err
    whet(capsys, "import", yaml, "-o", "spam.toml", "--force", "--labels", "ham,spam")
    made = whet(capsys, "render", "spam.toml", "--row", '{"text": "a", "label": "spam"}')
    assert [each["completion"] for each in made] == ["Yes", "Yes", "Yes"]
    assert main(["template", "import", yaml, "-o", "x.toml", "--labels", "one"]) == 2
    assert "its templates choose from 2 answers" in capsys.readouterr().err


def test_import_tells_what_it_mended(capsys: pytest.CaptureFixture[str], yaml: str) -> None:
    Path("templates.py").write_text('PATTERNS = {"a": [("Sum {x}n\\n", "{y}")], "b": [("Tell {z}.", "{y}")]}', "utf-8")
    assert whet(capsys, "import", "templates.py", "-o", "a.toml", "--task", "a")["repaired"] == 1
    assert main(["template", "import", "templates.py", "-o", "b.toml"]) == 0
    printed = capsys.readouterr()
    assert "has lost a backslash" in printed.err and "2 templates" in printed.out


@pytest.mark.parametrize("file", ["nothing.toml", "nothing", ".", "words.txt"])
def test_a_file_that_is_none_is_said(capsys: pytest.CaptureFixture[str], yaml: str, file: str) -> None:
    Path("words.txt").write_text("x", "utf-8")
    assert main(["template", "lint", file]) == 2
    assert capsys.readouterr().err.startswith("whet: error: ")
