"""The recipe: every mistake said at once, each with the nearest key; old names understood; equal intentions, equal prints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from whet.errors import RecipeError
from whet.knobs.old_names import OLD_NAMES
from whet.recipe import SECTIONS, Recipe, known_keys, load, parse

GOOD = """
name = "homes"
[task]
instruction = "Is it a promise?"
labels = ["no", "yes"]
[data]
path = "table.csv"
input = "sentence"
target = "label"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "homes.toml"
    path.write_text(text, "utf-8")
    return path


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(write(folder, text), overrides)
    return [str(p) for p in caught.value.problems]


def test_a_good_recipe_and_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("")
    recipe = load(write(tmp_path, GOOD))
    assert recipe.data.input == ("sentence",) and recipe.model.base == "whetstone" and recipe.lora is None
    assert recipe.data.path == str((tmp_path / "table.csv").resolve()), "paths are taken from the recipe's folder"
    assert parse(tomllib.loads(recipe.dump())) == recipe, "the dump is the same recipe"


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    train = "[train]\nlearning_rte = 1e-3\nmax_seq_length = 128\nweight_decay = -1\n"
    found = problems(tmp_path, GOOD + train + '[lora]\nlora_alpha = "x"\n[nonsense]\na = 1\n')
    assert len(found) == 5
    whole = "\n".join(found)
    assert "[train] learning_rte: there is no such key. Did you mean `learning_rate`?" in whole
    assert "[train] max_seq_length: there is no such key. It is called [train] max_length now." in whole
    assert "[train] weight_decay: -1 does not do" in whole and "[lora] lora_alpha" in whole and "nonsense" in whole
    assert all(p.startswith("homes.toml, ") for p in found)


def test_a_key_in_the_wrong_section_is_sent_home(tmp_path: Path) -> None:
    assert "Did you mean `learning_rate` in [train]?" in problems(tmp_path, GOOD + "[model]\nlearning_rate = 1e-3\n")[0]


def test_missing_parts_say_what_they_are(tmp_path: Path) -> None:
    found = problems(tmp_path, 'name = "x"\n[task]\nlabels = ["a", "b"]\n')
    assert any("[task] instruction: this key is missing. Add it: what to do" in p for p in found)
    assert any("the section [data] is missing" in p for p in found)


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_names_are_answered_with_the_new_one(tmp_path: Path, old: str) -> None:
    assert f"It is called {OLD_NAMES[old]} now" in problems(tmp_path, GOOD + f"[train]\n{old} = 1\n")[0]


def test_new_names_of_old_ones_exist() -> None:
    keys = known_keys()
    named = [re.match(r"\[(\w+)] (\w+)", new) for new in OLD_NAMES.values() if new.startswith("[")]
    assert len(named) >= 12
    for name in named:
        assert name is not None and name[2] in keys[name[1]], name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('labels = ["no"]', "needs at least two"),
        ('labels = ["no", "no"]', "holds a label twice"),
        ('kind = "generate"\nlabels = ["no", "yes"]', 'belong to kind = "classify"'),
        ('kind = "clasify"', "kind"),
    ],
)
def test_tasks_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in p for p in problems(tmp_path, GOOD.replace('labels = ["no", "yes"]', text)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[task]\nkind = "text"\n[data]\npath = "a.txt"\ntarget = "x"\ninstruction = "y"',
         'target, instruction: kind = "text" answers'),
        ('[task]\nkind = "text"\nlabels = ["a", "b"]\n[data]\npath = "a.txt"', 'labels belong to kind = "classify"'),
        ('[task]\nkind = "text"\ninstruction = "Read."\n[data]\npath = "a.txt"', "reads plain text, without one"),
        ('[task]\nkind = "generate"\ninstruction = "x"\n[data]\npath = "a.csv"\ninput = "a"\ntarget = "b"\nmix_path = "m.json"',
         'mix_path: that belongs to kind = "text"'),
        ('[task]\nkind = "generate"\n[data]\npath = "a.csv"', "[data] target: this key is missing"),
    ],
)  # fmt: skip
def test_keys_of_another_kind_of_task_are_refused(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in p for p in problems(tmp_path, f'name = "x"\n{text}\n'))


def test_what_a_kind_of_task_can_do_without(tmp_path: Path) -> None:
    rows = 'name = "x"\n[task]\nkind = "generate"\n[data]\npath = "a.json"\ninput = "i"\ntarget = "o"\ninstruction = "do"\n'
    assert load(write(tmp_path, rows)).task.instruction == ""
    text = 'name = "x"\n[task]\nkind = "text"\ninstruction = "Do it."\n[data]\npath = "a.txt"\nmix_path = "m.json"\n'
    recipe = load(write(tmp_path, text))
    assert recipe.data.mix_path == str(tmp_path / "m.json") and recipe.data.target is None


def test_label_names_that_nothing_reads_are_refused(tmp_path: Path) -> None:
    answers = GOOD.replace('labels = ["no", "yes"]', 'kind = "generate"')
    load(write(tmp_path, answers))
    found = problems(tmp_path, answers + '[data.label_names]\n"1" = "yes"\n')
    assert "[data.label_names] belongs to kind" in found[0]


def test_label_names_must_lead_to_labels(tmp_path: Path) -> None:
    assert "[data.label_names] leads to maybe" in problems(tmp_path, GOOD + '[data.label_names]\n"1" = "maybe"\n')[0]


def test_warmup_with_constant_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + '[train]\nlr_scheduler_type = "constant"\nwarmup_ratio = 0.1\n')
    assert "constant_with_warmup" in found[0]


def test_overrides_go_through_the_same_door(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    recipe = load(path, ["train.learning_rate=1e-4", "lora.r=4", "name=other", 'data.input=["a", "b"]'])
    assert (recipe.train.learning_rate, recipe.name, recipe.data.input) == (1e-4, "other", ("a", "b"))
    assert recipe.lora is not None and recipe.lora.r == 4
    assert "Did you mean" in problems(tmp_path, GOOD, "train.learning_rates=1")[0]
    assert "key=value" in problems(tmp_path, GOOD, "train.learning_rate")[0]
    assert "is not a section" in problems(tmp_path, GOOD, "name.x=1")[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"name = ", "not valid TOML"), ('name = "caf\xe9"'.encode("latin-1"), "not UTF-8"), (None, "no such recipe")],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "homes.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        load(path)


def test_seeds_of_different_uses_differ() -> None:
    recipe = parse(tomllib.loads(GOOD))
    uses = ["order", "adapter", "bootstrap", "few_shot", "split", "weights"]
    assert len({recipe.derive_seed(u) for u in uses}) == len(uses)
    assert recipe.derive_seed("order") == parse(tomllib.loads(GOOD)).derive_seed("order")
    assert recipe.derive_seed("order") != recipe.model_copy(update={"seed": 8}).derive_seed("order")


def test_every_field_says_what_it_is() -> None:
    fields = [(s, k) for s, keys in known_keys().items() for k in keys]
    assert len(fields) >= 45
    silent = [(s, k) for s, k in fields if k not in ("task", "data", "model", "train", "evaluate") and not _description(s, k)]
    assert silent == []


def _description(section: str, key: str) -> str | None:
    sections: dict[str, type[BaseModel]] = {"": Recipe, **SECTIONS}
    return sections[section].model_fields[key].description
