"""How far a sample's surroundings bear out each label, the sample's own label left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

TINY = 1e-12
_SCALE = 4.0  # a support of 0 to 1 becomes a probability as softmax(4 support)
_POWER = 1 / 3
_OWN = 1 / 4  # the network's part in the mean: it is sure of its errors too, the surroundings less often
_N_SURROUNDING = 400  # 200 find 0.3 flipped labels of 100 fewer on MNIST; the cost grows with the square
_WIDTH = 2.0  # kernel exp(-2 d2 / median d2): a neighbour counts, a stranger hardly
_RIDGE = 0.1
_SHRINK = 0.1  # of the spread within labels, towards one that is the same in all directions
_SAMPLED = 1000  # rows that the median distance is taken on
_BLOCK = 16  # rows at once: 16 x 400 x n_features floats


def mended(
    own: NDArray[np.floating], evidence: Sequence[NDArray[np.floating]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the given labels' probabilities (m,): the network's (a quarter) and their surroundings', in a power mean.

    A geometric mean lets one voice that is absurdly sure (1e-9, say) outweigh all others, an arithmetic mean listens
    only to the least suspicious; the mean of cube roots lies between.

    Parameters
    ----------
    own
        The network's probabilities of the given labels, of shape (m,).
    evidence
        Supports of shape (m, n_classes), of all layers; without any the network's word stands alone.
    labels
        The given labels, of shape (m,).
    """
    word = own.astype(np.float64)
    if not evidence:
        return word
    around = np.mean([_probability(support, labels) ** _POWER for support in evidence], axis=0)
    probability: NDArray[np.float64] = (_OWN * word**_POWER + (1 - _OWN) * around) ** (1 / _POWER)
    return probability


def _probability(support: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
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

    The first is the plain one; under the second, directions in which samples of one label differ anyway count less.
    Each estimate has shape (len(rows), n_classes), with values of about 0 to 1.

    Neighbours weigh in by their distance and count less where they stand close together, so an isolated sample gets
    little support for any label, where a vote of its k nearest would sound sure. Each sample has a regression of its
    own on its k nearest others, a local approximation of the one on all others (Gramacy and Apley 2015, without their
    choice of neighbours). Rows are brought to length one first: how strongly a sample excites a layer tells little.

    Parameters
    ----------
    X
        Activations of shape (n, n_features).
    targets
        Labels of shape (n,), from 0 to n_classes - 1.
    n_classes
        Number of classes.
    rows
        The samples that are asked about, of shape (m,).
    k
        How many others take part, at most; the cost is O(m k^2 n_features + n n_features^2).
    """
    labels = torch.nn.functional.one_hot(torch.from_numpy(targets), n_classes).float()
    points = normalize(torch.from_numpy(np.ascontiguousarray(X, np.float32)))
    asked = torch.from_numpy(rows)
    return _support(asked, points, labels, k), _support(asked, _evened(points, labels), labels, k)


def _support(rows: Tensor, points: Tensor, labels: Tensor, k: int) -> NDArray[np.float32]:
    k = min(k, len(points) - 1)
    if k < 1:
        return np.zeros((len(rows), labels.shape[1]), np.float32)
    scale = _median_square_distance(points) / _WIDTH
    found = [_local_support(block, points, labels, k, scale) for block in torch.split(rows, _BLOCK)]
    support: NDArray[np.float32] = torch.cat(found).numpy()
    return support


def _evened(unit: Tensor, labels: Tensor) -> Tensor:
    """Return the rows with the spread within labels evened out, as linear discriminant analysis does it."""
    n, d = unit.shape
    means = labels.T @ unit / labels.sum(0).clamp(min=1)[:, None]  # (n_classes, n_features)
    apart = unit - labels @ means
    spread = apart.T @ apart / n
    level = spread.trace() / d
    if level < TINY:  # all samples of a label are the same
        return unit
    spread = (1 - _SHRINK) * spread + _SHRINK * level * torch.eye(d)
    root = torch.linalg.cholesky(spread)
    return normalize(torch.linalg.solve_triangular(root, (unit - unit.mean(0)).T, upper=False).T)


def _local_support(rows: Tensor, points: Tensor, labels: Tensor, k: int, scale: float) -> Tensor:
    distances = _square_distances(points[rows], points)
    distances[torch.arange(len(rows)), rows] = torch.inf
    nearest, others = distances.topk(k, largest=False)  # (b, k)
    around = points[others]  # (b, k, n_features)
    kernel = torch.exp(_square_distances(around, around).div_(-scale))  # (b, k, k)
    kernel.diagonal(dim1=1, dim2=2).fill_(1 + _RIDGE)
    similar = torch.exp(nearest / -scale)[:, :, None]
    weights = torch.cholesky_solve(similar, torch.linalg.cholesky(kernel))  # (b, k, 1)
    return (weights * labels[others]).sum(1)


def _median_square_distance(points: Tensor) -> float:
    """Return the median over pairs of different points, from a sample of them; 1 where all are equal."""
    chosen = np.random.default_rng(0).permutation(len(points))[:_SAMPLED]
    some = points[torch.from_numpy(chosen)]
    apart = _square_distances(some, some).fill_diagonal_(0)
    apart = apart[apart > 1e-6]  # equal rows differ by rounding
    return float(apart.median()) if len(apart) else 1.0


def _square_distances(a: Tensor, b: Tensor) -> Tensor:
    lengths = a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :]
    return (lengths - 2 * (a @ b.mT)).clamp_min_(0)
