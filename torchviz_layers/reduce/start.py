"""First positions of a layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers._knn.axes import principal_axes, project, row_mean

Array = np.ndarray[Any, np.dtype[Any]]

SIDE = 10.0  # positions start in [-10, 10], as umap-learn's do
_SAMPLE = 10_000  # rows, evenly spaced, that the axes are found from
_NOISE = 1e-4  # tells duplicates apart
SPARE = 4  # axes iterated beside the wanted ones: they make the iteration converge sooner
ROUNDS = 8


def principal_start(X: Array, n_components: int, seed: int) -> Array:
    """Return the rows on their principal axes, scaled to [-10, 10], with a little noise: (n, n_components) float64."""
    sample = np.ascontiguousarray(X[:: -(-len(X) // _SAMPLE)])
    centre = row_mean(X)
    width = min(n_components + SPARE, *sample.shape)
    scores = project(X, centre, principal_axes(sample, centre, width, ROUNDS))
    found = np.zeros((len(X), n_components))
    kept = min(n_components, width)
    found[:, :kept] = _fixed_signs(_rotated(scores)[:, :kept])
    largest = np.abs(found).max()
    if not largest > 0:
        return random_start(len(X), n_components, seed)
    start: Array = found / largest * SIDE + noise(found.shape, seed)
    return start


def random_start(n: int, n_components: int, seed: int) -> Array:
    """Return positions drawn evenly from [-10, 10]."""
    return np.random.default_rng(seed).uniform(-SIDE, SIDE, (n, n_components))


def noise(shape: tuple[int, ...], seed: int) -> Array:
    """Return the small offsets that tell duplicates apart."""
    offsets: Array = np.random.default_rng(seed).normal(scale=_NOISE, size=shape)
    return offsets


def _rotated(scores: Array) -> Array:
    """Turn scores to their own principal axes, largest first, without BLAS (see `_axes`)."""
    gram = np.array([[(a * b).sum() for b in scores.T] for a in scores.T])
    _, vectors = np.linalg.eigh(gram)
    return np.stack([(scores * vectors[:, c]).sum(axis=1) for c in range(len(gram) - 1, -1, -1)], axis=1)


def _fixed_signs(scores: Array) -> Array:
    """Flip each column so that its largest entry is positive."""
    signs = np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    flipped: Array = scores * np.where(signs == 0, 1.0, signs)
    return flipped
