"""Checks of what a caller hands to UMAP; each error names the value and what would do."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers.exceptions import ReducerError

Array = np.ndarray[Any, np.dtype[Any]]


def check_options(options: dict[str, Any]) -> None:
    """Check the numbers and words among UMAP's parameters.

    Raises
    ------
    ReducerError
        For a value out of range; the message names the parameter, the value and the range.
    """
    for name, least in (("n_components", 1), ("n_neighbors", 2)):
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ReducerError(f"{name}={value!r}: it must be a whole number of at least {least}")
    epochs = options["n_epochs"]
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 1):
        raise ReducerError(f"n_epochs={epochs!r}: it must be a whole number of at least 1, or None")
    spread, min_dist = options["spread"], options["min_dist"]
    if not 0.0 < spread < np.inf:
        raise ReducerError(f"spread={spread!r}: it must be above 0")
    if not 0.0 <= min_dist <= spread:
        raise ReducerError(f"min_dist={min_dist!r}: it must be from 0 to spread={spread!r}")
    if options["nonfinite"] not in ("raise", "drop"):
        raise ReducerError(f"nonfinite: {options['nonfinite']!r} is neither 'raise' nor 'drop'")


def seed_of(random_state: Any) -> tuple[int, bool]:
    """Return a seed in 32 bits, and whether the caller gave it; without one it is drawn."""
    if random_state is None:
        return int(np.random.default_rng().integers(2**32)), False
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32)), True
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**32, dtype=np.uint32)), True
    if isinstance(random_state, int | np.integer) and 0 <= random_state < 2**32:
        return int(random_state), True
    raise ReducerError(
        f"random_state={random_state!r}: it must be None, a whole number from 0 to {2**32 - 1}, or NumPy's generator"
    )


def without_self(indices: Any, distances: Any, n: int, n_neighbors: int) -> tuple[Array, Array]:
    """Check a precomputed neighbour graph and bring it to `knn`'s convention: the point itself is not listed.

    Two conventions are understood: umap-learn's, where every row lists the point itself first (a duplicate may stand
    before it), and `torchviz_layers.neighbors.knn`'s, where it does not.
    """
    indices, distances = np.asarray(indices), np.asarray(distances)
    said = "precomputed_knn must be (indices, distances), both of shape (n_samples, at least n_neighbors)"
    if indices.ndim != 2 or indices.shape != distances.shape or len(indices) != n:
        raise ReducerError(f"{said}; their shapes are {indices.shape} and {distances.shape} for {n} samples")
    if indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= n:
        raise ReducerError(f"{said}; indices must be integers from 0 to {n - 1}, without a -1 for neighbours not found")
    if not np.isfinite(distances).all() or distances.min() < 0:
        raise ReducerError(f"{said}; distances must be finite and not negative")
    own = indices == np.arange(n)[:, None]
    if own.any():
        column = np.where(own.any(axis=1), own.argmax(axis=1), 0)
        keep = np.arange(indices.shape[1]) != column[:, None]
        indices, distances = indices[keep].reshape(n, -1), distances[keep].reshape(n, -1)
    wanted = n_neighbors - 1
    if indices.shape[1] < wanted:
        raise ReducerError(
            f"precomputed_knn lists {indices.shape[1]} other points a row, n_neighbors={n_neighbors} needs {wanted}"
        )
    return np.ascontiguousarray(indices[:, :wanted], np.int64), np.ascontiguousarray(distances[:, :wanted], np.float32)


def with_self(indices: Array, distances: Array) -> tuple[Array, Array]:
    """Bring a neighbour graph to the convention of umap-learn and cuML: every row lists the point itself first."""
    n = len(indices)
    return (
        np.hstack([np.arange(n)[:, None], indices]),
        np.hstack([np.zeros((n, 1), np.float32), distances.astype(np.float32)]),
    )
