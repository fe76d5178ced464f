"""What a model says: a score per label, a greedy answer, nats of a text.

Labels are scored, not sampled: log P(label and end token | prompt), summed over all its tokens, so that a label which
begins another one competes fairly and the sum over the label set stays below one. What all prompts share is computed
once, and each prompt once for all labels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from whet.data.tokens import Encoded
from whet.engine.batches import Batch, collate

if TYPE_CHECKING:
    from transformers import DynamicCache

# Answer tokens scored at a time, of which the logits over the whole vocabulary are in memory together: of long answers (plain
# text) fewer than a batch.
SCORED_TOKENS = 4096
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
    model.eval()
    shared = _shared_prefix(prompts)
    prefix = _Prefix(model, prompts[0][:shared]) if shared and prompts else None
    if prefix is not None and not prefix.reusable:
        prefix, shared = None, 0
    scores = np.empty((len(prompts), len(labels)))
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        tails = [prompts[i][shared:] for i in rows]
        scores[rows] = _batch_scores(model, prefix, tails, labels, padding)
        tick(len(rows))
    return scores


class _Prefix:
    """The keys and values of a prefix, computed once, lent to batches of any size."""

    def __init__(self, model: torch.nn.Module, ids: Ids) -> None:
        from transformers import DynamicCache

        device = next(model.parameters()).device
        self.length = len(ids)
        self.cache = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=True, logits_to_keep=1).past_key_values
        # Only a plain cache can be lent and cut back: sliding windows and recurrent states have forgotten the past.
        is_dynamic = isinstance(self.cache, DynamicCache)
        self.reusable = is_dynamic and all(type(layer).__name__ == "DynamicLayer" for layer in self.cache.layers)

    def lend(self, rows: int) -> DynamicCache:
        """A copy of the cache for `rows` rows."""
        lent = copy.deepcopy(self.cache)
        lent.batch_repeat_interleave(rows)
        return lent


def _batch_scores(
    model: torch.nn.Module, prefix: _Prefix | None, tails: list[Ids], labels: Sequence[Ids], padding: int
) -> np.ndarray:
    """(B, C) label scores of one batch, whose prompts go on from the prefix with `tails`."""
    if prefix is None:
        return _plain_scores(model, tails, labels, padding)
    device = next(model.parameters()).device
    known, width = prefix.length, max(len(t) for t in tails)
    ids = torch.full((len(tails), width), padding)
    mask = torch.ones((len(tails), known + width), dtype=torch.long)
    for i, tail in enumerate(tails):
        ids[i, width - len(tail) :] = torch.tensor(list(tail))
        mask[i, known : known + width - len(tail)] = 0
    ids, mask = ids.to(device), mask.to(device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, known:]
    cache = prefix.lend(len(tails))
    first = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
    )
    first_logs = first.logits[:, -1].float().log_softmax(-1)
    scores = np.empty((len(tails), len(labels)))
    for c, label in enumerate(labels):
        total = first_logs[:, label[0]].double()
        if len(label) > 1:
            fed = torch.tensor([list(label[:-1])] * len(tails), device=device)
            grown = torch.cat([mask, torch.ones_like(fed)], 1)
            places = positions[:, -1:] + torch.arange(1, len(label), device=device)
            logits = model(
                input_ids=fed, attention_mask=grown, position_ids=places, past_key_values=cache, use_cache=True
            ).logits
            cache.crop(1 - len(label))  # the next label starts from the prompt again
            wanted = torch.tensor(list(label[1:]), device=device).expand(len(tails), -1)
            total += logits.float().log_softmax(-1).gather(-1, wanted[..., None]).squeeze(-1).double().sum(1)
        scores[:, c] = total.cpu().numpy()
    return scores


def _plain_scores(model: torch.nn.Module, prompts: list[Ids], labels: Sequence[Ids], padding: int) -> np.ndarray:
    """The same with one padded forward pass per label: for models whose cache cannot be cut back."""
    device = next(model.parameters()).device
    columns = []
    for label in labels:
        batch = collate([Encoded("", tuple(p), tuple(label)) for p in prompts], padding, device)
        columns.append(-row_nats(model, batch).cpu().numpy())
    return np.stack(columns, 1)


def row_nats(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Nats of each row's answer: (B,), float64."""
    return batch.per_row(batch.nats(model))


@torch.inference_mode()
def answer_nats(
    model: torch.nn.Module, rows: Sequence[Encoded], padding: int, batch_size: int, tick: Tick = lambda n: None
) -> np.ndarray:
    """Nats of each row's answer, summed over its tokens: (N,), float64."""
    model.eval()
    device = next(model.parameters()).device
    nats = np.empty(len(rows))
    ordered = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    start = 0
    while start < len(ordered):
        size = batch_size
        while size > 1 and size * max(len(rows[i].completion) for i in ordered[start : start + size]) > SCORED_TOKENS:
            size //= 2
        part = ordered[start : start + size]
        nats[part] = row_nats(model, collate([rows[i] for i in part], padding, device)).cpu().numpy()
        tick(len(part))
        start += size
    return nats


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


def _shared_prefix(prompts: Sequence[Ids]) -> int:
    """How many ids all prompts begin with; each keeps at least one of its own."""
    if len(prompts) < 2:
        return 0
    first, last = min(map(list, prompts)), max(map(list, prompts))
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(shared, min(len(p) for p in prompts) - 1)
