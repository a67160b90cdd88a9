"""The compiled loops of the exact search (`exact`): lists of candidates, their order, and all differences.

A list of candidates is a pair of arrays: `near`, the points' indices, and `far`, their squared distances, ascending.
In every loop a thread writes the lists of its own rows only, so that the number of threads changes no result.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import jit, parallel_jit

_STRIP = 64  # columns that are compared with a threshold at once
LANES = 64  # points whose distances to one row are computed side by side


@parallel_jit
def fill_square_norms(X: Array, squares: Array) -> None:
    """Write the squared norms of the rows, (n,), summed in float64."""
    for i in prange(X.shape[0]):
        total = 0.0
        for f in range(X.shape[1]):
            total += np.float64(X[i, f]) * np.float64(X[i, f])
        squares[i] = total


@jit
def _insert(near: Array, far: Array, index: int, distance: float) -> None:
    """Put a point into one row's sorted list (kept,), after those at the same distance; the last one drops out."""
    slot = far.shape[0] - 1
    while slot > 0 and far[slot - 1] > distance:
        far[slot], near[slot] = far[slot - 1], near[slot - 1]
        slot -= 1
    far[slot], near[slot] = distance, index


@parallel_jit
def keep_nearest(
    product: Array, square_b: Array, square_a: Array, row: int, column: int, own: Array, near: Array, far: Array
) -> None:
    """Offer every column of a block of products to the lists of the block's rows."""
    width = product.shape[1]
    for r in prange(product.shape[0]):
        i = row + r
        # |b|^2 is the same for the whole row: it is taken off the threshold once, not added to each value.
        limit = far[i, -1] - square_b[i]
        for start in range(0, width, _STRIP):
            stop = min(start + _STRIP, width)
            # Nearly all strips have no column below the threshold. Counting is a loop without branches, which
            # vectorises; only a strip with a hit is read again, value by value.
            hits = 0
            for c in range(start, stop):
                hits += square_a[column + c] - np.float32(2) * product[r, c] < limit
            if hits == 0:
                continue
            for c in range(start, stop):
                value = square_a[column + c] - np.float32(2) * product[r, c]
                if value < limit and column + c != own[i]:
                    _insert(near[i], far[i], column + c, value + square_b[i])
                    limit = far[i, -1] - square_b[i]


@parallel_jit
def keep_nearest_of_columns(product: Array, squares: Array, row: int, column: int, near: Array, far: Array) -> None:
    """Offer every row of a block of products to the lists of the block's columns: the mirror image.

    A thread takes a strip of columns, so that it alone writes their lists, and reads the block row by row.
    """
    height, width = product.shape
    for strip in prange((width + _STRIP - 1) // _STRIP):
        start, stop = strip * _STRIP, min((strip + 1) * _STRIP, width)
        limits = np.empty(_STRIP, np.float32)
        for c in range(start, stop):
            limits[c - start] = far[column + c, -1] - squares[column + c]
        for r in range(height):
            i = row + r
            hits = 0
            for c in range(start, stop):
                hits += squares[i] - np.float32(2) * product[r, c] < limits[c - start]
            if hits == 0:
                continue
            for c in range(start, stop):
                j = column + c
                value = squares[i] - np.float32(2) * product[r, c]
                if value < limits[c - start]:
                    _insert(near[j], far[j], i, value + squares[j])
                    limits[c - start] = far[j, -1] - squares[j]


@jit
def _square_distance(x: Array, y: Array) -> float:
    total = 0.0
    for f in range(x.shape[0]):
        difference = np.float64(x[f]) - np.float64(y[f])
        total += difference * difference
    return total


@parallel_jit
def rank_candidates(
    X: Array,
    Q: Array,
    near: Array,
    far: Array,
    square_b: Array,
    of_product: float,
    of_norms: float,
    indices: Array,
    distances: Array,
    certified: Array,
) -> None:
    """Order each row's candidates by their direct distance, and say whether they must hold the true neighbours.

    Let D and F be the squared distances that products give for the k-th candidate and for the last one of query q.

    - For points y with |y| <= reach = |q| + sqrt(2 D) rounding is at most `margin`, the bound of `exact._roundoff`.
      So the true k-th squared distance is at most D + margin, and that of a point left out at least F - margin.
    - Points with |y| > reach are farther from q than sqrt(2 D), by the triangle inequality. With margin <= D the k-th
      neighbour is nearer than that.

    A row is therefore certified if margin <= D and F - D > 2 margin.
    """
    k, kept = indices.shape[1], near.shape[1]
    for i in prange(Q.shape[0]):
        found = np.empty(k, np.float64)  # the k smallest squared distances so far, ascending
        who = np.empty(k, np.int64)  # the points they belong to
        count = 0
        nearest = max(0.0, np.float64(far[i, k - 1]))
        norm = np.sqrt(np.float64(square_b[i]))
        reach = norm + np.sqrt(2.0 * nearest)
        margin = of_product * norm * reach + of_norms * (norm * norm + reach * reach)
        complete = near[i, -1] < 0  # every point is listed: none was left out
        certified[i] = complete or (margin <= nearest and far[i, -1] - nearest > 2.0 * margin)
        if not certified[i]:
            continue
        for c in range(kept):
            j = near[i, c]
            # Candidates ascend by products: those behind this one cannot be among the k nearest either.
            if j < 0 or (not complete and far[i, c] - nearest > 2.0 * margin):
                break
            value = _square_distance(Q[i], X[j])
            # Insertion sort by (distance, index); slot k is one behind the list and is not stored.
            slot = min(count, k)
            while slot > 0 and (found[slot - 1] > value or (found[slot - 1] == value and who[slot - 1] > j)):
                if slot < k:
                    found[slot], who[slot] = found[slot - 1], who[slot - 1]
                slot -= 1
            if slot < k:
                found[slot], who[slot] = value, j
            count = min(count + 1, k)
        for c in range(k):
            indices[i, c], distances[i, c] = who[c], np.sqrt(found[c])


@parallel_jit
def compare_all(
    tiles: Array, n: int, queries: Array, own: Array, manhattan: bool, indices: Array, distances: Array
) -> None:
    """Compare queries with all points, which come as (n_tiles, n_features, LANES).

    A thread takes a group of queries and reads each tile once for all of them, while it is in the cache.
    """
    k, n_features = indices.shape[1], tiles.shape[1]
    for group in prange((queries.shape[0] + LANES - 1) // LANES):
        first, last = group * LANES, min((group + 1) * LANES, queries.shape[0])
        found = np.full((last - first, k), np.inf)
        who = np.full((last - first, k), -1, np.int64)
        apart = np.empty(LANES, np.float64)  # one query's distances to the tile's points
        for tile in range(tiles.shape[0]):
            points = tiles[tile]  # (n_features, LANES)
            for q in range(first, last):
                apart[:] = 0.0
                for f in range(n_features):
                    x = np.float64(queries[q, f])
                    if manhattan:
                        for c in range(LANES):
                            apart[c] += abs(x - np.float64(points[f, c]))
                    else:
                        for c in range(LANES):
                            difference = x - np.float64(points[f, c])
                            apart[c] += difference * difference
                start = tile * LANES
                limit = found[q - first, -1]
                for c in range(min(LANES, n - start)):  # the last tile is padded
                    if apart[c] < limit and start + c != own[q]:
                        _insert(who[q - first], found[q - first], start + c, apart[c])
                        limit = found[q - first, -1]
        for q in range(first, last):
            for c in range(k):
                value = found[q - first, c]
                indices[q, c], distances[q, c] = who[q - first, c], value if manhattan else np.sqrt(value)
