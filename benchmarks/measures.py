"""Quality of an embedding, computed apart from the library whose results it judges."""

from __future__ import annotations

import numpy as np


def trustworthiness(X: np.ndarray, Z: np.ndarray, k: int = 15, n_rows: int = 2000) -> float:
    """Return how far neighbours in Z are neighbours in X too (Venna and Kaski 2001), of a sample of rows against all.

    1 - 2 / (m k (2n - 3k - 1)) times the sum, over the m rows and their k neighbours in Z, of how far beyond k each
    ranks in X.
    """
    n = len(X)
    rows = np.random.default_rng(0).permutation(n)[:n_rows]
    k = min(k, (n - 1) // 2)
    near = _order(Z, rows)[:, :k]
    ranks = np.empty((len(rows), n), np.int32)
    np.put_along_axis(ranks, _order(X, rows), np.arange(1, n + 1, dtype=np.int32)[None], axis=1)
    beyond = np.maximum(np.take_along_axis(ranks, near, axis=1) - k, 0)
    return float(1 - 2 * beyond.sum() / (len(rows) * k * (2 * n - 3 * k - 1)))


def knn_accuracy(Z: np.ndarray, targets: np.ndarray, k: int = 10) -> float:
    """Return the leave-one-out accuracy of the vote of the k nearest in Z."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=k).fit(Z).kneighbors(return_distance=False)
    labels, codes = np.unique(targets, return_inverse=True)
    counts = np.apply_along_axis(np.bincount, 1, codes[near], minlength=len(labels))
    return float((counts.argmax(axis=1) == codes).mean())


def _order(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return all other rows by distance to each of `rows`, itself last: (m, n)."""
    X = X.astype(np.float64)
    square = (X[rows] ** 2).sum(1)[:, None] + (X**2).sum(1) - 2 * X[rows] @ X.T
    square[np.arange(len(rows)), rows] = np.inf
    return np.argsort(square, axis=1, kind="stable")
