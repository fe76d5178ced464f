"""A model in this process draws as it should: by the row's own seed, from the softmax, within the nucleus."""

from __future__ import annotations

import asyncio

import pytest
import torch
from synth_parts import recipe

from whet.engine.generate import Generator, _Draw, _nucleus
from whet.synth.client import Fault
from whet.synth.local import LocalMaker
from whet.synth.request import Message, Parameters, Reply, Request


def asked(prompt: str, seed: int = 1, **parameters: object) -> Request:
    return Request("rows", (Message("user", prompt),), Parameters(**{"max_tokens": 12, **parameters}), seed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whetstone() -> Generator:
    return Generator(recipe((), model="whetstone"))


def texts(generator: Generator, requests: list[Request]) -> list[str]:
    found = generator.answer_all(requests)
    assert all(isinstance(reply, Reply) for reply in found)
    return [reply.text for reply in found if isinstance(reply, Reply)]


def test_a_seed_decides_the_draw_and_nothing_else_does(whetstone: Generator) -> None:
    requests = [asked("The government will", seed) for seed in range(6)]
    torch.manual_seed(0)
    first = texts(whetstone, requests)
    torch.manual_seed(1)
    assert texts(whetstone, requests) == first
    assert len(set(first)) >= 5
    state = torch.get_rng_state()
    texts(whetstone, requests[:1])
    assert torch.equal(torch.get_rng_state(), state), "no global random state is used"


def test_rows_of_a_batch_do_not_mix(whetstone: Generator) -> None:
    requests = [
        asked("We will build", 1, temperature=0.0),
        asked("A much longer question about a parcel that came late", 2, temperature=0.0),
    ]
    assert texts(whetstone, requests) == [*texts(whetstone, requests[:1]), *texts(whetstone, requests[1:])]


def test_the_end_of_an_answer_is_classified(whetstone: Generator) -> None:
    cut, stopped, long = whetstone.answer_all(
        [
            asked("The government will", 1, temperature=0.0),
            asked("The government will", 1, temperature=0.0, stop=(" ",)),
            asked("word " * 2000),
        ]
    )
    assert isinstance(cut, Reply) and cut.outcome == "cut" and cut.tokens_out == 12
    assert isinstance(stopped, Reply) and cut.text.startswith(stopped.text) and " " not in stopped.text
    assert isinstance(long, Fault) and long.kind == "refused" and "the model reads 1024" in long.detail


def test_draws_follow_the_softmax() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    counts = torch.zeros(4)
    for seed in range(4000):
        draw = _Draw([asked("", seed, temperature=2.0)], 0)
        counts[draw(torch.zeros(1, 0, dtype=torch.long), logits).argmax()] += 1
    expected = (logits[0] / 2).softmax(0)
    statistic = ((counts - 4000 * expected) ** 2 / (4000 * expected)).sum()
    assert statistic < 16.3, "chi-square, 3 degrees of freedom, 0.1 %"


def test_temperature_zero_is_greedy_and_penalties_count() -> None:
    logits = torch.tensor([[2.0, 1.9, 0.0]])
    said = torch.tensor([[9, 9, 0]])
    assert _Draw([asked("", 1, temperature=0.0)], 2)(said, logits).argmax() == 0
    assert _Draw([asked("", 1, temperature=0.0, presence_penalty=0.2)], 2)(said, logits).argmax() == 1
    assert _Draw([asked("", 1, temperature=0.0, frequency_penalty=0.2)], 2)(said, logits).argmax() == 1
    assert _Draw([asked("", 1, temperature=0.0, presence_penalty=0.2)], 3)(said, logits).argmax() == 0, (
        "of the prompt nothing counts"
    )


def test_the_nucleus_is_the_smallest_set_with_that_much_probability() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()
    for top_p, kept in ((0.4, {1}), (0.5, {1}), (0.6, {1, 3}), (0.8, {1, 3, 2}), (1.0, {0, 1, 2, 3}), (0.0, {1})):
        assert set(_nucleus(logits, top_p).isfinite().nonzero().flatten().tolist()) == kept, top_p


def test_requests_that_come_together_are_answered_together_and_faults_come_back() -> None:
    batches: list[int] = []

    def answer_all(requests: object) -> list[Reply | Fault]:
        batch = list(requests)  # type: ignore[call-overload]
        batches.append(len(batch))
        return [Fault("refused", "no") if r.seed == 3 else Reply("ok", str(r.seed), 1, 1) for r in batch]

    async def run() -> list[Reply | BaseException]:
        maker = LocalMaker("x", answer_all, 4)
        found = await asyncio.gather(*(maker.send(asked("", seed)) for seed in range(10)), return_exceptions=True)
        await maker.close()
        return found

    found = asyncio.run(run())
    assert batches == [4, 4, 2]
    assert isinstance(found[3], Fault)
    assert [r.text for r in found if isinstance(r, Reply)] == [str(n) for n in range(10) if n != 3]
