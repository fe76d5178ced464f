"""The Load of a micro-batch: how much of a model it makes work. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """One micro-batch as the layers of a model see it.

    Args:
        rows: examples in it.
        columns: tokens that pass through the layers, padding included; of a token tree, each shared one once.
        width: tokens in one row of attention: all columns of a tree or a packed row, the longest example of padded ones.
        answers: tokens whose logits are computed.
    """

    rows: int
    columns: int
    width: int
    answers: int
