"""How far the samples around one support each label, its own label left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from torchviz_layers._common.cholesky import cholesky

TINY = 1e-12
_SCALE = 4.0  # a support of 0 to 1 becomes a probability as softmax(4 support)
_POWER = 1 / 3  # of the power mean
_OWN = 1 / 4  # weight of the network: it is confident of its errors too, the surroundings are less often
_N_SURROUNDING = 400  # with 200, 0.3 of 100 flipped labels fewer are found on MNIST; the cost grows with the square
_WIDTH = 2.0  # kernel exp(-2 d2 / median d2): near samples count, those at a typical distance hardly
_RIDGE = 0.1
_SHRINK = 0.1  # of the covariance within labels, towards one that is the same in all directions
# Of suspects with the product p of the two shares that `probability_wrong` takes, about p^2 are wrong: fitted by the
# likelihood of errors planted in MNIST, between the powers of LeNet60 (smaller) and dense128 (larger).
_CALIBRATION = 2.0
_SAMPLED = 1000  # rows for the median distance
_BLOCK = 16  # rows at once: 16 x 400 x n_features floats


def combined_probability(
    own: NDArray[np.floating], evidence: Sequence[NDArray[np.floating]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the probability of each given label (m,): a power mean of the network's and of the surroundings'.

    In a geometric mean, one extremely small probability (say 1e-9) outweighs all others; in an arithmetic mean, the
    largest one does. The mean of cube roots is between the two.

    Parameters
    ----------
    own
        The network's probabilities of the given labels, of shape (m,).
    evidence
        Supports of shape (m, n_classes), of all layers; without any, the network's probability is returned.
    labels
        The given labels, of shape (m,).
    """
    network = own.astype(np.float64)
    if not evidence:
        return network
    surroundings = np.mean([_probability(support, labels) ** _POWER for support in evidence], axis=0)
    mean = _OWN * network**_POWER + (1 - _OWN) * surroundings
    probability: NDArray[np.float64] = mean ** (1 / _POWER)
    return probability


def probability_wrong(
    given: NDArray[np.float64], proposed: NDArray[np.float64], share: NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """Return the probability that labels are wrong, in [0, 1], by those of the given and of the proposed label.

    It is how much more probable the proposed label is than the given one, proposed / (proposed + given), times the
    `share` of the neighbours that have the proposed label. Without the neighbours, every error of an untrained network,
    which contradicts labels at random, would be a suspect. The square of the product is calibrated: most labels are
    right, so a label is right more often than the product says. All have shape (m,); a share of NaN, where there are no
    neighbours, is left out.
    """
    both = proposed + given
    product = np.divide(proposed, both, out=np.full(len(both), 0.5), where=both > 0)
    if share is not None:
        product = product * np.where(np.isfinite(share), share, 1.0)
    wrong: NDArray[np.float64] = product**_CALIBRATION
    return wrong


def _probability(support: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the softmax of the supports (m, n_classes) at the given labels, (m,)."""
    # Less the largest support, which cancels out and keeps exp from overflowing.
    powers = np.exp(_SCALE * (support.astype(np.float64) - support.max(1, keepdims=True)))
    given: NDArray[np.float64] = powers[np.arange(len(labels)), labels] / powers.sum(1)
    return given


def kernel_supports(
    X: NDArray[np.floating],
    targets: NDArray[np.int64],
    n_classes: int,
    rows: NDArray[np.int64],
    k: int = _N_SURROUNDING,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Estimate samples' labels from those around them by kernel ridge regression, under two distances.

    The first is Euclidean. Under the second, directions in which samples of the same label differ count less. Each
    estimate has shape (len(rows), n_classes), with values of about 0 to 1.

    The weight of a neighbour falls with its distance, and neighbours close to one another share theirs. So an isolated
    sample gets little support for any label, where a vote of its k nearest neighbours would be misleadingly clear. Each
    sample has a regression of its own on its k nearest others: a local approximation of the regression on all others
    (Gramacy and Apley 2015, without their choice of neighbours). Rows are first scaled to length 1, because how
    strongly a sample activates a layer says little about its label.

    Parameters
    ----------
    X
        Activations of shape (n, n_features).
    targets
        Labels of shape (n,), from 0 to n_classes - 1; -1 for a sample without a label, which supports none.
    n_classes
        Number of classes.
    rows
        The samples whose labels are estimated, of shape (m,); they have labels.
    k
        Maximum number of neighbours in a regression; the cost is O(m k^2 n_features + n n_features^2).
    """
    labelled = np.flatnonzero(targets >= 0)
    if len(labelled) < len(targets):
        rows = np.searchsorted(labelled, rows)  # positions among the labelled
        X, targets = X[labelled], targets[labelled]
    labels = torch.from_numpy(targets)
    points = normalize(torch.from_numpy(np.ascontiguousarray(X, np.float32)))
    samples = torch.from_numpy(rows)
    plain = _support(samples, points, labels, n_classes, k)
    return plain, _support(samples, _whitened(points, labels, n_classes), labels, n_classes, k)


def _support(rows: Tensor, points: Tensor, labels: Tensor, n_classes: int, k: int) -> NDArray[np.float32]:
    k = min(k, len(points) - 1)
    if k < 1:
        return np.zeros((len(rows), n_classes), np.float32)
    scale = _median_square_distance(points) / _WIDTH
    found = [_local_support(block, points, labels, n_classes, k, scale) for block in torch.split(rows, _BLOCK)]
    support: NDArray[np.float32] = torch.cat(found).numpy()
    return support


def _whitened(unit: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return the rows with the spread within labels equalized, as in linear discriminant analysis.

    `unit` are rows of length 1, (n, n_features); `labels` are of shape (n,).
    """
    n, d = unit.shape
    counts = torch.bincount(labels, minlength=n_classes).clamp(min=1)
    means = torch.zeros(n_classes, d).index_add_(0, labels, unit) / counts[:, None]  # (n_classes, n_features)
    deviations = unit - means[labels]  # of each row from the mean of its label, (n, n_features)
    covariance = deviations.T @ deviations / n  # (n_features, n_features)
    variance = covariance.trace() / d
    if variance < TINY:  # all samples of a label are the same
        return unit
    # Shrinkage makes the covariance invertible, even with fewer samples than features.
    covariance = (1 - _SHRINK) * covariance + _SHRINK * variance * torch.eye(d)
    # With covariance = L L^T, rows multiplied by the inverse of L have the same spread in all directions.
    factor = torch.linalg.cholesky(covariance)
    return normalize(torch.linalg.solve_triangular(factor, (unit - unit.mean(0)).T, upper=False).T)


def _local_support(rows: Tensor, points: Tensor, labels: Tensor, n_classes: int, k: int, scale: float) -> Tensor:
    """Return the kernel ridge regression of the labels of b rows on their k nearest others, (b, n_classes)."""
    distances = _square_distances(points[rows], points)  # (b, n)
    distances[torch.arange(len(rows)), rows] = torch.inf  # a sample does not support its own label
    nearest, others = distances.topk(k, largest=False)  # (b, k)
    around = points[others]  # (b, k, n_features)
    kernel = torch.exp(_square_distances(around, around).div_(-scale))  # (b, k, k)
    kernel.diagonal(dim1=1, dim2=2).fill_(1 + _RIDGE)
    similar = torch.exp(nearest / -scale)[:, :, None]  # (b, k, 1)
    # The estimate is similar^T (K + ridge)^-1 labels; the product of the first two are the neighbours' weights.
    weights = torch.cholesky_solve(similar, cholesky(kernel, _RIDGE))  # (b, k, 1)
    # Summed by label: a product with one-hot labels (b, k, n_classes) takes a minute with 10,000 classes.
    return torch.zeros(len(rows), n_classes).scatter_add_(1, labels[others], weights.squeeze(2))


def _median_square_distance(points: Tensor) -> float:
    """Return the median over pairs of different points, estimated on a sample of them; 1 if all are equal."""
    chosen = np.random.default_rng(0).permutation(len(points))[:_SAMPLED]
    some = points[torch.from_numpy(chosen)]
    distances = _square_distances(some, some).fill_diagonal_(0)
    distances = distances[distances > 1e-6]  # equal rows differ by rounding
    return float(distances.median()) if len(distances) else 1.0


def _square_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return |a_i - b_j|^2 of the rows of a (..., n, d) and b (..., m, d), as |a_i|^2 + |b_j|^2 - 2 a_i b_j."""
    lengths = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :]  # (..., n, m)
    return (lengths - 2 * (a @ b.mT)).clamp_min_(0)
