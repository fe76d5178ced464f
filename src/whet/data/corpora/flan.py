"""The FLAN Collection: rendered rows of its five parts, and the tables of its chains of thought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whet.data.corpora.choices import choices_of, is_choice
from whet.data.corpora.format import BAD_FIELD, NOT_OFFERED, Format, Item, Record, Unusable, as_object, each, has, share, text
from whet.data.corpora.task_rows import Asked, to_example
from whet.example import Drop

_COLUMNS = 3
# Parts of the collection in which an answer is one of the options, where options are shown.
_CHOOSING = frozenset({"Flan2021", "P3"})
_INVERTED = ("_ii", "inversion")


def _row(record: Record) -> Item:
    """The Item of a rendered row. An answer that is none of the options it should be chosen from is kept, and said."""
    value = as_object(record.value)
    asked, answer = text(value, "inputs"), text(value, "targets").strip()
    offered = choices_of(asked) if _must_choose(value) else ()
    drops: tuple[Drop, ...] = ()
    if offered and answer and not is_choice(answer, offered):
        shown = ", ".join(offered)[:100]
        drops = (record.drop(NOT_OFFERED, f"the answer {answer[:60]!r} is none of the options ({shown}); it is kept"),)
    return Item(record.origin, (to_example(record, Asked(asked.strip()), answer),), drops)


def _must_choose(value: Mapping[str, Any]) -> bool:
    """Whether a row's answer must be one of the options in its text.

    Not so in chains of thought, in tasks turned round, and behind worked examples, whose options may be the only ones.
    """
    keys = ("template_type", "task_source", "task_name")
    kind, source, name = (str(value.get(key, value.get(f"_{key}", ""))) for key in keys)  # Open-Orca's copy has the underscore
    return kind == "zs_opt" and source in _CHOOSING and not any(part in name for part in _INVERTED)


def _thought(record: Record) -> Item:
    """The Item of a line `question, answer, explanation`: the explanation is learned first, and leads to the answer."""
    cells = record.value.split("\t")
    if len(cells) != _COLUMNS:
        raise Unusable(BAD_FIELD, f"{len(cells)} columns, where question, answer and explanation are {_COLUMNS}")
    question, answer, explanation = (cell.replace("\\n", "\n").strip() for cell in cells)
    if not explanation or not answer:
        raise Unusable(BAD_FIELD, f"there is no {'answer' if explanation else 'explanation'}")
    target = f"{explanation}\nSo the answer is {answer}" + ("" if answer.endswith(".") else ".")
    return Item(record.origin, (to_example(record, Asked(question), target),))


def _is_thought(line: Any) -> bool:
    cells = line.split("\t")
    return len(cells) == _COLUMNS and all(map(str.strip, cells)) and len(cells[2].split()) > 2  # a sentence, and no id


def _sniff_thoughts(lines: Sequence[Any]) -> float:
    found = share(lines, _is_thought)
    return found if found > 0.8 else 0.0  # three columns are common: a table of them is this one only throughout


FLAN = Format(
    name="flan",
    title="FLAN Collection: rendered rows",
    fields=("inputs", "targets", "task_source", "task_name", "template_type"),
    sniff=lambda values: share(values, has("inputs", "targets", without=("definition", "inputs_pretokenized"))),
    read=each(_row),
)
COT = Format(
    name="cot",
    title="FLAN's chains of thought: question, answer and explanation between tabs",
    fields=("question", "answer", "explanation"),
    sniff=_sniff_thoughts,
    read=each(_thought),
    lines=True,
)
