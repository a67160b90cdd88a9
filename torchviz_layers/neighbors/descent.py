"""Approximate neighbours on the CPU for many rows: random trees, then neighbours of neighbours, then true distances.

1. Rows are projected on their leading principal axes, so that a distance costs little.
2. A few random trees divide the rows into leaves; within a leaf all rows are compared with each other.
3. Each row is compared with the neighbours of its neighbours, a few times over: neighbour descent (W. Dong,
   M. Charikar, K. Li, "Efficient k-nearest neighbor graph construction for generic similarity measures", WWW 2011).
4. The best candidates are ordered by their distance in all features.

pynndescent, umap-learn's library, does the same with updates that depend on the order of its threads. Here a row
writes only its own list and reads the lists of the step before, and random numbers are hashes of (seed, tree, node): a
seed gives the same result for any number of threads.

A list of candidates is a pair of arrays: `near`, the rows' indices (-1: an empty slot), and `far`, their distances on
the axes, ascending; squared, unless they are Manhattan distances.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit, mix, parallel_jit
from torchviz_layers.neighbors.axes import principal_axes, row_mean

_AXES = 64  # principal axes on which candidates are compared
_TREES = 8
_LEAF = 128  # largest number of rows in a leaf
_ROUNDS = 4  # of neighbour descent, at most
_FORWARD = 16  # a row's nearest candidates that take part in a round
_REVERSE = 16  # rows that have it among their nearest, and take part
_BATCH = 256  # rows a thread takes at once
_SLICE = 16_384  # rows of one call to a kernel: Python sees Ctrl-C only between calls
_SAMPLE = 2048  # rows from which the axes are computed
_SETTLED = 0.08  # share of list entries that change in a round, below which no other round follows
_FAR = np.float32(3.0e38)  # distance of an empty slot


def search(X: Array, k: int, seed: int, *, manhattan: bool = False) -> tuple[Array, Array]:
    """Find about the k nearest rows of every row.

    Parameters
    ----------
    X
        Rows (n, n_features), float32 or float64; more rows than a leaf has.
    k
        Neighbours a row.
    seed
        Of the trees.
    manhattan
        Sum absolute differences in place of squares.

    Returns
    -------
    Indices (n, k) int64 and distances (n, k) float32, nearest first.
    """
    n = len(X)
    kept = min(n - 1, k + 24 + k // 2)  # more than k: distances on the axes order them only roughly
    # A rotation keeps Euclidean distances, but not sums of absolute differences.
    short = np.ascontiguousarray(X, np.float32) if manhattan else _compressed(X)
    near, far = np.full((n, kept), -1, np.int32), np.full((n, kept), _FAR, np.float32)

    # First candidates: the other rows of each leaf.
    orders, bounds = _forest(short, seed)
    leaves = max(1, _SLICE // _LEAF)
    for order in orders:
        for first in range(0, len(bounds) - 1, leaves):
            with LOCK:
                _join_leaves(short, order, bounds[first : first + leaves + 1], manhattan, near, far)

    # Neighbour descent: each round reads the lists of the round before.
    joined = np.empty((n, 0), np.int32)
    for _ in range(_ROUNDS):
        changed = np.zeros(n, np.int64)
        with LOCK:
            before, joined = joined, _neighborhoods(near)
            fresh = _is_new(before, joined)
        for first in range(0, n, _SLICE):
            with LOCK:
                _look_around(short, first, min(n, first + _SLICE), joined, fresh, manhattan, near, far, changed)
        if changed.sum() < _SETTLED * near.size:
            break

    indices, distances = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    for first in range(0, n, _SLICE):
        part = slice(first, first + _SLICE)
        with LOCK:
            _rank(X, X[part], near[part], manhattan, indices[part], distances[part])
    return indices, distances


def _compressed(X: Array) -> Array:
    """Return the rows on the leading principal axes of a sample of them, (n, _AXES) float32; few features stay."""
    n, d = X.shape
    if d <= _AXES:
        return np.ascontiguousarray(X, np.float32)
    sample = np.ascontiguousarray(X[:: max(1, n // _SAMPLE)])
    centre = row_mean(sample)
    axes = principal_axes(sample, centre, _AXES, rounds=2)
    short = np.empty((n, _AXES), np.float32)
    with LOCK:
        _project(X, centre.astype(X.dtype), np.ascontiguousarray(axes.T, np.float32), short)
    return short


def _forest(X: Array, seed: int) -> tuple[Array, Array]:
    """Order the rows by random trees; return the orders (_TREES, n) and the leaves' bounds (n_leaves + 1,).

    Every node is split in two halves of equal size, so that all trees have the same bounds: leaf l of a tree holds the
    rows `order[bounds[l] : bounds[l + 1]]`.
    """
    n = len(X)
    orders = np.tile(np.arange(n, dtype=np.int32), (_TREES, 1))
    parts, level = [n], 0  # sizes of the nodes of this level
    while max(parts) > _LEAF:
        with LOCK:
            _split(X, np.uint32((seed + level) & 0xFFFFFFFF), np.concatenate([[0], np.cumsum(parts)]), orders)
        halves = []
        for size in parts:
            halves += [size // 2, size - size // 2]
        parts = halves
        level += 1
    return orders, np.concatenate([[0], np.cumsum(parts)])


@parallel_jit
def _project(X: Array, centre: Array, axes: Array, short: Array) -> None:
    for i in prange(X.shape[0]):
        row = np.empty(X.shape[1], np.float32)
        for f in range(X.shape[1]):
            row[f] = X[i, f] - centre[f]
        for c in range(axes.shape[0]):
            total = np.float32(0.0)
            for f in range(X.shape[1]):
                total += row[f] * axes[c, f]
            short[i, c] = total


@jit
def _distance(x: Array, y: Array, manhattan: bool) -> np.float32:
    total = np.float32(0.0)
    if manhattan:
        for f in range(x.shape[0]):
            total += abs(x[f] - y[f])
    else:
        for f in range(x.shape[0]):
            total += (x[f] - y[f]) * (x[f] - y[f])
    return total


@parallel_jit
def _split(X: Array, seed: np.uint32, bounds: Array, orders: Array) -> None:
    """Sort each node's rows along the line through two random ones of them; the halves are the next level's nodes.

    Two rows of a node, drawn at random, give a direction along which the data vary (as in annoy and pynndescent).
    """
    nodes = bounds.shape[0] - 1
    for task in prange(orders.shape[0] * nodes):
        order = orders[task // nodes, bounds[task % nodes] : bounds[task % nodes + 1]]
        size = np.uint32(order.shape[0])
        key = mix(mix(seed) + np.uint32(task))
        one, two = order[key % size], order[mix(key) % size]
        direction = X[one] - X[two]
        height = np.empty(order.shape[0], np.float32)
        for position in range(order.shape[0]):
            total = np.float32(0.0)
            for f in range(X.shape[1]):
                total += direction[f] * X[order[position], f]
            height[position] = total
        order[:] = order[np.argsort(height, kind="mergesort")]  # stable: ties stay in order


@jit
def _offer(near: Array, far: Array, index: int, distance: np.float32) -> int:
    """Insert a point into a row's sorted list unless it is there or too far; return 1 if it was inserted, else 0."""
    last = far.shape[0] - 1
    if distance >= far[last]:
        return 0
    for c in range(near.shape[0]):
        if near[c] == index:
            return 0
    slot = last
    while slot > 0 and far[slot - 1] > distance:
        far[slot], near[slot] = far[slot - 1], near[slot - 1]
        slot -= 1
    far[slot], near[slot] = distance, index
    return 1


@parallel_jit
def _join_leaves(X: Array, order: Array, bounds: Array, manhattan: bool, near: Array, far: Array) -> None:
    """Compare all rows of a leaf with each other; a row is in one leaf of a tree, so that one thread has its list."""
    for leaf in prange(bounds.shape[0] - 1):
        members = order[bounds[leaf] : bounds[leaf + 1]]
        for a in range(members.shape[0]):
            for b in range(a):
                i, j = members[a], members[b]
                distance = _distance(X[i], X[j], manhattan)
                _offer(near[i], far[i], j, distance)
                _offer(near[j], far[j], i, distance)


@jit
def _neighborhoods(near: Array) -> Array:
    """Return each row's nearest and some rows that it is nearest to, (n, _FORWARD + _REVERSE), -1 for fewer.

    The second kind leads a row to rows that have it among their nearest though it does not have them. They are taken
    column by column, so that rows to which it is nearest come first.
    """
    n = near.shape[0]
    forward = min(_FORWARD, near.shape[1])
    joined = np.full((n, _FORWARD + _REVERSE), -1, np.int32)
    count = np.zeros(n, np.int64)
    for c in range(forward):
        for i in range(n):
            j = near[i, c]
            joined[i, c] = j
            if j >= 0 and count[j] < _REVERSE:
                joined[j, _FORWARD + count[j]] = i
                count[j] += 1
    return joined


@parallel_jit
def _is_new(before: Array, joined: Array) -> Array:
    """Return which entries of the lists (n, _FORWARD + _REVERSE) were not there in the round before."""
    fresh = np.empty(joined.shape, np.bool_)
    for i in prange(joined.shape[0]):
        for c in range(joined.shape[1]):
            known = 0
            for e in range(before.shape[1]):
                known += before[i, e] == joined[i, c]
            fresh[i, c] = known == 0
    return fresh


@parallel_jit
def _look_around(
    X: Array,
    first: int,
    last: int,
    joined: Array,
    fresh: Array,
    manhattan: bool,
    near: Array,
    far: Array,
    changed: Array,
) -> None:
    """Compare rows `first` to `last` with the neighbours of their neighbours.

    Of the two links i - middle - j at least one has to be new: the other pairs were compared in a round before.
    """
    for batch in prange((last - first + _BATCH - 1) // _BATCH):
        seen = np.full(X.shape[0], -1, np.int32)  # seen[j] == i: row i has been compared with j already
        for i in range(first + batch * _BATCH, min(last, first + (batch + 1) * _BATCH)):
            seen[i] = i
            for c in range(near.shape[1]):
                if near[i, c] >= 0:
                    seen[near[i, c]] = i
            for c in range(joined.shape[1]):
                middle = joined[i, c]
                if middle < 0:
                    continue
                for e in range(joined.shape[1]):
                    j = joined[middle, e]
                    if j >= 0 and seen[j] != i and (fresh[i, c] or fresh[middle, e]):
                        seen[j] = i
                        changed[i] += _offer(near[i], far[i], j, _distance(X[i], X[j], manhattan))


@parallel_jit
def _rank(X: Array, rows: Array, near: Array, manhattan: bool, indices: Array, distances: Array) -> None:
    """Order the candidates of each row by their distance in all features, in float64; ties by the lower index."""
    k = indices.shape[1]
    for i in prange(rows.shape[0]):
        found, who = np.full(k, np.inf), np.full(k, -1, np.int64)
        for c in range(near.shape[1]):
            j = near[i, c]
            if j < 0:
                continue
            total = 0.0
            for f in range(X.shape[1]):
                difference = np.float64(rows[i, f]) - np.float64(X[j, f])
                total += abs(difference) if manhattan else difference * difference
            if total > found[-1] or (total == found[-1] and j > who[-1]):
                continue
            slot = k - 1
            while slot > 0 and (found[slot - 1] > total or (found[slot - 1] == total and who[slot - 1] > j)):
                found[slot], who[slot] = found[slot - 1], who[slot - 1]
                slot -= 1
            found[slot], who[slot] = total, j
        for c in range(k):
            indices[i, c], distances[i, c] = who[c], found[c] if manhattan else np.sqrt(found[c])
