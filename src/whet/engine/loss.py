"""Nats of the answers: summed here, divided once a step by the loop. Smoothing, class weights and NEFTune live here."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from whet.engine.batches import Batch, full
from whet.engine.head import summed_over
from whet.errors import DataError, Problem
from whet.measure.balance import balanced_weights
from whet.sections import Train

Ids = tuple[int, ...]
Spread = tuple[tuple[Ids, tuple[float, ...]], ...]  # for each token of an answer: what may stand there, and each one's share


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised: the nats of each answer, possibly smoothed and weighted, with or without noise on the input.

    `smoothing` is spread over the vocabulary; `spreads` gives each answer its targets where it is spread over the labels
    instead; `weights` each answer's weight; `noise` is NEFTune's alpha.
    """

    smoothing: float = 0.0
    spreads: Mapping[Ids, Spread] = field(default_factory=dict)
    weights: Mapping[Ids, float] = field(default_factory=dict)
    noise: float = 0.0


PLAIN = Objective()


def build_objective(train: Train, answers: Sequence[Ids] = (), labels: Sequence[Ids] = ()) -> Objective:
    """The Objective of a recipe.

    Args:
        train: label smoothing, class balance and NEFTune.
        answers: the ids of each training example's answer; counted for class weights.
        labels: the ids of each label, its end token included.

    Raises:
        DataError: if classes are to be balanced and a label has no training example.
    """
    over_labels = train.label_smoothing_over == "labels"
    counts = Counter(answers)
    if train.class_balance != "none" and not all(counts[label] for label in labels):
        what = "class_balance cannot balance a label that has no training example"
        raise DataError(Problem("[train] class_balance", what, "Add examples, drop the label, or leave class_balance out"))
    weights: dict[Ids, float] = {}
    if train.class_balance == "weights":
        weights = dict(zip(labels, balanced_weights([counts[label] for label in labels]).tolist(), strict=True))
    return Objective(
        smoothing=0.0 if over_labels else train.label_smoothing_factor,
        spreads=spread_over(labels, train.label_smoothing_factor) if over_labels and train.label_smoothing_factor else {},
        weights=weights,
        noise=train.neftune_noise_alpha,
    )


def spread_over(labels: Sequence[Ids], factor: float) -> dict[Ids, Spread]:
    """Each label's targets when `factor` of the probability is spread evenly over the C labels.

    Wherever the labels that are still possible go on with different tokens, the target is spread over these tokens, each
    with the share of the labels behind it; where they all go on alike, the token is a plain target.

    Source: Müller 2019 (arXiv 1906.02629), over the label set instead of the vocabulary.

    Example:
        >>> spread_over([(7, 0), (8, 0)], 0.1)[7, 0]
        (((7, 8), (0.95, 0.05)), ((0,), (1.0,)))
    """
    low = factor / len(labels)
    found = {}
    for label in labels:
        mass = {other: low + (1 - factor if other == label else 0.0) for other in labels}
        places = []
        for k in range(len(label)):
            shares: dict[int, float] = {}
            for other in labels:
                if other[:k] == label[:k]:
                    shares[other[k]] = shares.get(other[k], 0.0) + mass[other]
            whole = sum(shares.values())
            places.append((tuple(shares), tuple(round(s / whole, 12) for s in shares.values())))
        found[label] = tuple(places)
    return found


def summed_loss(model: torch.nn.Module, batch: Batch, objective: Objective = PLAIN, seed: int = 0) -> torch.Tensor:
    """The objective over all answer tokens of the batch, summed, in float32 (float64 of a float64 model).

    Args:
        model: a causal language model that takes `logits_to_keep`.
        batch: the examples.
        objective: what is minimised.
        seed: of the noise; each example's noise is a function of it and of the example alone.
    """
    embedded = _noisy(model, batch, objective.noise, seed) if objective.noise else None
    places = [place for row in batch.rows for place in objective.spreads[row.completion]] if objective.spreads else []
    by_row = objective.weights
    weights = [by_row[row.completion] for row in batch.rows for _ in row.completion] if by_row else []

    def add(logits: torch.Tensor, part: slice) -> torch.Tensor:
        logits = full(logits)
        if objective.spreads:
            nats = _spread_nats(logits, places[part])
        else:
            nats = torch.nn.functional.cross_entropy(
                logits, batch.targets[part], reduction="none", label_smoothing=objective.smoothing
            )  # (n,)
        return (nats * nats.new_tensor(weights[part]) if weights else nats).sum()

    return summed_over(model, batch, embedded, add)


def _spread_nats(logits: torch.Tensor, places: Sequence[tuple[Ids, tuple[float, ...]]]) -> torch.Tensor:
    """Cross-entropy against targets that are spread over a few tokens each: (n,)."""
    width = max(len(ids) for ids, _ in places)
    ids = torch.tensor([[*i, *[0] * (width - len(i))] for i, _ in places], device=logits.device)
    shares = logits.new_tensor([[*s, *[0.0] * (width - len(s))] for _, s in places])
    return -(shares * logits.log_softmax(-1).gather(1, ids)).sum(1)


def _noisy(model: torch.nn.Module, batch: Batch, alpha: float, seed: int) -> torch.Tensor:
    """The embeddings with uniform noise of alpha / sqrt(L x D) on each example of L tokens and none on padding: (B, T, D).

    Source: NEFTune, Jain 2023 (arXiv 2310.05914), with the example's own length. Added here and not by a hook, so that
    nothing is left on the model.
    """
    embedded = model.get_input_embeddings()(batch.ids)  # type: ignore[operator]  # torch types a model's attributes as tensors
    noise = torch.zeros(embedded.shape)
    width = embedded.shape[-1]
    for (row, pieces), example in zip(reversed(batch.spans), reversed(batch.rows), strict=True):
        generator = torch.Generator().manual_seed(seed * 4_294_967_311 % (1 << 62) + zlib.crc32(example.id.encode()))
        drawn = (torch.rand((len(example), width), generator=generator) * 2 - 1) * (alpha / math.sqrt(len(example) * width))
        for piece in pieces:  # what several examples share has the noise of the first of them
            noise[row, piece.start : piece.start + piece.length] = drawn[piece.offset : piece.offset + piece.length]
    return embedded + noise.to(embedded)
