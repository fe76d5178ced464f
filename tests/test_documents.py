"""Passages: exact places, nothing lost, and the sentences that a person sees."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from whet.data.documents import passages, read_documents
from whet.errors import DataError


def check(text: str) -> None:
    """Offsets are exact, passages are trimmed and in order, every character but white space is in just one."""
    covered = [0] * len(text)
    for start, end, piece in passages(text):
        assert text[start:end] == piece == piece.strip() != ""
        for i in range(start, end):
            covered[i] += 1
    assert max(covered, default=0) <= 1
    assert all(covered[i] == 1 for i, c in enumerate(text) if not c.isspace())


# Written as the sentences that they hold; most after the "golden rules" of sentence boundary detection (K. Dias).
SENTENCES = (
    ["Hello World.", "My name is Jonas."],
    ["What is your name?", "My name is Jonas."],
    ["There it is!", "I found it."],
    ["My name is Jonas E. Smith."],
    ["Please turn to p. 55."],
    ["They closed the deal with Pitt, Briggs & Co. at noon."],
    ["Let's ask Jane and co.", "They should know."],
    ["I can see Mt. Fuji from here."],
    ["St. Michael's Church is on 5th st. near the light."],
    ["That is JFK Jr.'s book."],
    ["I visited the U.S.A. last year."],
    ["I live in the E.U.", "How about you?"],
    ["I work for the U.S. Government in Virginia."],
    ["I have lived in the U.S. for 20 years."],
    ["In the U.S. We will act.".partition(" We")[0], "We will act."],
    ["At 5 a.m. Mr. Smith went to the bank."],
    ["She has $100.00 in her bag."],
    ["She has $100.00.", "It is in her bag."],
    ["He teaches science (He previously worked for 5 years as an engineer.) at the local University."],
    ["Her email is Jane.Doe@example.com.", "I sent her an email."],
    ["The site is: https://www.example.50.com/new-site/awesome_content.html.", "Please check it out."],
    ["She turned to him, 'This is great.' she said."],
    ['She turned to him, "This is great."', "She held the book out to show him."],
    ["Hello!!", "Long time no see."],
    ["Hello?!", "Is that you?"],
    ["She works at Yahoo! in the accounting department."],
    ["We make a good team, you and I.", "Did you see Albert I. Jones yesterday?"],
    ["Thoreau says “the laws of the universe will appear less complex. . . .”"],
    ["I never meant that....", "She left the store."],
    ["Wait… no.", "Go on."],
    ["Sen. Warren met Gov. Brown in Washington, D.C. on Jan. 5, 2020."],
    ["He lives in Washington, D.C.", "He works there."],
    ['"Why?" she asked.'],
    ["No.", "We will not."],
    ["No. 10 said so.", "Art. 5 applies."],
    ["It rose 3.5 percent.", "40,000 homes were built."],
    ["We need this, i.e. the plan, vs. that one, e.g. roads, etc. and more."],
    ["Franklin D. Roosevelt and J. F. Kennedy spoke."],
    ["“We will win.”", "That is what he said."],
    ["Dr. Lee, Ph.D., and Prof. Kim came.", "They left."],
    ["(It ended in 2020.)", "Then came the rest."],
    ["我们会建房。", "然后呢\uff1f", "好。"],
    ["हम घर बनाएंगे।", "फिर क्या?"],
    ["We will act", "A heading without a stop"],
)


@pytest.mark.parametrize("sentences", SENTENCES, ids=lambda s: s[0][:40])
def test_sentences(sentences: list[str]) -> None:
    glue = "" if sentences[0].startswith("我") else "\n\n" if sentences[0] == "We will act" else " "
    text = glue.join(sentences)
    assert [p.text for p in passages(text)] == sentences
    check(text)


def test_how_many_sentences_were_tried() -> None:
    assert len(SENTENCES) == 44


LAYOUTS = {
    "# Our plan\nWe will build.\n": ["# Our plan", "We will build."],
    "Our plan\nWe will build homes for every family in the land.\n": [
        "Our plan",
        "We will build homes for every family in the land.",
    ],
    "We will:\n- build homes\n- cut tax.\n  * and more\n1. One\n2) Two\n(c) Three": [
        "We will:",
        "- build homes",
        "- cut tax.",
        "* and more",
        "1. One",
        "2) Two",
        "(c) Three",
    ],
    "This paragraph is wrapped at a\nwidth that its author liked, so\nthat no line is a sentence. It\nends here.": [
        "This paragraph is wrapped at a\nwidth that its author liked, so\nthat no line is a sentence.",
        "It\nends here.",
    ],
    "The first.\r\n\r\nThe second\r\n\r\n\r\nThe third": ["The first.", "The second", "The third"],
    "One paragraph a line, long as it is\nAnother\nAnd the third one": [
        "One paragraph a line, long as it is",
        "Another",
        "And the third one",
    ],
    "Above.\n***\nBelow.\n---\n": ["Above.", "***", "Below.", "---"],
    "> quoted line\n> and more": ["> quoted line", "> and more"],
    "  \n\t": [],
    "": [],
    "word": ["word"],
    "...": ["..."],
    "a.b.c": ["a.b.c"],
    "Page one.\fPage two.": ["Page one.", "Page two."],
}


@pytest.mark.parametrize("text", LAYOUTS, ids=lambda t: repr(t[:30]))
def test_layouts(text: str) -> None:
    assert [p.text for p in passages(text)] == LAYOUTS[text]
    check(text)


def test_any_text_is_covered() -> None:
    draw = random.Random(5)
    pieces = [
        "We",
        "will",
        "Mr",
        ".",
        "?",
        "!",
        "...",
        " . . .",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\n\n",
        '"',
        "”",
        ")",
        "(",
        "- ",
        "1. ",
        "# ",
        "—",
        "🏠",
        "。",
        "U.S",
        "\f",
        "\u2028",
        "\u00a0",
        "é",
        "I",
        "\t",
        "***",
    ]
    for _ in range(400):
        check("".join(draw.choices(pieces, k=draw.randint(1, 60))))


def test_real_speeches(shared: Path) -> None:
    documents = read_documents([shared / "data/speeches/inaugural", shared / "data/speeches/sotu"])
    assert len(documents) == 32
    for document in documents:
        check(document.text)
    assert sum(len(d.passages) for d in documents) == 7685
    lengths = sorted(len(p.text) for d in documents for p in d.passages)
    assert lengths[len(lengths) // 2] in range(80, 120) and lengths[-1] < 1200


def test_a_real_beginning(shared: Path) -> None:
    (document,) = read_documents([shared / "data/speeches/sotu/su1990.txt"])
    assert document.name == "su1990.txt"
    assert [p.text for p in document.passages[:4]] == [
        "Mr. President, Mr. Speaker, Members of the United States Congress:",
        "I return as a former President of the Senate and a former Member of this great House.",
        "And now, as President, it is my privilege to report to you on the state of the Union.",
        "Tonight I come not to speak about the state of the Government, not to detail every new initiative we plan for the "
        "coming year nor to describe every line in the budget.",
    ]
    assert document.passages[0].start == 0, "the byte-order mark is no part of the text"


def test_folders_and_names(tmp_path: Path) -> None:
    for name in ("talks/b.txt", "talks/deep/a.md", "talks/.hidden.txt", "talks/photo.jpg", "b.txt"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"This is {name}.\n***\n")
    documents = read_documents([tmp_path / "talks", tmp_path / "b.txt", tmp_path / "b.txt"])
    assert [d.name for d in documents] == ["talks/b.txt", "talks/deep/a.md", "b.txt"]
    assert [p.text for p in documents[0].passages] == ["This is talks/b.txt."], "a rule of stars is nothing to label"


def test_two_files_of_one_name_keep_their_paths(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "talk.txt").write_text("We will.")
    names = [d.name for d in read_documents([tmp_path / "one/talk.txt", tmp_path / "two/talk.txt"])]
    assert names == [(tmp_path / folder / "talk.txt").as_posix() for folder in ("one", "two")]


def test_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("We’ll build.\r\n".encode("utf-16"))
    assert read_documents([tmp_path / "a.txt"])[0].text == "We’ll build.\r\n"
    (tmp_path / "b.txt").write_bytes("Fine.\nWe’ll build.".encode("cp1252"))
    with pytest.raises(
        DataError, match=r'b.txt, line 2, byte 8: .* Read as cp1252 it says: "We’ll build."\. .*iconv -f cp1252 -t UTF-8'
    ):
        read_documents([tmp_path / "b.txt"])
    assert read_documents([tmp_path / "b.txt"], encoding="cp1252")[0].text == "Fine.\nWe’ll build."


def test_everything_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>We will.</p>")
    (tmp_path / "table.csv").write_text("a\n")
    (tmp_path / "nul.txt").write_bytes(b"a\0b")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed/talk.pdf").write_bytes(b"%PDF")
    (tmp_path / "mixed/talk.txt").write_text("Fine.")
    names = ("page.html", "table.csv", "nul.txt", "empty", "mixed", "absent.txt")
    with pytest.raises(DataError) as caught:
        read_documents([tmp_path / name for name in names])
    said = [str(p) for p in caught.value.problems]
    assert len(said) == 6
    for words in ("menus and scripts", "read by a recipe", "NUL bytes", "no .txt or .md file", "talk.pdf", "no such file"):
        assert sum(words in line for line in said) == 1
