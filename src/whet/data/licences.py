"""What a licence allows, what the terms of an LLM say of its output, and what all of a mix together do.

Licences are read as people write them: "CC BY-NC 4.0", an SPDX name, a link, "non-commercial research only". What is not
stated, or not known, is neither allowed nor forbidden: it is unstated, and said as such. The facts stand in `licences.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Literal

Forbids = Literal["yes", "no", "in part"]
# Words that say that nobody says anything.
_SILENT = frozenset({"", "unknown", "unstated", "none", "other", "n a", "not specified", "see source", "license", "custom"})
_CC = re.compile(r"\bcc\b|creative ?commons")
_CC_PARTS = {"NC": r"\bnc\b|non ?commercial", "ND": r"\bnd\b|no ?deriv", "SA": r"\bsa\b|share ?alike"}
_VERSION = re.compile(r"\b([1-4]\.0|2\.5)\b")
_CHOICE, _ALL = re.compile(r"\s+or\s+", re.IGNORECASE), re.compile(r"\s+and\s+|;|\s[+&]\s", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be done with something. Yes, no, or None where it is not stated.

    `id` is the SPDX name where there is one. `commercial`: may it be used commercially. `sharing`: may it be passed on.
    `changes`: may what is made of it be passed on. `share_alike`: only under the same terms. `attribution`: only with its
    authors named. `note`: what else.
    """

    id: str
    commercial: bool | None = None
    sharing: bool | None = None
    changes: bool | None = None
    share_alike: bool | None = None
    attribution: bool | None = None
    note: str = ""


UNSTATED = Terms("unstated")
_PERMISSIONS, _DUTIES = ("commercial", "sharing", "changes"), ("share_alike", "attribution")


@dataclass(frozen=True, slots=True)
class MakerTerms:
    """What the terms of who made a text say of training models that compete with it; `forbids` is None where it is unknown."""

    owner: str
    forbids: Forbids | None
    year: int | None = None
    terms: str = ""


UNKNOWN_MAKER = MakerTerms("", None)
_BY_STRICTNESS: tuple[Forbids | None, ...] = ("yes", None, "in part", "no")


@cache
def read_licence(stated: str | None) -> Terms:
    """What a licence allows.

    Args:
        stated: as people write it. Several with "and" between hold together; of several with "or" the freest may be chosen.

    Example:
        >>> terms = read_licence("CC BY-NC 4.0")
        >>> terms.id, terms.commercial, terms.share_alike, terms.attribution
        ('CC-BY-NC-4.0', False, False, True)
        >>> read_licence("see the paper").commercial is None
        True
        >>> read_licence("MIT and CC BY-SA 3.0").id
        'MIT AND CC-BY-SA-3.0'
    """
    if stated is None or _plain(stated) in _SILENT:
        return UNSTATED
    choices = [strictest(map(_one, _ALL.split(choice))) for choice in _CHOICE.split(stated)]
    return max(choices, key=_freedom)  # of equals the first


def strictest(several: Iterable[Terms]) -> Terms:
    """What is allowed of what is under all of these: what one of them forbids is forbidden, what one demands is demanded.

    Example:
        >>> strictest([read_licence("MIT"), read_licence("unknown")]).commercial is None
        True
    """
    distinct = list(dict.fromkeys(several))
    if len(distinct) == 1:
        return distinct[0]
    allowed = {name: _all([getattr(terms, name) for terms in distinct]) for name in _PERMISSIONS}
    demanded = {name: _any([getattr(terms, name) for terms in distinct]) for name in _DUTIES}
    notes = "; ".join(dict.fromkeys(terms.note for terms in distinct if terms.note))
    return Terms(" AND ".join(terms.id for terms in distinct), **allowed, **demanded, note=notes)


@cache
def maker_terms(maker: str | None) -> MakerTerms:
    """What the terms of a maker say of its output; of several (with commas between) the strictest.

    Example:
        >>> maker_terms("text-davinci-003").forbids, maker_terms("people").forbids, maker_terms("SomeLM 7b").forbids
        ('yes', 'no', None)
    """
    if maker is None:
        return UNKNOWN_MAKER
    found = [_maker(part) for part in re.split(r"[,;]|\band\b", maker) if _plain(part)]
    return min(found, key=lambda terms: _BY_STRICTNESS.index(terms.forbids), default=UNKNOWN_MAKER)


def stricter(one: Forbids | None, other: Forbids | None) -> Forbids | None:
    """Of two answers to whether competing models are forbidden, what holds for both together."""
    return next((answer for answer in _BY_STRICTNESS if answer in (one, other)), "no")


def _maker(name: str) -> MakerTerms:
    plain = _plain(name)
    return next((MakerTerms(**facts) for pattern, facts in _facts("maker") if pattern.search(plain)), UNKNOWN_MAKER)


def _one(stated: str) -> Terms:
    """The Terms of one licence."""
    plain = _plain(stated)
    if _CC.search(plain) and not re.search(r"\bcc ?0\b|\bzero\b|\bcc by\b.*\bcc by\b", plain):
        return _creative_commons(plain)
    for pattern, facts in _facts("licence"):
        if match := pattern.search(plain):
            terms = Terms(**{key: value for key, value in facts.items() if key != "versioned"})
            version = re.search(r"(?<!\d)([1-4])(\.\d)?\b", plain[match.start() :]) if "versioned" in facts else None
            return replace(terms, id=f"{terms.id}-{version[1]}{version[2] or '.0'}") if version else terms
    return UNSTATED if plain in _SILENT else Terms(stated.strip())


def _creative_commons(plain: str) -> Terms:
    """The Terms of a Creative Commons licence, by its parts."""
    parts = [name for name, pattern in _CC_PARTS.items() if re.search(pattern, plain)]
    if not parts and not re.search(r"\bby\b|attribution", plain):
        return Terms("CC")  # one of them, and which is not said
    version = _VERSION.search(plain)
    ordered = [name for name in ("NC", "ND", "SA") if name in parts]
    return Terms(
        "-".join(["CC-BY", *ordered, *([version[1]] if version else [])]),
        commercial="NC" not in parts, sharing=True, changes="ND" not in parts, share_alike="SA" in parts, attribution=True,
    )  # fmt: skip


@cache
def _facts(kind: Literal["licence", "maker"]) -> tuple[tuple[re.Pattern[str], dict[str, Any]], ...]:
    """Pattern and facts of each licence or maker, in the order in which they are tried."""
    facts = tomllib.loads((resources.files("whet.data") / "licences.toml").read_text("utf-8"))[kind]
    return tuple((re.compile(fact["pattern"]), {k: v for k, v in fact.items() if k != "pattern"}) for fact in facts)


def _plain(text: str) -> str:
    """A text in lower case, all signs but dots inside numbers as single spaces."""
    return re.sub(r"[^\w.]+|_|\.(?!\d)|(?<!\d)\.", " ", text.lower()).strip()


def _freedom(terms: Terms) -> tuple[int, int, int]:
    value = {True: 2, None: 1, False: 0}
    return value[terms.commercial], value[terms.sharing], 2 - value[terms.share_alike]


def _all(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _any(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False
