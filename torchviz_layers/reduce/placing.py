"""New rows laid out among fitted ones: each place depends on its own row alone, not on the batch it comes in."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers.neighbors import knn
from torchviz_layers.reduce.graph import Graph, memberships
from torchviz_layers.reduce.layout import Pulls, optimize

Array = np.ndarray[Any, np.dtype[Any]]

_EPOCHS = 100
_LEARNING_RATE = 0.05  # new rows start at their neighbours' middle, and only settle


def place(
    queries: Any, X: Any, Z: Array, n_neighbors: int, metric: Any, curve: tuple[float, float], seed: int
) -> Array:
    """Lay new rows out.

    Parameters
    ----------
    queries, X, Z
        New rows (m, n_features), fitted rows (n, n_features) and their map (n, n_components).
    n_neighbors, metric, curve, seed
        As the map was fitted with.

    Returns
    -------
    The new rows' places, (m, n_components) float32.
    """
    k = min(n_neighbors, len(X))
    indices, distances = knn(X, k, queries=queries, metric=metric, device="cpu", method="exact")
    weights = memberships(distances, k, 0.0)
    graph = Graph(np.arange(len(indices) + 1) * k, indices.ravel().astype(np.int32), weights.ravel())
    share = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    start = (Z[indices] * share[:, :, None]).sum(axis=1)
    keys = np.zeros(len(indices), np.uint32)
    for column in range(k):  # a row's random draws follow from who its neighbours are
        keys = (keys * np.uint32(0x01000193)) ^ indices[:, column].astype(np.uint32)
    pulls = Pulls(graph, _EPOCHS, relative=False)
    placed = optimize(pulls, start, curve, _EPOCHS, seed, keys=keys, fixed=Z, learning_rate=_LEARNING_RATE)
    same = distances[:, 0] == 0.0
    placed[same] = Z[indices[same, 0]]  # a fitted row stays where it is
    return placed
