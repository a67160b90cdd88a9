"""Approximate neighbours in torch, for CUDA and many rows: inverted lists, searched list by list with products.

1. k-means on a sample gives 4 sqrt(n) centres; the list of a centre is the rows nearest to it.
2. The exact neighbours of some hundred rows show over how many lists a row's neighbours are spread. As many lists are
   searched for a row as the wanted recall needs: its own and those with the nearest centres.
3. All rows of a list have the same lists to search, so that one matrix product serves them all. Each row's best
   candidates are then ordered by their differences.

After H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", PAMI 2011, section 4 (inverted
lists; FAISS's `IndexIVFFlat`); the lists hold the rows themselves. Rows are summed in a fixed order (`segment_reduce`
over sorted rows, no atomic additions): a seed gives the same result every time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from torchviz_layers._common.devices import float32_products
from torchviz_layers.neighbors import cuda
from torchviz_layers.neighbors.preparation import prepare_tensors, to_metric

_RECALL = 0.97  # share of the neighbours that the searched lists hold; products in TF32 lose a little more
_SAMPLED = 512  # rows whose exact neighbours show how many lists to search
_LISTS = 4.0  # number of lists over sqrt(n)
_PER_LIST = 64  # rows of the k-means sample over the number of lists
_ROUNDS = 8  # of k-means
_SPARE = 8  # candidates kept in addition to k
_BLOCK_ELEMENTS = 2**26  # of one block of products


class _Lists(NamedTuple):
    """Rows sorted by list: list l holds the rows `order[offsets[l] : offsets[l + 1]]`."""

    order: torch.Tensor  # (n,) rows
    offsets: list[int]  # (n_lists + 1,)
    nearest: torch.Tensor  # (n_lists, n_lists): all lists by the distance of their centres, l itself first


def search(X: torch.Tensor, k: int, metric: str, seed: int, device: torch.device) -> cuda.Found:
    """Find most of the k nearest rows of every row but itself, in Euclidean distance, cosine or correlation.

    The arguments and the results are those of `cuda.search`.
    """
    points, _, scale = prepare_tensors(torch.as_tensor(X, device=device), None, metric)
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
    return indices, to_metric(distances, metric, scale).float()


def _centres(rows: torch.Tensor, n_lists: int, random: torch.Generator) -> torch.Tensor:
    """Return k-means centres of a sample of rows, (n_lists, n_features)."""
    chosen = torch.randperm(len(rows), generator=random)[: n_lists * _PER_LIST].to(rows.device)
    sample = rows[chosen]
    centres = sample[:n_lists].clone()
    for _ in range(_ROUNDS):
        # Rows sorted by centre are segments, which are summed in their order.
        assigned, order = _nearest_centres(sample, centres).sort(stable=True)
        offsets = torch.searchsorted(assigned, torch.arange(len(centres) + 1, device=rows.device))
        sums = torch.segment_reduce(sample[order], "sum", offsets=offsets, axis=0, initial=0.0)
        counts = offsets.diff()[:, None]  # a centre without rows stays where it is
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def _nearest_centres(rows: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Return the centre nearest to each row, up to the rounding of products: the least |c|^2 - 2 x.c."""
    squares = centres.square().sum(1)
    step = max(1, _BLOCK_ELEMENTS // len(centres))
    nearest = []
    for part in torch.split(rows, step):
        scores = cuda.multiply(part, centres.T, coarse=True).mul_(-2.0).add_(squares)  # (step, n_lists)
        nearest.append(scores.argmin(1))
    return torch.cat(nearest)


def _sorted(assigned: torch.Tensor, centres: torch.Tensor) -> _Lists:
    """Sort rows by list, and the lists by the distance between their centres."""
    ordered, order = assigned.sort(stable=True)
    offsets = torch.searchsorted(ordered, torch.arange(len(centres) + 1, device=assigned.device))
    step = max(1, _BLOCK_ELEMENTS // len(centres))
    with float32_products(centres.device):  # `cdist` computes by products too, and its order decides what is searched
        apart = [torch.cdist(part, centres).argsort(dim=1, stable=True) for part in torch.split(centres, step)]
    nearest = torch.cat(apart)
    # Two centres may be equal: each list is the nearest to itself all the same.
    itself = torch.arange(len(centres), device=assigned.device)[:, None]
    others = nearest[nearest != itself].view(len(centres), len(centres) - 1)
    return _Lists(order, offsets.tolist(), torch.cat([itself, others], 1))


def _probes_needed(
    points: torch.Tensor, sampled: torch.Tensor, k: int, assigned: torch.Tensor, nearest: torch.Tensor
) -> int:
    """Return how many lists, the nearest first, hold the share `_RECALL` of the sampled rows' exact neighbours.

    Parameters
    ----------
    points
        All rows, (n, n_features).
    sampled
        Rows whose neighbours are searched exactly, (m,).
    k
        Neighbours a row.
    assigned
        List of each row, (n,).
    nearest
        All lists in order of their distance to each list, (n_lists, n_lists).
    """
    neighbors, _ = cuda.by_products(points, points[sampled], sampled, k)
    # A neighbour's rank: how many lists are nearer to the row's own list than the neighbour's list is.
    rank_of_list = torch.empty_like(nearest[0])
    ranks = []
    for row, near in zip(sampled, neighbors, strict=True):
        rank_of_list[nearest[assigned[row]]] = torch.arange(len(rank_of_list), device=points.device)
        ranks.append(rank_of_list[assigned[near]])
    ranked = torch.cat(ranks).sort().values
    return int(ranked[int(_RECALL * (len(ranked) - 1))]) + 1


def _candidates(side: cuda.CentredRows, lists: _Lists, probes: int, k: int) -> torch.Tensor:
    """Return the rows that are likely nearest to each row, (n, k + _SPARE), -1 where there are fewer."""
    n, device = len(side.rows), side.rows.device
    kept = min(n - 1, k + _SPARE)
    rows = side.centred[lists.order]
    squares = side.squares[lists.order].float()
    # In the order of the lists each list is a slice.
    candidates = torch.full((n, kept), -1, dtype=torch.int64, device=device)
    counts = [last - first for first, last in zip(lists.offsets, lists.offsets[1:], strict=False)]
    for number, chosen in enumerate(lists.nearest[:, : _enough(counts, probes, k)].tolist()):
        first, last = lists.offsets[number], lists.offsets[number + 1]
        if first == last:
            continue
        spans = _spans(chosen, lists.offsets, counts, probes, k)
        points = torch.cat([rows[a:b] for a, b in spans])
        norms = torch.cat([squares[a:b] for a, b in spans])
        indices = torch.cat([lists.order[a:b] for a, b in spans])
        step = max(1, _BLOCK_ELEMENTS // len(points))
        for start in range(first, last, step):
            stop = min(last, start + step)
            scores = cuda.multiply(rows[start:stop], points.T, coarse=True).mul_(-2.0).add_(norms)
            # The row's own list comes first: row `first + i` is column i, which is left out.
            scores[:, start - first : stop - first].fill_diagonal_(torch.inf)
            columns = scores.topk(min(kept, len(points) - 1), largest=False).indices
            candidates[lists.order[start:stop], : columns.shape[1]] = indices[columns]
    return candidates


def _enough(counts: list[int], probes: int, k: int) -> int:
    """Return how many lists are searched at most for a list: all, if `probes` of them may hold too few rows."""
    if min(counts) * probes > k:
        return probes
    return len(counts)


def _spans(chosen: list[int], offsets: list[int], counts: list[int], probes: int, k: int) -> list[tuple[int, int]]:
    """Return the slices of the lists to search: the first `probes` of the chosen, more while they hold too few rows."""
    spans: list[tuple[int, int]] = []
    total = 0
    for number in chosen:
        if len(spans) >= probes and total > k:
            break
        spans.append((offsets[number], offsets[number + 1]))
        total += counts[number]
    return spans
