"""New rows embedded among fitted ones, each for itself: its position does not depend on the batch it comes in.

As in umap-learn's `transform`, a new row starts at the weighted mean of its neighbours' positions, and is then moved by
them while the fitted rows stay fixed. Three things keep a row independent of the others:

- its neighbours are searched exactly,
- its edges are weighted by themselves (`relative=False`), not by the largest weight of the batch,
- its random draws follow from its neighbours, not from its number in the batch.
"""

from __future__ import annotations

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.reducers.graph import Graph, memberships
from torchviz_layers.reducers.optimization import PaddedGraph, optimize

_EPOCHS = 100
_LEARNING_RATE = 0.05  # a quarter of the fit's: new rows start near their final position
_FNV_PRIME = np.uint32(0x01000193)  # of the FNV hash, which joins the numbers of a row's neighbours to a key


def transform_rows(indices: Array, distances: Array, Z: Array, curve: tuple[float, float], seed: int) -> Array:
    """Embed new rows.

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
    The new rows' positions, (m, n_components) float32.
    """
    k = indices.shape[1]
    weights = memberships(distances, k, 0.0)  # (m, k)
    # Directed edges, from new rows to fitted ones.
    graph = Graph(np.arange(len(indices) + 1) * k, indices.ravel().astype(np.int32), weights.ravel())
    share = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    start = (Z[indices] * share[:, :, None]).sum(axis=1)  # (m, n_components)
    keys = np.zeros(len(indices), np.uint32)
    for column in range(k):
        keys = (keys * _FNV_PRIME) ^ indices[:, column].astype(np.uint32)
    padded = PaddedGraph(graph, _EPOCHS, relative=False)
    positions = optimize(padded, start, curve, _EPOCHS, seed, keys=keys, fixed=Z, learning_rate=_LEARNING_RATE)
    # A row that equals a fitted one gets that one's position.
    same = distances[:, 0] == 0.0
    positions[same] = Z[indices[same, 0]]
    return positions
