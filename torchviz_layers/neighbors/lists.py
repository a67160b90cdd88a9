"""Approximate neighbours in torch, for CUDA and many rows: inverted lists, searched list by list with products.

1. k-means on a sample puts the rows into about four lists for every square root of n.
2. The exact neighbours of some hundred rows say how many lists beside its own a row's neighbours are spread over: as
   many are searched as the wanted recall needs.
3. The rows of one list are multiplied with those of the lists nearest to it at once, and each row's best candidates
   are ordered by their differences.

Rows are added up in a fixed order (`segment_reduce` over sorted rows, no atomic additions): a seed gives the same
result every time. H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", section 4
(inverted lists); here the lists hold the rows themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from torchviz_layers.neighbors import cuda

_RECALL = 0.97  # wanted of the lists searched; ordering the candidates loses a little more
_SAMPLED = 512  # rows whose exact neighbours say how many lists to search
_LISTS = 4.0  # lists for every square root of n
_PER_LIST = 64  # rows of the sample for each list
_ROUNDS = 8  # of k-means
_SPARE = 8  # candidates kept beyond k
_BLOCK_ELEMENTS = 2**26  # of one block of products


class _Lists(NamedTuple):
    """Rows sorted by list: list l holds `order[offsets[l]:offsets[l + 1]]`; `nearest[l]` are all lists, l first."""

    order: torch.Tensor
    offsets: list[int]
    nearest: torch.Tensor


def search(X: torch.Tensor, k: int, metric: str, seed: int, device: torch.device) -> cuda.Found:
    """Find most of the k nearest rows of every row but itself, in Euclidean distance, cosine or correlation.

    The arguments and the results are those of `cuda.search`.
    """
    points, _, scale = cuda.prepare(X, None, metric, device)
    side = cuda.prepare_side(points)
    random = torch.Generator().manual_seed(seed % 2**63)
    n_lists = max(1, round(_LISTS * len(points) ** 0.5))
    centres = _centres(side.centred, n_lists, random)
    assigned = _nearest_centres(side.centred, centres)
    lists = _sorted(assigned, centres)
    sampled = torch.randperm(len(points), generator=random)[:_SAMPLED].to(device)
    probes = _probes_needed(points, sampled, k, assigned, lists.nearest)
    candidates = _candidates(side, lists, probes, k)
    indices, distances = cuda.rank(points, points, candidates, k)
    return indices, cuda.finish(distances, metric, scale)


def _centres(rows: torch.Tensor, n_lists: int, random: torch.Generator) -> torch.Tensor:
    """Return k-means centres of a sample of rows, (n_lists, n_features)."""
    chosen = torch.randperm(len(rows), generator=random)[: n_lists * _PER_LIST].to(rows.device)
    sample = rows[chosen]
    centres = sample[:n_lists].clone()
    for _ in range(_ROUNDS):
        assigned, order = _nearest_centres(sample, centres).sort(stable=True)
        offsets = torch.searchsorted(assigned, torch.arange(len(centres) + 1, device=rows.device))
        sums = torch.segment_reduce(sample[order], "sum", offsets=offsets, axis=0, initial=0.0)
        counts = offsets.diff()[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def _nearest_centres(rows: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Return the centre nearest to each row, up to the products' rounding."""
    squares = centres.square().sum(1)
    step = max(1, _BLOCK_ELEMENTS // len(centres))
    scores = (cuda.multiply(part, centres.T, coarse=True).mul_(-2.0).add_(squares) for part in torch.split(rows, step))
    return torch.cat([part.argmin(1) for part in scores])


def _sorted(assigned: torch.Tensor, centres: torch.Tensor) -> _Lists:
    """Sort rows by list, and the lists by the distance between their centres."""
    ordered, order = assigned.sort(stable=True)
    offsets = torch.searchsorted(ordered, torch.arange(len(centres) + 1, device=assigned.device))
    step = max(1, _BLOCK_ELEMENTS // len(centres))
    nearest = torch.cat([torch.cdist(part, centres).argsort(dim=1, stable=True) for part in torch.split(centres, step)])
    # Two centres may be at the same place: a list is the nearest to itself all the same.
    itself = torch.arange(len(centres), device=assigned.device)[:, None]
    others = nearest[nearest != itself].view(len(centres), len(centres) - 1)
    return _Lists(order, offsets.tolist(), torch.cat([itself, others], 1))


def _probes_needed(
    points: torch.Tensor, sampled: torch.Tensor, k: int, assigned: torch.Tensor, nearest: torch.Tensor
) -> int:
    """Return how many lists, the nearest first, hold the wanted part of the sampled rows' exact neighbours."""
    neighbors, _ = cuda.by_products(points, points[sampled], sampled, k)
    place = torch.empty_like(nearest[0])
    ranks = []
    for row, near in zip(sampled, neighbors, strict=True):
        place[nearest[assigned[row]]] = torch.arange(len(place), device=place.device)
        ranks.append(place[assigned[near]])
    ranked = torch.cat(ranks).sort().values
    return int(ranked[int(_RECALL * (len(ranked) - 1))]) + 1


def _candidates(side: cuda.Side, lists: _Lists, probes: int, k: int) -> torch.Tensor:
    """Return the rows that are likely nearest to each row, (n, k + some), -1 where there are none."""
    n, device = len(side.rows), side.rows.device
    kept = min(n - 1, k + _SPARE)
    rows = side.centred[lists.order]
    squares = side.squares[lists.order].float()
    candidates = torch.full((n, kept), -1, dtype=torch.int64, device=device)
    counts = [last - first for first, last in zip(lists.offsets, lists.offsets[1:], strict=False)]
    for number, chosen in enumerate(lists.nearest[:, : _enough(counts, probes, k)].tolist()):
        first, last = lists.offsets[number], lists.offsets[number + 1]
        if first == last:
            continue
        spans = _spans(chosen, lists.offsets, counts, probes, k)
        points = torch.cat([rows[a:b] for a, b in spans])
        norms = torch.cat([squares[a:b] for a, b in spans])
        who = torch.cat([lists.order[a:b] for a, b in spans])
        step = max(1, _BLOCK_ELEMENTS // len(points))
        for start in range(first, last, step):
            stop = min(last, start + step)
            scores = cuda.multiply(rows[start:stop], points.T, coarse=True).mul_(-2.0).add_(norms)
            # The row's own list comes first, so that a row stands in the column of its place in the list.
            scores[:, start - first : stop - first].fill_diagonal_(torch.inf)
            places = scores.topk(min(kept, len(points) - 1), largest=False).indices
            candidates[lists.order[start:stop], : places.shape[1]] = who[places]
    return candidates


def _enough(counts: list[int], probes: int, k: int) -> int:
    """Return how many lists any list may have to look at: more than `probes` where some are nearly empty."""
    if min(counts) * probes > k:
        return probes
    return len(counts)


def _spans(chosen: list[int], offsets: list[int], counts: list[int], probes: int, k: int) -> list[tuple[int, int]]:
    """Return the first and the last row of the lists to search: `probes` of them, more while they hold too few rows."""
    spans: list[tuple[int, int]] = []
    total = 0
    for number in chosen:
        if len(spans) >= probes and total > k:
            break
        spans.append((offsets[number], offsets[number + 1]))
        total += counts[number]
    return spans
