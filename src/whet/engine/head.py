"""The head over many answer tokens: a chunk of them at a time, so that their logits are never in memory all together.

An unmodified model is asked twice. First for everything below its head; then, with its decoder answering from what was kept,
for the logits of one chunk after another, each computed again in the backward pass. Scaling, capping and a bias of the head are
the model's own this way, whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutputWithPast

from whet.engine.batches import Batch
from whet.engine.layers import bare
from whet.knobs.layout import LEARNED_TOKENS

Sum = Callable[[torch.Tensor, slice], torch.Tensor]  # over the targets of a slice, from their logits (n, V)


def summed_over(model: torch.nn.Module, batch: Batch, embedded: torch.Tensor | None, add: Sum) -> torch.Tensor:
    """The sum over all targets of the batch of what `add` makes of their logits: a scalar.

    Args:
        model: a causal language model that takes `logits_to_keep`.
        batch: the examples.
        embedded: (B, T, D), instead of the ids' own embeddings.
        add: given the logits of some targets and which of all targets these are.
    """
    count, decoder = batch.target_tokens, _decoder(model)
    if count <= LEARNED_TOKENS or decoder is None:
        return add(batch.logits(model, embedded), slice(0, count))
    states = _states(model, decoder, batch, embedded)[batch.places]  # (N, D)

    def of(some: torch.Tensor, part: slice) -> torch.Tensor:
        unread = torch.zeros((1, len(some)), dtype=torch.long, device=some.device)
        with _answering(decoder, some[None]):
            logits = model(input_ids=unread, use_cache=False).logits[0]
        return add(logits, part)

    parts = [slice(start, min(start + LEARNED_TOKENS, count)) for start in range(0, count, LEARNED_TOKENS)]
    return torch.stack([checkpoint(of, states[part], part, use_reentrant=False) for part in parts]).sum()


def _decoder(model: torch.nn.Module) -> Any | None:
    """What of the model lies below its head; None where that cannot be told apart."""
    whole: Any = bare(model)
    found = whole.get_decoder() if hasattr(whole, "get_decoder") else None
    return None if found is whole else found


def _states(model: torch.nn.Module, decoder: Any, batch: Batch, embedded: torch.Tensor | None) -> torch.Tensor:
    """The states that the head would be given: (B x T, D). The head itself is asked for one column only."""
    kept: list[torch.Tensor] = []
    hook = decoder.register_forward_hook(lambda _module, _given, found: kept.append(found[0]))
    try:
        replace(batch, kept=1, picked=None, which=None).logits(model, embedded)
    finally:
        hook.remove()
    return kept[0].flatten(0, 1)


@contextmanager
def _answering(decoder: Any, states: torch.Tensor) -> Iterator[None]:
    """Inside, the decoder answers with these states (1, n, D), whatever it is asked."""
    own = vars(decoder).get("forward")
    decoder.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=states)
    try:
        yield
    finally:
        del decoder.forward
        if own is not None:
            decoder.forward = own
