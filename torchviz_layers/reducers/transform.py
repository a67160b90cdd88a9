"""New rows laid out among fitted ones: each place depends on its own row alone, not on the batch it comes in."""

from __future__ import annotations

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.reducers.graph import Graph, memberships
from torchviz_layers.reducers.optimization import Pulls, optimize

_EPOCHS = 100
_LEARNING_RATE = 0.05  # new rows start at their neighbours' middle, and only settle


def place(indices: Array, distances: Array, Z: Array, curve: tuple[float, float], seed: int) -> Array:
    """Lay new rows out.

    Parameters
    ----------
    indices, distances
        Each new row's neighbours among the fitted ones, (m, k), nearest first.
    Z
        Map of the fitted rows, (n, n_components).
    curve, seed
        As the map was fitted with.

    Returns
    -------
    The new rows' places, (m, n_components) float32.
    """
    k = indices.shape[1]
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
