"""Exact neighbours in torch, on CUDA: products find candidates, differences in float64 order them.

The certificate is that of the CPU search (`exact`). Products run on tensor cores first (TF32). A row whose certificate
fails, because a point that was left out may be nearer than rounding shows, is searched again by products in float32,
and if that fails by differences alone. So neither the precision that the user has set for products nor the size of a
tile changes the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from torchviz_layers._common.devices import float32_products, is_out_of_memory
from torchviz_layers.neighbors.preparation import prepare_tensors, to_metric

_BLOCK_ELEMENTS = 2**27  # of one tile of products: 512 MB of float32
_LEAST_ELEMENTS = 2**20  # tiles are not made smaller than this when the card runs out of memory
_TILE_COLUMNS = 2**15  # points that a block of queries is multiplied with at once
_SPARE = (
    24  # candidates kept in addition to k + k / 2: the last of them is then clearly farther than the k-th neighbour
)

# Indices (m, k) int64 and distances (m, k).
Found = tuple[torch.Tensor, torch.Tensor]


class CentredRows(NamedTuple):
    """Points or queries, prepared once a search: as they are, relative to the points' centre, and squared norms."""

    rows: torch.Tensor  # (n, n_features) float32 or float64
    centred: torch.Tensor  # (n, n_features) float32
    squares: torch.Tensor  # (n,) float64, of the centred rows

    def part(self, which: Any) -> CentredRows:
        """Return some of the rows."""
        return CentredRows(self.rows[which], self.centred[which], self.squares[which])


def search(X: Any, k: int, queries: Any, metric: str, device: torch.device) -> Found:
    """Find neighbours as `torchviz_layers.neighbors.knn` does; the results stay on the device.

    Parameters
    ----------
    X, queries
        Checked rows (n, n_features) and (m, n_features), arrays or tensors; `queries` None: the rows of X, each
        leaving itself out.
    k
        Neighbours a query, at most n (n - 1 without queries).
    metric
        `euclidean`, `manhattan`, `cosine` or `correlation`.
    device
        Where to compute.

    Returns
    -------
    Indices (m, k) int64 and distances (m, k) float32, nearest first, equal distances by the lower index.

    Raises
    ------
    DataError
        Where distances are larger than float32 holds.
    """
    points = torch.as_tensor(X, device=device)
    others = None if queries is None else torch.as_tensor(queries, device=device)
    points, others, scale = prepare_tensors(points, others, metric)
    own = torch.arange(len(points), device=device) if others is None else None
    asked = points if others is None else others
    if metric == "manhattan":
        indices, distances = _in_blocks(_by_differences, points, asked, own, k, 1.0)
    else:
        indices, distances = by_products(points, asked, own, k)
    return indices, to_metric(distances, metric, scale).float()


def by_products(points: torch.Tensor, queries: torch.Tensor, own: torch.Tensor | None, k: int) -> Found:
    """Find Euclidean neighbours by certified products.

    Parameters
    ----------
    points, queries
        Rows (n, n_features) and (m, n_features); the same tensor where the points are the queries.
    own
        (m,): the point that each query is and that is left out. None: nothing is left out.
    k
        Neighbours a query.

    Returns
    -------
    Indices (m, k) int64 and distances (m, k) float64.
    """
    centred_points = prepare_side(points)
    centred_queries = centred_points if queries is points else prepare_side(queries, points)
    indices = torch.empty((len(queries), k), dtype=torch.int64, device=points.device)
    distances = torch.empty((len(queries), k), dtype=torch.float64, device=points.device)
    rest = torch.arange(len(queries), device=points.device)  # queries without certified neighbours yet
    # TF32 first, which certifies nearly all rows of common data; then float32 for the others.
    for coarse in (True, False):
        asked = centred_queries if len(rest) == len(queries) else centred_queries.part(rest)
        left_out = None if own is None else own[rest]
        found, far, certified = _in_blocks(_certified, centred_points, asked, left_out, k, coarse)
        indices[rest], distances[rest] = found, far
        rest = rest[~certified]
        if not len(rest):
            return indices, distances
    left_out = None if own is None else own[rest]
    indices[rest], distances[rest] = _in_blocks(_by_differences, points, queries[rest], left_out, k, 2.0)
    return indices, distances


def prepare_side(rows: torch.Tensor, around: torch.Tensor | None = None) -> CentredRows:
    """Centre rows on the mean of `around` (None: their own) and compute their norms.

    Distances do not depend on the centre. Near it norms are small, and so is the rounding of products.
    """
    centre = (rows if around is None else around).mean(dim=0, dtype=torch.float64)
    centred = (rows - centre.to(rows.dtype)).float()
    return CentredRows(rows, centred, _square_norms(centred))


def _square_norms(rows: torch.Tensor) -> torch.Tensor:
    """Squared norms in float64, a part of the rows at a time: a float64 copy of all would be twice their size."""
    step = max(1, _BLOCK_ELEMENTS // (4 * rows.shape[1]))
    return torch.cat([part.double().square().sum(1) for part in torch.split(rows, step)])


def _in_blocks(find: Callable[..., Any], points: Any, queries: Any, own: torch.Tensor | None, *options: Any) -> Any:
    """Call `find` on blocks of queries, on smaller ones where the card runs out of memory, and join what it returns.

    `find(points, block, own, elements, *options)` returns tensors whose first axis is the block's. `elements` bounds
    the numbers that it may hold at a time.
    """
    n = len(points.rows if isinstance(points, CentredRows) else points)
    m = len(queries.rows if isinstance(queries, CentredRows) else queries)
    found = []
    start, elements = 0, _BLOCK_ELEMENTS
    while start < m:
        stop = min(m, start + max(1, elements // min(n, _TILE_COLUMNS)))
        block = slice(start, stop)
        asked = queries.part(block) if isinstance(queries, CentredRows) else queries[block]
        try:
            found.append(find(points, asked, None if own is None else own[block], elements, *options))
        except RuntimeError as error:
            if elements <= _LEAST_ELEMENTS or not is_out_of_memory(error):
                raise
        else:
            start = stop
            continue
        # The error's traceback, which refers to the block's tensors, is gone only here.
        elements //= 4
        torch.cuda.empty_cache()
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _certified(
    points: CentredRows, queries: CentredRows, own: torch.Tensor | None, elements: int, k: int, coarse: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return indices, distances in float64, and whether they must be the k nearest whatever rounding did.

    The argument is that of `exact_kernels.rank_candidates`, where it is spelled out.
    """
    most = len(points.rows) - (own is not None)
    kept = min(most, k + _SPARE + k // 2)
    values, candidates = _nearest_by_products(points, queries, own, kept, coarse)  # (m, kept)
    # The products leave out |query|^2, which is the same for all points; with it they are squared distances.
    nearest = (values[:, k - 1].double() + queries.squares).clamp(min=0.0)  # of the k-th candidate
    farthest = values[:, -1].double() + queries.squares  # of the last one that is kept
    norm = queries.squares.sqrt()
    reach = norm + (2.0 * nearest).sqrt()
    of_product, of_norms = roundoff(points.rows.shape[1], coarse)
    margin = of_product * norm * reach + of_norms * (norm * norm + reach * reach)
    certified = (margin <= nearest) & (farthest - nearest > 2.0 * margin)
    if kept == most:  # every point is a candidate: none can be missing
        certified = torch.ones_like(certified)
    indices, distances = rank(points.rows, queries.rows, candidates, k, elements)
    return indices, distances, certified


def roundoff(n_features: int, coarse: bool) -> tuple[float, float]:
    """Bound what rounding does to |x|^2 + |y|^2 - 2xy: (share of |x||y|, share of |x|^2 + |y|^2), generously.

    TF32 keeps 10 bits of each factor's fraction and may cut the others off, so that a factor is off by 2^-10 of itself
    and twice the product, by the Cauchy-Schwarz inequality, by 4 * 2^-10 |x||y|, whatever the number of features. The
    sums are float32's (see `exact._roundoff`), here with twice its unit, as tensor cores may cut sums off too.
    """
    unit, tensor_core = 2.0**-24, 2.0**-10
    sums = 5.0 * (n_features + 4) * unit
    return sums + (4.1 * tensor_core if coarse else 0.0), 16.0 * unit


def _nearest_by_products(
    points: CentredRows, queries: CentredRows, own: torch.Tensor | None, kept: int, coarse: bool
) -> Found:
    """Return the `kept` smallest |a|^2 - 2ab of each query b, ascending, and the points a that they are of.

    Only one tile of products exists at a time, and a list of the best ones so far.
    """
    m, n, device = len(queries.rows), len(points.rows), points.rows.device
    best = torch.full((m, kept), torch.inf, device=device)
    indices = torch.full((m, kept), -1, dtype=torch.int64, device=device)
    squares = points.squares.float()
    for first in range(0, n, _TILE_COLUMNS):
        last = min(n, first + _TILE_COLUMNS)
        tile = points.centred[first:last].T  # (n_features, tile)
        scores = multiply(queries.centred, tile, coarse).mul_(-2.0).add_(squares[first:last])  # (m, tile)
        if own is not None:
            # Put infinity into each query's own column. Queries whose point is in another tile write back what column
            # 0 holds, so that one scatter serves all rows.
            inside = (own >= first) & (own < last)
            column = torch.where(inside, own - first, 0)[:, None]
            scores.scatter_(1, column, torch.where(inside[:, None], torch.inf, scores.gather(1, column)))
        values, columns = scores.topk(min(kept, last - first), largest=False, sorted=False)
        del scores  # before the next tile is made
        best, order = torch.cat([best, values], 1).topk(kept, largest=False)
        indices = torch.cat([indices, columns + first], 1).gather(1, order)
    return best, indices


def multiply(left: torch.Tensor, right: torch.Tensor, coarse: bool) -> torch.Tensor:
    """Multiply float32 matrices: on tensor cores in TF32, or in float32 whatever the user has set."""
    with float32_products(left.device, "tf32" if coarse else "ieee"):
        return left @ right


def rank(
    points: torch.Tensor, queries: torch.Tensor, candidates: torch.Tensor, k: int, elements: int = _BLOCK_ELEMENTS
) -> Found:
    """Return the k nearest candidates of each query by differences in float64; ties by the lower index.

    `candidates` are rows of the points (m, kept); -1 is no candidate.
    """
    candidates = candidates.sort(1).values  # the stable sort below then puts ties in order of their indices
    distances = torch.empty(candidates.shape, dtype=torch.float64, device=points.device)
    # Three temporaries of eight bytes a feature of a candidate, where a tile of products has four bytes a point.
    step = max(1, elements // (6 * candidates.shape[1] * points.shape[1]))
    for part in torch.split(torch.arange(len(queries), device=points.device), step):
        near = points[candidates[part].clamp(min=0)]  # (step, kept, n_features)
        difference = near.double() - queries[part, None].double()
        distances[part] = difference.square_().sum(2)
    distances[candidates < 0] = torch.inf
    order = distances.sort(dim=1, stable=True)
    return candidates.gather(1, order.indices[:, :k]), order.values[:, :k].sqrt()


def _by_differences(
    points: torch.Tensor, queries: torch.Tensor, own: torch.Tensor | None, elements: int, k: int, p: float
) -> Found:
    """Return the k nearest points by differences in float64: Manhattan distance for p = 1, Euclidean for p = 2."""
    indices, distances = [], []
    step = max(1, elements // (8 * len(points)))  # distances, their order and the sort's buffers, all of 8 bytes
    for part in torch.split(torch.arange(len(queries), device=points.device), step):
        asked = queries[part].double()
        tiles = [
            torch.cdist(asked, tile.double(), p=p, compute_mode="donot_use_mm_for_euclid_dist")
            for tile in torch.split(points, _TILE_COLUMNS)
        ]
        far = torch.cat(tiles, dim=1)  # (step, n)
        if own is not None:
            far.scatter_(1, own[part, None], torch.inf)
        order = far.sort(dim=1, stable=True)
        indices.append(order.indices[:, :k])
        distances.append(order.values[:, :k])
    return torch.cat(indices), torch.cat(distances)
