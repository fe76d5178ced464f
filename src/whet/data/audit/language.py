"""Which language a text is in, lightly: by its script, then by the commonest little words of the languages that share it.

It is made to find rows in another language than the rest, and says nothing where it is not sure: of texts with fewer than
five words, of Latin-script languages that are not listed here, and where two languages come out alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from whet.data.audit.finding import Finding, Severity, counted
from whet.data.audit.material import Material

FEWEST_WORDS = 5
FEWEST_HITS = 2
MINORITY_SHARE = 0.25
STRAY_SHARE = 0.01
UNSURE = ""
_ADDRESS = ("@", "://", "www.")  # a word that holds one is an address, and of no language
_LITTLE_WORDS = {
    "en": "the of and to in is that for it with as was on are be this by at from not have or an which you we they their has",
    "de": "der die das und ist nicht ein eine zu den mit von auf für im dem des sich auch als wir werden wird es sind oder bei",
    "fr": "le la les des et est une que dans pour qui pas sur au avec ce il sont par plus nous vous du aux cette être ne",
    "es": "el la los las de que en un una por con para del se es no lo como más su al pero sus nos este son",
    "it": "il la di che un una per non sono con del della dei delle gli nel alla si come anche più ha questo le da",
    "pt": "os as de que em um uma para com não do da dos das se por mais como ao na no são foi pela",
    "nl": "de het een en van is dat op te in voor met niet zijn aan er om ook als maar bij worden wordt wij naar deze",
    "sv": "och att det som en är för på med den av inte till ett om har vi ska de från så kan vara eller också alla vill",
    "da": "og at det som en er for på med den af ikke til et om har vi skal de fra så kan være eller også alle vil",
    "no": "og det som en er for på med den av ikke til et om har vi skal de fra så kan være eller også alle vil",
    "fi": "ja on ei että se oli ovat mutta joka myös kun niin tai hän kuin jos sen ole voi mitä vain tämä sekä",
    "pl": "na że się do nie jest to jak za od po ale przez dla są tym który oraz być czy jego tylko",
    "cs": "na se že je do to ve pro jako za by jsou ale po který nebo od jeho není také",
    "hu": "az és hogy nem is egy van meg ez de ki mint csak még ha már volt vagy el azt nagyon kell minden",
    "ro": "și de la în cu pe nu că este un din care mai pentru sau sunt se ce au fi prin dar fost ca",
    "tr": "ve bir bu için ile çok var daha gibi olarak olan kadar sonra ama değil mi ya ise",
    "id": "yang dan di dengan untuk tidak ini itu dari pada adalah akan dalam ke kami kita atau oleh juga sudah ada bisa",
    "vi": "và của là có được cho không trong với các một những này đã người để khi từ về như cũng đến",
}  # fmt: skip
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _words in _LITTLE_WORDS.items():
    for _word in frozenset(_words.split()):
        _LANGUAGES_OF.setdefault(_word, []).append(_language)
_SCRIPTS = {
    "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "Cyrillic", "ARABIC": "Arabic script",
    "HEBREW": "he", "GREEK": "el", "DEVANAGARI": "Devanagari", "THAI": "th", "BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te",
    "GEORGIAN": "ka", "ARMENIAN": "hy", "ETHIOPIC": "Ethiopic", "KHMER": "km", "LAO": "lo", "MYANMAR": "my",
    "GUJARATI": "gu", "GURMUKHI": "pa", "KANNADA": "kn", "MALAYALAM": "ml", "SINHALA": "si", "TIBETAN": "bo", "LATIN": "Latin",
}  # fmt: skip
# What `language_of` can say, but for Latin script that it is not sure of.
LANGUAGES = (*_LITTLE_WORDS, *sorted(set(_SCRIPTS.values()) - {"Latin"}))


def language_of(text: str) -> str:
    """The language of a text as its two-letter code, or its script where that is all that shows; empty where it is not sure.

    Example:
        >>> language_of("We will build new homes in the north."), language_of("Vi ska bygga mer och inte riva.")
        ('en', 'sv')
        >>> language_of("我们将建造新的住房。"), language_of("OK, 42")
        ('zh', '')
    """
    script = _script_of(text)
    if script != "Latin":
        return script
    plain = " ".join(word for word in text.casefold().split() if not any(mark in word for mark in _ADDRESS))
    words = re.findall(r"[^\W\d_]+", plain)
    if len(words) < FEWEST_WORDS:
        return UNSURE
    # Words of one letter are left out: they are initials and numerals in every language.
    hits = Counter(dict.fromkeys(_LITTLE_WORDS, 0))
    hits.update(language for word in words for language in _LANGUAGES_OF.get(word, ()))
    (first, most), (second, next_most) = hits.most_common(2)
    if most < max(FEWEST_HITS, 0.1 * len(words)):
        return UNSURE
    if most - next_most < 2 and most < 3:
        return UNSURE
    if most == next_most:
        # Danish and Norwegian share nearly all of their little words, and few texts tell them apart.
        return "da/no" if {first, second} == {"da", "no"} else UNSURE
    return first


def languages(material: Material) -> dict[str, int]:
    """How many rows are in which language; "" where it is not sure."""
    return dict(Counter(_language_of_row(material, row) for row in range(len(material.examples))).most_common())


def language_mix(material: Material) -> Iterator[Finding]:
    """Rows in another language than most."""
    found = [_language_of_row(material, row) for row in range(len(material.examples))]
    counts = Counter(language for language in found if language != UNSURE)
    if len(counts) < 2:
        return
    main, sure = counts.most_common(1)[0][0], counts.total()
    others = {language for language, n in counts.items() if language != main and n <= MINORITY_SHARE * sure}
    cases = tuple(material.case(f"seems to be {language}", row) for row, language in enumerate(found) if language in others)
    shares = ", ".join(f"{language} {n / sure:.1%}" for language, n in counts.most_common(8))
    if cases:
        seem = "seems" if len(cases) == 1 else "seem"
        what = f"{counted(len(cases), 'row')} {seem} to be in another language ({sure:,} show one: {shares})"
        severity: Severity = "warning" if len(cases) > STRAY_SHARE * sure else "note"
        yield Finding("language_mix", severity, what, "Read them: a few strays are better left out", cases)
    else:
        do = "Measure each language by itself"
        yield Finding("language_mix", "note", f"the rows are in several languages ({shares})", do)


def _language_of_row(material: Material, row: int) -> str:
    example = material.examples[row]
    return language_of("\n".join(example.inputs.values()) or example.text)


def _script_of(text: str) -> str:
    """The language of the script that most letters belong to, or the script's name; Japanese where kana stand among them."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else UNSURE
    counts = Counter(_script(c) for c in text[:2000] if c.isalpha())
    counts.pop("", None)
    if not counts:
        return UNSURE
    if counts["ja"] and counts["ja"] + counts["zh"] > counts.total() / 2:
        return "ja"
    first, most = counts.most_common(1)[0]
    return first if most > counts.total() / 2 else UNSURE


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    return _SCRIPTS.get(unicodedata.name(character, "").split(" ")[0].split("-")[0], "")
