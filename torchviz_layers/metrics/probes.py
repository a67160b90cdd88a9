"""Linear probes: what ridge regression, trained on the other folds, reads from a layer's activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.cholesky import cholesky
from torchviz_layers._common.devices import float32_products
from torchviz_layers._common.votes import r2
from torchviz_layers.exceptions import DataError
from torchviz_layers.metrics import distances as d

_MANY_PRODUCTS = 2e10  # multiplications of a Gram matrix; float64 does about so many a second on two cores


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
    labels = torch.from_numpy(d.labels_of(targets, len(points)))
    rows = d.sampled(len(labels), sample, random_state)
    labels = labels[rows]
    wanted = torch.nn.functional.one_hot(labels) * 2 - 1  # (m, n_classes)
    predicted = _held_out(points, rows, wanted, folds, alpha, random_state)
    return int((predicted.argmax(1) == labels).sum()) / len(rows)


def linear_probe_label_accuracy(
    X: Any,
    label_sets: Any,
    *,
    folds: int = 5,
    alpha: float = 1.0,
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    """Share of a row's labels, had or not, that a linear classifier trained on the other folds predicts right.

    The multi-label counterpart of `linear_probe_accuracy`: one ridge regression a label, all solved at once, and the
    mean over rows and labels. It is scikit-learn's `RidgeClassifier` on a label indicator matrix.

    Parameters
    ----------
    X, label_sets
        Activations (n, n_features), and which labels each row has: 0 and 1 or bool (n, n_labels).
    folds, alpha, sample, device, random_state
        As for `linear_probe_accuracy`.

    Raises
    ------
    DataError
        Where the shapes do not fit, the label sets hold something else than 0 and 1, or there are too few rows.
    """
    points = d.rows_of(X, device)
    labels = torch.from_numpy(d.label_sets_of(label_sets, len(points)))
    rows = d.sampled(len(labels), sample, random_state)
    labels = labels[rows]
    predicted = _held_out(points, rows, labels.long() * 2 - 1, folds, alpha, random_state)
    return float(((predicted > 0) == labels).double().mean())


def linear_probe_r2(
    X: Any,
    values: Any,
    *,
    folds: int = 5,
    alpha: float = 1.0,
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float | None:
    """R² of a linear regression that predicts each row from the other folds, at most 1.

    The regression counterpart of `linear_probe_accuracy`: scikit-learn's `Ridge` with `cross_val_predict` and
    `r2_score`, on X scaled to a mean feature variance of 1.

    Parameters
    ----------
    X, values
        Activations (n, n_features) and the value of each row (n,). NaN: unknown; such rows are left out.
    folds, alpha, sample, device, random_state
        As for `linear_probe_accuracy`; `sample` rows are drawn from those with a value.

    Returns
    -------
    A number of at most 1; negative where the mean of all values predicts better. None where R² is not defined: fewer
    than two known values, or all equal.

    Raises
    ------
    DataError
        Where the shapes do not fit, the values are no numbers, or fewer rows have a value than there are folds.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(linear_probe_r2(X, X @ [1.0, 2.0, 3.0]), 2)
    1.0
    """
    points = d.rows_of(X, device)
    truth = d.values_of(values, len(points))
    known = np.flatnonzero(~np.isnan(truth))
    if len(known) < 2:
        return None
    rows = torch.from_numpy(known)[d.sampled(len(known), sample, random_state)]
    truth = truth[rows.numpy()]
    scale = np.ptp(truth)
    if scale == 0:
        return None
    truth = (truth - truth.mean()) / scale  # R² stays, and float32 holds the digits that differ
    predicted = _held_out(points, rows, torch.from_numpy(truth)[:, None], folds, alpha, random_state)
    return r2(truth, predicted[:, 0].double().numpy())


def _held_out(
    points: torch.Tensor, rows: torch.Tensor, wanted: torch.Tensor, folds: int, alpha: float, random_state: int
) -> torch.Tensor:
    """Predict what is wanted of the m `rows` of the points, (m, n_outputs), by ridge regression on the other folds."""
    n = len(rows)
    if not 2 <= folds <= n:
        raise DataError(f"folds={folds} for {n} rows: it must be from 2 to {n}")
    points = points[rows.to(points.device)]
    points = points - points.mean(dim=0)
    spread = points.square().mean().sqrt()
    points = (points / spread if spread > 0 else points).to(_probe_dtype(*points.shape))
    outputs = wanted.to(points)
    order = torch.from_numpy(np.random.default_rng(random_state).permutation(n)).to(points.device)
    solve = _ridge_by_features if points.shape[1] <= n else _ridge_by_rows
    predicted = torch.empty_like(outputs)
    with float32_products(points.device):  # many rows are float32: TF32 or autocast would change the score
        for held, found in solve(points, outputs, order.tensor_split(folds), alpha):
            predicted[held] = found.to(predicted.dtype)
    return predicted.cpu()


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
        factor = cholesky(system, alpha)
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
        weights = torch.cholesky_solve(Y[train] - middle, cholesky(system, alpha))
        yield held, outer @ weights + middle
