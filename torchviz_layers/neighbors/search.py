"""Nearest neighbours on the CPU and on CUDA: exact for near-duplicates, the same for any number of threads.

`knn` checks its arguments and calls `find`, which chooses the search:

| search | where | used for |
| --- | --- | --- |
| `exact.search_directly` | CPU | few features, Manhattan distance |
| `exact.search_by_products` | CPU | many features |
| `descent.search` | CPU, approximate | many rows |
| `cuda.search` | CUDA | all metrics |
| `lists.search` | CUDA, approximate | many rows, all metrics but Manhattan |

The searches know Euclidean and Manhattan distance only; `preparation` brings the other metrics to that form.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.devices import resolve_device
from torchviz_layers.exceptions import DataError, ReducerError
from torchviz_layers.neighbors.preparation import prepare_arrays, to_metric

Metric = Literal["euclidean", "cosine", "correlation", "manhattan"]
Method = Literal["auto", "exact", "approximate"]

METRICS: tuple[str, ...] = get_args(Metric)

# Sizes at which one search becomes the quicker one.
_EXACT_ROWS = 15_000  # on the CPU; above, the approximate search is several times quicker (recall .985 on MNIST)
_EXACT_ROWS_CUDA = 200_000  # on a CUDA card; an estimate, not measured
_SMALL = 1_000  # up to here the exact search is quicker even if `approximate` is asked for
_FEW_FEATURES = 64  # up to here differences cost as little as products, and need no certificate


def knn(
    X: Any,
    k: int,
    *,
    queries: Any = None,
    metric: Metric = "euclidean",
    device: str | torch.device = "auto",
    method: Method = "auto",
    random_state: int = 0,
) -> tuple[Array, Array]:
    """Find the k nearest rows of X of every query.

    Parameters
    ----------
    X
        Points of shape (n, n_features): NumPy or Zarr array, or a torch tensor on any device.
    k
        Neighbours a query; at least 1, and at most n (n - 1 without `queries`).
    queries
        Points of shape (m, n_features). None: the rows of X themselves, each leaving itself (its own row, not its
        duplicates) out.
    metric
        `euclidean`, `manhattan`, `cosine` (1 - cos; a row of zeros is at 1 from all others) or `correlation` (cosine
        of rows centred one by one).
    device
        `cpu`, `cuda` or `auto`: a tensor's own card, else CUDA if there is a card. Tensors on other devices are
        searched on the CPU.
    method
        `exact`; `approximate` (without queries: trees and neighbour descent on the CPU, a recall of about .98; inverted
        lists on CUDA, about .97; `manhattan` is exact there); `auto`: exact up to 15,000 rows, on CUDA up to 200,000.
    random_state
        Seed of the approximate search.

    Returns
    -------
    indices (m, k) int64 and distances (m, k) float32, nearest first; equal distances by the lower index.

    Raises
    ------
    NonFiniteError
        Where rows hold NaN or infinity; the message names the first ones.
    DataError
        Where X or the queries are empty, are not rows of numbers, or have distances larger than float32 holds.
    ReducerError
        Where k, a shape or an option does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> indices, distances = knn(np.array([[0.0], [1.0], [3.0]]), 1)
    >>> indices.ravel().tolist(), distances.ravel().tolist()
    ([1, 0, 1], [1.0, 1.0, 2.0])
    """
    if metric not in METRICS:
        raise ReducerError(f"metric: {metric!r} is none of {', '.join(METRICS)}")
    if method not in get_args(Method):
        raise ReducerError(f"method: {method!r} is none of {', '.join(get_args(Method))}")
    resolved = resolve_device(device, X)
    points = as_rows(X, "X")
    others = None if queries is None else as_rows(queries, "queries")
    n = len(points)
    most = n - 1 if others is None else n
    if others is not None and others.shape[1] != points.shape[1]:
        raise DataError(f"queries have {others.shape[1]} features, X has {points.shape[1]}")
    if most < 1:
        raise ReducerError("a single sample has no neighbours: at least 2 samples are needed")
    if not 1 <= k <= most:
        raise ReducerError(f"k={k} neighbours of {n} points: it must be from 1 to {most}")
    indices, distances = find(points, k, others, metric, resolved, method, random_state)
    return as_numpy(indices), as_numpy(distances)


def find(
    points: Any, k: int, queries: Any, metric: str, device: torch.device, method: str = "auto", seed: int = 0
) -> tuple[Any, Any]:
    """Search checked rows (`as_rows`) as `knn` does; on CUDA the results are tensors that stay on the card."""
    if device.type != "cuda":
        queries = None if queries is None else as_numpy(queries)
        return _search_cpu(as_numpy(points), k, queries, metric, method, seed)
    from torchviz_layers.neighbors import cuda, lists

    approximate = _approximates(method, len(points), _EXACT_ROWS_CUDA)
    if approximate and queries is None and metric != "manhattan":
        return lists.search(points, k, metric, seed, device)
    return cuda.search(points, k, queries, metric, device)


def _approximates(method: str, n: int, exact_rows: int) -> bool:
    """Return whether n rows are searched approximately: `auto` does so above `exact_rows`."""
    if method == "auto":
        return n > exact_rows
    return method == "approximate" and n > _SMALL


def _search_cpu(
    points: Array, k: int, queries: Array | None, metric: str, method: str, seed: int
) -> tuple[Array, Array]:
    from torchviz_layers.neighbors import descent, exact

    manhattan = metric == "manhattan"
    points, queries, scale = prepare_arrays(points, queries, metric)
    if queries is None and _approximates(method, len(points), _EXACT_ROWS):
        indices, distances = descent.search(points, k, seed, manhattan=manhattan)
    elif manhattan or points.shape[1] <= _FEW_FEATURES:
        # Row i of X leaves itself out; other queries leave nothing out (-1).
        own = np.arange(len(points)) if queries is None else np.full(len(queries), -1)
        rows = points if queries is None else queries
        indices, distances = exact.search_directly(points, k, rows, own, manhattan=manhattan)
    else:
        indices, distances = exact.search_by_products(points, k, queries)
    return indices, to_metric(distances.astype(np.float64), metric, scale).astype(np.float32)
