"""What an audit looks for inside texts: what it must find, and what it must leave alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_audit import audited, clean_rows, found, kinds, recipe, rows_of, write

from whet.data.audit.checks import audit
from whet.data.audit.damage import find_damage
from whet.data.audit.language import language_of
from whet.data.audit.made_words import find_made_words
from whet.data.audit.material import from_recipe
from whet.data.audit.personal import find_personal


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to jo.doe+x@mail.example.co.uk.", "e-mail address"),
        ("IBAN: DE89 3704 0044 0532 0130 00", "account number (IBAN)"),
        ("NL91ABNA0417164300 please", "account number (IBAN)"),
        ("card 4111 1111 1111 1111, exp. 12/29", "card number"),
        ("5500-0000-0000-0004", "card number"),
        ("Call +49 30 901820 or come by", "telephone number"),
        ("Call (555) 010-9999 today", "telephone number"),
        ("or +420 123 456 789", "telephone number"),
        ("378282246310005", "card number"),
        ("6011 1111 1111 1117", "card number"),
        ("from 8.8.8.8 port 53", "IP address"),
        ("via 2001:4860:4860:0:0:0:0:8888 today", "IP address"),
    ],
)
def test_personal_data_is_found(text: str, kind: str) -> None:
    assert [k for k, _ in find_personal(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "We will build 1,500,000 homes, 300,000 a year, by 2029-2030.",
        "Version 10.2.14.3 of the firmware",
        "the loopback 127.0.0.1 and the private 192.168.0.1",
        "4111 1111 1111 1112 fails the test, as does DE88 3704 0044 0532 0130 00",
        "0000 0000 0000 0000",
        "the device 490154203237518 (IMEI), and a sum of +100 000 000",
        "ISBN 978-3-16-148410-0, order 1234567890123456",
        "user@localhost and @handle, 12:30:45, 3+4 = 7",
        "1990-1991, 1992 - 1993; 10 20 30 40 50",
    ],
)
def test_what_is_no_personal_data_is_left_alone(text: str) -> None:
    assert list(find_personal(text)) == []


def test_personal_data_is_shown_masked(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[4] = {**rows[4], "text": "Please write to jane.roe@example.org about the harbour."}
    finding = found(audited(tmp_path, rows), "personal_data")
    assert rows_of(finding) == [6] and finding.severity == "warning"
    assert "jane.roe" not in str(finding.to_json())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Itâ€™s time", "read in the wrong encoding"),
        ("cafÃ©", "read in the wrong encoding"),
        ("a\ufffdb", "replacement characters"),
        ("Fish &amp; chips &#39;n&#39; tea", "HTML not unescaped"),
        ("long\x97dash", "control characters"),
        ("bell\x07", "control characters"),
    ],
)
def test_damage_is_found(text: str, kind: str) -> None:
    assert [k for k, _ in find_damage(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "Größe: ÄÖÜß",
        "«à la carte» – naïve façade",
        "R&D; AT&T;",
        "AT&T &c. & more",
        "日本語",
        "100 £ – 20 €",
        "line\nbreak\tand tab",
        "Â",
    ],
)
def test_sound_text_is_left_alone(text: str) -> None:
    assert list(find_damage(text)) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I cannot assist with that request.", "refusal"),
        ("It would be inappropriate for me to say.", "refusal"),
        ("As an AI language model, I see no colours.", "ai_speaks"),
        ("I don't have personal opinions on this.", "ai_speaks"),
        ("As of my last knowledge update in 2021 it was so.", "ai_speaks"),
        ("Certainly! Here is a list.", "ai_phrase"),
        ("Dear [Your Name],", "ai_phrase"),
        ("Paris. I hope this helps!", "ai_phrase"),
    ],
)
def test_words_of_a_model_are_found(text: str, kind: str) -> None:
    assert [k for k, _ in find_made_words(text)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry to hear that the bridge was closed.",
        "We cannot help everyone, but we will try.",
        "They kept Latin as a language of the court.",
        "It is unethical to use robots for this.",
        "Certainly the best speech of the year.",
        "The minister said: let me know the price.",
    ],
)
def test_words_of_people_are_left_alone(text: str) -> None:
    assert list(find_made_words(text)) == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Wir werden die Schulen nicht schließen und den Zug in die Stadt bringen.", "de"),
        ("Nous allons construire des logements pour les jeunes dans la région.", "fr"),
        ("El gobierno no va a subir los impuestos de la gente que trabaja.", "es"),
        ("Vi vill att skolan ska vara bra för alla barn och inte bara för några.", "sv"),
        ("Будем строить новые дома", "Cyrillic"),
        ("新しい家を建てます", "ja"),
        ("우리는 집을 짓겠습니다", "ko"),
        ("INC 2004, p. 12", ""),
        ("", ""),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


def test_real_texts_are_in_the_language_that_they_are_in(shared: Path) -> None:
    from whet.data.read import read_rows

    for name, language in (("en", "en"), ("sv", "sv")):
        texts = [t for t in read_rows(shared / f"data/promises/mimac_pledges_{name}_a.tsv").column("text") if t]
        told = [language_of(text) for text in texts]
        sure = [t for t in told if t]
        assert sure.count(language) / len(sure) > 0.995 and len(sure) / len(told) > 0.65


def test_strays_in_another_language(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[8] = {**rows[8], "text": "Wir werden die Schulen im Norden nicht schließen."}
    finding = found(audited(tmp_path, rows), "language_mix")
    assert rows_of(finding) == [10] and finding.severity == "note"


# -- benchmarks --------------------------------------------------------------------------------------------------------

QUESTION = "Which of the following rivers flows through the largest number of national capitals on its way to the Black Sea?"


def test_a_benchmark_question_in_the_rows(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[11] = {**rows[11], "text": f"Quiz. {QUESTION.upper()} Think."}
    rows[12] = {
        **rows[12],
        "text": "He asked which of the following rivers flows through the largest number of national parks, and left.",
    }
    lines = [
        QUESTION,
        *(f"{row['text']} Nobody ever found out for how much, or why the town agreed." for row in clean_rows(20, seed=77)),
    ]
    bench = tmp_path / "bench.txt"
    bench.write_text("\n".join(lines), "utf-8")
    made = audit(from_recipe(recipe(write(tmp_path / "made.csv", rows))), benchmarks=[bench])
    finding = found(made, "benchmark_leak")
    assert rows_of(finding) == [13] and "bench.txt, line 1 (100% of it)" in finding.cases[0].why
    assert "flows through the largest number of national capitals" in finding.cases[0].why
    assert "benchmark_overlap" not in kinds(made), "twelve words of the passage are no thirteen"


def test_the_wording_that_a_benchmark_repeats_does_not_count(tmp_path: Path) -> None:
    ask = "Read the passage below and then answer the question that follows it in one short sentence only, please: "
    bench = write(tmp_path / "bench.csv", [{"q": f"{ask}{row['text']}"} for row in clean_rows(30, seed=5)])
    rows = [
        {**row, "text": f"{ask}{row['text']}"}
        for row in clean_rows(60, seed=6)
        if row["text"] not in {r["text"] for r in clean_rows(30, seed=5)}
    ]
    made = audit(from_recipe(recipe(write(tmp_path / "made.csv", rows), near_duplicate_threshold=1.0)), benchmarks=[bench])
    assert not {"benchmark_leak", "benchmark_overlap"} & kinds(made)


def test_short_passages_must_be_the_whole_text(tmp_path: Path) -> None:
    rows = clean_rows()
    rows[3] = {**rows[3], "text": "Who wrote Ulysses?"}
    rows[4] = {**rows[4], "text": "He asked: who wrote Ulysses? Nobody knew the answer to that."}
    bench = tmp_path / "bench.jsonl"
    bench.write_text('{"question": "who wrote ulysses", "answer": "Joyce"}\n{"question": "who", "answer": "x"}\n', "utf-8")
    made = audit(from_recipe(recipe(write(tmp_path / "made.csv", rows))), benchmarks=[bench])
    assert rows_of(found(made, "benchmark_leak")) == [5]


def test_a_folder_of_a_corpus_as_a_benchmark(tmp_path: Path) -> None:
    rows = clean_rows(60)
    (tmp_path / "bench").mkdir()
    record = {
        "instruction": "Judge: "
        + (long := "we will build forty schools, mend nine bridges and open two harbours before the next winter comes"),
        "output": "x",
    }
    (tmp_path / "bench" / "a.jsonl").write_text(json.dumps(record), "utf-8")
    rows[7] = {**rows[7], "text": long}
    made = audit(from_recipe(recipe(write(tmp_path / "made.csv", rows))), benchmarks=[tmp_path / "bench"])
    assert rows_of(found(made, "benchmark_leak")) == [9]


def test_a_corpus_as_a_benchmark(shared: Path, tmp_path: Path) -> None:
    """The seeds of Self-Instruct in a table made of them and of other rows: each seed that is long enough, nothing else."""
    seeds = [json.loads(line) for line in (shared / "data/self_instruct/seed_tasks.jsonl").read_text("utf-8").splitlines()]
    rows = clean_rows(60)
    rows += [{"text": seed["instruction"], "label": "yes", "speech": ""} for seed in seeds[:20]]
    made = audit(
        from_recipe(recipe(write(tmp_path / "made.csv", rows))), benchmarks=[shared / "data/self_instruct/seed_tasks.jsonl"]
    )
    assert rows_of(found(made, "benchmark_leak")) == list(range(62, 82))


def test_addresses_are_of_no_language_and_a_word_without_end_is_passed_over() -> None:
    addresses = "www.der-die-das.example und-das@ist-nicht.example https://der.die/das?und=ist"
    assert language_of(f"{addresses} this is what the people of the town said") == "en"
    assert language_of("der" * 400_000) == ""
