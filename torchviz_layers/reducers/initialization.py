"""Initial positions of the layout.

UMAP finds a minimum near its start, so that the start decides where groups are relative to each other (D. Kobak,
G. C. Linderman, "Initialization is critical for preserving global data structure in both t-SNE and UMAP", Nature
Biotechnology 2021).
`diffusion` takes the rows' principal components and lets them diffuse along the neighbour graph: positions are
multiplied by the random-walk matrix P = D^-1 W, up to `DIFFUSION_STEPS` times. What varies between neighbours, and
would fold one group over another, is smoothed away, and the arrangement of groups stays. umap-learn's `spectral` start
is the limit of this for many steps: the leading eigenvectors of P, which no longer know of distances between groups.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit, parallel_jit
from torchviz_layers.neighbors.axes import principal_axes, project, row_mean
from torchviz_layers.reducers.graph import Graph
from torchviz_layers.reducers.problem import Problem

EXTENT = 10.0  # initial coordinates are in [-10, 10], as in umap-learn
EXTRA_AXES = 4  # axes iterated in addition to the wanted ones, which makes those converge sooner
POWER_ITERATIONS = 8

# Measured: a tenth of the steps leaves folds, six times as many lose the distances between groups.
DIFFUSION_STEPS = 100
# Diffusion ends before a coordinate has less than this share of its standard deviation left: on a small graph a hundred
# steps would leave one direction, or none.
LEAST_SPREAD = 0.1

_SAMPLE = 10_000  # rows, evenly spaced, from which the axes are computed
_NOISE = 1e-4  # standard deviation of the offsets that separate duplicates


def initial_positions(problem: Problem, scores: Callable[[bool], Array] | None = None) -> Array:
    """Return the initial positions that `init` asks for, (n, n_components) float64.

    `scores(diffuse)` returns the rows on their principal axes, diffused along the graph if `diffuse` is True. Without
    it `init` has to be `random` or an array.
    """
    if problem.start == "random":
        return _random(problem.X.shape[0], problem.n_components, problem.seed)
    if scores is not None and problem.start in ("diffusion", "pca"):
        return _boxed(scores(problem.start == "diffusion"), problem.seed)
    start = np.asarray(problem.init, np.float64)
    return start + noise(start.shape, problem.seed)


def principal_scores(X: Array, n_components: int) -> Array:
    """Return the rows on their leading principal axes, (n, n_components) float64; 0 in components beyond the rank.

    The axes come from a sample of the rows by power iteration (`axes`). The scores are then rotated to their own
    principal axes, which orders the iterated axes and separates the wanted ones from the extra ones.
    """
    sample = np.ascontiguousarray(X[:: -(-len(X) // _SAMPLE)])
    centre = row_mean(X)
    width = min(n_components + EXTRA_AXES, *sample.shape)
    scores = project(X, centre, principal_axes(sample, centre, width, POWER_ITERATIONS))
    found = np.zeros((len(X), n_components))
    kept = min(n_components, width)
    found[:, :kept] = _fixed_signs(_rotated(scores)[:, :kept])
    return found


def diffused(scores: Array, graph: Graph) -> Array:
    """Return positions (n, n_components) after each vertex has moved to its neighbours' weighted mean many times.

    There are up to `DIFFUSION_STEPS` steps, fewer where a coordinate's spread falls below `LEAST_SPREAD` of its own.
    """
    with LOCK:
        shares = _shares(graph.offsets, graph.weights)
    now, after, spreads = scores, np.empty_like(scores), _spreads(scores)
    for _ in range(DIFFUSION_STEPS):
        with LOCK:  # released after every step: Ctrl-C is seen then
            _diffuse(now, after, graph.offsets, graph.neighbors, shares)
        if (_spreads(after) < LEAST_SPREAD * spreads).any():
            break
        now, after = after, now
    moved: Array = now - row_mean(now)
    return moved


def _random(n: int, n_components: int, seed: int) -> Array:
    """Return positions drawn uniformly from [-10, 10], (n, n_components)."""
    return np.random.default_rng(seed).uniform(-EXTENT, EXTENT, (n, n_components))


def noise(shape: tuple[int, ...], seed: int) -> Array:
    """Return small random offsets: duplicates at the same position would never separate."""
    offsets: Array = np.random.default_rng(seed).normal(scale=_NOISE, size=shape)
    return offsets


def _boxed(scores: Array, seed: int) -> Array:
    """Scale scores to [-10, 10] and add noise; return random positions if all rows are equal."""
    largest = np.abs(scores).max()
    if not largest > 0:
        return _random(len(scores), scores.shape[1], seed)
    start: Array = scores / largest * EXTENT + noise(scores.shape, seed)
    return start


@parallel_jit
def _shares(offsets: Array, weights: Array) -> Array:
    """Return P: the weights of each row's edges over their sum, (n_edges,)."""
    shares = np.empty(weights.shape[0])
    for i in prange(offsets.shape[0] - 1):
        total = 0.0
        for e in range(offsets[i], offsets[i + 1]):
            total += weights[e]
        for e in range(offsets[i], offsets[i + 1]):
            shares[e] = weights[e] / total
    return shares


@parallel_jit
def _diffuse(now: Array, after: Array, offsets: Array, neighbors: Array, shares: Array) -> None:
    """Move each vertex to the weighted mean of its neighbours; one without edges stays."""
    n, dims = now.shape
    for i in prange(n):
        first, last = offsets[i], offsets[i + 1]
        for c in range(dims):
            mean = now[i, c] if first == last else 0.0
            for e in range(first, last):
                mean += shares[e] * now[neighbors[e], c]
            after[i, c] = mean


def _rotated(scores: Array) -> Array:
    """Rotate scores (n, width) to their own principal axes, largest first, without BLAS (see `neighbors.axes`)."""
    width = scores.shape[1]
    gram = np.empty((width, width))
    for a in range(width):
        for b in range(width):
            gram[a, b] = (scores.T[a] * scores.T[b]).sum()
    _, vectors = np.linalg.eigh(gram)  # ascending
    columns = [(scores * vectors[:, c]).sum(axis=1) for c in reversed(range(width))]
    return np.stack(columns, axis=1)


@jit
def _spreads(scores: Array) -> Array:
    """Return the standard deviation of each column."""
    n, dims = scores.shape
    found = np.zeros(dims)
    for c in range(dims):
        mean = 0.0
        for i in range(n):
            mean += scores[i, c] / n
        for i in range(n):
            found[c] += (scores[i, c] - mean) ** 2 / n
    return np.sqrt(found)


def _fixed_signs(scores: Array) -> Array:
    """Flip each column so that its entry of the largest magnitude is positive: a sign is not determined by the data."""
    signs = np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    flipped: Array = scores * np.where(signs == 0, 1.0, signs)
    return flipped
