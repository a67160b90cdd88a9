"""Exact neighbours in torch, on CUDA: products for candidates, differences in float64 for the order.

The same certificate as on the CPU (`exact`): a row whose left-out points might be nearer than rounding can tell is
searched again by differences alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK_ELEMENTS = 2**27  # of one block of products: 512 MB of float32
_LEAST_ELEMENTS = 2**20  # blocks are not made smaller than this when the card runs out of memory
_TF32_ROUNDOFF = 2.0**-11


def search(X: Any, k: int, queries: Any, metric: str, device: torch.device) -> tuple[Array, Array]:
    """Find neighbours as `torchviz_layers.neighbors.knn` does, on a device; X and queries are checked rows."""
    points = _prepared(torch.as_tensor(X, device=device), metric)
    asked = points if queries is None else _prepared(torch.as_tensor(queries, device=device), metric)
    own = torch.arange(len(points), device=device) if queries is None else None
    if metric == "manhattan":
        indices, distances = _in_blocks(_directly, points, asked, own, k, 1.0)
    else:
        indices, distances = _in_blocks(_by_products, points, asked, own, k, 2.0)
    if metric in ("cosine", "correlation"):
        distances = 0.5 * distances * distances
    return indices.cpu().numpy(), distances.float().cpu().numpy()


def _prepared(X: torch.Tensor, metric: str) -> torch.Tensor:
    """Bring rows to the form in which the metric orders as Euclidean or Manhattan distance does."""
    if metric in ("euclidean", "manhattan"):
        return X
    X = X.double()
    X = X - X.mean(dim=1, keepdim=True) if metric == "correlation" else X
    length = torch.linalg.vector_norm(X, dim=1, keepdim=True)
    zero = length == 0
    return torch.cat([X / torch.where(zero, 1.0, length), zero.double()], dim=1)


def _in_blocks(
    find: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    points: torch.Tensor,
    asked: torch.Tensor,
    own: torch.Tensor | None,
    k: int,
    p: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Search in blocks of rows, in smaller ones where the card runs out of memory."""
    found = []
    start, elements = 0, _BLOCK_ELEMENTS
    while start < len(asked):
        stop = start + max(1, elements // len(points))
        try:
            found.append(find(points, asked[start:stop], None if own is None else own[start:stop], k, p))
        except torch.cuda.OutOfMemoryError:
            if elements <= _LEAST_ELEMENTS:
                raise
            elements //= 4
            torch.cuda.empty_cache()
            continue
        start = stop
    return torch.cat([part[0] for part in found]), torch.cat([part[1] for part in found])


def _by_products(
    points: torch.Tensor, asked: torch.Tensor, own: torch.Tensor | None, k: int, p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    centre = points.mean(dim=0, dtype=torch.float64)
    A, B = (points - centre).float(), (asked - centre).float()
    square_a, square_b = A.double().square().sum(1), B.double().square().sum(1)
    scores = square_a.float() - 2.0 * (B @ A.T)
    if own is not None:
        scores.scatter_(1, own[:, None], torch.inf)
    kept = min(len(points) - (own is not None), k + 24 + k // 2)
    values, candidates = scores.topk(kept, largest=False)
    del scores
    unit = _TF32_ROUNDOFF if A.is_cuda and torch.backends.cuda.matmul.allow_tf32 else 2.0**-24
    # As in `exact`; twice as much, since the norms are not summed block by block here.
    margin = 8.0 * (A.shape[1] + 4) * unit * (square_b.sqrt() * square_a.max().sqrt() + square_b)
    complete = kept == len(points) - (own is not None)
    certified = torch.full_like(margin, complete, dtype=torch.bool) | (values[:, -1] - values[:, k - 1] > 2.0 * margin)
    candidates = candidates.sort(1).values
    true = torch.empty(candidates.shape, dtype=torch.float64, device=points.device)
    step = max(1, _BLOCK_ELEMENTS // (4 * kept * points.shape[1]))
    for part in torch.split(torch.arange(len(asked), device=points.device), step):
        difference = points[candidates[part]].double() - asked[part, None].double()
        true[part] = difference.square().sum(2)
    order = true.sort(dim=1, stable=True)
    indices, distances = candidates.gather(1, order.indices[:, :k]), order.values[:, :k].sqrt()
    rest = (~certified).nonzero()[:, 0]
    for part in torch.split(rest, max(1, len(asked) // 8)):
        indices[part], distances[part] = _directly(points, asked[part], None if own is None else own[part], k, p)
    return indices, distances


def _directly(
    points: torch.Tensor, asked: torch.Tensor, own: torch.Tensor | None, k: int, p: float
) -> tuple[torch.Tensor, torch.Tensor]:
    distances = torch.cdist(asked.double(), points.double(), p=p, compute_mode="donot_use_mm_for_euclid_dist")
    if own is not None:
        distances.scatter_(1, own[:, None], torch.inf)
    order = distances.sort(dim=1, stable=True)
    return order.indices[:, :k], order.values[:, :k]
