"""What a map or a layer says about class labels: neighbour votes, silhouette, a linear probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.devices import float32_products
from torchviz_layers._common.votes import same_label_share
from torchviz_layers.exceptions import DataError
from torchviz_layers.metrics import distances as d
from torchviz_layers.neighbors import knn
from torchviz_layers.neighbors.search import Metric

_MANY_PRODUCTS = 2e10  # multiplications of a Gram matrix; float64 does about so many a second on two cores


def knn_votes(
    X: Any, targets: Any, k: int = 10, *, metric: Metric = "euclidean", device: str | torch.device = "auto"
) -> Array:
    """Class that the k nearest other rows vote for, (n,) of the targets' dtype; a tie goes to the lowest label."""
    values, codes = np.unique(as_numpy(targets), return_inverse=True)
    indices = _neighbors(X, k, metric, device)  # (n, k)
    votes = d.labels_of(codes, len(indices))[indices]
    counts = np.zeros((len(indices), len(values)), np.int32)
    np.add.at(counts, (np.arange(len(indices))[:, None], votes), 1)
    winners: Array = values[counts.argmax(axis=1)]
    return winners


def knn_accuracy(
    X: Any, targets: Any, k: int = 10, *, metric: Metric = "euclidean", device: str | torch.device = "auto"
) -> float:
    """Share of rows whose k nearest other rows vote for the right class (leave-one-out), in [0, 1].

    Parameters
    ----------
    X
        Rows of shape (n, n_features): a map, or a layer's activations.
    targets
        Class labels of shape (n,).
    k
        Voters, at most n - 1; a tie goes to the lowest label.
    metric, device
        As for `torchviz_layers.neighbors.knn`.

    Examples
    --------
    >>> import numpy as np
    >>> knn_accuracy(np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), [0, 0, 0, 1, 1, 1], k=2)
    1.0
    """
    votes = knn_votes(X, targets, k, metric=metric, device=device)
    return float((votes == as_numpy(targets)).mean())


def neighborhood_hit(
    X: Any, targets: Any, k: int = 10, *, metric: Metric = "euclidean", device: str | torch.device = "auto"
) -> float:
    """Mean share of the k nearest other rows that have the row's own class, in [0, 1].

    F. V. Paulovich et al., IEEE TVCG 14 (2008); the arguments are `knn_accuracy`'s.
    """
    indices = _neighbors(X, k, metric, device)
    labels = d.labels_of(targets, len(indices))
    return same_label_share(indices, labels)


def silhouette(
    X: Any,
    targets: Any,
    *,
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    """Mean of (b - a) / max(a, b): a row's mean distance to its own class (a) and to the nearest other class (b).

    Parameters
    ----------
    X, targets
        Rows (n, n_features) and class labels (n,), of at least two classes.
    sample
        Number of rows that are scored; distances to all rows are used. None: every row.
    device, random_state
        As for `trustworthiness`.

    Returns
    -------
    A number in [-1, 1]; a class of one row scores 0.

    Notes
    -----
    P. J. Rousseeuw, J. Comput. Appl. Math. 20 (1987).
    """
    points = d.prepared(d.rows_of(X, device), "euclidean")
    n = len(points)
    labels = torch.from_numpy(d.labels_of(targets, n)).to(points.device)
    sizes = torch.bincount(labels).double()
    if len(sizes) < 2:
        raise DataError("silhouette: targets hold a single class; at least two are needed")
    member = torch.nn.functional.one_hot(labels).double()
    total = 0.0
    # The sum of a row's distances to every class is one product with the classes' membership (n, n_classes).
    rows = d.sampled(n, sample, random_state).to(points.device)
    for part in d.blocks(rows, n):
        distance = d.distances(points, part)
        distance[torch.arange(len(part), device=points.device), part] = 0.0  # of a row to itself, without rounding
        sums = distance @ member  # (m, n_classes)
        own = labels[part][:, None]
        inside = sums.gather(1, own) / (sizes[own] - 1).clamp(min=1)
        outside = (sums / sizes).scatter(1, own, torch.inf).amin(1, keepdim=True)
        larger = torch.maximum(inside, outside)
        score = (outside - inside) / torch.where(larger > 0, larger, 1.0)
        total += float(torch.where(sizes[own] > 1, score, 0.0).sum())
    return total / len(rows)


def linear_probe_accuracy(
    X: Any,
    targets: Any,
    *,
    folds: int = 5,
    alpha: float = 1.0,
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    """Share of rows that a linear classifier, trained on the other folds, assigns to the right class.

    The probe is ridge regression on the classes (+1 / -1), in closed form, so that it has neither a learning rate nor a
    number of steps; X is first scaled to a mean feature variance of 1. It is scikit-learn's `RidgeClassifier`.

    Parameters
    ----------
    X, targets
        Activations (n, n_features) and class labels (n,).
    folds
        Parts of the cross-validation, at least 2; rows are assigned to them at random.
    alpha
        Penalty of the ridge.
    sample
        Rows to use. None: all.
    device, random_state
        As for `trustworthiness`.
    """
    points = d.rows_of(X, device)
    labels = torch.from_numpy(d.labels_of(targets, len(points))).to(points.device)
    rows = d.sampled(len(points), sample, random_state).to(points.device)
    points, labels = points[rows], labels[rows]
    n = len(points)
    if not 2 <= folds <= n:
        raise DataError(f"folds={folds} for {n} rows: it must be from 2 to {n}")
    points = points - points.mean(dim=0)
    spread = points.square().mean().sqrt()
    points = (points / spread if spread > 0 else points).to(_probe_dtype(*points.shape))
    wanted = torch.nn.functional.one_hot(labels).to(points.dtype) * 2 - 1
    order = torch.from_numpy(np.random.default_rng(random_state).permutation(n)).to(points.device)
    solve = _ridge_by_features if points.shape[1] <= n else _ridge_by_rows
    with float32_products(points.device):  # many rows are float32: TF32 or autocast would change the score
        right = [
            int((predicted.argmax(1) == labels[held]).sum())
            for held, predicted in solve(points, wanted, order.tensor_split(folds), alpha)
        ]
    return sum(right) / n


def _probe_dtype(n: int, n_features: int) -> torch.dtype:
    """Choose float32 where float64 would take many seconds; the penalty keeps the system well-conditioned."""
    return torch.float64 if n * n_features * min(n, n_features) < _MANY_PRODUCTS else torch.float32


Folds = Iterator[tuple[torch.Tensor, torch.Tensor]]


def _ridge_by_features(X: torch.Tensor, Y: torch.Tensor, parts: Sequence[torch.Tensor], alpha: float) -> Folds:
    """Yield each part's rows and the predictions for them of ridge regression on the others.

    Each part's Gram matrix is formed once; what the others hold is the sum of all less the part's own.
    """
    grams = [X[held].T @ X[held] for held in parts]
    gram, cross, sums, totals = reduce(torch.add, grams), X.T @ Y, X.sum(dim=0), Y.sum(dim=0)
    for held, own in zip(parts, grams, strict=True):
        A, B, n = X[held], Y[held], len(X) - len(held)
        centre, middle = (sums - A.sum(dim=0)) / n, (totals - B.sum(dim=0)) / n
        system = gram - own - n * torch.outer(centre, centre)
        system.diagonal().add_(alpha)
        factor = torch.linalg.cholesky(system)
        weights = torch.cholesky_solve(cross - A.T @ B - n * torch.outer(centre, middle), factor)
        yield held, (A - centre) @ weights + middle


def _ridge_by_rows(X: torch.Tensor, Y: torch.Tensor, parts: Sequence[torch.Tensor], alpha: float) -> Folds:
    """Yield the same from the products of rows, the smaller system where there are more features than rows."""
    products = X @ X.T
    for held in parts:
        train = torch.ones(len(X), dtype=torch.bool, device=X.device)
        train[held] = False
        inner, outer, middle = products[train][:, train], products[held][:, train], Y[train].mean(dim=0)
        column, overall = inner.mean(dim=0), inner.mean()
        outer = outer - outer.mean(dim=1, keepdim=True) - column + overall
        system = inner - column[:, None] - column + overall
        system.diagonal().add_(alpha)
        weights = torch.cholesky_solve(Y[train] - middle, torch.linalg.cholesky(system))
        yield held, outer @ weights + middle


def _neighbors(X: Any, k: int, metric: Metric, device: str | torch.device) -> Array:
    points = as_rows(X)
    d.check_k(k, len(points), len(points) - 1, "fewer than the rows")
    return knn(points, k, metric=metric, device=device, method="exact")[0]
