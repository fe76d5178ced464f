"""Records as rich renderables for the terminal. Everything can be read without colour; nothing in a text can act on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from whet.example import Prediction
from whet.views import wording

Json = Mapping[str, Any]

COLUMNS = {
    "macro_f1": ("macro_f1", "nll", "brier", "ece"), "exact_match": ("exact_match", "token_f1", "rouge_l"),
    "perplexity": ("perplexity", "nats_per_token", "bits_per_character"),
}  # by the figure that only this kind of task has  # fmt: skip


def evaluation_table(evaluation: Json) -> Group:
    """The tuned model beside its baselines, each figure with its 95 % interval under it, then the verdict.

    Args:
        evaluation: what `evaluation.json` holds, of any kind of task.
    """
    keys = [key for sign, columns in COLUMNS.items() if sign in evaluation for key in columns if key in evaluation]
    baselines: Json = evaluation.get("baselines") or {}
    is_paired = any("mcnemar_p" in b for b in baselines.values())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="")
    counted = wording.count(evaluation["n"], "document" if "perplexity" in evaluation else "example")
    table.title = f"{counted} of the {evaluation.get('split', 'test')} split, 95 % intervals below"
    table.add_column("")
    for key in keys:
        table.add_column(f"{wording.metric(key).name} {'↑' if wording.metric(key).higher_is_better else '↓'}", justify="right")
    if is_paired:
        table.add_column("McNemar p", justify="right")
    for name, figures in {"tuned": evaluation, **baselines}.items():
        style = "bold" if name == "tuned" else ""
        cells = [_figure(figures, key, style) for key in keys]
        paired = [wording.p_value(figures.get("mcnemar_p")) if name != "tuned" else ""] if is_paired else []
        table.add_row(Text(wording.system(name), style), *cells, *paired)
    below: list[RenderableType] = []
    if evaluation.get("ece_floor") is not None:
        floor = wording.decimal(evaluation["ece_floor"])
        below.append(Text(f"Noise alone would give an ECE of {floor} on so many examples.", "dim"))
    if evaluation.get("verdict"):
        below.append(Text(wording.visible(evaluation["verdict"]), "bold"))
    return Group(table, *below)


def dropped_summary(dataset: Json) -> Group:
    """What was read and kept, how many rows were set aside for which reason, and what else was noticed.

    Args:
        dataset: the part `dataset` of a run's manifest.
    """
    splits = ", ".join(f"{wording.visible(name)} {wording.count(s['n'])}" for name, s in (dataset.get("splits") or {}).items())
    line = f"{wording.count(dataset['read'], 'row')} read, {wording.count(dataset['kept'])} kept"
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for key, number in sorted((dataset.get("dropped") or {}).items(), key=lambda item: -item[1]):
        code = wording.visible(key).replace("_", " ")
        explained = wording.reason(key)
        table.add_row(wording.count(number), Text(code), Text(explained if explained != code else "", "dim"))
    notes = [Text(f"• {wording.visible(note)}") for note in dataset.get("notes") or ()]
    terms = dataset.get("terms") or {}
    if {*terms.get("licences", ()), *terms.get("makers", ())} - {"unstated"}:
        notes.append(Text(f"• Terms: {wording.visible(terms['sentence'])}"))
    return Group(Text(f"{line}: {splits}" if splits else line), *([table] if table.row_count else []), *notes)


def marked_speech(text: str, predictions: Sequence[Prediction], label: str) -> RenderableType:
    """A text sentence by sentence; those that were given `label` are marked, each with the probability of being so.

    Args:
        text: the document that the predictions' places refer to; a blank line in it stays one.
        predictions: its passages, in any order.
        label: the answer to mark, "True" for a promise.
    """
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    end = 0
    for p in sorted(predictions, key=lambda p: p.start):
        if end and "\n\n" in text[end : p.start].replace("\r\n", "\n"):
            table.add_row("", "", "")
        is_marked = p.label == label
        sure = wording.decimal(p.scores.get(label), 2)
        style = "bold" if is_marked else "dim"
        says = " ".join(wording.visible(text[p.start : p.end]).split())
        table.add_row(Text(sure, style), Text("▶" if is_marked else " ", "bold cyan"), Text(says, style))
        end = p.end
    return table


def token_view(pieces: Sequence[str], ids: Sequence[int], carries_loss: Sequence[bool]) -> Group:
    """The tokens of one example in a row: a bar between two, ⟦ ⟧ around those that carry loss, then those with their ids.

    Spaces are shown as ·, line breaks as ↵.

    Args:
        pieces: the text of each token.
        ids: its id in the vocabulary.
        carries_loss: whether it is trained on.
    """
    flow = Text()
    learned = []
    for piece, token, is_learned in zip(pieces, ids, carries_loss, strict=True):
        shown = wording.visible(piece).replace(" ", "·").replace("\n", "↵")
        flow.append(f"⟦{shown}⟧" if is_learned else shown, "bold cyan" if is_learned else "")
        flow.append("\n" if "\n" in piece else "" if is_learned else "│", "dim")
        if is_learned:
            learned.append(f"⟦{shown}⟧ {token}")
    total = f"{wording.count(len(pieces), 'token')}, {wording.count(len(learned))} with loss"
    return Group(flow, Text(f"{total}: {', '.join(learned)}" if learned else f"{total}."))


def _figure(figures: Json, key: str, style: str) -> Text:
    span = wording.short_interval((figures.get("intervals") or {}).get(key))
    return Text(wording.decimal(figures.get(key)), style).append(f"\n{span}" if span else "", "not bold dim")
