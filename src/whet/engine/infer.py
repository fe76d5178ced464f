"""What a model says: a score per label, a greedy answer, nats of a text.

Labels are scored, not sampled: log P(label and end token | prompt), summed over all its tokens, so that a label which
begins another one competes fairly and the sum over the label set stays below one. Prompts hang on a token tree with the labels
as its twigs: what prompts share is computed once, and each prompt once for all labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from whet.data.tokens import Encoded
from whet.engine.batches import Batch
from whet.engine.layout import scoring_layout
from whet.knobs.layout import SCORED_TOKENS

Ids = Sequence[int]
Tick = Callable[[int], None]


@torch.inference_mode()
def label_scores(
    model: torch.nn.Module,
    prompts: Sequence[Ids],
    labels: Sequence[Ids],
    padding: int,
    batch_size: int,
    tick: Tick = lambda n: None,
) -> np.ndarray:
    """log P(label | prompt) for every prompt and label: (N, C), float64.

    Args:
        model: a causal language model; put in evaluation mode here.
        prompts: token ids of each prompt.
        labels: token ids of each label, its end token included.
        padding: the id that fills shorter rows.
        batch_size: prompts computed at a time; changes the result by rounding only.
        tick: called with the number of prompts done.
    """
    rows = [Encoded("", tuple(prompt), tuple(label)) for prompt in prompts for label in labels]
    at_once = max(1, min(batch_size, SCORED_TOKENS // sum(map(len, labels))))
    scores = np.empty((len(prompts), len(labels)))
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    parts = [by_length[i : i + at_once] for i in range(0, len(by_length), at_once)]
    grouped = [[rows[i * len(labels) + c] for i in part for c in range(len(labels))] for part in parts]
    for part, nats in zip(parts, _nats(model, grouped, padding), strict=True):
        scores[part] = -nats.reshape(len(part), len(labels))
        tick(len(part))
    return scores


def _nats(model: torch.nn.Module, parts: Sequence[Sequence[Encoded]], padding: int) -> Iterator[np.ndarray]:
    """Nats of the answers of each part's rows, in their order: (B,), float64."""
    model.eval()
    device = next(model.parameters()).device
    layout = scoring_layout(model, parts[0], padding, device) if parts else None
    for part in parts:
        assert layout is not None
        with layout.attending(model):
            (batch,) = layout.lay(part)
            yield row_nats(model, batch).cpu().numpy()


def row_nats(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Nats of each row's answer: (B,), float64."""
    return batch.per_row(batch.nats(model))


@torch.inference_mode()
def answer_nats(
    model: torch.nn.Module, rows: Sequence[Encoded], padding: int, batch_size: int, tick: Tick = lambda n: None
) -> np.ndarray:
    """Nats of each row's answer, summed over its tokens: (N,), float64."""
    nats = np.empty(len(rows))
    parts = batches_of(rows, batch_size)
    for part, found in zip(parts, _nats(model, [[rows[i] for i in part] for part in parts], padding), strict=True):
        nats[part] = found
        tick(len(part))
    return nats


def batches_of(rows: Sequence[Encoded], batch_size: int) -> list[list[int]]:
    """Indices of rows of similar length, `batch_size` at a time, fewer where their answers are long."""
    ordered = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    parts, start = [], 0
    while start < len(ordered):
        size = batch_size
        while size > 1 and size * max(len(rows[i].completion) for i in ordered[start : start + size]) > SCORED_TOKENS:
            size //= 2
        parts.append(ordered[start : start + size])
        start += size
    return parts


@torch.inference_mode()
def greedy_answers(
    model: torch.nn.Module,
    prompts: Sequence[Ids],
    end: int,
    padding: int,
    max_new_tokens: int,
    batch_size: int,
    tick: Tick = lambda n: None,
) -> list[list[int]]:
    """The greedy continuation of each prompt up to its end token (not included), in the prompts' order."""
    model.eval()
    device = next(model.parameters()).device
    answers: list[list[int]] = [[] for _ in prompts]
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        width = max(len(prompts[i]) for i in rows)
        ids = torch.tensor([[padding] * (width - len(prompts[i])) + list(prompts[i]) for i in rows], device=device)
        mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in rows], device=device)
        written = model.generate(  # type: ignore[operator]  # torch types a model's attributes as tensors
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1,
            eos_token_id=end, pad_token_id=padding,
        )[:, width:].tolist()  # fmt: skip
        for i, tokens in zip(rows, written, strict=True):
            answers[i] = tokens[: tokens.index(end)] if end in tokens else tokens
        tick(len(rows))
    return answers


@torch.inference_mode()
def text_nats(model: torch.nn.Module, ids: Ids, window: int = 256) -> float:
    """Nats of a text, read in windows without overlap; the first id is given, not predicted."""
    model.eval()
    device = next(model.parameters()).device
    stream = torch.tensor(list(ids), device=device)
    total = 0.0
    for start in range(0, len(stream) - 1, window):
        part = stream[start : start + window + 1]
        logits = model(input_ids=part[None, :-1], use_cache=False).logits[0].float()
        total += float(torch.nn.functional.cross_entropy(logits, part[1:], reduction="sum"))
    return total
