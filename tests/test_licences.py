"""Licences as people write them, the terms of LLMs, and what all rows of a mix together allow."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import permutations
from pathlib import Path

import pytest

from whet import stages
from whet.cli import main
from whet.data.corpora.catalogue import Corpus, corpora
from whet.data.licences import UNSTATED, Forbids, maker_terms, read_licence, stricter, strictest
from whet.data.provenance import Stated, Tally, terms_of
from whet.example import Example, Origin
from whet.recipe import load

FACTS = Path(__file__).parent.parent / "src/whet/data/licences.toml"

# As stated somewhere in the real files and on the Hub: id, commercial, share alike.
WRITTEN = {
    "CC BY-NC 4.0": ("CC-BY-NC-4.0", False, False),
    "cc-by-nc-4.0": ("CC-BY-NC-4.0", False, False),
    "https://creativecommons.org/licenses/by-nc-sa/3.0/": ("CC-BY-NC-SA-3.0", False, True),
    "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International": ("CC-BY-NC-SA-4.0", False, True),
    "CC BY-NC-ND 4.0": ("CC-BY-NC-ND-4.0", False, False),
    "CC BY-NC-SA (and stricter source terms)": ("CC-BY-NC-SA", False, True),
    "CC BY 4.0 (DATA_LICENSE)": ("CC-BY-4.0", True, False),
    "cc-by-sa-3.0": ("CC-BY-SA-3.0", True, True),
    "CC0": ("CC0-1.0", True, False),
    "cc0-1.0": ("CC0-1.0", True, False),
    "creative commons": ("CC", None, None),
    "Apache 2.0": ("Apache-2.0", True, False),
    "Apache License, Version 2.0": ("Apache-2.0", True, False),
    "mit": ("MIT", True, False),
    "BSD-3-Clause": ("BSD", True, False),
    "afl-3.0": ("AFL-3.0", True, False),
    "Academic Free License v3.0": ("AFL-3.0", True, False),
    "non-commercial research only": ("non-commercial", False, None),
    "For academic research purposes only": ("non-commercial", False, None),
    "MS MARCO: non commercial research purposes only": ("non-commercial", False, None),
    "gpl-2.0": ("GPL-2.0", True, True),
    "GPLv3": ("GPL-3.0", True, True),
    "GNU General Public License": ("GPL", True, True),
    "LGPL 2.1": ("LGPL-2.1", True, True),
    "odc-by": ("ODC-By", True, False),
    "Open Parliament Licence (UK Hansard)": ("open government", True, False),
    "public domain (US federal government)": ("public domain", True, False),
    "bigscience-openrail-m": ("OpenRAIL", True, True),
    "OpenRAIL": ("OpenRAIL", True, True),
    "llama2": ("Llama", True, True),
    "own": ("own", True, None),
    "Crown copyright Canada": ("Crown copyright Canada", None, None),
    "Unknown": ("unstated", None, None),
    "other": ("unstated", None, None),
    "": ("unstated", None, None),
}


@pytest.mark.parametrize("stated", WRITTEN)
def test_a_licence_is_read_as_it_is_written(stated: str) -> None:
    terms = read_licence(stated)
    assert (terms.id, terms.commercial, terms.share_alike) == WRITTEN[stated]


def test_nobody_who_says_nothing_allows_anything() -> None:
    for silent in (None, "", " ", "Unknown", "n/a", "unstated"):
        assert read_licence(silent) is UNSTATED
    assert {read_licence("some terms of ours").commercial, UNSTATED.commercial, UNSTATED.sharing} == {None}


def test_several_licences_hold_together_and_of_a_choice_the_freest_is_taken() -> None:
    both = read_licence("CC BY-NC 4.0 AND Apache 2.0")
    assert (both.id, both.commercial, both.sharing) == ("CC-BY-NC-4.0 AND Apache-2.0", False, True)
    assert read_licence("MIT and Unknown").commercial is None
    assert read_licence("GPL-3.0 OR MIT").id == "MIT" and read_licence("MIT OR Apache-2.0").id == "MIT"


def test_the_strictest_of_several_does_not_depend_on_their_order() -> None:
    names = ("MIT", "CC BY-SA 4.0", "CC BY-NC-ND 4.0", "Unknown", "CC0")
    for chosen in permutations(names, 3):
        terms = [read_licence(name) for name in chosen]
        together, again = strictest(terms), strictest(reversed(terms))
        for field in ("commercial", "sharing", "changes", "share_alike", "attribution"):
            assert getattr(together, field) == getattr(again, field)
            values = [getattr(each, field) for each in terms]
            decisive = field in ("share_alike", "attribution")
            if decisive in values:
                assert getattr(together, field) is decisive
            else:
                assert getattr(together, field) is (None if None in values else not decisive)


MAKERS: dict[str, tuple[str, Forbids | None]] = {
    "text-davinci-003": ("OpenAI", "yes"), "gpt-3.5-turbo": ("OpenAI", "yes"), "GPT-4o": ("OpenAI", "yes"),
    "ChatGPT (gpt-3.5-turbo, gpt-4)": ("OpenAI", "yes"), "OpenAI's API": ("OpenAI", "yes"), "o1-mini": ("OpenAI", "yes"),
    "gpt-oss-120b": ("OpenAI", "no"), "EleutherAI/gpt-j-6b": ("various", "no"), "claude-3-opus": ("Anthropic", "yes"),
    "Bard": ("Google", "yes"), "google/gemma-2-9b": ("Google", "in part"), "Bing": ("Microsoft", "yes"),
    "meta-llama/Llama-2-70b-chat-hf": ("Meta", "yes"), "meta-llama/Meta-Llama-3-8B": ("Meta", "yes"),
    "meta-llama/Llama-3.1-8B-Instruct": ("Meta", "in part"), "Llama-4-Maverick": ("Meta", "in part"),
    "llama-7b": ("Meta", "yes"),
    "Qwen/Qwen-7B-Chat": ("Alibaba", "yes"), "Qwen/Qwen2.5-72B-Instruct": ("Alibaba", "in part"),
    "Qwen2.5-7B": ("Alibaba", "no"),
    "Qwen3-8B": ("Alibaba", "no"), "deepseek-r1": ("DeepSeek", "no"),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": ("Mistral AI", "no"),
    "mistral-large": ("", None), "SomeLM": ("", None), "people": ("", "no"), "rules": ("", "no"),
    "whetstone": ("various", "no"),
}  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS)
def test_the_terms_of_a_maker(maker: str) -> None:
    terms = maker_terms(maker)
    assert (terms.owner, terms.forbids) == MAKERS[maker]


def test_of_several_makers_the_strictest_counts() -> None:
    assert maker_terms("people, gpt-4").forbids == "yes"
    assert maker_terms("people and SomeLM").forbids is None
    assert maker_terms(None).forbids is None
    assert stricter("yes", None) == "yes" and stricter("in part", None) is None and stricter("no", "in part") == "in part"


def test_facts_are_whole() -> None:
    facts = tomllib.loads(FACTS.read_text("utf-8"))
    assert len(facts["licence"]) >= 20 and len(facts["maker"]) >= 15
    for fact in (*facts["licence"], *facts["maker"]):
        re.compile(fact["pattern"])
    for maker in facts["maker"]:
        assert maker["terms"] and (maker["forbids"] == "no" or 2022 < maker["year"] < 2027), maker


@pytest.mark.parametrize("corpus", corpora(), ids=lambda corpus: corpus.name)
def test_the_catalogue_says_what_licences_and_makers_say(corpus: Corpus) -> None:
    if corpus.commercial != "mixed":
        assert {"yes": True, "no": False, None: None}[corpus.commercial] == read_licence(corpus.licence).commercial
    if corpus.forbids_competing != "in part":
        forbids = "no"
        for model in corpus.models:
            assert maker_terms(model).forbids is not None, "every model of the catalogue is known"
            forbids = str(stricter(forbids, maker_terms(model).forbids))  # type: ignore[arg-type]
        assert forbids == corpus.forbids_competing


# -- rows --------------------------------------------------------------------------------------------------------------


def rows(source: str, count: int, licence: str | None = None, maker: str | None = None) -> list[Example]:
    """So many rows of one source."""
    return [Example(f"{source}-{n}", {}, "x", None, Origin(source, n, licence, maker)) for n in range(1, count + 1)]


def test_the_most_restrictive_terms_are_said_with_the_rows_that_they_come_from() -> None:
    mixed = [*rows("alpaca.json", 5000, "CC BY-NC 4.0", "text-davinci-003"), *rows("oasst", 20, "Apache-2.0", "people"),
             *rows("wiki", 3, "CC BY-SA 3.0", "SomeLM"), *rows("mine.csv", 7)]  # fmt: skip
    terms = terms_of(Tally(mixed))
    assert terms.sentence == (
        "No commercial use (CC-BY-NC-4.0: 5,000 rows); its authors are named; 7 rows state no licence. What is made of it is "
        "passed on under the same terms only (CC-BY-SA-3.0). 5,000 rows were written by text-davinci-003: output may not be "
        "used to develop models that compete with OpenAI (terms of OpenAI, 2023). 3 rows were written by SomeLM, whose terms "
        "are not known. Who wrote 7 rows is not stated."
    )
    found = json.loads(json.dumps(terms.to_json()))
    assert (found["commercial"], found["sharing"], found["share_alike"], found["forbids_competing_models"]) == (
        False, None, True, "yes"
    )  # fmt: skip
    assert found["licences"] == {"CC-BY-NC-4.0": 5000, "Apache-2.0": 20, "unstated": 7, "CC-BY-SA-3.0": 3}
    assert terms_of(Tally(reversed(mixed))).sentence == terms.sentence


def test_other_mixes_in_words() -> None:
    assert terms_of(Tally(rows("a", 9))).sentence == "Nobody states the licence of its 9 rows, or who wrote them."
    free = terms_of(Tally(rows("a", 9, "CC0", "people")))
    assert free.sentence == "Commercial use is allowed." and free.competing == "no"
    clash = terms_of(Tally([*rows("a", 1, "GPL-3.0", "people"), *rows("b", 2, "CC BY-SA 4.0", "people")]))
    assert "(CC-BY-SA-4.0, GPL-3.0), and no two of these can be met at once: it may not be passed on as one." in clash.sentence
    fixed = terms_of(Tally(rows("a", 2, "CC BY-NC-ND 4.0", "people")))
    assert "what is made of it is not passed on (CC-BY-NC-ND-4.0: 2 rows)" in fixed.sentence


def test_commercial_use_refuses_by_source_and_names_the_first_rows() -> None:
    tally = Tally([*rows("alpaca.json", 5, "CC BY-NC 4.0", "gpt-4"), *rows("oasst", 5, "Apache-2.0", "people"),
                   *rows("own", 2, "own"), *rows("plain.csv", 1), *rows("odd", 2, "MIT", "SomeLM")])  # fmt: skip
    assert tally.refused("research") == []
    assert [str(problem) for problem in tally.refused("commercial")] == [
        "alpaca.json, rows 1, 2, 3 and 2 more: their licence (CC-BY-NC-4.0) forbids commercial use. "
        'Leave them out, or write use = "research".',
        "alpaca.json, rows 1, 2, 3 and 2 more: they were written by gpt-4, and output may not be used to develop models that "
        'compete with OpenAI (terms of OpenAI, 2023). Leave them out, or write use = "research".',
        "odd, rows 1, 2: they were written by SomeLM, and whether its terms allow training other models is not known. "
        'Leave them out; or if no language model wrote them, write maker = "people".',
        "plain.csv, row 1: no licence is stated, so nobody has allowed their commercial use. If you know that you may, say why "
        'with `licence`, as in licence = "CC-BY-4.0", or "own" for rows of your own.',
    ]  # fmt: skip


def test_what_a_row_states_itself_comes_first() -> None:
    stated = Stated("MIT", "people")
    one, other = rows("a", 1, "CC0")[0], rows("a", 1, maker="gpt-4")[0]
    assert stated.of(one).origin == Origin("a", 1, "CC0", "people")
    assert stated.of(other).origin == Origin("a", 1, "MIT", "gpt-4")
    assert Stated().of(one) is one


def test_origins_written_before_there_were_licences_are_read() -> None:
    old = {
        "id": "a-1",
        "inputs": {"t": "x"},
        "target": "y",
        "group": None,
        "origin": {"source": "a", "row": 1},
        "instruction": None,
    }
    example = Example.from_json(old)
    assert example.origin == Origin("a", 1) and example.to_json() == old
    new = Example("a-1", {"t": "x"}, "y", None, Origin("a", 1, "MIT", "people"), references=("z",))
    assert Example.from_json(json.loads(json.dumps(new.to_json()))) == new


# -- recipes -----------------------------------------------------------------------------------------------------------


def write_recipe(folder: Path, **data: str) -> str:
    """A recipe over a table whose rows say their licence and maker, with more keys of [data]."""
    lines = ["text,label,terms,by"]
    for n in range(40):
        terms, by = (("CC-BY-4.0", "people"), ("CC BY-NC 4.0", "people"), ("MIT", "gpt-4"), ("", ""))[n % 4]
        lines.append(f"We will build {n} homes in ward {n * 7}.,{n % 3 == 0},{terms},{by}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", "utf-8")
    keys = {"path": "table.csv", "input": "text", "target": "label", **data}
    text = 'name = "t"\n[task]\nkind = "classify"\nlabels = ["True", "False"]\ninstruction = "Is it?"\n[data]\n'
    (folder / "t.toml").write_text(text + "".join(f'{key} = "{value}"\n' for key, value in keys.items()), "utf-8")
    return str(folder / "t.toml")


def test_a_recipe_for_commercial_use_lists_what_forbids_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"licence": "terms", "maker": "by"}
    assert main(["check", write_recipe(tmp_path, use="commercial", **columns)]) == 2
    said = capsys.readouterr().err
    assert "table.csv, rows 3, 7, 11 and 7 more: their licence (CC-BY-NC-4.0) forbids commercial use" in said
    assert "table.csv, rows 4, 8, 12 and 7 more: they were written by gpt-4" in said
    assert "table.csv, rows 5, 9, 13 and 7 more: no licence is stated" in said
    assert said.count("whet: error:") == 3
    assert main(["check", write_recipe(tmp_path, **columns)]) == 0
    assert "• Terms: No commercial use (CC-BY-NC-4.0: 10 rows)" in " ".join(capsys.readouterr().out.split())


def test_rows_of_ones_own_may_be_used_commercially_once_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", write_recipe(tmp_path, use="commercial")]) == 2
    assert main(["check", write_recipe(tmp_path, use="commercial", licence="own"), "--json"]) == 0
    terms = json.loads(capsys.readouterr().out)["terms"]
    assert terms["commercial"] is True and terms["licences"] == {"own": 40}
    assert terms["sentence"].startswith("Commercial use is allowed.")


def test_the_run_folder_keeps_licences_and_terms(tmp_path: Path) -> None:
    made = stages.prepare(load(Path(write_recipe(tmp_path, licence="terms", maker="by"))), tmp_path / "run")
    assert made.manifest["dataset"]["terms"]["forbids_competing_models"] == "yes"
    origins = {(e.origin.licence, e.origin.maker) for split in ("train", "validation", "test") for e in made.examples(split)}
    assert origins == {("CC-BY-4.0", "people"), ("CC BY-NC 4.0", "people"), ("MIT", "gpt-4"), (None, None)}
