"""The fuzzy graph of UMAP in torch: `graph.fuzzy_graph` on any device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

_LEAST_SCALE = 1e-3  # as in `graph`
_ROUNDS = 64


class TorchGraph(NamedTuple):
    """Edges in CSR form, each in both directions; neighbors are int64 and ascend in each row."""

    offsets: torch.Tensor
    neighbors: torch.Tensor
    weights: torch.Tensor


def fuzzy_graph(indices: torch.Tensor, distances: torch.Tensor, n_neighbors: int) -> TorchGraph:
    """Weigh the edges of a neighbour graph; the arguments are `graph.fuzzy_graph`'s."""
    n, k = indices.shape
    weights = _memberships(distances.double(), float(np.log2(n_neighbors))).float()
    rows = torch.arange(n, device=indices.device).repeat_interleave(k)
    keep = (weights.flatten() > 0) & (rows != indices.flatten())
    source, target, weight = rows[keep], indices.flatten()[keep], weights.flatten()[keep]
    keys, order = (source * n + target).sort()
    source, target, weight = source[order], target[order], weight[order]
    reverse = target * n + source
    place = torch.searchsorted(keys, reverse).clamp(max=max(len(keys) - 1, 0))
    mutual = keys[place] == reverse
    other = torch.where(mutual, weight[place], 0.0)
    joined = weight + other - weight * other  # probability that at least one of both directions exists
    alone = ~mutual
    keys, order = torch.cat([keys, reverse[alone]]).sort()
    joined = torch.cat([joined, joined[alone]])[order]
    offsets = torch.searchsorted(keys, torch.arange(n + 1, device=keys.device) * n)
    return TorchGraph(offsets, keys % n, joined)


def row_sums(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Sum values (n_edges, c) of each row, in a fixed order: (n, c)."""
    return torch.segment_reduce(values, "sum", offsets=offsets, axis=0, initial=0.0)


def _memberships(distances: torch.Tensor, target: float) -> torch.Tensor:
    """Weights exp(-(d - nearest) / sigma), with sigma so that a row's weights add up to `target` (bisection)."""
    nearest = torch.where(distances > 0, distances, torch.inf).amin(1, keepdim=True)
    nearest = torch.where(nearest.isinf(), 0.0, nearest)
    gaps = (distances - nearest).clamp(min=0)
    low, high = torch.zeros_like(nearest), torch.full_like(nearest, torch.inf)
    sigma = torch.ones_like(nearest)
    settled = torch.zeros_like(nearest, dtype=torch.bool)
    for _ in range(_ROUNDS):
        total = torch.where(gaps > 0, torch.exp(-gaps / sigma), 1.0).sum(1, keepdim=True)
        settled = settled | ((total - target).abs() < 1e-5)
        above = total > target
        high, low = torch.where(above, sigma, high), torch.where(above, low, sigma)
        tried = torch.where(high.isinf(), sigma * 2.0, (low + high) / 2.0)
        sigma = torch.where(settled, sigma, tried)
    scale = torch.where(nearest > 0, distances.mean(1, keepdim=True), distances.mean())
    sigma = torch.maximum(sigma, _LEAST_SCALE * scale)
    return torch.where((gaps > 0) & (sigma > 0), torch.exp(-gaps / sigma), 1.0)
