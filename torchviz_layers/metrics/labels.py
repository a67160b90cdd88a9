"""What a map or a layer says about labels and values: its neighbours' votes and means, silhouette."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy, as_rows
from torchviz_layers._common.votes import mean_jaccard, neighbor_means, r2, same_label_share
from torchviz_layers.exceptions import DataError
from torchviz_layers.metrics import distances as d
from torchviz_layers.neighbors import knn
from torchviz_layers.neighbors.search import Metric


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
    share = same_label_share(indices, labels)
    assert share is not None  # every row has a label, and check_k asks for a neighbour
    return share


def neighborhood_jaccard(
    X: Any, label_sets: Any, k: int = 10, *, metric: Metric = "euclidean", device: str | torch.device = "auto"
) -> float:
    """Mean Jaccard index of a row's label set and those of its k nearest other rows, in [0, 1].

    The multi-label counterpart of `neighborhood_hit`: labels that both have, by labels that at least one has. Two rows
    without any label count 1.

    Parameters
    ----------
    X
        Rows of shape (n, n_features): a map, or a layer's activations.
    label_sets
        Which labels each row has: 0 and 1 or bool, of shape (n, n_labels).
    k, metric, device
        As for `knn_accuracy`.

    Raises
    ------
    DataError
        Where the shapes do not fit, or the label sets hold something else than 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> sets = [[1, 0], [1, 1], [1, 0], [0, 1], [0, 1], [0, 1]]
    >>> neighborhood_jaccard(np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), sets, k=2)
    0.8333333333333334
    """
    indices = _neighbors(X, k, metric, device)
    return mean_jaccard(indices, d.label_sets_of(label_sets, len(indices)))


def neighbor_r2(
    X: Any, values: Any, k: int = 10, *, metric: Metric = "euclidean", device: str | torch.device = "auto"
) -> float | None:
    """R² of the mean value of a row's k nearest other rows as a prediction of its own (leave-one-out), at most 1.

    The regression counterpart of `knn_accuracy`: 1 where neighbours have the row's own value, 0 where their mean says
    no more than the mean of all, negative where it says less.

    Parameters
    ----------
    X
        Rows of shape (n, n_features): a map, or a layer's activations.
    values
        Value of each row, of shape (n,). NaN: unknown; such rows are neither neighbours that count nor predicted.
    k, metric, device
        As for `knn_accuracy`.

    Returns
    -------
    A number of at most 1; None where R² is not defined: fewer than two known values, or all equal.

    Raises
    ------
    DataError
        Where the shapes do not fit, or the values are no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> neighbor_r2(np.array([[0.0], [0.1], [5.0], [5.1]]), [1.0, 1.0, 9.0, 9.0], k=1)
    1.0
    """
    indices = _neighbors(X, k, metric, device)
    known = d.values_of(values, len(indices))
    return r2(known, neighbor_means(indices, known))


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


def _neighbors(X: Any, k: int, metric: Metric, device: str | torch.device) -> Array:
    points = as_rows(X)
    d.check_k(k, len(points), len(points) - 1, "fewer than the rows")
    return knn(points, k, metric=metric, device=device, method="exact")[0]
