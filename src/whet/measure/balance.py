"""Rare labels: what they weigh, and the way back from balanced training to the true shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp  # type: ignore[import-untyped]


def balanced_weights(counts: Sequence[int]) -> NDArray[np.float64]:
    """One weight per label, N / (C x count): all labels weigh the same together, and the mean over examples is 1.

    Args:
        counts: examples of each of the C labels; each at least 1.

    Source: scikit-learn's class_weight = "balanced".

    Example:
        >>> balanced_weights([8, 2]).tolist()
        [0.625, 2.5]
    """
    n = np.asarray(counts, float)
    return np.asarray(n.sum() / (len(n) * n))


def prior_shift(counts: Sequence[int]) -> NDArray[np.float64]:
    """What to add to the label scores of a model that saw all C labels equally often, so that they speak of the true shares.

    Source: Bayes' rule; Elkan 2001, "The foundations of cost-sensitive learning", theorem 2.

    Example:
        >>> np.exp(prior_shift([8, 2])).round(6).tolist()
        [1.6, 0.4]
    """
    n = np.asarray(counts, float)
    return np.asarray(np.log(n / n.sum()) + np.log(len(n)))


def shifted(scores: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities (N, C) with `shift` (C,) added, each row's total probability kept as it was.

    Example:
        >>> np.exp(shifted(np.log([[0.25, 0.25]]), np.log([1.6, 0.4]))).round(6).tolist()
        [[0.4, 0.1]]
    """
    moved = scores + shift
    return np.asarray(moved + logsumexp(scores, axis=1, keepdims=True) - logsumexp(moved, axis=1, keepdims=True))
