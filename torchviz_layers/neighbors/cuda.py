"""Exact neighbours in torch, on CUDA: products for candidates, differences in float64 for the order.

The same certificate as on the CPU (`exact`), with products on tensor cores at first: a row whose left-out points might
be nearer than rounding can tell is searched again by products in float32, and at last by differences alone. So neither
the precision that the user has set for products nor the size of a tile changes the result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from torchviz_layers._common.devices import is_out_of_memory
from torchviz_layers.exceptions import DataError

_BLOCK_ELEMENTS = 2**27  # of one tile of products: 512 MB of float32
_LEAST_ELEMENTS = 2**20  # tiles are not made smaller than this when the card runs out of memory
_TILE_COLUMNS = 2**15  # points that a block of queries is multiplied with at once
_SPARE = 24  # candidates kept beyond k + k / 2, so that the farthest one kept is clearly behind the k-th
Found = tuple[torch.Tensor, torch.Tensor]


class Side(NamedTuple):
    """Points or queries, prepared once a search: as they are, around the points' centre, and their squared norms."""

    rows: torch.Tensor  # (n, n_features) float32 or float64
    centred: torch.Tensor  # (n, n_features) float32
    squares: torch.Tensor  # (n,) float64

    def part(self, which: Any) -> Side:
        """Return some of the rows."""
        return Side(self.rows[which], self.centred[which], self.squares[which])


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
        Where distances are beyond float32.
    """
    points, asked, scale = prepare(X, queries, metric, device)
    own = torch.arange(len(points), device=device) if queries is None else None
    if metric == "manhattan":
        indices, distances = _in_blocks(_by_differences, points, asked, own, k, 1.0)
    else:
        indices, distances = by_products(points, asked, own, k)
    return indices, finish(distances, metric, scale)


def prepare(X: Any, queries: Any, metric: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return points and queries in the form in which the metric orders as Euclidean or Manhattan distance does.

    Both are divided by the scale, a power of two, where squares would overflow or vanish.
    """
    points = torch.as_tensor(X, device=device)
    asked = points if queries is None else torch.as_tensor(queries, device=device)
    if metric in ("cosine", "correlation"):
        itself = asked is points
        points = _unit_rows(points, centred=metric == "correlation")
        asked = points if itself else _unit_rows(asked, centred=metric == "correlation")
    largest = max(float(rows.abs().max()) for rows in (points, asked))
    if largest == 0.0 or 1e-9 < largest < 1e9:
        return points, asked, 1.0
    scale = 2.0 ** float(torch.tensor(largest, dtype=torch.float64).log2().floor())
    scaled = points / scale
    return scaled, scaled if asked is points else asked / scale, scale


def finish(distances: torch.Tensor, metric: str, scale: float) -> torch.Tensor:
    """Turn Euclidean or Manhattan distances, float64, to the metric's own, float32."""
    true = distances * scale
    farthest = float(true.max())
    if farthest > torch.finfo(torch.float32).max:
        raise DataError(f"distances reach {farthest:.3g}, beyond float32; scale the data down")
    if metric in ("cosine", "correlation"):
        true = 0.5 * true * true
    return true.float()


def by_products(points: torch.Tensor, asked: torch.Tensor, own: torch.Tensor | None, k: int) -> Found:
    """Find Euclidean neighbours by certified products; `own` is the point that each query is and that is left out."""
    side = prepare_side(points)
    queries = side if asked is points else prepare_side(asked, points)
    indices = torch.empty((len(asked), k), dtype=torch.int64, device=points.device)
    distances = torch.empty((len(asked), k), dtype=torch.float64, device=points.device)
    rest = torch.arange(len(asked), device=points.device)
    for coarse in (True, False):
        here = queries if len(rest) == len(asked) else queries.part(rest)
        left_out = None if own is None else own[rest]
        found, far, certified = _in_blocks(_certified, side, here, left_out, k, coarse)
        indices[rest], distances[rest] = found, far
        rest = rest[~certified]
        if not len(rest):
            return indices, distances
    left_out = None if own is None else own[rest]
    indices[rest], distances[rest] = _in_blocks(_by_differences, points, asked[rest], left_out, k, 2.0)
    return indices, distances


def prepare_side(rows: torch.Tensor, around: torch.Tensor | None = None) -> Side:
    """Centre rows on the mean of `around` (None: their own) and take their norms."""
    centre = (rows if around is None else around).mean(dim=0, dtype=torch.float64)
    centred = (rows - centre.to(rows.dtype)).float()  # any centre will do; it only keeps products small
    return Side(rows, centred, _square_norms(centred))


def _square_norms(rows: torch.Tensor) -> torch.Tensor:
    """Squared norms in float64, a part of the rows at a time: a float64 copy of all would be twice their size."""
    step = max(1, _BLOCK_ELEMENTS // (4 * rows.shape[1]))
    return torch.cat([part.double().square().sum(1) for part in torch.split(rows, step)])


def _unit_rows(rows: torch.Tensor, *, centred: bool) -> torch.Tensor:
    """Rows of length one in float64, one feature more: rows of zeros have 1 there, so that they are far from all."""
    unit = rows.double()
    if centred:
        unit = unit - unit.mean(dim=1, keepdim=True)
    largest = unit.abs().amax(dim=1, keepdim=True)
    # What is left of a constant row once its mean is taken away is rounding, and has no direction.
    least = 1e-12 * rows.abs().amax(dim=1, keepdim=True) if centred else 0.0
    zero = largest <= least
    unit = torch.where(zero, 0.0, unit / torch.where(zero, 1.0, largest))
    length = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
    return torch.cat([unit / torch.where(zero, 1.0, length), zero.double()], dim=1)


def _in_blocks(find: Callable[..., Any], points: Any, asked: Any, own: torch.Tensor | None, *options: Any) -> Any:
    """Search in blocks of queries, in smaller ones where the card runs out of memory."""
    n = len(points.rows if isinstance(points, Side) else points)
    m = len(asked.rows if isinstance(asked, Side) else asked)
    found = []
    start, elements = 0, _BLOCK_ELEMENTS
    while start < m:
        stop = min(m, start + max(1, elements // min(n, _TILE_COLUMNS)))
        block = slice(start, stop)
        queries = asked.part(block) if isinstance(asked, Side) else asked[block]
        try:
            found.append(find(points, queries, None if own is None else own[block], elements, *options))
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
    points: Side, asked: Side, own: torch.Tensor | None, elements: int, k: int, coarse: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return indices, distances in float64, and whether they must be the k nearest whatever rounding did."""
    most = len(points.rows) - (own is not None)
    kept = min(most, k + _SPARE + k // 2)
    values, candidates = _nearest_by_products(points, asked, own, kept, coarse)
    # As in `exact._rank_candidates`: points farther from the centre than `reach` are behind the k-th neighbour anyway.
    norm = asked.squares.sqrt()
    nearest = (values[:, k - 1].double() + asked.squares).clamp(min=0.0)
    farthest = values[:, -1].double() + asked.squares
    reach = norm + (2.0 * nearest).sqrt()
    of_product, of_norms = roundoff(points.rows.shape[1], coarse)
    margin = of_product * norm * reach + of_norms * (norm * norm + reach * reach)
    certified = (margin <= nearest) & (farthest - nearest > 2.0 * margin)
    if kept == most:
        certified = torch.ones_like(certified)
    indices, distances = rank(points.rows, asked.rows, candidates, k, elements)
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


def _nearest_by_products(points: Side, asked: Side, own: torch.Tensor | None, kept: int, coarse: bool) -> Found:
    """Return the `kept` smallest |a|^2 - 2ab of each query b, ascending, and the points a that they are of.

    Only a tile of products exists at a time, and a list of the best ones so far.
    """
    m, n, device = len(asked.rows), len(points.rows), points.rows.device
    best = torch.full((m, kept), torch.inf, device=device)
    who = torch.full((m, kept), -1, dtype=torch.int64, device=device)
    squares = points.squares.float()
    for first in range(0, n, _TILE_COLUMNS):
        last = min(n, first + _TILE_COLUMNS)
        scores = multiply(asked.centred, points.centred[first:last].T, coarse).mul_(-2.0).add_(squares[first:last])
        if own is not None:
            inside = (own >= first) & (own < last)
            place = torch.where(inside, own - first, 0)[:, None]
            scores.scatter_(1, place, torch.where(inside[:, None], torch.inf, scores.gather(1, place)))
        values, places = scores.topk(min(kept, last - first), largest=False, sorted=False)
        del scores
        best, order = torch.cat([best, values], 1).topk(kept, largest=False)
        who = torch.cat([who, places + first], 1).gather(1, order)
    return best, who


def multiply(left: torch.Tensor, right: torch.Tensor, coarse: bool) -> torch.Tensor:
    """Multiply float32 matrices: on tensor cores in TF32, or in float32 whatever the user has set."""
    with _precision("tf32" if coarse else "ieee"), torch.autocast(left.device.type, enabled=False):
        return left @ right


@contextlib.contextmanager
def _precision(wanted: str) -> Iterator[None]:
    """Set the precision of float32 products on CUDA, and set it back.

    PyTorch 2.9 has a new setting, and reading the old one raises where both disagree; older versions have only that.
    """
    matmul: Any = torch.backends.cuda.matmul
    value: str | bool
    if hasattr(matmul, "fp32_precision"):
        name, value = "fp32_precision", wanted
    else:
        name, value = "allow_tf32", wanted == "tf32"
    before = getattr(matmul, name)
    setattr(matmul, name, value)
    try:
        yield
    finally:
        setattr(matmul, name, before)


def rank(
    points: torch.Tensor, asked: torch.Tensor, candidates: torch.Tensor, k: int, elements: int = _BLOCK_ELEMENTS
) -> Found:
    """Order candidates (m, kept) by their differences in float64; ties by the lower index. -1 is no candidate."""
    candidates = candidates.sort(1).values
    distances = torch.empty(candidates.shape, dtype=torch.float64, device=points.device)
    # Three temporaries of eight bytes a feature of a candidate, where a tile of products takes four a point.
    step = max(1, elements // (6 * candidates.shape[1] * points.shape[1]))
    for part in torch.split(torch.arange(len(asked), device=points.device), step):
        near = points[candidates[part].clamp(min=0)]
        difference = near.double() - asked[part, None].double()
        distances[part] = difference.square_().sum(2)
    distances[candidates < 0] = torch.inf
    order = distances.sort(dim=1, stable=True)
    return candidates.gather(1, order.indices[:, :k]), order.values[:, :k].sqrt()


def _by_differences(
    points: torch.Tensor, asked: torch.Tensor, own: torch.Tensor | None, elements: int, k: int, p: float
) -> Found:
    """Order all points by their differences in float64."""
    indices, distances = [], []
    step = max(1, elements // (8 * len(points)))  # distances, their order and the sort's own room, in float64
    for part in torch.split(torch.arange(len(asked), device=points.device), step):
        here = asked[part].double()
        tiles = (
            torch.cdist(here, tile.double(), p=p, compute_mode="donot_use_mm_for_euclid_dist")
            for tile in torch.split(points, _TILE_COLUMNS)
        )
        far = torch.cat(list(tiles), dim=1)
        if own is not None:
            far.scatter_(1, own[part, None], torch.inf)
        order = far.sort(dim=1, stable=True)
        indices.append(order.indices[:, :k])
        distances.append(order.values[:, :k])
    return torch.cat(indices), torch.cat(distances)
