"""Nats of the answers: summed here, divided once a step by the loop."""

from __future__ import annotations

import torch

from whet.engine.batches import Batch


def summed_loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """The nats of all ids that carry loss, summed, in float32. Logits are computed for the last K + 1 columns alone.

    Args:
        model: a causal language model that takes `logits_to_keep`.
        batch: answers end in the last column, so column -K-1+i predicts target i.
    """
    kept = batch.targets.shape[1]
    logits = model(
        input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False, logits_to_keep=kept + 1
    ).logits[:, :-1]  # (B, K, V)
    return torch.nn.functional.cross_entropy(
        logits.float().reshape(-1, logits.shape[-1]), batch.targets.reshape(-1), reduction="sum", ignore_index=-100
    )
