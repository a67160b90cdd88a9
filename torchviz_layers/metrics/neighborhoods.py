"""How well a map keeps neighbourhoods: trustworthiness, continuity, neighbour recall."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import torch

from torchviz_layers.metrics import distances as d


class Neighborhoods(NamedTuple):
    """The three measures, each in [0, 1], higher is better."""

    trustworthiness: float
    continuity: float
    knn_recall: float


def trustworthiness(
    X: Any,
    Z: Any,
    k: int = 15,
    *,
    metric: str = "euclidean",
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    r"""Say how far a map's neighbours are true neighbours.

    .. math:: T(k) = 1 - \frac{2}{nk (2n - 3k - 1)} \sum_i \sum_{j \in N_i} \max(0, r(i, j) - k)

    where :math:`N_i` are the k nearest of i in Z and :math:`r(i, j)` is the rank of j among the neighbours of i in X.

    Parameters
    ----------
    X, Z
        Samples (n, n_features) and their map (n, n_components).
    k
        Number of neighbours, fewer than n / 2.
    metric
        Of X; the metric of Z is Euclidean.
    sample
        Number of rows whose neighbourhoods among all rows are measured. None: every row.
    device
        `auto`, `cpu` or `cuda`.
    random_state
        Seed of the sample.

    Returns
    -------
    A number in [0, 1], 1 is best.

    Raises
    ------
    DataError
        Where the shapes or k do not fit.

    Notes
    -----
    J. Venna, S. Kaski, "Neighborhood preservation in nonlinear projection methods", ICANN 2001.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(40, 2))
    >>> trustworthiness(X, X, k=5)
    1.0
    """
    return _measured(("trustworthiness",), X, Z, k, metric, sample, device, random_state).trustworthiness


def continuity(
    X: Any,
    Z: Any,
    k: int = 15,
    *,
    metric: str = "euclidean",
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    """Say how far true neighbours stay neighbours in the map: trustworthiness with X and Z exchanged.

    The arguments, the range and the source are `trustworthiness`'s.
    """
    return _measured(("continuity",), X, Z, k, metric, sample, device, random_state).continuity


def knn_recall(
    X: Any,
    Z: Any,
    k: int = 15,
    *,
    metric: str = "euclidean",
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    """Mean share of the k nearest in X that are among the k nearest in Z, in [0, 1].

    The arguments are `trustworthiness`'s.
    """
    return _measured(("knn_recall",), X, Z, k, metric, sample, device, random_state).knn_recall


def neighborhoods(
    X: Any,
    Z: Any,
    k: int = 15,
    *,
    metric: str = "euclidean",
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> Neighborhoods:
    """Compute the three measures in one pass; the arguments are `trustworthiness`'s."""
    return _measured(Neighborhoods._fields, X, Z, k, metric, sample, device, random_state)


def _measured(
    wanted: Collection[str],
    X: Any,
    Z: Any,
    k: int,
    metric: str,
    sample: int | None,
    device: str | torch.device,
    seed: int,
) -> Neighborhoods:
    """Compute the wanted measures, NaN for the others: their ranks take most of the time.

    The sums go over blocks of the m rows that are looked at; n is the number of all rows.
    """
    intruders, missed, shared, rows, n = 0, 0, 0, 0, 0
    for above, below in _blocks(X, Z, k, metric, sample, device, seed):  # (m, n) each
        near_above, near_below = nearest(above, k), nearest(below, k)  # (m, k)
        if "trustworthiness" in wanted:
            intruders += _excess(above, near_below)  # near in Z alone
        if "continuity" in wanted:
            missed += _excess(below, near_above)  # near in X alone
        if "knn_recall" in wanted:
            shared += int((near_above[:, :, None] == near_below[:, None, :]).sum())
        rows += len(above)
        n = above.shape[1]
    # The largest sums of `_excess`: every neighbour is one of the k farthest rows.
    worst = rows * k * (2 * n - 3 * k - 1) / 2
    found = {
        "trustworthiness": 1.0 - intruders / worst,
        "continuity": 1.0 - missed / worst,
        "knn_recall": shared / (rows * k),
    }
    return Neighborhoods(**{name: value if name in wanted else math.nan for name, value in found.items()})


def _blocks(
    X: Any, Z: Any, k: int, metric: str, sample: int | None, device: str | torch.device, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield distances of some rows to all in X and in Z, (m, n) each, infinite to the row itself."""
    high, low = d.paired(X, Z, device)
    n = len(high)
    d.check_k(k, n, (n - 1) // 2, "fewer than n / 2")
    high, low = d.prepared(high, metric), d.prepared(low, "euclidean")
    for part in d.blocks(d.sampled(n, sample, seed).to(high.device), n):
        above, below = d.distances(high, part, metric), d.distances(low, part)
        own = torch.arange(len(part), device=high.device), part
        above[own], below[own] = torch.inf, torch.inf
        yield above, below


def _excess(distance: torch.Tensor, columns: torch.Tensor) -> int:
    """Sum by how much the ranks of some columns (m, k) in their rows (m, n) exceed k."""
    return int((ranks(distance, columns) - columns.shape[1]).clamp(min=0).sum())


def nearest(distance: torch.Tensor, k: int) -> torch.Tensor:
    """Columns of the k < n smallest entries of each row, (m, k) ascending; equal entries by the lower column."""
    values, columns = distance.topk(k + 1, largest=False)
    chosen = columns[:, :k].sort(dim=1).values
    # Of equal entries topk takes any. Where the k-th equals the next one, the lower columns are chosen here.
    tied = values[:, k - 1] == values[:, k]
    if tied.any():
        rows, limit = distance[tied], values[tied, k - 1 : k]
        inside, edge = rows < limit, rows == limit
        free = k - inside.sum(1, keepdim=True)  # for entries at the limit
        wanted = inside | (edge & (edge.cumsum(1) <= free))
        chosen[tied] = wanted.nonzero()[:, 1].view(len(rows), k)
    return chosen


def ranks(distance: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Rank (from 1) of some columns (m, k) in their row (m, n); equal entries by the lower column."""
    if distance.device.type == "cpu":
        from torchviz_layers.metrics.rank_counts import count_ranks

        return torch.from_numpy(count_ranks(distance.numpy(), columns.numpy()))
    return sorted_ranks(distance, columns)


def sorted_ranks(distance: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Compute `ranks` by a sort of each row, on any device."""
    value = distance.gather(1, columns)
    ascending = distance.sort(dim=1).values
    before = torch.searchsorted(ascending, value)
    tied = torch.searchsorted(ascending, value, right=True) - before > 1
    found = before + 1
    # Rare: a tied entry ranks behind the equal entries in lower columns.
    for row, c in tied.nonzero().tolist():
        found[row, c] += (distance[row, : columns[row, c]] == value[row, c]).sum()
    return found
