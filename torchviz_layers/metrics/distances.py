"""Distances of blocks of rows in float64, the ground that the measures stand on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers.exceptions import DataError
from torchviz_layers.neighbors.search import METRICS, as_points, resolve_device

_BLOCK_ELEMENTS = 4_000_000  # of one block of distances: 32 MB
_FEW_FEATURES = 64  # up to here distances are taken from differences, which near-duplicates need


def rows_of(X: Any, device: str | torch.device, name: str = "X") -> torch.Tensor:
    """Return X as a float64 tensor (n, n_features) on the device."""
    return torch.as_tensor(as_points(X, name), device=resolve_device(device, X)).double()


def paired(X: Any, Z: Any, device: str | torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two arrays of the same samples as float64 tensors on one device."""
    A = rows_of(X, device, "X")
    B = torch.as_tensor(as_points(Z, "Z")).double().to(A.device)
    if len(A) != len(B):
        raise DataError(f"X has {len(A)} rows and Z has {len(B)}; they must be the same samples")
    return A, B


def labels_of(targets: Any, n: int) -> Array:
    """Return class labels as whole numbers from 0, (n,) int64."""
    labels = np.asarray(targets.detach().cpu() if isinstance(targets, torch.Tensor) else targets)
    if labels.shape != (n,):
        raise DataError(f"targets have shape {labels.shape}; one label for each of the {n} rows is needed")
    codes: Array = np.unique(labels, return_inverse=True)[1].astype(np.int64).reshape(n)
    return codes


def sampled(n: int, sample: int | None, seed: int) -> torch.Tensor:
    """Return the rows to look at, ascending: all, or `sample` of them drawn without replacement."""
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
    """Cut rows into parts whose distances to n points fit in memory."""
    yield from torch.split(rows, max(1, _BLOCK_ELEMENTS // n))


def prepared(X: torch.Tensor, metric: str) -> torch.Tensor:
    """Bring rows to the form in which the metric orders as Euclidean or Manhattan distance does."""
    if metric not in METRICS:
        raise DataError(f"metric: {metric!r} is none of {', '.join(METRICS)}")
    if metric in ("euclidean", "manhattan"):
        return X - X.mean(dim=0)
    X = X - X.mean(dim=1, keepdim=True) if metric == "correlation" else X
    length = X.norm(dim=1, keepdim=True)
    zero = length == 0
    return torch.cat([X / torch.where(zero, 1.0, length), zero.double()], dim=1)


def distances(X: torch.Tensor, rows: torch.Tensor, metric: str = "euclidean") -> torch.Tensor:
    """Distances of some rows to all, (len(rows), n), of rows that `prepared` has seen."""
    if metric == "manhattan":
        return torch.cdist(X[rows], X, p=1.0)
    if X.shape[1] <= _FEW_FEATURES:
        return torch.cdist(X[rows], X, compute_mode="donot_use_mm_for_euclid_dist")
    squares = X.square().sum(dim=1)  # written out: torch.cdist takes twice as long
    apart = torch.addmm(squares, X[rows], X.T, alpha=-2).add_(squares[rows, None])
    return apart.clamp_(min=0).sqrt_()
