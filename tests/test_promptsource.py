"""promptsource's templates: read as data, rendered as promptsource renders them, made into slots where slots say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whet.prompts.library import open_set
from whet.prompts.render import Rendered, Skipped, render

# Rows made by hand with the fields of each data set. Where a template wants a certain kind of row, there is one of each kind.
MEANINGS = (
    "name[The Vaults], eatType[pub], food[Indian], priceRange[high], customer rating[5 out of 5], near[Café Adriatic]",
    "name[Aromi], eatType[restaurant], area[riverside], familyFriendly[yes]",
)
FINE_LABELS = {0: range(0, 2), 1: range(2, 24), 2: range(24, 28), 3: range(28, 32), 4: range(32, 37), 5: range(37, 50)}
ROWS: dict[str, list[dict[str, Any]]] = {
    "ag_news": [{"text": "Oil falls as fears of a shortage ease.", "label": n} for n in range(4)],
    "anli": [{"premise": "The mill closed in 1911.", "hypothesis": "It was open in 1910.", "label": n, "reason": ""}
             for n in range(3)],
    "banking77": [{"text": "Why was my card declined?", "label": n} for n in (0, 25, 76)],
    "cnn_dailymail/3.0.0": [{"article": "A bridge was opened. Many came.", "highlights": "Bridge opened."}],
    "common_gen": [{"concepts": ["dog", "ball", "catch"], "target": "The dog catches a ball.", "concept_set_idx": 0}],
    "cos_e/v1.11": [{"question": "Where do you keep milk?", "choices": ["oven", "fridge", "shelf", "car", "roof"],
                     "answer": "fridge", "abstractive_explanation": "Milk has to be cold.", "extractive_explanation": "milk"}],
    "dbpedia_14": [{"title": "Elm Road", "content": "Elm Road is a street.", "label": n} for n in (0, 13)],
    "e2e_nlg_cleaned": [{"meaning_representation": mr, "human_reference": "It is a good place."} for mr in MEANINGS],
    "financial_phrasebank/sentences_allagree": [{"sentence": "Sales rose by a tenth.", "label": n} for n in range(3)],
    "glue/mrpc": [{"sentence1": "He left.", "sentence2": "He went away.", "label": n, "idx": n} for n in range(2)],
    "glue/sst2": [{"sentence": "a quiet joy", "label": n, "idx": n} for n in range(2)],
    "imdb": [{"text": "I laughed for an hour.", "label": n} for n in range(2)],
    "paws/labeled_final": [{"id": n, "sentence1": "A met B.", "sentence2": "B met A.", "label": n} for n in range(2)],
    "rotten_tomatoes": [{"text": "a slow film with a warm heart", "label": n} for n in range(2)],
    "samsum": [{"id": "1", "dialogue": "Ann: Tea?\nBo: Yes!", "summary": "Bo wants tea."}],
    "sciq": [{"question": "What do plants take in?", "distractor1": "helium", "distractor2": "neon", "distractor3": "gold",
              "correct_answer": "carbon dioxide", "support": "Plants take in carbon dioxide."}],
    "sms_spam": [{"sms": "You won! Call now.\n", "label": n} for n in range(2)],
    "squad_v2": [{"id": "1", "title": "Paris_France", "context": "Paris lies on the Seine.", "question": "Where is Paris?",
                  "answers": {"text": found, "answer_start": [11] * len(found)}} for found in (["on the Seine"], [])],
    "super_glue/boolq": [{"passage": "Tin melts at 232 degrees.", "question": "does tin melt", "label": n, "idx": 0}
                         for n in range(2)],
    "super_glue/cb": [{"premise": "B: I think so.", "hypothesis": "it is so", "label": n, "idx": 0} for n in range(3)],
    "super_glue/rte": [{"premise": "Cats purr.", "hypothesis": "Cats make a sound.", "label": n, "idx": 0} for n in range(2)],
    "trec": [{"text": "What is an atom?", "coarse_label": coarse, "fine_label": fine}
             for coarse, fines in FINE_LABELS.items() for fine in fines],
    "xsum": [{"document": "The river rose overnight. Roads are closed.", "summary": "A flood closed roads.", "id": "1"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data" / "promptsource"


def test_every_template_of_every_file_is_rendered(folder: Path) -> None:
    """All 220 templates give a prompt and a completion for some row; what is skipped, the template's own condition skips."""
    files = sorted(file.parent.relative_to(folder).as_posix() for file in folder.rglob("templates.yaml"))
    assert files == sorted(ROWS)
    rendered = skipped = 0
    for name in files:
        found = open_set(folder / name / "templates.yaml")
        assert found.name == name
        for template in found.templates:
            made = [render(template, row) for row in ROWS[name]]
            good = [each for each in made if isinstance(each, Rendered)]
            bad = [each for each in made if isinstance(each, Skipped)]
            assert good, f"{name}, {template.name}: {bad[0].reason if bad else 'no row'}"
            assert not [each.reason for each in bad if each.is_fault], f"{name}, {template.name}"
            rendered, skipped = rendered + len(good), skipped + len(bad)
    assert sum(len(open_set(folder / name / "templates.yaml").templates) for name in files) == 220
    assert (rendered, skipped) == (828, 485)
