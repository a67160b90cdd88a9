"""The fuzzy graph of UMAP: from neighbours to symmetric edge weights in CSR form.

After L. McInnes, J. Healy, J. Melville, "UMAP: Uniform Manifold Approximation and Projection" (arXiv 1802.03426),
section 3.1: every point's distances are read in a scale of its own, with its nearest neighbour at 0 and log2(k)
effective neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit, parallel_jit

_LEAST_SCALE = 1e-3  # of the mean distance: keeps near-duplicates from making a scale vanish


class Graph(NamedTuple):
    """Edges of the rows in CSR form; every undirected edge is stored in both directions.

    `offsets` (n + 1,) int64; `neighbors` (n_edges,) int32 ascending in each row; `weights` (n_edges,) float32.
    """

    offsets: Array
    neighbors: Array
    weights: Array


def fuzzy_graph(indices: Array, distances: Array, n_neighbors: int) -> Graph:
    """Weigh the edges of a neighbour graph.

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
    """Weigh each row's neighbours (n, k) by distance; `scale` is the mean distance of the whole graph."""
    weights = np.empty(distances.shape, np.float32)
    with LOCK:
        _memberships(np.ascontiguousarray(distances, np.float32), np.log2(n_neighbors), scale, weights)
    return weights


@jit
def _scale(distances: Array, nearest: float, target: float) -> float:
    """Find sigma with sum(exp(-(d - nearest) / sigma)) = target, by bisection."""
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
            if nearest == 0.0:
                nearest = np.float64(distances[i, j])
        sigma = _scale(distances[i], nearest, target)
        sigma = max(sigma, _LEAST_SCALE * (mean if nearest > 0.0 else mean_of_all))
        for j in range(k):
            gap = distances[i, j] - nearest
            weights[i, j] = np.exp(-gap / sigma) if gap > 0.0 and sigma > 0.0 else 1.0


@jit
def _symmetric(indices: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Join each directed edge with its reverse: w + v - w v (probability that at least one of both exists)."""
    n, k = indices.shape
    starts = np.zeros(n + 1, np.int64)
    for i in range(n):
        for c in range(k):
            starts[indices[i, c] + 1] += weights[i, c] > 0.0
    for i in range(n):
        starts[i + 1] += starts[i]
    sources, incoming = np.empty(starts[n], np.int32), np.empty(starts[n], np.float32)
    place = starts[:-1].copy()
    for i in range(n):  # sources of a vertex come out ascending
        for c in range(k):
            if weights[i, c] > 0.0:
                j = indices[i, c]
                sources[place[j]], incoming[place[j]] = i, weights[i, c]
                place[j] += 1
    offsets = np.empty(n + 1, np.int64)
    neighbors, joined = np.empty(2 * starts[n], np.int32), np.empty(2 * starts[n], np.float32)
    count = 0
    for i in range(n):
        offsets[i] = count
        order = np.argsort(indices[i])
        own, other = 0, starts[i]
        while own < k or other < starts[i + 1]:
            a = indices[i, order[own]] if own < k else n
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
