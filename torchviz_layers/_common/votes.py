"""What a sample's neighbours have, its label or value: the same count for measures, corner cases and the page.

Class labels are whole numbers from 0, and -1 is a sample without a label; a value that is NaN is unknown. Neighbours
without a label or value do not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_000_000  # elements of the arrays that are computed at once


def vote_shares(neighbors: NDArray[np.integer[Any]], targets: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Return the share of each sample's labelled neighbours that has each label: (n, n_classes).

    Rows sum to 1; those of samples without a labelled neighbour are 0. `neighbors` has shape (n, k).
    """
    counts = _tally(neighbors, targets, n_classes, np.ones(neighbors.shape[1]))
    voters = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.maximum(voters, 1), dtype=np.float32)


def vote_winners(neighbors: NDArray[np.integer[Any]], targets: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return the label that most of each sample's neighbours (n, k) have: (n,); in a tie, the nearest decide.

    It is -1 for a sample without a labelled neighbour.
    """
    # The nearest neighbour counts 1 + 1/2, the next 1 + 1/4, and so on. The fractions sum to less than 1, so they
    # decide ties and nothing else.
    ranks = np.arange(neighbors.shape[1])
    weights = 1 + 0.5 ** (1 + ranks)
    winners = np.full(len(neighbors), -1, np.int64)
    # A part of the samples at a time: with 1,000 classes the counts of all would take much memory.
    for part in _parts(len(neighbors), n_classes):
        counts = _tally(neighbors[part], targets, n_classes, weights)
        winners[part] = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
    return winners


def label_share(
    neighbors: NDArray[np.integer[Any]], targets: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of each sample's labelled neighbours (n, k) that has the given label of it (n,): (n,).

    It is NaN for a sample without a labelled neighbour.
    """
    near = targets[neighbors]  # (n, k)
    voters = np.count_nonzero(near >= 0, axis=1)
    same = np.count_nonzero(near == labels[:, None], axis=1)
    return np.where(voters > 0, same / np.maximum(voters, 1), np.nan)


def same_label_share(neighbors: NDArray[np.integer[Any]], labels: NDArray[np.int64]) -> float | None:
    """Return the mean share of a sample's labelled neighbours (n, k) that have the sample's own label, in [0, 1].

    It is the mean over labelled samples with a labelled neighbour; None if there are none.
    """
    shares = label_share(neighbors, labels, labels)
    counted = (labels >= 0) & ~np.isnan(shares)
    return float(shares[counted].mean()) if counted.any() else None


def neighbor_means(neighbors: NDArray[np.integer[Any]], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean value of each sample's neighbours (n, k): (n,), NaN for a sample whose neighbours have none."""
    near = values[neighbors].astype(np.float64)  # (n, k)
    known = ~np.isnan(near)
    count = np.count_nonzero(known, axis=1)
    total = np.where(known, near, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def r2(values: NDArray[np.floating], predicted: NDArray[np.floating]) -> float | None:
    """Return R², 1 - sum (value - predicted)^2 / sum (value - mean)^2, of the samples where both (n,) are known.

    It is 1 for perfect predictions, 0 for predictions no better than the mean, and negative for worse ones. None where
    it is not defined: with fewer than two samples, and if all values are equal.
    """
    known = np.isfinite(values) & np.isfinite(predicted)
    truth, guess = values[known].astype(np.float64), predicted[known].astype(np.float64)
    if len(truth) < 2 or truth.min() == truth.max():
        return None
    errors = np.square(truth - guess).sum()
    spread = np.square(truth - truth.mean()).sum()
    return float(1 - errors / spread)


def jaccard_shares(
    neighbors: NDArray[np.integer[Any]], label_sets: NDArray[np.bool_], own: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the mean Jaccard index of a set of each sample, `own`, and the label sets of its neighbours (n, k): (n,).

    The index is the number of labels that are in both sets, by the number that are in at least one; for two empty sets
    it is 1. `label_sets` and `own` have shape (n, n_labels).
    """
    means = np.empty(len(neighbors))
    for part in _parts(len(neighbors), neighbors.shape[1] * label_sets.shape[1]):
        sets, near = own[part][:, None], label_sets[neighbors[part]]  # (m, 1, n_labels), (m, k, n_labels)
        shared = np.count_nonzero(sets & near, axis=2)
        either = np.count_nonzero(sets | near, axis=2)
        means[part] = np.where(either > 0, shared / np.maximum(either, 1), 1.0).mean(axis=1)
    return means


def mean_jaccard(neighbors: NDArray[np.integer[Any]], label_sets: NDArray[np.bool_]) -> float:
    """Return the mean Jaccard index of a sample's label set and those of its neighbours (n, k), in [0, 1]."""
    return float(jaccard_shares(neighbors, label_sets, label_sets).mean())


def prediction_depth(votes: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first layer from which the vote equals the label and stays so to the last; n_layers if none.

    Parameters
    ----------
    votes
        Vote of the neighbours in each layer, (n_layers, n), first layer first; -1 where no neighbour has a label.
    labels
        What the vote should be, (n,); for a sample without a label, -1, the result is n_layers.
    """
    right = (votes == labels) & (labels >= 0)
    # From the last layer backwards: right as long as no layer so far was wrong.
    right_to_the_end = np.logical_and.accumulate(right[::-1], axis=0)
    return np.asarray(len(votes) - np.count_nonzero(right_to_the_end, axis=0), dtype=np.int64)


def _parts(n: int, elements: int) -> Iterator[slice]:
    """Yield the n samples in parts whose arrays, of so many elements a sample, take little memory."""
    at_once = max(1, _BLOCK // max(1, elements))
    for start in range(0, n, at_once):
        yield slice(start, start + at_once)


def _tally(
    neighbors: NDArray[np.integer[Any]],
    targets: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.floating[Any]],
) -> NDArray[np.float64]:
    """Return the summed weights (k,) of each sample's labelled neighbours by label: (n, n_classes)."""
    n = len(neighbors)
    labels = targets[neighbors]  # (n, k)
    # One `bincount` for all samples: sample i's label c has the bin i * (n_classes + 1) + 1 + c, and the first bin of
    # each sample takes its neighbours without a label.
    bins = labels + 1 + (n_classes + 1) * np.arange(n)[:, None]  # (n, k)
    counts = np.bincount(bins.ravel(), weights=np.tile(weights, n), minlength=n * (n_classes + 1))
    return np.asarray(counts.reshape(n, n_classes + 1)[:, 1:])
