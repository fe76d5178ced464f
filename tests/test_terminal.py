"""What the terminal shows: readable without colour, within 80 columns, deaf to what a text would like to do."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType

from whet.example import Prediction
from whet.views import terminal

EVALUATION = {
    "split": "test", "n": 300, "macro_f1": 0.7801, "nll": 0.461, "brier": 0.305, "ece": 0.042, "ece_floor": 0.0482,
    "intervals": {"macro_f1": [0.728, 0.826], "nll": [0.404, 0.536], "brier": [0.26, 0.36], "ece": [0.03, 0.1]},
    "verdict": "TF-IDF is as good: \x1b[31mdo not bother.",
    "baselines": {
        "tfidf": {"macro_f1": 0.776, "nll": 0.55, "brier": 0.358, "ece": 0.073, "intervals": {}, "mcnemar_p": 1.0},
        "majority": {"macro_f1": 0.317, "nll": None, "mcnemar_p": 0.00001},
    },
}  # fmt: skip


def shown(thing: RenderableType, width: int = 80, colour: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=colour, color_system="truecolor" if colour else None).print(thing)
    return file.getvalue()


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_evaluation_stands_beside_its_baselines_in_80_columns() -> None:
    text = shown(terminal.evaluation_table(EVALUATION))
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert ["Tuned", "0.780", "0.461", "0.305", "0.042"] in rows(text)
    assert ["0.73–0.83", "0.40–0.54", "0.26–0.36", "0.03–0.10"] in rows(text)
    assert ["TF-IDF", "+", "LR", "0.776", "0.550", "0.358", "0.073", "1.000"] in rows(text)
    assert ["Majority", "class", "0.317", "–", "–", "–", "<", "0.001"] in rows(text)
    assert "ECE of 0.048" in text and "TF-IDF is as good: ⟨U+001B⟩[31mdo not bother." in text


def test_generated_answers_have_their_own_columns() -> None:
    text = shown(terminal.evaluation_table({"n": 40, "exact_match": 0.65, "token_f1": 0.788, "rouge_l": 0.788}))
    assert ["Exact", "match", "↑", "Token", "F1", "↑", "ROUGE-L", "↑"] in rows(text) and "McNemar" not in text


def test_plain_text_has_its_own_columns_and_counts_documents() -> None:
    base = {"perplexity": 48.217, "nats_per_token": 3.8757, "bits_per_character": 1.322, "intervals": {}}
    found = {"n": 7, "perplexity": 31.2, "nats_per_token": 3.44, "bits_per_character": 1.17, "baselines": {"zero_shot": base},
             "intervals": {"perplexity": [28.0, 35.5]}}  # fmt: skip
    text = shown(terminal.evaluation_table(found))
    assert "7 documents of the test split" in text and "Perplexity ↓" in text and "28.00–35.50" in text
    assert ["Base,", "zero-shot", "48.217", "3.876", "1.322"] in rows(text) and "McNemar" not in text


def test_dropped_rows_are_counted_by_reason() -> None:
    dataset = {"read": 1611, "kept": 1484, "dropped": {"conflict": 14, "duplicate": 112, "\x1b[2J": 1},
               "splits": {"train": {"n": 1036}, "test": {"n": 300}}, "notes": ["[red]4 labels[/red]"]}  # fmt: skip
    lines = shown(terminal.dropped_summary(dataset)).splitlines()
    assert lines[0] == "1,611 rows read, 1,484 kept: train 1,036, test 300"
    assert [line.split()[:2] for line in lines[1:4]] == [["112", "duplicate"], ["14", "conflict"], ["1", "⟨U+001B⟩[2J"]]
    assert lines[4] == "• [red]4 labels[/red]"
    assert shown(terminal.dropped_summary({"read": 1, "kept": 1})) == "1 row read, 1 kept\n"


SPEECH = "Friends, good evening.\n\nWe will build 40,000 homes.\nThe others [bold]\x1b[31m slept."


def passage(text: str, label: str, probability: float) -> Prediction:
    start = SPEECH.index(text)
    scores = {"True": probability, "False": 1 - probability}
    return Prediction("p", text, label, max(scores.values()), scores, "speech.txt", start, start + len(text))


def test_promises_of_a_speech_are_marked_with_their_probability() -> None:
    passages = [
        passage("The others [bold]\x1b[31m slept.", "False", 0.31),
        passage("Friends, good evening.", "False", 0.02),
        passage("We will build 40,000 homes.", "True", 0.973),
    ]
    lines = [line.rstrip() for line in shown(terminal.marked_speech(SPEECH, passages, "True")).splitlines()]
    assert lines == [
        "0.02   Friends, good evening.",
        "",
        "0.97 ▶ We will build 40,000 homes.",
        "0.31   The others [bold]⟨U+001B⟩[31m slept.",
    ]


def test_tokens_with_loss_are_marked_with_and_without_colour() -> None:
    pieces = ["Decide", " if", ".\n", "Answer:", " True", "</s>"]
    view = terminal.token_view(pieces, [5, 6, 7, 8, 77, 2], [False] * 4 + [True] * 2)
    plain = shown(view)
    assert plain.splitlines() == ["Decide│·if│.↵", "Answer:│⟦·True⟧⟦</s>⟧", "6 tokens, 2 with loss: ⟦·True⟧ 77, ⟦</s>⟧ 2"]
    coloured = shown(view, colour=True)
    assert "\x1b[" in coloured and "\x1b[" not in plain
    assert shown(terminal.token_view([], [], [])).splitlines()[-1] == "0 tokens, 0 with loss."
