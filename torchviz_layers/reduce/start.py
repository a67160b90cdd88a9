"""First positions of a layout: principal components by a power iteration that no thread count can change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from torchviz_layers._numba import LOCK, parallel_jit

Array = np.ndarray[Any, np.dtype[Any]]

SIDE = 10.0  # positions start in [-10, 10], as umap-learn's do
_NOISE = 1e-4  # tells duplicates apart
_BLOCKS = 64  # partial sums, whatever the number of threads
_SPARE = 4  # directions iterated beside the wanted ones, for speed of convergence
_ROUNDS = 12


def principal_start(X: Array, n_components: int, seed: int) -> Array:
    """Return the leading principal components of the rows, scaled to [-10, 10], with a little noise: (n, n_components)."""
    centre = np.zeros(X.shape[1])
    for first in range(0, len(X), 1024):
        centre += X[first : first + 1024].sum(axis=0, dtype=np.float64)
    centre /= len(X)
    width = min(n_components + _SPARE, *X.shape)
    basis = _orthonormal(np.random.default_rng(0).standard_normal((X.shape[1], width)))
    scores = np.empty((len(X), width))
    for _ in range(_ROUNDS):
        with LOCK:
            _project(X, centre, basis, scores)
            parts = np.zeros((_BLOCKS, width, X.shape[1]))
            _gather(X, centre, scores, parts)
        image = parts.sum(axis=0).T
        if not np.abs(image).max() > 0:
            break
        basis = _orthonormal(image)
    with LOCK:
        _project(X, centre, basis, scores)
    found = np.zeros((len(X), n_components))
    kept = min(n_components, width)
    found[:, :kept] = _fixed_signs(_rotated(scores)[:, :kept])
    largest = np.abs(found).max()
    return found / largest * SIDE + noise(found.shape, seed) if largest > 0 else random_start(*found.shape, seed)


def random_start(n: int, n_components: int, seed: int) -> Array:
    """Return positions drawn evenly from [-10, 10]."""
    return np.random.default_rng(seed).uniform(-SIDE, SIDE, (n, n_components))


def noise(shape: tuple[int, ...], seed: int) -> Array:
    """Return the small offsets that tell duplicates apart."""
    return np.random.default_rng(seed).normal(scale=_NOISE, size=shape)


def _orthonormal(vectors: Array) -> Array:
    """Gram-Schmidt, twice, with NumPy's own loops: BLAS may sum in another order for another number of threads."""
    basis = vectors / np.abs(vectors).max()
    for _ in range(2):
        for c in range(basis.shape[1]):
            for before in range(c):
                basis[:, c] -= (basis[:, before] * basis[:, c]).sum() * basis[:, before]
            length = np.sqrt((basis[:, c] * basis[:, c]).sum())
            basis[:, c] = basis[:, c] / length if length > 1e-12 else 0.0
    return basis


def _rotated(scores: Array) -> Array:
    """Turn scores to their own principal axes, largest first."""
    gram = np.array([[(a * b).sum() for b in scores.T] for a in scores.T])
    _, vectors = np.linalg.eigh(gram)
    return np.stack([(scores * vectors[:, c]).sum(axis=1) for c in range(len(gram) - 1, -1, -1)], axis=1)


def _fixed_signs(scores: Array) -> Array:
    """Flip each column so that its largest entry is positive."""
    signs = np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    return scores * np.where(signs == 0, 1.0, signs)


@parallel_jit
def _project(X: Array, centre: Array, basis: Array, scores: Array) -> None:
    n, d = X.shape
    width = basis.shape[1]
    across = basis.T.copy()
    for i in prange(n):
        row = np.empty(d, np.float64)
        for f in range(d):
            row[f] = X[i, f] - centre[f]
        for c in range(width):
            total = 0.0
            for f in range(d):
                total += row[f] * across[c, f]
            scores[i, c] = total


@parallel_jit
def _gather(X: Array, centre: Array, scores: Array, parts: Array) -> None:
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
