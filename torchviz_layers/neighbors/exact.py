"""Exact Euclidean neighbours on the CPU, certified: rounding of matrix products, and so the threads, change nothing.

Two searches with the same result:

`search_directly` computes every difference in float64. It is exact for any data, and the quicker one for few features.

`search_by_products` computes

    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y

from matrix products in low precision. This is many times quicker for many features, but the terms cancel: for two
near-duplicates (a confident network's softmax) the rounding of the products is larger than the distance. So it proceeds
in three steps:

1. For each row the products keep a list of candidates that is longer than k.
2. The candidates' distances are computed directly, in float64, and ordered.
3. A row is certified if the last candidate is farther than the k-th by more than rounding explains. Then no point that
   was left out can be a neighbour. Rows without a certificate are searched again by float32 products, and if these fail
   too, directly.

X.X^T is symmetric, so that only half of the blocks of products are computed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK
from torchviz_layers.neighbors.axes import row_mean
from torchviz_layers.neighbors.exact_kernels import (
    LANES,
    compare_all,
    fill_square_norms,
    keep_nearest,
    keep_nearest_of_columns,
    rank_candidates,
)

_FAR = np.float32(3.0e38)  # distance of an empty slot in a list of candidates
_TILE = 2048  # rows of one block of products: 16 MB of float32, inside a last-level cache


def search_by_products(
    X: Array, k: int, queries: Array | None = None, own: Array | None = None, *, coarse: bool | None = None
) -> tuple[Array, Array]:
    """Search by products, certify, and order the candidates directly.

    The arguments and results are those of `search_directly`; without queries the rows of X search for themselves.
    `coarse` multiplies in bfloat16. None: if the processor has instructions for it, which are several times quicker
    than float32.
    """
    if coarse is None:
        coarse = _multiplies_bfloat16()
    itself = queries is None
    Q = X if queries is None else queries
    if itself:
        own = np.arange(len(X))
    elif own is None:
        own = np.full(len(Q), -1)

    # Distances do not depend on the centre. Near it norms are small, and so is the rounding of products.
    centre = row_mean(X).astype(X.dtype)
    A = (X - centre).astype(np.float32, copy=False)  # (n, n_features)
    B = A if itself else (Q - centre).astype(np.float32, copy=False)  # (m, n_features)
    square_a, square_b = _square_norms(A), _square_norms(B)

    kept = k + 24 + k // 2
    near = np.full((len(Q), kept), -1, np.int32)  # candidates, nearest first
    far = np.full((len(Q), kept), _FAR, np.float32)  # their squared distances by products
    for row, column, product in _products(A, B, itself, coarse):
        with LOCK:
            keep_nearest(product, square_b, square_a, row, column, own, near, far)
            if itself and row != column:  # the block on the other side of the diagonal is this one transposed
                keep_nearest_of_columns(product, square_a, row, column, near, far)

    indices, distances = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
    certified = np.empty(len(Q), np.bool_)
    of_product, of_norms = _roundoff(X.shape[1], coarse)
    with LOCK:
        rank_candidates(X, Q, near, far, square_b, of_product, of_norms, indices, distances, certified)
    rest = np.flatnonzero(~certified)
    if len(rest) and coarse:
        indices[rest], distances[rest] = search_by_products(X, k, Q[rest], own[rest], coarse=False)
    elif len(rest):
        indices[rest], distances[rest] = search_directly(X, k, Q[rest], own[rest])
    return indices, distances


def _roundoff(n_features: int, coarse: bool) -> tuple[float, float]:
    """Bound what rounding does to |x|^2 + |y|^2 - 2xy: (share of |x||y|, share of |x|^2 + |y|^2), generously.

    An inner product of d terms in float32 is off by at most d u |x||y| / (1 - d u), whatever the order of summation
    (N. J. Higham, "Accuracy and stability of numerical algorithms", section 3.1); u is the unit roundoff. bfloat16
    rounds both factors and the result once more. Centring, norms and sums round a few times each.
    """
    unit, short = 2.0**-24, 2.0**-9  # of float32 and of bfloat16
    of_product = (n_features + 4) * unit
    if coarse:
        of_product += 3 * short
    return 2.5 * of_product, 16.0 * unit


def _multiplies_bfloat16() -> bool:
    """Return whether the processor has instructions for products of bfloat16."""
    checks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(check is not None and check() for check in checks)


def _products(A: Array, B: Array, symmetric: bool, coarse: bool) -> Iterator[tuple[int, int, Array]]:
    """Yield (first row, first column, a block of B A^T in float32).

    Where A is B the blocks below the diagonal are left out. A block is overwritten by the next one.
    """
    dtype = torch.bfloat16 if coarse else torch.float32
    left = torch.from_numpy(B).to(dtype)
    right = left if symmetric else torch.from_numpy(A).to(dtype)
    # Two buffers for all blocks; NumPy has no bfloat16, so that a coarse block is copied to float32.
    product = torch.empty(_TILE * _TILE, dtype=dtype)
    in_float32 = torch.empty(_TILE * _TILE) if coarse else product
    for row in range(0, len(left), _TILE):
        rows = left[row : row + _TILE]
        for column in range(row if symmetric else 0, len(right), _TILE):
            columns = right[column : column + _TILE]
            size, shape = len(rows) * len(columns), (len(rows), len(columns))
            torch.mm(rows, columns.T, out=product[:size].view(shape))
            if coarse:
                in_float32[:size].copy_(product[:size])
            yield row, column, in_float32[:size].view(shape).numpy()


def search_directly(X: Array, k: int, queries: Array, own: Array, *, manhattan: bool = False) -> tuple[Array, Array]:
    """Search by differences in float64.

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
    # (n_tiles, n_features, LANES): a feature of LANES points is contiguous, so that their differences vectorise.
    tiles = np.zeros((-(-n // LANES), LANES, n_features), X.dtype)
    tiles.reshape(-1, n_features)[:n] = X
    tiles = np.ascontiguousarray(tiles.transpose(0, 2, 1))
    step = max(8 * LANES, int(4e8 / max(1, X.size)) // LANES * LANES)  # tenths of a second a call
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        with LOCK:
            compare_all(tiles, n, queries[part], own[part], manhattan, indices[part], distances[part])
    return indices, distances


def _square_norms(X: Array) -> Array:
    squares = np.empty(len(X), np.float32)
    with LOCK:
        fill_square_norms(X, squares)
    return squares
