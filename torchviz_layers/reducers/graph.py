"""The fuzzy graph of UMAP: from neighbours to symmetric edge weights in CSR form.

L. McInnes, J. Healy, J. Melville, "UMAP: Uniform Manifold Approximation and Projection" (arXiv 1802.03426), section
3.1. The weight of the edge from point i to its neighbour j at distance d_ij is

    w_ij = exp(-max(0, d_ij - rho_i) / sigma_i)

where rho_i is the distance of the nearest neighbour that is not a duplicate, and sigma_i is the scale at which
sum_j w_ij = log2(k): dense and sparse regions get about the same number of effective neighbours. An edge exists if it
exists in at least one direction: w + w^T - w w^T (element by element). The numbers are umap-learn's
`fuzzy_simplicial_set`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit, parallel_jit

_LEAST_SCALE = 1e-3  # smallest sigma over the mean distance: near-duplicates must not make it vanish


class Graph(NamedTuple):
    """Edges of the rows in CSR form; every undirected edge is stored in both directions.

    `offsets` (n + 1,) int64; `neighbors` (n_edges,) int32 ascending in each row; `weights` (n_edges,) float32.
    """

    offsets: Array
    neighbors: Array
    weights: Array


def fuzzy_graph(indices: Array, distances: Array, n_neighbors: int) -> Graph:
    """Return the edges of a neighbour graph with their weights.

    Parameters
    ----------
    indices, distances
        Neighbours of shape (n, k), nearest first, without the point itself.
    n_neighbors
        Effective neighbourhood size (k + 1 where the point itself counts, as it does in umap-learn).
    """
    weights = memberships(distances, n_neighbors, float(distances.mean(dtype=np.float64)))
    with LOCK:
        return Graph(*_symmetric(np.ascontiguousarray(indices, np.int32), weights))


def memberships(distances: Array, n_neighbors: int, scale: float) -> Array:
    """Return w (n, k) for distances (n, k).

    `scale` is the mean distance of the whole graph, which bounds sigma from below for a row of duplicates.
    """
    weights = np.empty(distances.shape, np.float32)
    with LOCK:
        _memberships(np.ascontiguousarray(distances, np.float32), np.log2(n_neighbors), scale, weights)
    return weights


@jit
def _scale(distances: Array, nearest: float, target: float) -> float:
    """Find sigma with sum(exp(-max(0, d - nearest) / sigma)) = target, by bisection, as umap-learn's `smooth_knn_dist`.

    The sum grows with sigma. The upper bound is doubled until the sum exceeds the target.
    """
    low, high, sigma = 0.0, np.inf, 1.0
    for _ in range(64):
        total = 0.0
        for j in range(distances.shape[0]):
            gap = distances[j] - nearest
            total += np.exp(-gap / sigma) if gap > 0.0 else 1.0
        if abs(total - target) < 1e-5:
            break
        if total > target:
            high = sigma
            sigma = (low + high) / 2.0
        else:
            low = sigma
            sigma = sigma * 2.0 if high == np.inf else (low + high) / 2.0
    return sigma


@parallel_jit
def _memberships(distances: Array, target: float, mean_of_all: float, weights: Array) -> None:
    n, k = distances.shape
    for i in prange(n):
        nearest, mean = 0.0, 0.0
        for j in range(k):
            mean += distances[i, j] / k
            if nearest == 0.0:  # distances ascend: the first that is not 0
                nearest = np.float64(distances[i, j])
        sigma = _scale(distances[i], nearest, target)
        sigma = max(sigma, _LEAST_SCALE * (mean if nearest > 0.0 else mean_of_all))
        for j in range(k):
            gap = distances[i, j] - nearest
            weights[i, j] = np.exp(-gap / sigma) if gap > 0.0 and sigma > 0.0 else 1.0


@jit
def _symmetric(indices: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Join each directed edge with its reverse: w + v - w v, the probability that at least one of both exists.

    Returns offsets, neighbours and weights as `Graph` has them.
    """
    n, k = indices.shape
    # The reversed edges in CSR form: count the sources of each vertex, sum to offsets, fill.
    starts = np.zeros(n + 1, np.int64)
    for i in range(n):
        for c in range(k):
            starts[indices[i, c] + 1] += weights[i, c] > 0.0
    for i in range(n):
        starts[i + 1] += starts[i]
    sources, incoming = np.empty(starts[n], np.int32), np.empty(starts[n], np.float32)
    slot = starts[:-1].copy()
    for i in range(n):  # i ascends, and so do the sources of each vertex
        for c in range(k):
            if weights[i, c] > 0.0:
                j = indices[i, c]
                sources[slot[j]], incoming[slot[j]] = i, weights[i, c]
                slot[j] += 1
    # Each row's own edges and its reversed ones, both sorted by neighbour, are merged like two sorted lists.
    offsets = np.empty(n + 1, np.int64)
    neighbors, joined = np.empty(2 * starts[n], np.int32), np.empty(2 * starts[n], np.float32)
    count = 0
    for i in range(n):
        offsets[i] = count
        order = np.argsort(indices[i])
        own, other = 0, starts[i]
        while own < k or other < starts[i + 1]:
            a = indices[i, order[own]] if own < k else n  # n: the list is at its end
            b = sources[other] if other < starts[i + 1] else n
            w = weights[i, order[own]] if a <= b else np.float32(0.0)
            v = incoming[other] if b <= a else np.float32(0.0)
            own += a <= b
            other += b <= a
            weight = w + v - w * v
            if weight > 0.0 and min(a, b) != i:
                neighbors[count], joined[count] = min(a, b), weight
                count += 1
    offsets[n] = count
    return offsets, neighbors[:count].copy(), joined[:count].copy()
