"""What gives away that a language model wrote a row: it refuses, speaks of itself, or talks around its answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from whet.data.audit.finding import Case, Finding, counted, severity_by_share, shortened
from whet.data.audit.material import Material

_NOT = r"(?:cannot|can['’]?t|can not|am (?:not able|unable) to|won['’]?t|will not|must decline to)"
_REFUSALS = re.compile(
    rf"""^\s*I(?:['’]m|\ am)\ (?:really\ |very\ |so\ )?sorry,?\ but\b
        (?=.{{0,60}}\b(?:cannot|can['’]?t|unable|not\ able|won['’]?t|do\ not|don['’]?t)\b)
    |\bI\ {_NOT}\ (?:help|assist|comply|fulfil|provide|answer|generate|create|engage|write|do\ that|support)
    |\b(?:I|we)\ (?:do\ not|don['’]?t)\ feel\ comfortable\b
    |\b(?:it|this|that)\ (?:is|would\ be)\ (?:not\ (?:appropriate|ethical)|inappropriate|unethical)\ for\ me\ to\b
    |\b(?:against|violates?)\ (?:my|our|OpenAI['’]?s?)\ (?:programming|guidelines|content\ polic|use\ polic|usage\ polic)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_ITSELF = re.compile(
    r"""\b(?:as|I['’]m|I\ am)\ (?:just\ |only\ )?an?\ (?:AI,|(?:large\ )?language\ model
        |(?:AI|artificial\ intelligence)(?:\ language)?\ (?:model|assistant|system|program))
    |\bas\ of\ my\ (?:last|latest|most\ recent)?\ ?(?:knowledge|training)\ ?(?:cut-?\ ?off|update|data)
    |\bmy\ (?:knowledge\ cut-?\ ?off|training\ data)\b
    |\bI\ (?:do\ not|don['’]?t)\ have\ (?:access\ to\ real-?time|feelings|a\ physical\ body
        |personal\ (?:opinions|experiences|beliefs|feelings))
    |\b(?:trained|developed|created)\ by\ (?:OpenAI|Anthropic|Google\ DeepMind|Meta\ AI)\b|\bChatGPT\b""",
    re.IGNORECASE | re.VERBOSE,
)  # fmt: skip
_AROUND = re.compile(
    r"""^\s*(?:certainly|sure|of\ course|absolutely|great\ question)[!,.]\s+(?:here|I|let|below)
    |^\s*here(?:['’]s|\ is|\ are)\ (?:an?|the|your|some|one|five|ten|\d+)\ (?:\w+\ ){0,4}?
        (?:you\ requested|example|possible|rewritten|revised|version)
    |\bI\ hope\ this\ (?:helps|is\ helpful|meets|email\ finds)\b
    |\b(?:please\ )?(?:let\ me\ know|feel\ free\ to\ (?:ask|reach|let))\b.{0,40}
        \b(?:questions?|further|else|help|need|changes)\b
    |\[(?:your|insert|company|recipient)[^\]\n]{0,30}\]""",
    re.IGNORECASE | re.VERBOSE,
)  # fmt: skip
KINDS = {"refusal": _REFUSALS, "ai_speaks": _ITSELF, "ai_phrase": _AROUND}
_TOLD = {
    "refusal": ("refuses", "A model learns to refuse from few of them: take them out unless refusing is the task"),
    "ai_speaks": ("speaks of itself as a language model", "Take it out, or a model will say the same of itself"),
    "ai_phrase": ("talks around its answer as chat models do", "Cut the phrase where the task wants the answer alone"),
}


def find_made_words(text: str) -> Iterator[tuple[str, str]]:
    """The kinds of giveaway in an answer, and the words of each.

    Example:
        >>> list(find_made_words("I'm sorry, but I can't help with that."))
        [('refusal', "I'm sorry, but")]
        >>> list(find_made_words("I am sorry, but the train has left. Sure thing."))
        []
    """
    yield from ((kind, match[0]) for kind, pattern in KINDS.items() if (match := pattern.search(text)))


def made_words(material: Material) -> Iterator[Finding]:
    """Rows in which a model refuses, speaks of itself, or talks around its answer: in answers, and of labels in the texts."""
    by_kind: dict[str, list[Case]] = {}
    for row, example in enumerate(material.examples):
        text = example.target if material.kind == "generate" else example.text
        for kind, words in find_made_words(text):
            by_kind.setdefault(kind, []).append(Case(f"“{shortened(words, 80)}”", (material.place(row, text),)))
    for kind, cases in by_kind.items():
        told, do = _TOLD[kind]
        severity = "note" if kind == "ai_phrase" else severity_by_share(len(cases), len(material.examples))
        whose = "answer" if material.kind == "generate" else "text"
        yield Finding(kind, severity, f"{counted(len(cases), 'row')} whose {whose} {told}", do, tuple(cases))
