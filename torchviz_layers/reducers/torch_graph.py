"""The fuzzy graph of UMAP in torch: `graph.fuzzy_graph` on any device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

_LEAST_SCALE = 1e-3  # as in `graph`
_BISECTIONS = 64


class TorchGraph(NamedTuple):
    """Edges in CSR form, each in both directions; neighbors are int64 and ascend in each row."""

    offsets: torch.Tensor
    neighbors: torch.Tensor
    weights: torch.Tensor


def fuzzy_graph(indices: torch.Tensor, distances: torch.Tensor, n_neighbors: int) -> TorchGraph:
    """Return the edges of a neighbour graph with their weights; the arguments are `graph.fuzzy_graph`'s.

    An edge (i, j) is the number i n + j. Sorted, these keys are the CSR order, and a reverse edge j n + i is found by
    binary search.
    """
    n, k = indices.shape
    weights = _memberships(distances.double(), float(np.log2(n_neighbors))).float()
    rows = torch.arange(n, device=indices.device).repeat_interleave(k)
    # Edges of weight 0 and edges to the vertex itself are left out.
    keep = (weights.flatten() > 0) & (rows != indices.flatten())
    source, target, weight = rows[keep], indices.flatten()[keep], weights.flatten()[keep]
    keys, order = (source * n + target).sort()
    source, target, weight = source[order], target[order], weight[order]
    reverse = target * n + source
    position = torch.searchsorted(keys, reverse).clamp(max=max(len(keys) - 1, 0))
    mutual = keys[position] == reverse
    other = torch.where(mutual, weight[position], 0.0)
    joined = weight + other - weight * other  # probability that at least one of both directions exists
    # The reverse of an edge in one direction only is added, with the same weight.
    alone = ~mutual
    keys, order = torch.cat([keys, reverse[alone]]).sort()
    joined = torch.cat([joined, joined[alone]])[order]
    offsets = torch.searchsorted(keys, torch.arange(n + 1, device=keys.device) * n)
    return TorchGraph(offsets, keys % n, joined)


def row_sums(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Sum values (n_edges, c) of each row, in a fixed order: (n, c)."""
    return torch.segment_reduce(values, "sum", offsets=offsets, axis=0, initial=0.0)


def _memberships(distances: torch.Tensor, target: float) -> torch.Tensor:
    """Return `graph.memberships` of distances (n, k); all rows are bisected together.

    A row whose sum is near enough to the target keeps its sigma.
    """
    nearest = torch.where(distances > 0, distances, torch.inf).amin(1, keepdim=True)
    nearest = torch.where(nearest.isinf(), 0.0, nearest)
    gaps = (distances - nearest).clamp(min=0)
    low, high = torch.zeros_like(nearest), torch.full_like(nearest, torch.inf)
    sigma = torch.ones_like(nearest)
    settled = torch.zeros_like(nearest, dtype=torch.bool)
    for _ in range(_BISECTIONS):
        total = torch.where(gaps > 0, torch.exp(-gaps / sigma), 1.0).sum(1, keepdim=True)
        settled = settled | ((total - target).abs() < 1e-5)
        above = total > target
        high, low = torch.where(above, sigma, high), torch.where(above, low, sigma)
        tried = torch.where(high.isinf(), sigma * 2.0, (low + high) / 2.0)
        sigma = torch.where(settled, sigma, tried)
    scale = torch.where(nearest > 0, distances.mean(1, keepdim=True), distances.mean())
    sigma = torch.maximum(sigma, _LEAST_SCALE * scale)
    return torch.where((gaps > 0) & (sigma > 0), torch.exp(-gaps / sigma), 1.0)
