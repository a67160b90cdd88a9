"""The neighbours' vote on a sample's label: the same count for the list of corner cases and for the page."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def vote_shares(neighbors: NDArray[np.integer[Any]], targets: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Return the share of each sample's neighbours (n, k) that has each label: (n, n_classes), rows sum to 1."""
    k = neighbors.shape[1]
    return np.asarray(_tally(neighbors, targets, n_classes, np.ones(k)) / k, dtype=np.float32)


def vote_winners(neighbors: NDArray[np.integer[Any]], targets: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return the label that most of each sample's neighbours (n, k) have: (n,); in a tie, the nearest decide."""
    # The nearest neighbour counts 1 + 1/2, the next 1 + 1/4, and so on. The fractions sum to less than 1, so they
    # decide ties and nothing else.
    ranks = np.arange(neighbors.shape[1])
    weights = 1 + 0.5 ** (1 + ranks)
    return np.asarray(_tally(neighbors, targets, n_classes, weights).argmax(1), dtype=np.int64)


def _tally(
    neighbors: NDArray[np.integer[Any]],
    targets: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """Return the summed weights (k,) of each sample's neighbours by label: (n, n_classes)."""
    n = len(neighbors)
    # One `bincount` for all samples: sample i's label c has the bin i * n_classes + c.
    bins = targets[neighbors] + n_classes * np.arange(n)[:, None]  # (n, k)
    counts = np.bincount(bins.ravel(), weights=np.tile(weights, n), minlength=n * n_classes)
    return np.asarray(counts.reshape(n, n_classes))
