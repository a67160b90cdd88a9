"""What a network's outputs say about its samples: prediction depth, confidence, margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers._common import votes as neighbor_votes
from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers.exceptions import DataError


def prediction_depth(votes: Any, labels: Any) -> Array:
    """First layer from which the neighbours' vote equals the label, and stays so to the last layer.

    Parameters
    ----------
    votes
        Class voted for in each layer, (n_layers, n), first layer first (`knn_votes` of each layer).
    labels
        (n,): the network's own prediction (as in the paper), or the true class.

    Returns
    -------
    Layer numbers from 0, (n,) int64; n_layers where the last layer's vote is another class.

    Notes
    -----
    R. J. N. Baldock, H. Maennel, B. Neyshabur, "Deep learning through the lens of example difficulty", NeurIPS 2021.

    Examples
    --------
    >>> prediction_depth([[1, 0, 1], [1, 1, 0], [1, 1, 0]], [1, 1, 1]).tolist()
    [0, 1, 3]
    """
    votes, labels = as_numpy(votes), as_numpy(labels)
    if votes.ndim != 2 or labels.shape != votes.shape[1:]:
        raise DataError(f"votes have shape {votes.shape} and labels {labels.shape}; (n_layers, n) and (n,) are needed")
    codes = np.unique(np.concatenate([votes.ravel(), labels]), return_inverse=True)[1]  # labels of any kind
    n = labels.size
    return neighbor_votes.prediction_depth(codes[: votes.size].reshape(votes.shape), codes[codes.size - n :])


def confidence(probabilities: Any) -> Array:
    """Probability of the predicted class, (n,), of probabilities (n, n_classes)."""
    highest: Array = _probabilities(probabilities).max(axis=1)
    return highest


def margin(probabilities: Any, targets: Any = None) -> Array:
    """Lead of a class over the best other class, (n,) in [-1, 1].

    Parameters
    ----------
    probabilities
        (n, n_classes), at least two classes.
    targets
        The class whose lead is taken, (n,); negative where the network is wrong. None: the predicted class.
    """
    table = _probabilities(probabilities)
    if table.shape[1] < 2:
        raise DataError("margin needs at least two classes")
    if targets is None:
        top = np.partition(table, -2, axis=1)
        lead: Array = top[:, -1] - top[:, -2]
        return lead
    chosen = as_numpy(targets).astype(np.int64)
    if chosen.shape != table.shape[:1] or chosen.min() < 0 or chosen.max() >= table.shape[1]:
        raise DataError(f"targets must be {len(table)} class numbers from 0 to {table.shape[1] - 1}")
    rows = np.arange(len(table))
    others = table.copy()
    others[rows, chosen] = -np.inf
    ahead: Array = table[rows, chosen] - others.max(axis=1)
    return ahead


def _probabilities(probabilities: Any) -> Array:
    table = as_numpy(probabilities)
    if table.ndim != 2 or table.size == 0:
        raise DataError(f"probabilities have shape {table.shape}; (n, n_classes) is needed")
    return table
