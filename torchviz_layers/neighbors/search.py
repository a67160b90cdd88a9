"""Nearest neighbours, on the CPU and on CUDA: right on near-duplicates, the same for any number of threads."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.devices import available_device
from torchviz_layers.exceptions import DataError, NonFiniteError, ReducerError

Metric = Literal["euclidean", "cosine", "correlation", "manhattan"]
Method = Literal["auto", "exact", "approximate"]

METRICS: tuple[str, ...] = get_args(Metric)
_EXACT_ROWS = 15_000  # above, the approximate search is several times quicker (MNIST: recall .985)
_EXACT_ROWS_CUDA = 200_000  # the same on a card; not measured on one
_SMALL = 1_000  # up to here the exact search is the quicker one whatever is asked
_FEW_FEATURES = 64  # up to here differences are as quick as products, and need no certificate


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
        `cpu`, `cuda` or `auto`: where a tensor lies, else CUDA where there is a card. Other devices' tensors are
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
        Where X or the queries are empty, are not rows of numbers, or have distances beyond float32.
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
    where = resolve_device(device, X)
    points = as_points(X, "X")
    asked = None if queries is None else as_points(queries, "queries")
    n, most = len(points), len(points) - (queries is None)
    if asked is not None and asked.shape[1] != points.shape[1]:
        raise DataError(f"queries have {asked.shape[1]} features, X has {points.shape[1]}")
    if most < 1:
        raise ReducerError("a single sample has no neighbours: at least 2 samples are needed")
    if not 1 <= k <= most:
        raise ReducerError(f"k={k} neighbours are asked of {n} points: it must be from 1 to {most}")
    indices, distances = find(points, k, asked, metric, where, method, random_state)
    return to_numpy(indices), to_numpy(distances)


def find(
    points: Any, k: int, asked: Any, metric: str, device: torch.device, method: str = "auto", seed: int = 0
) -> tuple[Any, Any]:
    """Search checked rows (`as_points`) as `knn` does; on CUDA the results are tensors that stay on the card."""
    if device.type != "cuda":
        asked = None if asked is None else to_numpy(asked)
        return _search_cpu(to_numpy(points), k, asked, metric, method, seed)
    from torchviz_layers.neighbors import cuda, lists

    many = len(points) > _EXACT_ROWS_CUDA if method == "auto" else method == "approximate" and len(points) > _SMALL
    if many and asked is None and metric != "manhattan":
        return lists.search(points, k, metric, seed, device)
    return cuda.search(points, k, asked, metric, device)


def resolve_device(device: str | torch.device, X: Any = None) -> torch.device:
    """Say where to compute: as asked, or where a tensor lies, or on CUDA where there is one."""
    if isinstance(device, str) and device == "auto":
        if isinstance(X, torch.Tensor) and X.device.type == "cuda":
            return X.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = available_device(device, ReducerError)
    return found if found.type == "cuda" else torch.device("cpu")  # MPS and others: neighbours are found on the CPU


def as_points(X: Any, name: str = "X", *, finite: bool = True) -> Any:
    """Return rows of finite floats (n, n_features) as float32 or float64, in C order, without a copy where possible.

    A CUDA tensor stays on its card; anything else becomes a NumPy array. Floats of up to 32 bits and integers of up to
    16 become float32, the others float64; more than two axes are flattened to rows. Without `finite` NaN and infinity
    pass.
    """
    if isinstance(X, torch.Tensor):
        tensor = X.detach()
        small = tensor.dtype in (torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.int8, torch.int16)
        tensor = tensor.to(torch.float32 if small or tensor.dtype == torch.bool else torch.float64)
        tensor = _flat(tensor, name).contiguous()
        if tensor.device.type == "cuda":
            if finite and not bool(torch.isfinite(tensor).all()):  # one number leaves the card, and the rows if needed
                _check_finite(torch.isfinite(tensor).all(dim=1).cpu().numpy(), name)
            return tensor
        X = tensor.cpu().numpy()
    array = _real_numbers(X, name)
    small = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
    array = np.ascontiguousarray(_flat(array, name), dtype=np.float32 if small else np.float64)
    with np.errstate(all="ignore"):
        doubtful = finite and not np.isfinite(array.sum(dtype=np.float64))
    if doubtful:  # one cheap pass, and the mask only where it overflows
        _check_finite(np.isfinite(array).all(axis=1), name)
    return array


def to_numpy(points: Any) -> Array:
    """Return what `as_points` made as a NumPy array, off its card."""
    array: Array = points.cpu().numpy() if isinstance(points, torch.Tensor) else points
    return array


def _real_numbers(X: Any, name: str) -> Array:
    if hasattr(X, "tocsr"):
        raise DataError(f"{name}: sparse input is not supported here; pass {name}.toarray()")
    array = np.asarray(X)
    if array.dtype == object:
        array = array.astype(np.float64)
    if array.dtype.kind == "c":
        raise DataError(f"{name}: Complex data not supported ({array.dtype})")
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} holds {array.dtype}, not real numbers")
    return array


def _flat(X: Any, name: str) -> Any:
    shape = tuple(X.shape)
    if len(shape) < 2:
        raise DataError(f"{name} has shape {shape}. Reshape your data: (n_samples, n_features) is needed")
    for count, what in ((shape[0], "sample"), (int(np.prod(shape[1:])), "feature")):
        if count == 0:
            raise DataError(f"{name} is empty: 0 {what}(s) (shape={shape}) while a minimum of 1 is required.")
    return X.reshape(len(X), -1)


def _check_finite(finite: Array, name: str) -> None:
    if not finite.all():
        rows = np.flatnonzero(~finite)
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        raise NonFiniteError(f"{name} holds NaN or infinity in {len(rows)} of {len(finite)} rows: {shown}")


def _search_cpu(points: Array, k: int, asked: Array | None, metric: str, method: str, seed: int) -> tuple[Array, Array]:
    from torchviz_layers.neighbors import descent, exact

    angular, manhattan = metric in ("cosine", "correlation"), metric == "manhattan"
    if angular:
        points = _unit_rows(points, centred=metric == "correlation")
        asked = None if asked is None else _unit_rows(asked, centred=metric == "correlation")
    points, asked, scale = _scaled(points, asked)
    few = points.shape[1] <= _FEW_FEATURES
    many = len(points) > _EXACT_ROWS if method == "auto" else method == "approximate" and len(points) > _SMALL
    if many and asked is None:
        indices, distances = descent.search(points, k, seed, manhattan=manhattan)
    elif few or manhattan:
        own = np.arange(len(points)) if asked is None else np.full(len(asked), -1)
        rows = points if asked is None else asked
        indices, distances = exact.search_directly(points, k, rows, own, manhattan=manhattan)
    else:
        indices, distances = exact.search_by_products(points, k, asked)
    true = distances.astype(np.float64) * scale
    if true.max() > np.finfo(np.float32).max:
        raise DataError(f"distances reach {true.max():.3g}, beyond float32; scale the data down")
    return indices, (0.5 * true * true if angular else true).astype(np.float32)


def _unit_rows(X: Array, *, centred: bool) -> Array:
    """Rows of length one in float64, one feature more: rows of zeros have 1 there, so that they are far from all."""
    rows = X.astype(np.float64)
    if centred:
        rows -= rows.mean(axis=1, keepdims=True)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    zero = largest[:, 0] <= 1e-12 * np.abs(X).max(axis=1) if centred else largest[:, 0] == 0
    rows /= np.where(zero[:, None], 1.0, largest)
    rows[zero] = 0.0
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.hstack([rows / np.where(zero[:, None], 1.0, length), zero[:, None].astype(np.float64)])


def _scaled(points: Array, asked: Array | None) -> tuple[Array, Array | None, float]:
    """Divide by a power of two (exactly) where squares would overflow or vanish."""
    largest = max(float(np.abs(A).max()) for A in (points, asked) if A is not None)
    if largest == 0.0 or 1e-9 < largest < 1e9:
        return points, asked, 1.0
    scale = 2.0 ** np.floor(np.log2(largest))
    return (points / scale).astype(points.dtype), None if asked is None else (asked / scale).astype(asked.dtype), scale
