"""Distances between blocks of rows and all rows in float64: what the measures share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.devices import resolve_device
from torchviz_layers.exceptions import DataError
from torchviz_layers.neighbors.preparation import ANGULAR, unit_tensors
from torchviz_layers.neighbors.search import METRICS

_BLOCK_ELEMENTS = 4_000_000  # of one block of distances: 32 MB
_FEW_FEATURES = 64  # up to here distances are taken from differences, which near-duplicates need


def rows_of(X: Any, device: str | torch.device, name: str = "X") -> torch.Tensor:
    """Return X as a float64 tensor (n, n_features) on the device."""
    return torch.as_tensor(as_rows(X, name), device=resolve_device(device, X)).double()


def paired(X: Any, Z: Any, device: str | torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two arrays of the same samples as float64 tensors on one device."""
    A = rows_of(X, device, "X")
    B = torch.as_tensor(as_rows(Z, "Z")).double().to(A.device)
    if len(A) != len(B):
        raise DataError(f"X has {len(A)} rows and Z has {len(B)}; they must be the same samples")
    return A, B


def labels_of(targets: Any, n: int) -> Array:
    """Return class labels as whole numbers from 0, (n,) int64."""
    labels = as_numpy(targets)
    if labels.shape != (n,):
        raise DataError(f"targets have shape {labels.shape}; one label for each of the {n} rows is needed")
    codes: Array = np.unique(labels, return_inverse=True)[1].astype(np.int64).reshape(n)
    return codes


def values_of(values: Any, n: int) -> Array:
    """Return the values of a regression as float64 (n,), NaN where they are unknown."""
    numbers = as_numpy(values)
    if numbers.shape != (n,):
        raise DataError(f"values have shape {numbers.shape}; one value for each of the {n} rows is needed")
    if numbers.dtype.kind not in "fiub":
        raise DataError(f"values hold {numbers.dtype}, not real numbers; use NaN where a value is unknown")
    numbers = numbers.astype(np.float64)
    if np.isinf(numbers).any():
        raise DataError("values contain infinity; use NaN where a value is unknown")
    return numbers


def label_sets_of(label_sets: Any, n: int) -> Array:
    """Return which labels each row has as bool (n, n_labels)."""
    table = as_numpy(label_sets)
    if table.ndim != 2 or len(table) != n or table.shape[1] == 0:
        raise DataError(
            f"label_sets have shape {table.shape}; (n, n_labels) is needed, with a row for each of the {n} samples"
        )
    if table.dtype.kind not in "fiub" or not ((table == 0) | (table == 1)).all():
        raise DataError("label_sets may hold nothing but 0 and 1 (or False and True)")
    return table.astype(bool)


def sampled(n: int, sample: int | None, seed: int) -> torch.Tensor:
    """Return the rows that are measured, ascending: all, or `sample` of them drawn without replacement."""
    if sample is None or sample >= n:
        return torch.arange(n)
    if sample < 1:
        raise DataError(f"sample={sample}: it must be at least 1, or None for all rows")
    return torch.from_numpy(np.sort(np.random.default_rng(seed).choice(n, sample, replace=False)))


def check_k(k: int, n: int, most: int, rule: str) -> None:
    """Check a number of neighbours against what n rows allow."""
    if not 1 <= k <= most:
        raise DataError(f"k={k} for {n} rows: it must be from 1 to {most} ({rule})")


def blocks(rows: torch.Tensor, n: int) -> Iterator[torch.Tensor]:
    """Yield parts of the rows, so small that their distances to n points take little memory."""
    yield from torch.split(rows, max(1, _BLOCK_ELEMENTS // n))


def prepared(X: torch.Tensor, metric: str) -> torch.Tensor:
    """Bring rows to the form in which the metric orders as Euclidean or Manhattan distance does."""
    if metric not in METRICS:
        raise DataError(f"metric: {metric!r} is none of {', '.join(METRICS)}")
    if metric not in ANGULAR:
        return X - X.mean(dim=0)  # distances stay, and the rounding of products becomes smaller
    return unit_tensors(X, centred=metric == "correlation")


def distances(X: torch.Tensor, rows: torch.Tensor, metric: str = "euclidean") -> torch.Tensor:
    """Return the distances (len(rows), n) of some rows of X to all, where X comes from `prepared`.

    For `cosine` and `correlation` these are distances of unit rows, which rank like the metric's own.
    """
    if metric == "manhattan":
        return torch.cdist(X[rows], X, p=1.0)
    if X.shape[1] <= _FEW_FEATURES:
        return torch.cdist(X[rows], X, compute_mode="donot_use_mm_for_euclid_dist")
    # |x|^2 + |y|^2 - 2xy, written out because torch.cdist takes twice as long for the same.
    squares = X.square().sum(dim=1)
    apart = torch.addmm(squares, X[rows], X.T, alpha=-2).add_(squares[rows, None])
    return apart.clamp_(min=0).sqrt_()
