"""What is no row, and why: each rule by itself, with the reason that is counted."""

from __future__ import annotations

from typing import Any

import pytest
from synth_parts import LABELS, recipe

from whet.example import Example, Origin, Task
from whet.synth.candidate import Candidate
from whet.synth.filters import Filters

GOOD = "My parcel came two days late and the box was open."


def filters(*shown: Example, kind: Any = "classify", **synth: Any) -> Filters:
    section = recipe(**synth).synth
    assert section is not None
    task = Task(kind=kind, instruction="Say what it is.", labels=LABELS if kind == "classify" else ())
    return Filters(task, section, shown)


def candidate(text: str, target: str = "complaint", instruction: str | None = None, **more: Any) -> Candidate:
    return Candidate({"text": text}, target, instruction, **more)


def reason(rules: Filters, made: Candidate) -> str | None:
    found = rules.judge(made)
    assert found is None or (found.candidate is made and found.detail)
    return found.reason if found else None


def test_a_good_row_passes() -> None:
    assert reason(filters(), candidate(GOOD)) is None
    assert reason(filters(heuristics="self_instruct", min_words=3, max_words=20, banned_words=["tax"]), candidate(GOOD)) is None


@pytest.mark.parametrize(
    ("wanted", "made", "synth"),
    [
        ("unknown_label", candidate(GOOD, "anger"), {}),
        ("refusal", candidate("I'm sorry, but I can't help with that request."), {}),
        ("echo", candidate("Praise!", "praise"), {}),
        ("ends_with_colon", candidate("Here is what happened to me yesterday:"), {}),
        ("too_short", candidate("Late again."), {"min_words": 3}),
        ("too_long", candidate(GOOD), {"max_words": 10}),
        ("banned_word", candidate("They raised the TAX again."), {"banned_words": ["tax", "c++"]}),
        ("banned_word", candidate("I wrote it in C++, and it broke."), {"banned_words": ["tax", "c++"]}),
        ("wrong_language", candidate("Das Paket ist zu spät gekommen und die Kiste war offen."), {"language": "en"}),
        ("wrong_language", candidate("Посылка пришла поздно, и коробка была открыта."), {"language": "en"}),
        ("too_short", candidate("", "x", "Sort them now.", cell=()), {"heuristics": "self_instruct"}),
        ("banned_word", candidate("", "x", "Describe the picture in a few words.", cell=()), {"heuristics": "self_instruct"}),
        ("banned_word", candidate("", "x", "Please go to the shop and buy bread.", cell=()), {"heuristics": "self_instruct"}),
        ("opening", candidate("", "x", "Write a program that sorts a list.", cell=()), {"heuristics": "self_instruct"}),
        (
            "first_character",
            candidate("", "x", "- List the largest lakes of Africa.", cell=()),
            {"heuristics": "self_instruct"},
        ),
        ("first_character", candidate("", "x", "Éditez la phrase que voici.", cell=()), {"heuristics": "self_instruct"}),
        ("banned_word", candidate("", "x", "Write the lyrics for a video about spring.", cell=()), {"heuristics": "alpaca"}),
    ],
)
def test_each_rule_says_its_own_reason(wanted: str, made: Candidate, synth: dict[str, Any]) -> None:
    kind = "classify" if made.instruction is None else "generate"
    assert reason(filters(kind=kind, **synth), made) == wanted


def test_only_what_is_clearly_in_another_language_is_rejected() -> None:
    for text in (GOOD, "OK, 42.", "Pakken er for sent"):
        assert reason(filters(language="en"), candidate(text)) is None


def test_words_are_banned_whole() -> None:
    assert reason(filters(banned_words=["tax"]), candidate("They taxi to the airport every week.")) is None
    assert (
        reason(filters(kind="generate", heuristics="self_instruct"), candidate("", "x", "Explain what photography is about."))
        is None
    )


def test_a_published_video_rule_is_alpacas_alone() -> None:
    made = candidate("", "x", "Write the lyrics for a video about spring.")
    assert reason(filters(kind="generate", heuristics="self_instruct"), made) is None


def test_what_was_accepted_is_named_by_its_id() -> None:
    rules = filters()
    rules.learn(candidate(GOOD), "mail-1")
    same, near, like = GOOD.upper() + "!!", GOOD[:-1] + ", too.", "My parcel came two weeks late, its box was open."
    for text, why, detail in (
        (same, "duplicate", "the same as mail-1"), (near, "near_duplicate", "with mail-1"), (like, "not_novel", "with mail-1"),
    ):  # fmt: skip
        found = rules.judge(candidate(text))
        assert found is not None and (found.reason, detail in found.detail) == (why, True), text
    assert reason(rules, candidate("The staff at your shop in Leeds were rude to my father.")) is None


def test_thresholds_switch_off() -> None:
    rules = filters(novelty_threshold=1.0, near_duplicate_threshold=1.0)
    rules.learn(candidate(GOOD), "mail-1")
    assert reason(rules, candidate(GOOD.replace("two", "three"))) is None
    assert reason(rules, candidate(GOOD)) == "duplicate"


def test_kin_may_be_alike_but_not_the_same() -> None:
    """A contrast pair differs in a word or two; that is what it is for."""
    rules, edited = filters(), GOOD.replace("late", "early").replace("open", "intact")
    rules.learn(candidate(GOOD, group="pair-1"), "mail-1")
    assert reason(rules, candidate(edited, "praise")) in ("near_duplicate", "not_novel")
    assert reason(rules, candidate(edited, "praise", parents=("mail-1",))) is None
    assert reason(rules, candidate(edited, "praise", group="pair-1")) is None
    assert reason(rules, candidate(GOOD, "praise", parents=("mail-1",))) == "duplicate"


def test_instances_of_one_instruction_share_it() -> None:
    rules = filters(kind="generate")
    first = candidate("apples, pears, plums", "apples", "Name the first fruit in this list.", group="task-7")
    rules.learn(first, "t-1")
    again = candidate("the oak, the elm and the ash tree", "the oak", "Name the first fruit in this list.")
    assert reason(rules, again) == "not_novel"
    assert reason(rules, Candidate(again.inputs, again.target, again.instruction, group="task-7")) is None


def test_what_the_maker_was_shown_is_no_new_row() -> None:
    seed = Example("seeds-2", {"text": GOOD}, "complaint", None, Origin("seeds.csv", 2))
    found = filters(seed).judge(candidate(GOOD))
    assert found is not None and found.detail == "the same as seeds.csv, row 2"
