"""Plain text: sums divided once, by token, character and byte; intervals over documents."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whet.errors import DataError
from whet.measure.intervals import bootstrap
from whet.measure.perplexity import Sizes, measure_text, text_statistics

NATS = np.array([30.0, 2.0, 100.0])
SIZES = Sizes.of([(10, 40, 44), (1, 5, 5), (20, 90, 90)])


def test_the_figures_are_ratios_of_sums() -> None:
    found = measure_text(NATS, SIZES)
    assert (found.n, found.tokens, found.characters, found.bytes) == (3, 31, 135, 139)
    assert found.nats_per_token == 132 / 31 and found.perplexity == math.exp(132 / 31)
    assert found.bits_per_character == pytest.approx(132 / math.log(2) / 135)
    assert found.bits_per_byte == pytest.approx(132 / math.log(2) / 139)


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    sizes = Sizes.of([(n, n, n) for n in (3, 50, 7)])
    found = measure_text(sizes.tokens * math.log(6144), sizes)
    assert found.perplexity == pytest.approx(6144) and found.bits_per_byte == pytest.approx(math.log2(6144))


def test_documents_are_what_is_drawn_again() -> None:
    spread = bootstrap(text_statistics(NATS, SIZES), 3, seed=1, resamples=500)
    assert spread["nats_per_token"].low == pytest.approx(2.0) and spread["nats_per_token"].high == pytest.approx(5.0)
    alike = Sizes.of([(5, 20, 20)] * 6)
    narrow = bootstrap(text_statistics(np.full(6, 15.0), alike), 6, seed=1, resamples=100)["perplexity"]
    assert narrow.low == narrow.high == pytest.approx(math.exp(3))


@pytest.mark.parametrize("sizes", [[], [(4, 9, 9), (0, 0, 0)]])
def test_nothing_to_predict_is_refused(sizes: list[tuple[int, int, int]]) -> None:
    with pytest.raises(DataError, match="hold nothing to predict"):
        Sizes.of(sizes)
