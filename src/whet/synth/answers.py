"""What models write, read without guessing: JSON objects out of any text, labels, refusals. What cannot be read is classified.

The reasons that are counted: `refusal` (it declined), `empty` (nothing), `no_json` (prose only), `cut_json` (the text ends
inside an object), `bad_json`, `not_a_number` (NaN or Infinity), `duplicate_key`, and of an object that was read
`missing_field`, `empty_field`, `wrong_shape`, `unknown_label`. Read all the same and counted as repairs: `prose_around`,
`several_objects`, `thinking`, `label_spelling`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

THINKING = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
UNFINISHED_THINKING = re.compile(r"\s*<think>")
FENCE = re.compile(r"^\s*```[\w-]*\s*|\s*```\s*$")
_CANNOT = r"(?:can(?:no|['’])t|cannot|can not|won['’]t|will not|(?:am|['’]m) (?:un|not )able to)"
_HELP = "assist|help|provide|create|generate|fulfil|comply|write|produce|do that|answer|complete|engage|discuss|continue"
REFUSAL = re.compile(
    rf"\s*(?:(?:i['’]?m|i am) (?:really |very |so |truly )?sorry\b(?=.{{0,60}}\b(?:{_CANNOT}|unable|but)\b)"
    rf"|(?:sorry|unfortunately|apologies|i apologi[sz]e),?\s.{{0,40}}?\bi\s?{_CANNOT}\b"
    rf"|i\s?{_CANNOT}\s(?:{_HELP})"
    r"|as an? (?:ai|artificial intelligence|(?:large )?language model)\b)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in an answer that cannot be used: a reason that is counted, and the text it is about."""

    reason: str
    detail: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The objects of an answer in order, what could not be read, and the repairs that were needed."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)


class _Doubtful(ValueError):
    """JSON that has no one meaning; its two arguments are the reason and the detail."""


def read_objects(text: str) -> Reading:
    """All whole JSON objects of a text; a list of them, or one object around such a list, gives its items.

    Example:
        >>> found = read_objects('Sure! {"rows": [{"text": "a"}, {"text": "b"}]} I hope this helps.')
        >>> found.objects, found.repairs
        ([{'text': 'a'}, {'text': 'b'}], ['prose_around'])
        >>> cut = read_objects('{"rows": [{"text": "a"}, {"text": "b')
        >>> cut.objects, cut.faults[0].reason
        ([{'text': 'a'}], 'cut_json')
    """
    found = Reading()
    said = THINKING.sub("", text, count=1)
    if UNFINISHED_THINKING.match(said):
        found.faults.append(Fault("cut_json", "it ends before its thinking does", text))
        return found
    if said != text:
        found.repairs.append("thinking")
    said = FENCE.sub("", said)
    if not said.strip():
        found.faults.append(Fault("empty", "there is nothing in it", text))
    elif "{" not in said:
        reason, detail = ("refusal", "it declines") if is_refusal(said) else ("no_json", "it holds no JSON object")
        found.faults.append(Fault(reason, detail, text))
    else:
        _scan(said, found)
    return found


def _scan(said: str, found: Reading) -> None:
    """Reads one object after another; where one cannot be read, the whole ones inside it still count."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, strict=False)
    place, between, tops = 0, [], 0
    while (start := said.find("{", place)) >= 0:
        between.append(said[place:start])
        try:
            value, place = decoder.raw_decode(said, start)
        except json.JSONDecodeError as error:
            if not any(f.reason in ("cut_json", "bad_json") for f in found.faults):
                is_cut = error.pos >= len(said) - 1 or error.msg.startswith("Unterminated string")
                reason = "cut_json" if is_cut else "bad_json"
                found.faults.append(Fault(reason, f"{error.msg} at character {error.pos}", said))
            place = start + 1
            continue
        except _Doubtful as error:
            # Raised again for the object inside that it is about, where there is one: said once, and its sisters are read.
            reason, detail = map(str, error.args)
            if not any((f.reason, f.detail) == (reason, detail) for f in found.faults):
                found.faults.append(Fault(reason, detail, said))
            place = start + 1
            continue
        except RecursionError:
            found.faults.append(Fault("bad_json", "it is nested too deeply", said))
            return
        tops += 1
        found.objects.extend(_items(value))
    between.append(said[place:])
    is_whole = not found.faults
    if is_whole and re.search(r"\w", "".join(between)):
        found.repairs.append("prose_around")
    if is_whole and tops > 1:
        found.repairs.append("several_objects")


def _items(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that an object holds, if it is one list of objects with a name; else the object itself."""
    if len(value) == 1:
        (only,) = value.values()
        if isinstance(only, list) and only and all(isinstance(item, dict) for item in only):
            return only
    return [value]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Doubtful("duplicate_key", f"the key {twice!r} stands twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise _Doubtful("not_a_number", f"{name} is no JSON number")


def read_fields(value: Mapping[str, Any], names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, str] | Fault:
    """The named fields of an object as texts without outer blanks, or why they cannot be had. Other fields are left alone.

    Example:
        >>> read_fields({"text": " Hello. ", "label": 3}, ["text", "label"])
        {'text': 'Hello.', 'label': '3'}
        >>> read_fields({"text": ""}, ["text"]).reason
        'empty_field'
    """
    shown = json.dumps(value, ensure_ascii=False)
    texts: dict[str, str] = {}
    for name in (*names, *optional):
        if value.get(name) is None:
            if name in optional:
                texts[name] = ""
                continue
            return Fault("missing_field", f"there is no {name!r} in it", shown)
        found = value[name]
        if isinstance(found, (dict, list)):
            return Fault("wrong_shape", f"{name!r} is a {'list' if isinstance(found, list) else 'object'}, not a text", shown)
        text = found if isinstance(found, str) else json.dumps(found)
        if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
            return Fault("wrong_shape", f"{name!r} holds characters that no text has", shown)
        if not text.strip() and name not in optional:
            return Fault("empty_field", f"{name!r} is empty", shown)
        texts[name] = text.strip()
    return texts


def read_label(text: str, labels: Sequence[str]) -> str | None:
    """The one label that an answer consists of: alone, in quotes, behind `Label:` or in a JSON object. None: it is none.

    Example:
        >>> read_label(' "Praise." ', ["praise", "complaint"]), read_label("praise or complaint", ["praise", "complaint"])
        ('praise', None)
    """
    said = FENCE.sub("", THINKING.sub("", text, count=1)).strip()
    if "{" in said:
        objects = read_objects(said).objects
        if len(objects) != 1:
            return None
        values = [v if isinstance(v, str) else json.dumps(v) for v in objects[0].values()]
        found = {label for value in values if (label := _spelled(value, labels)) is not None}
        return found.pop() if len(found) == 1 else None
    return _spelled(re.sub(r"^(?:the )?(?:label|answer|category|class)(?: is)?\s*:?\s*", "", said, flags=re.IGNORECASE), labels)


def _spelled(text: str, labels: Sequence[str]) -> str | None:
    """The label that this text is, letter for letter or but for case and the marks around it."""
    if text in labels:
        return text

    def bare(each: str) -> str:
        return each.strip().strip("\"'`*.!\u201c\u201d\u2018\u2019 ").casefold()

    same = [label for label in labels if bare(label) == bare(text)]
    return same[0] if len(same) == 1 else None


def read_text(text: str) -> str | Fault:
    """An answer that is all text, without its thinking and outer blanks, or why there is none.

    Example:
        >>> read_text("<think>Hm.</think> Forty-two. "), read_text(" ").reason
        ('Forty-two.', 'empty')
    """
    said = THINKING.sub("", text, count=1)
    if UNFINISHED_THINKING.match(said):
        return Fault("cut_text", "it ends before its thinking does", text)
    if "\x00" in said or not said.strip():
        return Fault("empty", "there is no text in it", text)
    return Fault("refusal", "it declines", text) if is_refusal(said) else said.strip()


def is_refusal(text: str) -> bool:
    """Whether a text declines to do what was asked, by how it begins.

    Example:
        >>> is_refusal("I'm sorry, but I can't assist with that."), is_refusal("I'm sorry for your loss, dear friend.")
        (True, False)
    """
    return REFUSAL.match(text) is not None
