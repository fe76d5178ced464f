"""What a reader of a corpus format is made of: records in, Items out, and nothing in between is lost.

A reader is a generator over the records of one file. It yields one Item for each unit of the format (a row, an instance, a
conversation), in order, and holds no more of the file than the unit needs. Most formats turn one record into one Item, and
are a function of the record: `each` makes a reader of it. What every format shares is not in the readers but in `reading`:
empty answers, characters that do not exist, counting.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import PurePath
from typing import Any, Literal

from whet.example import Drop, Example, Origin

BAD_FIELD = "bad_field"
FILTERED = "filtered"  # left out because that was asked for
WRONG_CHOICE = "wrong_choice"  # left out because the corpus itself says that the answer is wrong
NOT_LOST = frozenset({FILTERED, WRONG_CHOICE})
# Why something was mended: the row is still there.
NO_INPUT_MARK, MERGED, DRAWN_HTML, NOT_OFFERED = "no_input_mark", "merged", "html", "not_offered"
REPAIRS = frozenset({NO_INPUT_MARK, MERGED, DRAWN_HTML, NOT_OFFERED})
SHOWN_CHARS = 200
_KINDS = {
    "NoneType": "null", "str": "a text", "bool": "true or false", "int": "a number", "float": "a number", "list": "a list",
    "dict": "an object",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file. `value` is the JSON value, or of a text file the line without its end.

    `origin.row` is the line where a file has lines, else the record counted from 1.
    """

    origin: Origin
    value: Any

    @property
    def id(self) -> str:
        """The id of the Example that it becomes: the file without its suffix, and the row."""
        return f"{_stem(self.origin.source)}-{self.origin.row}"

    def drop(self, reason: str, detail: str) -> Drop:
        """The Drop that says what was wrong with it."""
        return Drop(self.origin, reason, detail, shown(self.value))


@cache
def _stem(source: str) -> str:
    return PurePath(source).with_suffix("").as_posix()


@dataclass(frozen=True, slots=True)
class Item:
    """What one unit of a format became: Examples, or Drops that say why there are none. With both, it was repaired."""

    origin: Origin
    examples: tuple[Example, ...] = ()
    drops: tuple[Drop, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows it held: its Examples, and what was lost of it."""
        return len(self.examples) + sum(drop.reason not in REPAIRS for drop in self.drops)

    @property
    def is_repaired(self) -> bool:
        """Whether something of it was mended or lost, and not all: what was left out on purpose does not count."""
        return bool(self.examples) and any(drop.reason not in NOT_LOST for drop in self.drops)


@dataclass(frozen=True, slots=True)
class Options:
    """What may be asked of formats that offer a choice (`Format.takes` says which do).

    `paths`: of a tree of messages the best path, or all of them. `languages`: only messages in these; empty: all.
    `unreviewed`: whether messages that reviewers have refused or deleted are read too.
    """

    paths: Literal["best", "all"] = "best"
    languages: tuple[str, ...] = ()
    unreviewed: bool = False


Reader = Callable[[Iterator[Record], Options], Iterator[Item]]
DEFAULT_OPTIONS = Options()


def asked_for(options: Options) -> list[str]:
    """The names of the options that are not as they are by default."""
    return [name for name in Options.__slots__ if getattr(options, name) != getattr(DEFAULT_OPTIONS, name)]


@dataclass(frozen=True, slots=True)
class Format:
    """One on-disk format.

    `sniff` gives the share of some records' values (0 to 1) that are of this format. `fields` are what a record looks like,
    for a person. `lines`: whether its records are lines of text instead of JSON values. `takes`: the Options that it heeds.
    """

    name: str
    title: str
    fields: tuple[str, ...]
    sniff: Callable[[Sequence[Any]], float]
    read: Reader
    lines: bool = False
    takes: tuple[str, ...] = ()


class Unusable(Exception):
    """Raised on the way from a record to an Item: why nothing can be made of it."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


def each(make: Callable[[Record], Item]) -> Reader:
    """The reader of a format in which each record is a unit of its own.

    Args:
        make: a record's Item; it may raise Unusable.
    """

    def read(records: Iterator[Record], options: Options) -> Iterator[Item]:
        return (attempt(record, make) for record in records)

    return read


def attempt(record: Record, make: Callable[[Record], Item]) -> Item:
    """What `make` makes of a record; where it finds the record unusable, an Item that says why."""
    try:
        return make(record)
    except Unusable as fault:
        return Item(record.origin, drops=(record.drop(fault.reason, fault.detail),))


def share(values: Sequence[Any], fits: Callable[[Any], bool]) -> float:
    """The share of the values that fit, 0 where there are none.

    Example:
        >>> share([{"a": 1}, {"b": 1}], has("a"))
        0.5
    """
    return sum(map(fits, values)) / len(values) if values else 0.0


def has(*names: str, without: Sequence[str] = ()) -> Callable[[Any], bool]:
    """A test of one value: an object with all of these fields, and none of the others."""
    wanted, unwanted = set(names), set(without)
    return lambda value: isinstance(value, dict) and wanted <= value.keys() and not unwanted & value.keys()


def text(record: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The text in a field: numbers as JSON writes them, `null` (and NaN, its name in tables) as the empty text.

    Args:
        record: the object.
        name: of the field.
        default: where the object has no such field; None: it must.

    Raises:
        Unusable: there is no such field, or it holds a list or an object.

    Example:
        >>> text({"output": 4}, "output"), text({}, "input", "")
        ('4', '')
    """
    if name not in record:
        if default is None:
            raise Unusable(BAD_FIELD, f"there is no field {name!r}")
        return default
    value = record[name]
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, (dict, list)):
        raise Unusable(BAD_FIELD, f"the field {name!r} holds {kind_of(value)}, where text was expected")
    return json.dumps(value)


def as_object(value: Any) -> dict[str, Any]:
    """The value, if it is an object with named fields.

    Raises:
        Unusable: it is something else.
    """
    if not isinstance(value, dict):
        raise Unusable(BAD_FIELD, f"{kind_of(value)}, where an object with named fields was expected")
    return value


def kind_of(value: Any) -> str:
    """What a JSON value is, in words.

    Example:
        >>> kind_of(None), kind_of([1])
        ('null', 'a list')
    """
    name = type(value).__name__
    return _KINDS.get(name, f"a {name}")  # Parquet has more kinds, such as dates


def shown(value: Any) -> str:
    """The beginning of a value as text, for a person."""
    text = value if isinstance(value, str) else json.dumps(_begun(value), ensure_ascii=False, default=str)
    return text[:SHOWN_CHARS].encode("utf-8", "replace").decode()


def _begun(value: Any) -> Any:
    """As much of a value as `shown` needs: a long record is not written out for each of its many faults."""
    if isinstance(value, dict):
        return {name: _begun(value[name]) for name in islice(value, SHOWN_CHARS)}
    if isinstance(value, list):
        return list(map(_begun, value[:SHOWN_CHARS]))
    return value[:SHOWN_CHARS] if isinstance(value, str) else value
