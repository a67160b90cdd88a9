"""The neighbours' vote on a sample's label: the same count for the measures, the corner cases and the page."""

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


def same_label_share(neighbors: NDArray[np.integer[Any]], labels: NDArray[Any]) -> float:
    """Return the mean share of a sample's neighbours (n, k) that have the sample's own label, in [0, 1]."""
    return float((labels[neighbors] == labels[:, None]).mean())


def prediction_depth(votes: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return the first layer from which the vote equals the label and stays so to the last; n_layers if none.

    Parameters
    ----------
    votes
        Vote of the neighbours in each layer, (n_layers, n), first layer first.
    labels
        What the vote should be, (n,).
    """
    # From the last layer backwards: right as long as no layer so far was wrong.
    right_to_the_end = np.logical_and.accumulate((votes == labels)[::-1], axis=0)
    return np.asarray(len(votes) - np.count_nonzero(right_to_the_end, axis=0), dtype=np.int64)


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
