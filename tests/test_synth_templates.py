"""Prompts: whet's own are whole, a user's stand in for them, and what is wrong with one is said before anything is sent."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest
from scripted_server import ScriptedServer
from synth_parts import is_probe, made, maker, recipe

from whet.errors import RecipeError
from whet.recipe import load
from whet.synth.desk import Desk
from whet.synth.methods import METHODS
from whet.synth.request import Message, Parameters
from whet.synth.templates import Prompts, template_names


def test_every_template_is_asked_by_somebody_and_every_one_that_is_asked_exists() -> None:
    desk = Desk(recipe(), Prompts())
    asked = {name for method in METHODS.values() for name in method(desk).prompts}
    assert len(METHODS) >= 2 and asked <= set(template_names())
    Prompts().check(template_names())
    for name in template_names():
        text = (resources.files("whet.synth") / "prompts" / f"{name}.toml").read_text("utf-8")
        assert text.startswith("# "), f"{name}.toml says what it asks for and which slots it has"
        assert "parameters" in tomllib.loads(text)


def test_a_template_is_filled() -> None:
    prompt = Prompts()["rows"]
    slots = {
        "instruction": "Say what it is.", "labels": ["a", "b", "c"], "count": 2, "label": "b", "columns": ("text", "from"),
        "target": "", "slices": {"length": "one line"}, "known": ["Old one."],
        "examples": [{"text": 'He said "no".', "from": "é"}],
    }  # fmt: skip
    system, user = prompt.fill(slots)
    assert system.role == "system" and user.role == "user"
    for part in (
        'Write 2 different examples whose right answer is "b" and clearly none of: a, c.',
        "Length of each: one line.", "- Old one.", 'with 2 items in the list:\n{"rows": [{"text": "...", "from": "..."}]}',
    ):  # fmt: skip
        assert part in user.content, user.content
    assert "\n\n\n" not in user.content


def test_parameters_of_the_recipe_win() -> None:
    assert Prompts(overrides={"max_tokens": 9})["rows"].parameters == Parameters(1.0, 0.95, 9)
    with ScriptedServer(maker) as server:
        made(recipe(server.base_url, rows=3, temperature=0.3, max_tokens=777), Path(_scratch()))
        asked = [body for body in server.bodies if not is_probe(body)]
        assert {(body["temperature"], body["max_tokens"], body["top_p"]) for body in asked} == {(0.3, 777, 0.95)}


def _scratch() -> str:
    import tempfile

    return str(Path(tempfile.mkdtemp()) / "run")


def test_a_users_prompt_stands_in_for_whets(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    own = 'user = "Schreibe {{ count }} Beispiele für {{ label }} als JSON."\n[parameters]\nmax_tokens = 50\nstop = ["##"]\n'
    (tmp_path / "prompts" / "rows.toml").write_text(own, "utf-8")
    with ScriptedServer(maker) as server:
        text = recipe(server.base_url, rows=3, prompts="prompts").dump()
        (tmp_path / "mail.toml").write_text(text, "utf-8")
        made(load(tmp_path / "mail.toml"), tmp_path / "run")
        body = next(body for body in server.bodies if not is_probe(body))
    assert body["messages"] == [{"role": "user", "content": "Schreibe 1 Beispiele für complaint als JSON."}]
    assert body["max_tokens"] == 50 and body["stop"] == ["##"] and "temperature" not in body


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rows.toml", "user = ", "not valid TOML"),
        ("rows.toml", 'system = "x"', "no `user` text"),
        ("rows.toml", 'user = "x"\nuse = "y"', "no such key as 'use'"),
        ("rows.toml", 'user = 3', "of the wrong kind"),
        ("rows.toml", 'user = "x"\n[parameters]\ntemprature = 1', "temprature: it is no parameter. Known here: temperature"),
        ("row.toml", 'user = "x"', "asks with no prompt of this name"),
        ("rows.txt", "x", "asks with no prompt of this name"),
    ],
)  # fmt: skip
def test_a_wrong_prompt_is_said_before_anything_is_sent(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=said):
        made(recipe(prompts=str(tmp_path)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_slot_that_is_not_filled_and_a_template_that_is_none_are_said(tmp_path: Path) -> None:
    for text, said in (
        ("{{ labl }}", "'labl' is undefined.*slots here are .*labels"),
        ("{% for x in %}", "TemplateSyntaxError"),
    ):
        (tmp_path / "label.toml").write_text(f'user = "{text}"', "utf-8")
        with pytest.raises(RecipeError, match=said):
            Prompts(str(tmp_path))["label"].fill({"labels": ["a"]})
    with pytest.raises(RecipeError, match="no such folder"):
        Prompts(str(tmp_path / "nowhere")).check(["label"])


def test_a_template_runs_in_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "label.toml").write_text("""user = "{{ ''.__class__.__mro__ }}" """, "utf-8")
    with pytest.raises(RecipeError, match="SecurityError"):
        Prompts(str(tmp_path))["label"].fill({})
    assert Prompts()["label"].fill({"instruction": "i", "labels": ["a"], "inputs": {"text": "{{ 7 * 7 }}"}}) == (
        Message("user", "i\n\ntext: {{ 7 * 7 }}\n\nWhich of these is it: a? Answer with a JSON object of the form "
                '{"label": "..."} and nothing else.'),
    )  # fmt: skip
