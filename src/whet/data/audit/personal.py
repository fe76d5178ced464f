"""Strings that look like personal data: e-mail and IP addresses, telephone, bank account and card numbers.

Precision before recall: account and card numbers must have right check digits, an IP address must be one that is in use on the
public network, a telephone number must be written as one. Names and street addresses are not looked for.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from whet.data.audit.finding import Case, Finding
from whet.data.audit.material import Material

_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![,-]?\d)")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}(?::?[0-9a-fA-F]{1,4}){1,4}(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}|\(\d{3}\) ?\d{3}[ .-]\d{4})(?![\w-])"
)
_VERSION = re.compile(r"(?:version|release|firmware|section|chapter|§|\bv)[. ]*$", re.IGNORECASE)
# How the numbers of the large issuers begin, and how long they are then.
_CARD_NUMBER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|2720\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|(?:6(?:011|4[4-9]\d|5\d\d)|35(?:2[89]|[3-8]\d)|62\d\d)\d{12,15}"
)
_AMOUNT = re.compile(r"\+\d{1,3}(?: \d{3})* 000")  # a round sum with its sign, and no telephone

_PLURAL = {"e-mail address": "es", "account number (IBAN)": "", "card number": "s", "telephone number": "s", "IP address": "es"}


def find_personal(text: str) -> Iterator[tuple[str, str]]:
    """What kind of personal data a text seems to hold, and the string.

    Example:
        >>> list(find_personal("Write to jo@example.org, or pay to GB82 WEST 1234 5698 7654 32."))
        [('e-mail address', 'jo@example.org'), ('account number (IBAN)', 'GB82 WEST 1234 5698 7654 32')]
    """
    yield from (("e-mail address", match[0]) for match in _EMAIL.finditer(text))
    yield from (("account number (IBAN)", match[0]) for match in _IBAN.finditer(text) if is_iban(match[0]))
    cards = [match[0] for match in _CARD.finditer(text) if is_card(match[0])]
    yield from (("card number", card) for card in cards)
    phones = (match[0] for match in _PHONE.finditer(text) if not _AMOUNT.fullmatch(match[0]))
    yield from (("telephone number", phone) for phone in phones if 8 <= sum(map(str.isdigit, phone)) <= 15)
    for match in (*_IPV4.finditer(text), *_IPV6.finditer(text)):
        if _is_address(match[0]) and not _VERSION.search(text[max(0, match.start() - 20) : match.start()]):
            yield "IP address", match[0]


def is_iban(text: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616: rearranged, the number leaves 1 when divided by 97).

    Example:
        >>> is_iban("DE89 3704 0044 0532 0130 00"), is_iban("DE88 3704 0044 0532 0130 00")
        (True, False)
    """
    packed = text.replace(" ", "")
    moved = packed[4:] + packed[:4]
    return 15 <= len(packed) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def is_card(text: str) -> bool:
    """Whether it is a card number: it begins and is as long as those of a known issuer, and passes Luhn's test (ISO/IEC 7812).

    Example:
        >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112"), is_card("490154203237518")
        (True, False, False)
    """
    digits = [int(c) for c in text if c.isdigit()]
    if len(set(digits)) < 2 or not _CARD_NUMBER.fullmatch("".join(map(str, digits))):
        return False
    doubled = (2 * d - 9 * (d > 4) for d in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def masked(found: str) -> str:
    """The string with its middle hidden, so that a report does not spread it.

    Example:
        >>> masked("jo@example.org"), masked("4111 1111 1111 1111")
        ('jo••••••••••rg', '41•••••••••••••••11')
    """
    return f"{found[:2]}{'•' * max(1, len(found) - 4)}{found[-2:]}"


def personal_data(material: Material) -> Iterator[Finding]:
    """Rows that seem to hold personal data, by kind; what is shown is masked."""
    by_kind: dict[str, list[Case]] = {}
    for row, example in enumerate(material.examples):
        text = f"{example.text}\n{example.target}"
        if not any(c in text for c in "@+:") and sum(map(str.isdigit, text)) < 8:
            continue
        for kind, found in dict.fromkeys(find_personal(text)):
            shown = text.replace(found, masked(found))
            by_kind.setdefault(kind, []).append(Case(f"{kind} {masked(found)}", (material.place(row, shown),)))
    cases = tuple(case for found in by_kind.values() for case in found)
    if cases:
        counts = ", ".join(
            f"{len(found):,} {kind}{'' if len(found) == 1 else _PLURAL[kind]}" for kind, found in by_kind.items()
        )
        worst = {"account number (IBAN)", "card number"} & by_kind.keys()
        do = "Replace or remove them: a model can give back what it has read"
        yield Finding("personal_data", "error" if worst else "warning", f"what looks like personal data: {counts}", do, cases)


def _is_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False
