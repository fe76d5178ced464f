"""The audit: each fault planted and found with its rows, nothing found in clean data, the faults of the real pledge corpus."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from whet import stages
from whet.cli import main
from whet.data.audit.checks import CHECKS, audit
from whet.data.audit.finding import Audit, Finding
from whet.data.audit.material import from_recipe, from_run, recipe_of
from whet.errors import DataError, RunError
from whet.recipe import Recipe, parse

SUBJECTS = "The council, The ministry, Our party, This government, The mayor, The board, A new agency, The railway".split(", ")
VERBS = "will build, has opened, wants to close, never mentioned, paid for, will repair, forgot about, promises".split(", ")
OBJECTS = (
    "forty schools in the north, the old harbour bridge, cheaper trams for students, a hospital by the river, "
    "safer cycle lanes, the flooded cellars, three wind farms off the coast, the library roof, "
    "new homes on public land, a museum of salt"
).split(", ")


LONG = "We will build forty thousand new homes on public land in the north of the country before 2030."


def clean_rows(n: int = 240, seed: int = 3) -> list[dict[str, str]]:
    """Rows without a fault: different texts, two labels in no order, lengths alike."""
    every = [f"{s} {v} {o}." for s in SUBJECTS for v in VERBS for o in OBJECTS]
    draw = random.Random(seed)
    return [
        {"text": text, "label": draw.choice(["yes", "no"]), "speech": f"s{i % 12}"}
        for i, text in enumerate(draw.sample(every, n))
    ]


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def recipe(path: Path, kind: str = "classify", **data: Any) -> Recipe:
    labels = {"labels": ["yes", "no"]} if kind == "classify" else {}
    columns = {"path": str(path), "input": "text", "target": "label", "near_duplicate_threshold": 0.9, **data}
    return parse({"name": "made", "task": {"kind": kind, "instruction": "Is it one?", **labels}, "data": columns})


def audited(folder: Path, rows: Sequence[Mapping[str, str]], split_column: str | None = None, **given: Any) -> Audit:
    return audit(from_recipe(recipe(write(folder / "made.csv", rows), **given), split_column))


def found(made: Audit, kind: str) -> Finding:
    """The one finding of a kind."""
    (finding,) = (f for f in made.findings if f.kind == kind)
    return finding


def rows_of(finding: Finding) -> list[int]:
    return [place.row for place in finding.rows]


def kinds(made: Audit) -> set[str]:
    return {finding.kind for finding in made.findings}


def test_clean_data_has_no_finding(tmp_path: Path) -> None:
    made = audited(tmp_path, clean_rows())
    assert made.findings == () and made.skipped == ()
    assert made.facts["rows"] == 240 and made.facts["distinct_texts"] == 240
    assert made.facts["entropy_bits"] == pytest.approx(1, abs=0.02)
    assert len(CHECKS) == 18


# -- repeats and contradictions ----------------------------------------------------------------------------------------


def test_repeats_are_named_with_the_row_that_they_repeat(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[9] = {**rows[2], "text": rows[2]["text"].upper()}
    rows[20] = dict(rows[2])
    finding = found(audited(tmp_path, rows), "duplicate")
    assert rows_of(finding) == [4, 11, 22]  # the header is row 1
    assert finding.what == "2 rows of 240 repeat an earlier row, text and answer"
    assert finding.cases[0].why == "row 11, row 22 are row 4 again, but for case, space and punctuation"


def test_near_copies_name_the_earlier_row_and_how_like_it_is(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[30] = {**rows[30], "text": LONG}
    rows[31] = {**rows[30], "text": LONG.replace("2030", "2031")}
    finding = found(audited(tmp_path, rows), "near_duplicate")
    assert rows_of(finding) == [32, 33]
    assert finding.cases[0].similarity is not None and 0.9 <= finding.cases[0].similarity < 1
    assert finding.severity == "note"


def test_contradictions_letter_for_letter_alike_and_nearly(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[10] = {**rows[1], "label": "yes" if rows[1]["label"] == "no" else "no"}
    rows[12] = {
        "text": rows[3]["text"].replace(".", " !").lower(),
        "label": "yes" if rows[3]["label"] == "no" else "no",
        "speech": "",
    }
    rows[40], rows[41] = (
        {**rows[40], "text": LONG, "label": "yes"},
        {**rows[41], "text": LONG.replace("2030", "2031"), "label": "no"},
    )
    made = audited(tmp_path, rows)
    finding = found(made, "conflict")
    assert finding.severity == "error" and finding.what == (
        "2 texts with more than one label (1 letter for letter, 1 but for case, space and punctuation)"
    )
    assert rows_of(finding) == [3, 12, 5, 14]
    assert rows_of(found(made, "near_conflict")) == [42, 43]


# -- splits ------------------------------------------------------------------------------------------------------------


def split_rows() -> list[dict[str, str]]:
    return [{**row, "part": "held" if i % 5 == 0 else "learned"} for i, row in enumerate(clean_rows())]


def test_leaks_between_the_authors_own_splits(tmp_path: Path) -> None:
    rows = split_rows()
    rows[5] = {**rows[5], "text": rows[6]["text"], "label": rows[6]["label"]}
    rows[10] = {**rows[10], "text": rows[11]["text"].upper(), "label": rows[11]["label"]}
    rows[15], rows[16] = (
        {**rows[15], "text": LONG},
        {**rows[16], "text": LONG.replace("2030", "2031"), "label": rows[15]["label"]},
    )
    made = audited(tmp_path, rows, "part")
    finding = found(made, "leak")
    assert finding.what.startswith(
        "3 of 48 rows of 'held' stand in 'learned': 1 letter for letter, 1 but for case, space and punctuation, 1 nearly"
    )
    assert [[place.row for place in case.rows] for case in finding.cases] == [[7, 8], [12, 13], [17, 18]]
    assert finding.cases[0].why == "row 7 (held) stands in row 8 (learned), letter for letter"
    assert "duplicate" not in kinds(made), "a repeat in another split is a leak"
    assert made.facts["splits"] == {"learned": 192, "held": 48}


def test_leaks_between_files(tmp_path: Path) -> None:
    rows = clean_rows()
    held = [*rows[200:], rows[4]]
    test = write(tmp_path / "held.csv", held)
    made = audited(tmp_path, rows[:200], test_path=str(test))
    finding = found(made, "leak")
    assert finding.cases[0].why == "held.csv, row 42 (test) stands in made.csv, row 6 (train), letter for letter"


def test_a_column_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'fold' that could say the split"):
        audited(tmp_path, clean_rows(), "fold")


def test_the_same_row_behind_two_templates(tmp_path: Path) -> None:
    draw = random.Random(4)
    words = [f"{a}{b}" for a in "ba ce di fo gu ha je ki lo mu na pe".split() for b in "ran tel mis dor fun gas heb".split()]
    ahead = "Read what was said in the session today: {} Is it a promise or not?"
    behind = "Consider the claim that follows here. {} Tell us which."
    said = [" ".join(draw.sample(words, 9)) for _ in range(200)]
    rows = [
        {
            "text": (ahead if i % 2 else behind).format(text),
            "label": draw.choice(["yes", "no"]),
            "part": "held" if i < 40 else "learned",
        }
        for i, text in enumerate([*said, said[20]])
    ]
    rows[200]["text"] = ahead.format(said[20])
    finding = found(audited(tmp_path, rows, "part"), "template_leak")
    assert [place.row for place in finding.rows] == [22, 202]
    assert finding.cases[0].why.endswith(f"both say: {said[20]}")


def test_documents_twice_and_groups_in_two_splits(tmp_path: Path) -> None:
    rows = split_rows()
    rows += [{**row, "speech": "s0 again"} for row in rows if row["speech"] == "s0"]
    made = audited(tmp_path, rows, "part", group="speech")
    finding = found(made, "doubled_document")
    assert finding.what.startswith("the groups 's0' and 's0 again' are one document twice: 20 of 20 rows")
    assert len(finding.rows) == 40
    assert found(made, "straddling_group").what.startswith("13 groups of 13")
    assert "doubled_document" not in kinds(audited(tmp_path, clean_rows(), group="speech"))


# -- answers -----------------------------------------------------------------------------------------------------------


def test_empty_constant_rare_and_sorted_answers(tmp_path: Path) -> None:
    rows = clean_rows()
    empty = audited(tmp_path, [{**row, "label": ""} if i < 3 else row for i, row in enumerate(rows)])
    assert rows_of(found(empty, "empty_target")) == [2, 3, 4] and empty.facts["unusable"] == 3
    constant = audited(tmp_path, [{**row, "label": "yes"} for row in rows])
    assert found(constant, "constant_target").severity == "error"
    rare = audited(tmp_path, [{**row, "label": "no" if i in (7, 90) else "yes"} for i, row in enumerate(rows)])
    assert rows_of(found(rare, "imbalance")) == [9, 92]
    in_order = audited(tmp_path, sorted(rows, key=lambda row: row["label"]))
    assert "runs of equal labels, where a shuffled table has" in found(in_order, "unshuffled").cases[0].why


def test_lengths_and_what_does_not_fit(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[17] = {**rows[17], "text": " ".join(row["text"] for row in clean_rows(40, seed=8))}
    given = recipe(write(tmp_path / "made.csv", rows)).model_copy(update={})
    short = given.model_copy(update={"train": given.train.model_copy(update={"max_length": 64})})
    made = audit(from_recipe(short))
    assert rows_of(found(made, "length_outlier")) == [19] and rows_of(found(made, "too_long")) == [19]
    assert "of 'yes'; " in found(made, "too_long").what or "of 'no'; " in found(made, "too_long").what


def test_without_a_tokenizer_the_lengths_are_said_not_to_be_checked(tmp_path: Path) -> None:
    given = recipe(write(tmp_path / "made.csv", clean_rows()))
    nowhere = given.model_copy(update={"model": given.model.model_copy(update={"base": str(tmp_path)})})
    made = audit(from_recipe(nowhere))
    assert made.findings == () and "lengths in tokens" in made.skipped[0]


def test_a_generate_task_is_not_asked_for_labels(tmp_path: Path) -> None:
    rows = [{**row, "label": f"Answer number {i}."} for i, row in enumerate(clean_rows())]
    assert audited(tmp_path, rows, kind="generate").findings == ()
    same = audited(tmp_path, [{**row, "label": "42" if i % 10 else f"{i}!"} for i, row in enumerate(rows)], kind="generate")
    assert kinds(same) == {"constant_target"}


# -- the real corpus, as the authors split it --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pledges(shared: Path) -> Audit:
    path = shared / "data/promises/mimac_pledges_en_a.tsv"
    columns = {"path": str(path), "input": "text", "target": "pledge", "group": "file"}
    given = parse({"name": "pledges", "task": {"instruction": "A pledge?", "labels": ["0", "1"]}, "data": columns})
    return audit(from_recipe(given, "set"))


def test_the_pledge_corpus_leaks(pledges: Audit) -> None:
    finding = found(pledges, "leak")
    verbatim = [case for case in finding.cases if case.why.endswith("letter for letter")]
    assert len(verbatim) == 81 and len(finding.cases) == 90
    assert {(place.split) for case in verbatim for place in case.rows} == {"dev", "trn"}
    assert all(case.rows[0].text == case.rows[1].text for case in verbatim)


def test_the_pledge_corpus_holds_a_manifesto_twice(pledges: Audit) -> None:
    finding = found(pledges, "doubled_document")
    assert "dataset5_2004INC" in finding.what and "dataset6_2004INC" in finding.what and len(finding.cases) >= 416


def test_the_pledge_corpus_contradicts_itself(pledges: Audit) -> None:
    finding = found(pledges, "conflict")
    assert len(finding.cases) >= 7
    assert all({place.label for place in case.rows} == {"0", "1"} for case in finding.cases)


# -- the verb and the page ---------------------------------------------------------------------------------------------


def test_the_verb_says_no_with_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    rows = clean_rows()
    rows[9] = {**rows[2], "label": "yes" if rows[2]["label"] == "no" else "no"}
    rows[10] = {**rows[10], "text": "<script>alert('x')</script> \u202ereversed text of a quite ordinary length"}
    table = write(tmp_path / "made.csv", rows)
    assert main(["audit", str(table), "--json", "-o", "page.html"]) == 1
    told = json.loads(capsys.readouterr().out)
    (conflict,) = (f for f in told["findings"] if f["kind"] == "conflict")
    assert conflict.keys() == {"kind", "severity", "what", "do", "rows", "evidence"}
    assert conflict["rows"] == [{"source": "made.csv", "row": 4}, {"source": "made.csv", "row": 11}]
    assert {row["label"] for row in conflict["evidence"][0]["rows"]} == {"yes", "no"}
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "made.csv, row 11" in page and rows[2]["text"] in page
    assert main(["audit", str(table), "--fail-on", "never"]) == 0
    assert "conflict: 1 text with more than one label" in capsys.readouterr().out


def test_what_makes_the_verb_fail_is_a_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = clean_rows()
    rows[9] = dict(rows[2])
    table = write(tmp_path / "made.csv", rows)
    given = [str(table), "--set", "data.near_duplicate_threshold=0.9"]
    codes = {on: main(["audit", *given, "--fail-on", on]) for on in ("note", "warning", "error", "never")}
    assert codes == {"note": 1, "warning": 1, "error": 0, "never": 0}
    assert "duplicate: 1 row of 240 repeat" in capsys.readouterr().out


def test_the_page_holds_nothing_that_runs(tmp_path: Path) -> None:
    from whet.views.audit import render

    rows = clean_rows()
    rows[9] = {**rows[9], "text": "<script>alert(1)</script> and \u202e some more"}
    rows[8] = dict(rows[9])
    page = render(audited(tmp_path, rows).to_json())
    assert "<script" not in page and "&lt;script&gt;" in page and "⟨U+202E⟩" in page
    assert "default-src 'none'" in page


def test_a_run_is_audited_as_it_was_split(tmp_path: Path) -> None:
    run = stages.prepare(recipe(write(tmp_path / "made.csv", clean_rows())), tmp_path / "run")
    made = stages.audit(run)
    assert made.findings == () and set(made.facts["splits"]) == {"train", "validation", "test"}
    assert len(from_run(run).examples) == 240
    with pytest.raises(RunError, match="a run's splits are its own"):
        stages.audit(run, split_column="part")


def test_a_corpus_needs_no_recipe(tmp_path: Path) -> None:
    answers = [f"It is the number {i}, which comes after {i - 1}." for i in range(40)]
    turns = [[{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": a}] for i, a in enumerate(answers)]
    turns[7][1]["content"] = "I'm sorry, but as an AI language model I cannot help with that."
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps({"messages": t}) + "\n" for t in turns), "utf-8")
    given, why = recipe_of(path)
    assert given.task.kind == "generate" and why == ("It is read as a public corpus.",)
    made = stages.audit(given)
    assert rows_of(found(made, "refusal")) == [8] and rows_of(found(made, "ai_speaks")) == [8]


def test_what_is_neither_table_nor_corpus_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: there is no such file" in capsys.readouterr().err
    table = write(tmp_path / "made.csv", clean_rows())
    assert main(["audit", str(table), "--against", str(tmp_path / "bench.csv")]) == 2
    assert "bench.csv: there is no such file" in capsys.readouterr().err
    assert main(["audit", str(table), "--annotators", "judge_*"]) == 2
    assert "no column is called judge_*" in capsys.readouterr().err
