"""First positions of a layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit, parallel_jit
from torchviz_layers.neighbors.axes import principal_axes, project, row_mean
from torchviz_layers.reducers.graph import Graph
from torchviz_layers.reducers.problem import Problem

SIDE = 10.0  # positions start in [-10, 10], as umap-learn's do
_SAMPLE = 10_000  # rows, evenly spaced, that the axes are found from
_NOISE = 1e-4  # tells duplicates apart
SPARE = 4  # axes iterated beside the wanted ones: they make the iteration converge sooner
ROUNDS = 8
STEPS = 100  # of diffusion: a tenth leaves folds, six times as many lose what the axes tell of distances between groups
FAINT = 0.1  # part of an axis' spread below which diffusion ends: a small graph would soon leave one direction, or none


def first_positions(problem: Problem, scores: Callable[[bool], Array] | None = None) -> Array:
    """Return the first positions as `init` has them, (n, n_components) float64.

    `scores` returns the rows on their principal axes, diffused along the graph where it is told to; `init` that is
    `random` or an array needs none.
    """
    wanted = (problem.X.shape[0], problem.n_components)
    if problem.start == "random":
        return _random(*wanted, problem.seed)
    if scores is not None and problem.start in ("diffusion", "pca"):
        return _boxed(scores(problem.start == "diffusion"), problem.seed)
    start = np.asarray(problem.init, np.float64)
    return start + noise(start.shape, problem.seed)


def principal_scores(X: Array, n_components: int) -> Array:
    """Return the rows on their leading principal axes, (n, n_components) float64; 0 beyond the rank."""
    sample = np.ascontiguousarray(X[:: -(-len(X) // _SAMPLE)])
    centre = row_mean(X)
    width = min(n_components + SPARE, *sample.shape)
    scores = project(X, centre, principal_axes(sample, centre, width, ROUNDS))
    found = np.zeros((len(X), n_components))
    kept = min(n_components, width)
    found[:, :kept] = _fixed_signs(_rotated(scores)[:, :kept])
    return found


def diffused(scores: Array, graph: Graph) -> Array:
    """Return positions after each vertex has moved to its neighbours' weighted mean, up to `STEPS` times.

    What varies between neighbours, and would fold a map, is smoothed away; where the groups lie to each other stays.
    After many more steps the leading eigenvectors of the graph would be left, umap-learn's spectral start.
    """
    with LOCK:
        shares = _shares(graph.offsets, graph.weights)
    now, after, spreads = scores, np.empty_like(scores), _spreads(scores)
    for _ in range(STEPS):
        with LOCK:  # given back after every step, so that Ctrl-C is heard
            _diffuse(now, after, graph.offsets, graph.neighbors, shares)
        if (_spreads(after) < FAINT * spreads).any():
            break
        now, after = after, now
    moved: Array = now - row_mean(now)
    return moved


def _random(n: int, n_components: int, seed: int) -> Array:
    """Return positions drawn evenly from [-10, 10]."""
    return np.random.default_rng(seed).uniform(-SIDE, SIDE, (n, n_components))


def noise(shape: tuple[int, ...], seed: int) -> Array:
    """Return the small offsets that tell duplicates apart."""
    offsets: Array = np.random.default_rng(seed).normal(scale=_NOISE, size=shape)
    return offsets


def _boxed(scores: Array, seed: int) -> Array:
    """Scale scores to [-10, 10] and tell duplicates apart; random positions where they are all alike."""
    largest = np.abs(scores).max()
    if not largest > 0:
        return _random(len(scores), scores.shape[1], seed)
    start: Array = scores / largest * SIDE + noise(scores.shape, seed)
    return start


@parallel_jit
def _shares(offsets: Array, weights: Array) -> Array:
    """Weights of each row's edges as parts of their sum."""
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
            place = now[i, c] if first == last else 0.0
            for e in range(first, last):
                place += shares[e] * now[neighbors[e], c]
            after[i, c] = place


def _rotated(scores: Array) -> Array:
    """Turn scores to their own principal axes, largest first, without BLAS (see `_axes`)."""
    gram = np.array([[(a * b).sum() for b in scores.T] for a in scores.T])
    _, vectors = np.linalg.eigh(gram)
    return np.stack([(scores * vectors[:, c]).sum(axis=1) for c in range(len(gram) - 1, -1, -1)], axis=1)


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
    """Flip each column so that its largest entry is positive."""
    signs = np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    flipped: Array = scores * np.where(signs == 0, 1.0, signs)
    return flipped
