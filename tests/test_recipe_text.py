"""A recipe's text with settings changed: it reads as the settings say, and all else is as it was."""

from __future__ import annotations

import tomllib

import pytest

from whet.recipe_text import edited

TEXT = '''# A recipe
name = "x"  # the run

[data]
path = "a#b.csv"   # a '#' inside
input = ["one", "two"]

# how
[train]
optim = "adamw_torch"
max_length = 128    # short
bf16 = false

[[task.positive_examples]]
input = "x"
'''


@pytest.mark.parametrize(
    ("key", "value"),
    [("train.max_length", 96), ("train.optim", "adamw_8bit"), ("train.bf16", True), ("train.learning_rate", 0.0003),
     ("name", 'say "y"'), ("data.path", "b.csv"), ("data.input", ("three",)), ("lora.r", 8), ("seed", 3)],
)  # fmt: skip
def test_one_setting_is_changed_and_nothing_else(key: str, value: object) -> None:
    before, made = tomllib.loads(TEXT), edited(TEXT, {key: value})
    section, _, name = key.rpartition(".")
    wanted = list(value) if isinstance(value, tuple) else value
    (before.setdefault(section, {}) if section else before)[name] = wanted
    assert tomllib.loads(made) == before
    assert [line.rpartition("#")[2] for line in made.splitlines() if "# " in line] == [
        line.rpartition("#")[2] for line in TEXT.splitlines() if "# " in line
    ]


def test_a_new_key_stands_at_the_end_of_its_section() -> None:
    made = edited(TEXT, {"train.gradient_checkpointing": True}).splitlines()
    assert made[made.index("bf16 = false") + 1] == "gradient_checkpointing = true"
