"""Ranges of numbers, in words and as a test, for the arguments of optimizers and schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """Which numbers do, as a sentence's end and as a test; and what such a number is, where TOML writes only a number."""

    words: str
    holds: Callable[[float], bool]
    kind: type[float] | type[int] | type[bool] = float


POSITIVE = Range("above 0", lambda v: v > 0)
NEGATIVE = Range("below 0", lambda v: v < 0)
NOT_NEGATIVE = Range("at least 0", lambda v: v >= 0)
FRACTION = Range("from 0 to below 1", lambda v: 0 <= v < 1)
INSIDE = Range("above 0 and below 1", lambda v: 0 < v < 1)
SHARE = Range("above 0 and at most 1", lambda v: 0 < v <= 1)
RATIO = Range("from 0 to 1", lambda v: 0 <= v <= 1)
SWITCH = Range("true or false", lambda v: v in (0, 1), bool)
COUNT = Range("a whole number from 1", lambda v: v >= 1 and v == int(v), int)
COUNT_FROM_ZERO = Range("a whole number from 0", lambda v: v >= 0 and v == int(v), int)
UNDER_HUNDRED = Range("a whole number from 1 to 99", lambda v: 1 <= v < 100 and v == int(v), int)
