"""Writes the embedded data again, where whet is installed: `python tools/build_data.py`. `--score` says how far TF-IDF gets.

The figures of `src/whet/base/DATA.md` come from `--score`: whet's own TF-IDF baseline, trained on the train file, its C chosen
on the validation file, scored on the test file; and the same with every fifth train speech as its validation and its test.
"""

from __future__ import annotations

import sys
from typing import get_args

from whet.base.promises import SEED, Sentence, Split, csv_text, generate, shipped
from whet.measure.baselines import tfidf
from whet.measure.metrics import measure


def score(title: str, train: list[Sentence], validation: list[Sentence], test: list[Sentence]) -> list[bool]:
    """Whether TF-IDF is right on each test sentence; prints its macro F1, accuracy and NLL."""
    labelled = [([s.sentence for s in part], [int(s.is_promise) for s in part]) for part in (train, validation, test)]
    texts, targets = labelled[2]
    baseline = tfidf(labelled[0], labelled[1], texts, n_labels=2)
    found = measure(targets, baseline.probabilities, ["False", "True"])
    print(f"{title}: macro F1 {found.macro_f1:.3f}, accuracy {found.accuracy:.3f}, NLL {found.nll:.3f} ({baseline.about})")
    guesses = baseline.probabilities.argmax(axis=1)
    return [int(guess) == target for guess, target in zip(guesses, targets, strict=True)]


def main() -> None:
    """Writes the three files and prints their counts, and with `--score` the figures."""
    made: dict[Split, list[Sentence]] = {}
    for split in get_args(Split):
        made[split] = generate(split)
        shipped(f"promises_{split}.csv").write_text(csv_text(made[split]), encoding="utf-8", newline="")
        promises = sum(s.is_promise for s in made[split])
        speeches = len({s.speech_id for s in made[split]})
        print(f"{split}: {len(made[split])} sentences, {promises} promises, {speeches} speeches, seed {SEED}")
    if "--score" not in sys.argv[1:]:
        return
    fifth = [s for s in made["train"] if int(s.speech_id[-3:]) % 5 == 0]
    rest = [s for s in made["train"] if int(s.speech_id[-3:]) % 5]
    score("every fifth train speech", rest, fifth, fifth)
    score("test, if C is chosen on those speeches", rest, fifth, made["test"])
    right = score("test", made["train"], made["validation"], made["test"])
    kinds: dict[tuple[str, str], list[bool]] = {}
    for sentence, is_right in zip(made["test"], right, strict=True):
        kinds.setdefault((str(sentence.is_promise), sentence.kind), []).append(is_right)
    for (label, kind), hits in sorted(kinds.items()):
        print(f"{label:5}  {kind:16} {sum(hits):3} of {len(hits):3}   {sum(hits) / len(hits):.2f}")


if __name__ == "__main__":
    main()
