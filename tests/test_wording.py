"""How numbers and names are written."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from whet.measure.metrics import Metrics
from whet.views import wording


def test_nothing_hidden_stays_hidden_and_nothing_visible_changes() -> None:
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    seen = 0
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        shown = wording.visible(character)
        if unicodedata.category(character) in kinds and character not in "\t\n":
            assert shown == f"⟨U+{code:04X}⟩"
            seen += 1
    assert seen > 2000  # surrogates alone are 2,048
    plain = "We will build 40,000 homes – für alle, النص, 家, 👍🏽, é\n"
    assert wording.visible(plain) == plain
    assert wording.visible("a\tb\r\nc") == "a b\nc"
    for fooling in "\u3164\u115f\u2800":
        assert wording.visible(fooling) == f"⟨U+{ord(fooling):04X}⟩"


def test_visible_is_done_after_one_pass() -> None:
    text = "admin\u202e\u2066 user\x1b[2J\ud800"
    assert wording.visible(wording.visible(text)) == wording.visible(text)
    wording.visible(text).encode("utf-8")


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0005, "0.001"), (-0.0004, "0.000"), (1, "1.000"), (99.9996, "100.000"), (1234.56, "1,234.6"), (float("nan"), "–"),
     (float("inf"), "–"), (-0.25, "-0.250")],
)  # fmt: skip
def test_decimals(value: float, said: str) -> None:
    assert wording.decimal(value) == said


def test_units() -> None:
    sizes = {0: "0 B", 1023: "1,023 B", 1024: "1.0 KiB", 5 * 1024**3: "5.0 GiB", 3 * 1024**4: "3,072.0 GiB"}
    assert {n: wording.size(n) for n in sizes} == sizes
    spans = {0: "0.0 s", 59.6: "1 min 0 s", 60: "1 min 0 s", 3599.7: "1 h 0 min", 7200: "2 h 0 min", None: "–"}
    assert {seconds: wording.duration(seconds) for seconds in spans} == spans
    assert wording.p_value(0.001) == "0.001" and wording.p_value(None) == "–"


def test_figures_of_an_evaluation_have_a_name() -> None:
    named = {name for name in Metrics.__slots__ if name in wording.METRICS}
    assert named == {"macro_f1", "accuracy", "nll", "brier", "ece", "ece_equal_mass", "classwise_ece", "aurc"}
    assert wording.metric("new_one").name == "new one" and wording.system("my\u202e_base") == "my⟨U+202E⟩ base"
