"""Exact Euclidean neighbours on the CPU, certified: the result does not depend on how a matrix product was rounded.

Two ways to the same answer:

`search_directly` computes every difference in float64. It is right whatever the data, and the quicker way for few
features.

`search_by_products` takes |x|^2 + |y|^2 - 2xy from matrix products in low precision, keeps a few more candidates than
asked for, and computes only their distances directly. A row is certified when the nearest point that was left out stays
farther than the k-th neighbour by more than the products' rounding can be wrong; rows that are not (near-duplicates: a
confident network's softmax) are searched again in more precision, at last directly. Rounding, and with it the number
of threads, cannot change the result, and half of the products are saved because the distance is symmetric.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit, parallel_jit
from torchviz_layers.neighbors.axes import row_mean

_FAR = np.float32(3.0e38)  # stands for "no neighbour yet"
_TILE = 2048  # rows of one block of products: 16 MB of float32, inside a last-level cache
_STRIP = 64  # columns that are compared with a threshold at once
_LANES = 64  # points whose distances to one row are computed side by side


def search_by_products(
    X: Array, k: int, queries: Array | None = None, own: Array | None = None, *, coarse: bool | None = None
) -> tuple[Array, Array]:
    """Neighbours by products and certified re-ranking.

    The arguments are `search_directly`'s; without queries the rows of X are asked for themselves. `coarse` multiplies
    in bfloat16; None: where the processor does so natively, which is several times quicker than float32.
    """
    if coarse is None:
        coarse = _multiplies_bfloat16()
    itself = queries is None
    Q = X if queries is None else queries
    own = np.arange(len(X)) if itself else own if own is not None else np.full(len(Q), -1)
    centre = row_mean(X).astype(X.dtype)  # any centre will do; it only keeps products small
    A = (X - centre).astype(np.float32, copy=False)
    B = A if itself else (Q - centre).astype(np.float32, copy=False)
    square_a, square_b = _square_norms(A), _square_norms(B)
    kept = k + 24 + k // 2
    near, far = np.full((len(Q), kept), -1, np.int32), np.full((len(Q), kept), _FAR, np.float32)
    for rows, columns, product in _products(A, B, itself, coarse):
        with LOCK:
            _keep_nearest(product, square_b, square_a, rows, columns, own, near, far)
            if itself and rows != columns:
                _keep_nearest_of_columns(product, square_a, rows, columns, near, far)
    indices, distances = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
    certified = np.empty(len(Q), np.bool_)
    with LOCK:
        _rank_candidates(X, Q, near, far, square_b, *_roundoff(X.shape[1], coarse), indices, distances, certified)
    rest = np.flatnonzero(~certified)
    if len(rest) and coarse:
        indices[rest], distances[rest] = search_by_products(X, k, Q[rest], own[rest], coarse=False)
    elif len(rest):
        indices[rest], distances[rest] = search_directly(X, k, Q[rest], own[rest])
    return indices, distances


def _roundoff(n_features: int, coarse: bool) -> tuple[float, float]:
    """Bound what rounding does to |x|^2 + |y|^2 - 2xy: (share of |x||y|, share of |x|^2 + |y|^2), generously.

    An inner product of d terms in float32 is off by at most d u |x||y| / (1 - d u), whatever the order of summation
    (N. J. Higham, "Accuracy and stability of numerical algorithms", section 3.1); bfloat16 rounds both factors and the
    result once more. Centring, norms and sums round a few times each.
    """
    unit, short = 2.0**-24, 2.0**-9
    return 2.5 * ((n_features + 4) * unit + (3 * short if coarse else 0.0)), 16.0 * unit


def _multiplies_bfloat16() -> bool:
    """Say whether the processor has instructions for products of bfloat16."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported is not None and supported() for supported in asked)


def _products(A: Array, B: Array, symmetric: bool, coarse: bool) -> Iterator[tuple[int, int, Array]]:
    """Yield (first row, first column, B A^T of a block of them in float32); half of the blocks where A is B."""
    dtype = torch.bfloat16 if coarse else torch.float32
    left = torch.from_numpy(B).to(dtype)
    right = left if symmetric else torch.from_numpy(A).to(dtype)
    made = torch.empty(_TILE * _TILE, dtype=dtype)
    shown = made if dtype == torch.float32 else torch.empty(_TILE * _TILE)
    for row in range(0, len(left), _TILE):
        rows = left[row : row + _TILE]
        for column in range(row if symmetric else 0, len(right), _TILE):
            columns = right[column : column + _TILE]
            size, shape = len(rows) * len(columns), (len(rows), len(columns))
            torch.mm(rows, columns.T, out=made[:size].view(shape))
            if shown is not made:
                shown[:size].copy_(made[:size])
            yield row, column, shown[:size].view(shape).numpy()


def search_directly(X: Array, k: int, queries: Array, own: Array, *, manhattan: bool = False) -> tuple[Array, Array]:
    """Neighbours by differences in float64.

    Parameters
    ----------
    X, queries
        Arrays of shape (n, n_features) and (m, n_features), float32 or float64.
    k
        Neighbours a query, at most n (n - 1 where a query leaves itself out).
    own
        Of shape (m,): the row of X that a query is and that is left out, or -1.
    manhattan
        Sum absolute differences in place of squares.

    Returns
    -------
    Indices (m, k) int64 and distances (m, k) float32, nearest first, ties by the lower index.
    """
    indices, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    n, n_features = X.shape
    tiles = np.zeros((-(-n // _LANES), _LANES, n_features), X.dtype)
    tiles.reshape(-1, n_features)[:n] = X
    tiles = np.ascontiguousarray(tiles.transpose(0, 2, 1))
    step = max(8 * _LANES, int(4e8 / max(1, X.size)) // _LANES * _LANES)  # tenths of a second a call
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        with LOCK:
            _direct(tiles, n, queries[part], own[part], manhattan, indices[part], distances[part])
    return indices, distances


def _square_norms(X: Array) -> Array:
    squares = np.empty(len(X), np.float32)
    with LOCK:
        _fill_square_norms(X, squares)
    return squares


@parallel_jit
def _fill_square_norms(X: Array, squares: Array) -> None:
    for i in prange(X.shape[0]):
        total = 0.0
        for f in range(X.shape[1]):
            total += np.float64(X[i, f]) * np.float64(X[i, f])
        squares[i] = total


@jit
def _insert(near: Array, far: Array, index: int, distance: float) -> None:
    """Put a point into one row's sorted list, after those at the same distance."""
    place = far.shape[0] - 1
    while place > 0 and far[place - 1] > distance:
        far[place], near[place] = far[place - 1], near[place - 1]
        place -= 1
    far[place], near[place] = distance, index


@parallel_jit
def _keep_nearest(
    product: Array, square_b: Array, square_a: Array, row: int, column: int, own: Array, near: Array, far: Array
) -> None:
    """Offer every column of a block of products to the lists of the block's rows."""
    width = product.shape[1]
    for r in prange(product.shape[0]):
        i = row + r
        limit = far[i, -1] - square_b[i]
        for start in range(0, width, _STRIP):
            stop = min(start + _STRIP, width)
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
def _keep_nearest_of_columns(product: Array, squares: Array, row: int, column: int, near: Array, far: Array) -> None:
    """Offer every row of a block of products to the lists of the block's columns: the mirror image."""
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
def _rank_candidates(
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

    Points farther from the centre than `reach` are farther from the row than the k-th neighbour, whatever the rounding.
    """
    k, kept = indices.shape[1], near.shape[1]
    for i in prange(Q.shape[0]):
        found = np.empty(k, np.float64)
        who = np.empty(k, np.int64)
        count = 0
        nearest = max(0.0, np.float64(far[i, k - 1]))
        norm = np.sqrt(np.float64(square_b[i]))
        reach = norm + np.sqrt(2.0 * nearest)
        margin = of_product * norm * reach + of_norms * (norm * norm + reach * reach)
        complete = near[i, -1] < 0  # every point is listed
        certified[i] = complete or (margin <= nearest and far[i, -1] - nearest > 2.0 * margin)
        if not certified[i]:
            continue
        for c in range(kept):
            j = near[i, c]
            if j < 0 or (not complete and far[i, c] - nearest > 2.0 * margin):
                break
            value = _square_distance(Q[i], X[j])
            place = min(count, k)
            while place > 0 and (found[place - 1] > value or (found[place - 1] == value and who[place - 1] > j)):
                if place < k:
                    found[place], who[place] = found[place - 1], who[place - 1]
                place -= 1
            if place < k:
                found[place], who[place] = value, j
            count = min(count + 1, k)
        for c in range(k):
            indices[i, c], distances[i, c] = who[c], np.sqrt(found[c])


@parallel_jit
def _direct(
    tiles: Array, n: int, queries: Array, own: Array, manhattan: bool, indices: Array, distances: Array
) -> None:
    """Search all points, laid out as (n_tiles, n_features, _LANES), for a group of queries at a time."""
    k, n_features = indices.shape[1], tiles.shape[1]
    for group in prange((queries.shape[0] + _LANES - 1) // _LANES):
        first, last = group * _LANES, min((group + 1) * _LANES, queries.shape[0])
        found = np.full((last - first, k), np.inf)
        who = np.full((last - first, k), -1, np.int64)
        squares = np.empty(_LANES, np.float64)
        for tile in range(tiles.shape[0]):
            points = tiles[tile]
            for q in range(first, last):
                squares[:] = 0.0
                for f in range(n_features):
                    x = np.float64(queries[q, f])
                    if manhattan:
                        for c in range(_LANES):
                            squares[c] += abs(x - np.float64(points[f, c]))
                    else:
                        for c in range(_LANES):
                            difference = x - np.float64(points[f, c])
                            squares[c] += difference * difference
                start = tile * _LANES
                limit = found[q - first, -1]
                for c in range(min(_LANES, n - start)):
                    if squares[c] < limit and start + c != own[q]:
                        _insert(who[q - first], found[q - first], start + c, squares[c])
                        limit = found[q - first, -1]
        for q in range(first, last):
            for c in range(k):
                value = found[q - first, c]
                indices[q, c], distances[q, c] = who[q - first, c], value if manhattan else np.sqrt(value)
