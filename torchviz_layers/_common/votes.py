"""What a sample's neighbours vote for: counted in one way for the queue of corner cases and for the page beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def vote_shares(neighbors: NDArray[np.integer[Any]], targets: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Return which share of a sample's neighbours (n, k) carries each label: (n, n_classes), rows sum to 1."""
    k = neighbors.shape[1]
    return np.asarray(_tally(neighbors, targets, n_classes, np.ones(k)) / k, dtype=np.float32)


def vote_winners(neighbors: NDArray[np.integer[Any]], targets: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return the label that most of a sample's neighbours (n, k) carry: (n,); a tie goes to that of the nearest."""
    # By its rank a neighbour counts a half, a quarter, ... more: together never as much as one more neighbour.
    weights = 1 + 0.5 ** (1 + np.arange(neighbors.shape[1]))
    return np.asarray(_tally(neighbors, targets, n_classes, weights).argmax(1), dtype=np.int64)


def _tally(
    neighbors: NDArray[np.integer[Any]],
    targets: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    n = len(neighbors)
    codes = targets[neighbors] + n_classes * np.arange(n)[:, None]
    counts = np.bincount(codes.ravel(), weights=np.tile(weights, n), minlength=n * n_classes)
    return np.asarray(counts.reshape(n, n_classes))
