"""Rows in the form in which Euclidean or Manhattan distance finds a metric's neighbours, for NumPy and for torch.

All searches know two distances, Euclidean and Manhattan. The two others are reduced to them: for rows of length one

    |u - v|^2 = 2 (1 - cos(u, v)),

so the nearest in Euclidean distance are the nearest by cosine, and `correlation` is the cosine of rows that are centred
one by one. Squares of very large or very small numbers overflow or vanish, so such rows are divided by a power of two,
which changes no digit of them.

Both libraries have a function of their own because each adds up a row in its own order, and a seed has to give the same
bytes on the CPU.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers.exceptions import DataError

ANGULAR = ("cosine", "correlation")
_LARGEST = float(np.finfo(np.float32).max)
# Numbers whose squares are safely inside float32's range (1e-38 to 3e38), and so are sums of many of them.
_SAFE = (1e-9, 1e9)
# A constant row has no direction once its mean is taken away: what is left, relative to the row, is rounding.
_CONSTANT = 1e-12


def prepare_arrays(points: Array, queries: Array | None, metric: str) -> tuple[Array, Array | None, float]:
    """Return points, queries and the scale that both were divided by; see `to_metric` for the way back."""
    if metric in ANGULAR:
        points = unit_arrays(points, centred=metric == "correlation")
        queries = None if queries is None else unit_arrays(queries, centred=metric == "correlation")
    largest = float(np.abs(points).max())
    if queries is not None:
        largest = max(largest, float(np.abs(queries).max()))
    scale = _scale(largest)
    if scale == 1.0:
        return points, queries, scale
    scaled = (points / scale).astype(points.dtype)
    return scaled, None if queries is None else (queries / scale).astype(queries.dtype), scale


def prepare_tensors(
    points: torch.Tensor, queries: torch.Tensor | None, metric: str
) -> tuple[torch.Tensor, torch.Tensor | None, float]:
    """Do what `prepare_arrays` does, on the tensors' device."""
    if metric in ANGULAR:
        points = unit_tensors(points, centred=metric == "correlation")
        queries = None if queries is None else unit_tensors(queries, centred=metric == "correlation")
    largest = float(points.abs().max())
    if queries is not None:
        largest = max(largest, float(queries.abs().max()))
    scale = _scale(largest)
    if scale == 1.0:
        return points, queries, scale
    return points / scale, None if queries is None else queries / scale, scale


def to_metric(distances: Any, metric: str, scale: float) -> Any:
    """Turn Euclidean or Manhattan distances of prepared rows, float64 arrays or tensors, into the metric's own.

    Raises
    ------
    DataError
        Where they are larger than float32 holds.
    """
    true = distances * scale
    farthest = float(true.max())
    if farthest > _LARGEST:
        raise DataError(f"distances reach {farthest:.3g}, larger than float32 holds; scale the data down")
    if metric in ANGULAR:
        return 0.5 * true * true
    return true


def unit_arrays(X: Array, *, centred: bool) -> Array:
    """Return rows of length one in float64, (n, n_features + 1); `centred` subtracts each row's mean first.

    The last feature is 1 in a row of zeros, which has no direction, and 0 elsewhere: rows of zeros are at a cosine
    distance of 0 from each other and of 1 from all other rows.
    """
    rows = X.astype(np.float64)
    if centred:
        rows -= rows.mean(axis=1, keepdims=True)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    least = _CONSTANT * np.abs(X).max(axis=1, keepdims=True) if centred else 0.0
    zero = largest <= least
    # Divided by the largest entry first, so that the squares neither overflow nor vanish.
    rows /= np.where(zero, 1.0, largest)
    rows[zero[:, 0]] = 0.0
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.hstack([rows / np.where(zero, 1.0, length), zero.astype(np.float64)])


def unit_tensors(X: torch.Tensor, *, centred: bool) -> torch.Tensor:
    """Do what `unit_arrays` does, on the tensor's device."""
    rows = X.double()
    if centred:
        rows = rows - rows.mean(dim=1, keepdim=True)
    largest = rows.abs().amax(dim=1, keepdim=True)
    least = _CONSTANT * X.abs().amax(dim=1, keepdim=True) if centred else 0.0
    zero = largest <= least
    rows = torch.where(zero, 0.0, rows / torch.where(zero, 1.0, largest))
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.cat([rows / torch.where(zero, 1.0, length), zero.double()], dim=1)


def _scale(largest: float) -> float:
    """Return the power of two to divide by: 1 where squares of numbers up to `largest` are safe."""
    if largest == 0.0 or _SAFE[0] < largest < _SAFE[1]:
        return 1.0
    return 2.0 ** math.floor(math.log2(largest))
