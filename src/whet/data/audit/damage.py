"""Text that went through the wrong hands: read in another encoding than it was written in, or not unescaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from whet.data.audit.finding import Finding, counted, severity_by_share, shortened
from whet.data.audit.material import Material

# What cp1252 makes of the bytes 0x80 to 0xff: a run of two to four of them may be one character of UTF-8.
_CP1252 = "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in range(0x80, 0x100))
_FOREIGN = re.compile(f"[{re.escape(_CP1252)}]{{2,}}")
_ENTITY = re.compile(r"&(?:#\d{2,6}|#[xX][0-9a-fA-F]{2,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")


def find_damage(text: str) -> Iterator[tuple[str, str]]:
    """What kind of damage a text shows, and what is broken, with how it should read where that can be said.

    Example:
        >>> list(find_damage("Fish &amp; caf\u00c3\u00a9"))
        [('read in the wrong encoding', "'\u00c3\u00a9' for '\u00e9'"), ('HTML not unescaped', "'&amp;' for '&'")]
        >>> list(find_damage("na\u00efve caf\u00e9, \u00ab\u00e0 la carte\u00bb"))
        []
    """
    if "\ufffd" in text:
        yield "replacement characters", f"{text.count(chr(0xFFFD)):,} in “{shortened(_around(text, text.index(chr(0xFFFD))))}”"
    if not text.isascii():
        wrong = {run[0]: meant for run in _FOREIGN.finditer(text) if (meant := _redecoded(run[0]))}
        if wrong:
            yield "read in the wrong encoding", ", ".join(f"{run!r} for {meant!r}" for run, meant in list(wrong.items())[:5])
    if "&" in text:
        entities = {e[0]: html.unescape(e[0]) for e in _ENTITY.finditer(text) if html.unescape(e[0]) != e[0]}
        if entities:
            yield "HTML not unescaped", ", ".join(f"{e!r} for {meant!r}" for e, meant in list(entities.items())[:5])
    if found := _CONTROL.findall(text):
        yield "control characters", ", ".join(sorted({f"U+{ord(c):04X}" for c in found}))


def damage(material: Material) -> Iterator[Finding]:
    """Rows with damaged text."""
    cases, kinds = [], dict[str, int]()
    for row, example in enumerate(material.examples):
        text = f"{example.text}\n{example.target}"
        for kind, detail in find_damage(text):
            kinds[kind] = kinds.get(kind, 0) + 1
            cases.append(material.case(f"{kind}: {detail}", row))
    if cases:
        rows = len({(c.rows[0].source, c.rows[0].row) for c in cases})
        counts = ", ".join(f"{kind} in {n:,}" for kind, n in kinds.items())
        severity = severity_by_share(rows, len(material.examples))
        do = "Read the source again in the right encoding, and unescape it once; what cannot be read again is better left out"
        yield Finding("encoding_damage", severity, f"{counted(rows, 'row')} with damaged text ({counts})", do, tuple(cases))


def _redecoded(run: str) -> str:
    """What a run of characters says where its bytes are UTF-8; empty where they are not."""
    try:
        return bytes(ord(c) if ord(c) < 0x100 else c.encode("cp1252")[0] for c in run).decode("utf-8")
    except UnicodeError:
        return ""


def _around(text: str, place: int) -> str:
    return text[max(0, place - 30) : place + 30]
