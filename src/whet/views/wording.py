"""How numbers and names are written, on every page and in the terminal."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

NONE = "–"


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure as a person reads it: its name, which way is better, and what it says."""

    name: str
    higher_is_better: bool
    meaning: str


METRICS = {
    "macro_f1": Metric("Macro F1", True, "mean F1 of the labels, rare ones counting alike"),
    "accuracy": Metric("Accuracy", True, "share of the examples that it got right"),
    "nll": Metric("NLL", False, "surprise at the right answer; 0 is sure and right"),
    "brier": Metric("Brier", False, "squared distance from the truth, 0 to 2"),
    "ece": Metric("ECE", False, "gap between confidence and being right"),
    "ece_equal_mass": Metric("ECE, equal-mass bins", False, "the same with as many examples in each bin"),
    "classwise_ece": Metric("Class-wise ECE", False, "the same, averaged over the probability of every label"),
    "aurc": Metric("AURC", False, "mean error rate when the surest answers are taken first"),
    "exact_match": Metric("Exact match", True, "share of the answers that equal the target"),
    "token_f1": Metric("Token F1", True, "words shared between answer and target"),
    "rouge_l": Metric("ROUGE-L", True, "longest common run of words, in order"),
    "perplexity": Metric("Perplexity", False, "as if it chose among so many tokens each time"),
    "nats_per_token": Metric("Nats per token", False, "surprise at the next token; the logarithm of perplexity"),
    "bits_per_character": Metric("Bits per character", False, "the same by character: comparable between tokenizers"),
    "bits_per_byte": Metric("Bits per byte", False, "the same by byte of UTF-8"),
}

SYSTEMS = {
    "tuned": "Tuned",
    "majority": "Majority class",
    "tfidf": "TF-IDF + LR",
    "zero_shot": "Base, zero-shot",
    "few_shot": "Base, few-shot",
}

REASONS = {
    "bad_row": "a row that cannot be read as the table says",
    "duplicate": "the same text and answer again",
    "conflict": "the same text with another answer",
    "leak": "too like an example of another split",
    "empty_input": "nothing to read",
    "empty_target": "no answer",
    "empty_instruction": "nothing says what to do",
    "not_drawn": "more rows than mix_fraction asks for",
    "too_long": "more tokens than max_length",
    "truncated": "kept, but its end was cut",
    "no_input_mark": "kept, without the text that says that it has no input",
    "merged": "kept, in two: it held a second task",
    "not_offered": "kept, though its answer is none of the options",
    "wrong_choice": "an answer that the corpus calls wrong",
    "no_answer": "an instruction that nobody has answered",
}


def metric(key: str) -> Metric:
    """What is known of a metric; one that is not known is shown by its key."""
    return METRICS.get(key, Metric(_words(key), True, ""))


def system(key: str) -> str:
    """The name of what was measured: the tuned model or a baseline."""
    return SYSTEMS.get(key, _words(key))


def reason(key: str) -> str:
    """The name of a reason for dropping a row."""
    return REASONS.get(key, _words(key))


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals, fewer where it is large; a dash where there is none.

    Example:
        >>> decimal(0.76149), decimal(-0.0001), decimal(12345.678), decimal(None)
        ('0.761', '0.000', '12,345.7', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:,.1f}" if abs(value) >= 100 else f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def interval(pair: Sequence[float] | None) -> str:
    """A 95 % interval, or nothing.

    Example:
        >>> interval([0.7281, 0.7924]), interval(None)
        ('0.728 to 0.792', '')
    """
    return f"{decimal(pair[0])} to {decimal(pair[1])}" if pair else ""


def short_interval(pair: Sequence[float] | None) -> str:
    """A 95 % interval where there is little room, or nothing.

    Example:
        >>> short_interval([0.7281, 0.7924]), short_interval(None)
        ('0.73–0.79', '')
    """
    return f"{decimal(pair[0], 2)}–{decimal(pair[1], 2)}" if pair else ""


def p_value(value: float | None) -> str:
    """A p-value, never smaller than can be meant.

    Example:
        >>> p_value(0.00004), p_value(0.0321), p_value(1.0)
        ('< 0.001', '0.032', '1.000')
    """
    return "< 0.001" if value is not None and value < 0.001 else decimal(value)


def count(number: float | None, noun: str = "") -> str:
    """A count with its noun in the right number.

    Example:
        >>> count(1, "example"), count(4119, "row"), count(12)
        ('1 example', '4,119 rows', '12')
    """
    if number is None:
        return NONE
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if noun else f"{number:,}"


def size(count_bytes: float | None) -> str:
    """A number of bytes in the unit that suits it.

    Example:
        >>> size(900), size(20 * 1024**2), size(None)
        ('900 B', '20.0 MiB', '–')
    """
    if count_bytes is None:
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count_bytes < 1024 or unit == "GiB":
            break
        count_bytes /= 1024
    return f"{count_bytes:,.0f} B" if unit == "B" else f"{count_bytes:,.1f} {unit}"


def duration(seconds: float | None) -> str:
    """A time span in its two largest units.

    Example:
        >>> duration(0.42), duration(95.2), duration(7265)
        ('0.4 s', '1 min 35 s', '2 h 1 min')
    """
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def visible(text: str) -> str:
    """The text with every control, bidirectional and zero-width character written out, so that it cannot hide or run.

    Line breaks stay; a tab becomes a space.

    Source: CVE-2021-42574 (bidi controls that reorder what is read); terminal escape sequences begin with U+001B.

    Example:
        >>> visible("a\\u202eb")
        'a⟨U+202E⟩b'
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(f"⟨U+{ord(c):04X}⟩" if _is_hidden(c) else c for c in text)


def _words(key: str) -> str:
    return visible(key).replace("_", " ")


def _is_hidden(character: str) -> bool:
    if character == "\n":
        return False
    # The fillers are letters by category and yet draw nothing.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in "\u115f\u1160\u2800\u3164\uffa0"
