"""Leading principal axes by power iteration, the same bytes for any number of threads.

The iteration A <- orth(Xc^T (Xc A)), with Xc the centred rows, converges to the leading eigenvectors of the covariance
(subspace iteration, G. H. Golub, C. F. Van Loan, "Matrix computations", section 8.2). It needs a few passes over the
rows and no matrix of n_features x n_features.

BLAS sums in another order for another number of threads. Here sums over rows run in a fixed number of blocks, which are
added in order, in float64.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, parallel_jit

_BLOCKS = 64  # partial sums, whatever the number of threads; fewer where features are many
_PART_ELEMENTS = 2**24  # of all partial sums together: 128 MB


def row_mean(X: Array) -> Array:
    """Mean of the rows, (n_features,) float64."""
    total = np.zeros(X.shape[1])
    for first in range(0, len(X), 1024):
        total += X[first : first + 1024].sum(axis=0, dtype=np.float64)
    mean: Array = total / len(X)
    return mean


def principal_axes(X: Array, centre: Array, width: int, rounds: int) -> Array:
    """Return about the leading principal axes of X - centre as orthonormal columns, (n_features, width) float64.

    Where X spans fewer dimensions the columns that are left over are zero.
    """
    blocks = max(1, min(_BLOCKS, len(X) // 64, _PART_ELEMENTS // (width * X.shape[1])))
    axes = _orthonormal(np.random.default_rng(0).standard_normal((X.shape[1], width)))
    for _ in range(rounds):
        parts = np.zeros((blocks, width, X.shape[1]))  # each block's share of Xc^T (Xc A), transposed
        with LOCK:
            _gather(X, centre, _scores(X, centre, axes), parts)
        image = parts.sum(axis=0).T
        if not np.abs(image).max() > 0:  # all rows are equal
            return np.zeros_like(axes)
        axes = _orthonormal(image)
    return axes


def project(X: Array, centre: Array, axes: Array) -> Array:
    """Return the coordinates of the centred rows on the axes, (n, width) float64."""
    with LOCK:
        return _scores(X, centre, axes)


def _scores(X: Array, centre: Array, axes: Array) -> Array:
    scores = np.empty((len(X), axes.shape[1]))
    _project(X, centre, np.ascontiguousarray(axes.T), scores)
    return scores


def _orthonormal(vectors: Array) -> Array:
    """Return an orthonormal basis of the columns; a column that depends on those before it becomes zero.

    Gram-Schmidt, twice, because once leaves rounding in nearly dependent columns; with NumPy's loops in place of BLAS.
    """
    basis = np.ascontiguousarray((vectors / np.abs(vectors).max()).T)
    for _ in range(2):
        for c in range(len(basis)):
            length_before = np.sqrt((basis[c] * basis[c]).sum())
            for before in range(c):
                basis[c] -= (basis[before] * basis[c]).sum() * basis[before]
            length = np.sqrt((basis[c] * basis[c]).sum())
            dependent = length <= 1e-12 * max(length_before, 1e-300)
            basis[c] = 0.0 if dependent else basis[c] / length
    return basis.T


@parallel_jit
def _project(X: Array, centre: Array, axes: Array, scores: Array) -> None:
    """Write (X - centre) axes^T, (n, width); the axes are rows."""
    n, d = X.shape
    for i in prange(n):
        row = np.empty(d, np.float64)
        for f in range(d):
            row[f] = X[i, f] - centre[f]
        for c in range(axes.shape[0]):
            total = 0.0
            for f in range(d):
                total += row[f] * axes[c, f]
            scores[i, c] = total


@parallel_jit
def _gather(X: Array, centre: Array, scores: Array, parts: Array) -> None:
    """Add scores^T (X - centre) of each block of rows to its part, (blocks, width, n_features)."""
    n, d = X.shape
    blocks, width = parts.shape[0], parts.shape[1]
    for block in prange(blocks):
        row = np.empty(d, np.float64)
        for i in range(block * n // blocks, (block + 1) * n // blocks):
            for f in range(d):
                row[f] = X[i, f] - centre[f]
            for c in range(width):
                score = scores[i, c]
                for f in range(d):
                    parts[block, c, f] += score * row[f]
