"""Conversations written into one text, their turns behind markers: OIG, OASST-guanaco in both markups, ChatML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from whet.data.corpora.format import BAD_FIELD, Format, Item, Options, Record, Unusable, as_object, each, share, text
from whet.data.corpora.turns import role_of, to_item
from whet.example import Message, Origin

_OIG = re.compile(r"(?:^|\n)[ \t]*<(human|bot)>:")
_GUANACO = re.compile(r"### (Human|Assistant):")  # headings `### ` occur in answers: these two alone are markers
_LLAMA_SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>(.*)", re.DOTALL)
_LLAMA_END = re.compile(r"\s*(?:</s>)?\s*(?:<s>)?\s*$")
_OIG_LINE = re.compile(r"(User|Joi):[ \t]?(.*)")
_END = "<|endoftext|>"


def split_marked(text_: str, marker: re.Pattern[str]) -> list[Message]:
    """The turns behind the markers of a text; what stands before the first is background, and of the system.

    Example:
        >>> split_marked("A tree is a plant.\\n<human>: Is it?\\n<bot>: Yes.", _OIG)
        [Message(role='system', text='A tree is a plant.'), Message(role='user', text='Is it?'),
         Message(role='assistant', text='Yes.')]
    """
    background, *rest = marker.split(text_)
    said = [Message(role_of(name), turn.strip()) for name, turn in zip(rest[::2], rest[1::2], strict=True)]
    return [Message("system", background.strip()), *said] if background.strip() else said


def _llama(text_: str) -> list[Message]:
    """The turns of Llama 2's chat markup; text before the first is of the system."""
    background, *rounds = text_.split("[INST]")
    said = [Message("system", background.strip().removeprefix("<s>").strip())]
    for round_ in rounds:
        asked, mark, answered = round_.partition("[/INST]")
        if system := _LLAMA_SYSTEM.match(asked):
            said.append(Message("system", system[1].strip()))
            asked = system[2]
        said.append(Message("user", asked.strip()))
        if mark:
            said.append(Message("assistant", _LLAMA_END.sub("", answered).strip()))
    return said if said[0].text else said[1:]


def _chatml(text_: str) -> list[Message]:
    """The turns of ChatML; text before the first is of the system."""
    background, *turns = text_.split("<|im_start|>")
    said = [Message("system", background.strip())]
    for turn in turns:
        name, _, content = turn.partition("\n")
        said.append(Message(role_of(name), content.strip().removesuffix("<|im_end|>").strip()))
    return said if said[0].text else said[1:]


def _reader(parse: Callable[[str], list[Message]]) -> Callable[[Record], Item]:
    def item(record: Record) -> Item:
        said = parse(text(as_object(record.value), "text"))
        if not said or all(message.role == "system" for message in said):
            raise Unusable(BAD_FIELD, "there is no marker of a turn in the field 'text'")
        return to_item(record, said)

    return item


def _marked_format(name: str, title: str, parse: Callable[[str], list[Message]], mark: str) -> Format:
    """A format of records with one field `text`, recognised by a mark at the beginning of a text or of a line in it."""
    beginning = re.compile(mark)

    def is_marked(value: Any) -> bool:
        return isinstance(value, dict) and isinstance(value.get("text"), str) and bool(beginning.search(value["text"]))

    return Format(name, title, ("text",), lambda values: share(values, is_marked), each(_reader(parse)))


def _pair(record: Record) -> Item:
    if not _is_pair(record.value):
        raise Unusable(BAD_FIELD, "it is no list of two texts")
    return to_item(record, [Message("user", record.value[0]), Message("assistant", record.value[1])])


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(turn, str) for turn in value)


def _dialogues(records: Iterator[Record], options: Options) -> Iterator[Item]:
    """The conversations in lines `User: ...` and `Joi: ...`; `<|endoftext|>` ends one."""
    lines: list[Record] = []
    for record in records:
        lines.append(record)
        if record.value.rstrip().endswith(_END):
            yield _dialogue(lines)
            lines = []
    if lines:
        yield _dialogue(lines)


def _dialogue(lines: list[Record]) -> Item:
    """The conversation in some lines; it stands where the first does."""
    turns: list[tuple[str, list[str]]] = []
    for line in lines:
        if match := _OIG_LINE.match(line.value):
            turns.append(({"User": "user", "Joi": "assistant"}[match[1]], [match[2]]))
        elif turns:
            turns[-1][1].append(line.value)
        else:
            turns.append(("system", [line.value]))
    said = [Message(role, "\n".join(texts).strip().removesuffix(_END).strip()) for role, texts in turns]
    whole = "\n".join(line.value for line in lines)
    return to_item(Record(Origin(lines[0].origin.source, lines[0].origin.row), whole), said)


def _sniff_dialogues(values: Any) -> float:
    begins = [match[1] for value in values if (match := _OIG_LINE.match(value))]
    return 1.0 if {"User", "Joi"} <= set(begins) else 0.0


OIG = _marked_format("oig", "OIG: <human>: and <bot>:", lambda t: split_marked(t, _OIG), r"(?:^|\n)[ \t]*<human>:")
GUANACO = _marked_format(
    "oasst-guanaco", "OASST-guanaco: ### Human: and ### Assistant:", lambda t: split_marked(t, _GUANACO), r"\A\s*### Human:"
)
LLAMA_GUANACO = _marked_format(
    "llama2-chat", "Llama 2 chat markup: <s>[INST] ... [/INST] ... </s>", _llama, r"\A\s*(?:<s>)?\s*\[INST\]"
)
CHATML = _marked_format("chatml", "ChatML markup: <|im_start|> ... <|im_end|>", _chatml, r"\A\s*<\|im_start\|>")
OIG_PAIRS = Format(
    "oig-pairs", "OIG small set: pairs of texts", (), lambda values: share(values, _is_pair), each(_pair)
)  # fmt: skip
OIG_TEXT = Format("oig-text", "OIG rendered text: User: and Joi:", ("User:", "Joi:"), _sniff_dialogues, _dialogues, lines=True)
