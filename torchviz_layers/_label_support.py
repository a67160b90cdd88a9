"""How far a sample's surroundings bear out each label, the sample's own label left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

N_LANDMARKS = 2000  # the cost grows with its square; 1,000 finds 0.4 flipped labels of 100 fewer on MNIST
KERNEL_SCALE, VOTE_SCALE = 10.0, 5.0  # support of 0 to 1 becomes a probability as softmax(scale * support)
TINY = 1e-12
_WIDTH = 1.5  # kernel exp(-1.5 d2 / median d2): a neighbour counts, a stranger hardly
_RIDGE = 0.1
_BLOCK = 4096


def mended(
    probabilities: NDArray[np.floating], evidence: Sequence[NDArray[np.floating]], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the given label's probability (n,): the network's and its surroundings', in the geometric mean.

    `evidence` holds scaled supports of shape (n, n_classes), one a layer; without any the network's word stands alone.
    """
    rows = np.arange(len(labels))
    log_own = np.log(np.maximum(probabilities[rows, labels].astype(np.float64), TINY))
    if not evidence:
        return np.exp(log_own)
    logs = []
    for scores in evidence:
        above = scores.astype(np.float64) - scores.max(1, keepdims=True)
        logs.append(above[rows, labels] - np.log(np.exp(above).sum(1)))
    probability: NDArray[np.float64] = np.exp((log_own + np.mean(logs, axis=0)) / 2)
    return probability


def vote_shares(neighbors: NDArray[np.integer], targets: NDArray[np.int64], n_classes: int) -> NDArray[np.float32]:
    """Return which share of a sample's neighbours (n, k) carries each label: (n, n_classes), rows sum to 1."""
    n, k = neighbors.shape
    codes = targets[neighbors] + n_classes * np.arange(n)[:, None]
    counts = np.bincount(codes.ravel(), minlength=n * n_classes).reshape(n, n_classes)
    shares: NDArray[np.float32] = (counts / k).astype(np.float32)
    return shares


def kernel_support(
    X: NDArray[np.floating], targets: NDArray[np.int64], n_classes: int, n_landmarks: int = N_LANDMARKS
) -> NDArray[np.float32]:
    """Estimate each sample's label from all others by kernel ridge regression: (n, n_classes), about 0 to 1.

    All neighbours weigh in by their distance, so an isolated sample gets little support for any label, where a vote of
    its k nearest would sound sure. The leave-one-out answers are exact for the kernel's Nyström approximation on random
    rows of X (Williams and Seeger 2001): (fit_i - H_ii y_i) / (1 - H_ii) with H the hat matrix.

    Parameters
    ----------
    X
        Activations of shape (n, n_features).
    targets
        Labels of shape (n,), from 0 to n_classes - 1.
    n_classes
        Number of classes.
    n_landmarks
        Rows of X that span the approximation; time and memory are O(n n_landmarks^2) and O(n n_landmarks).
    """
    rows = torch.from_numpy(np.ascontiguousarray(X, np.float32))
    features = _nystroem(rows, min(n_landmarks, len(rows)))  # (n, m)
    gram = (features.T @ features).double()
    gram.diagonal().add_(_RIDGE)
    root = torch.linalg.cholesky(gram).float()
    half = torch.linalg.solve_triangular(root, features.T, upper=False).T  # hat matrix = half @ half.T
    own = half.square().sum(1, keepdim=True)
    labels = torch.nn.functional.one_hot(torch.from_numpy(targets), n_classes).float()
    support: NDArray[np.float32] = ((half @ (half.T @ labels) - own * labels) / (1 - own)).numpy()
    return support


def _nystroem(rows: Tensor, n_landmarks: int) -> Tensor:
    """Return features (n, m) whose products are the Gaussian kernel, approximately."""
    chosen = np.random.default_rng(0).permutation(len(rows))[:n_landmarks]
    landmarks = rows[torch.from_numpy(np.sort(chosen))]
    between = torch.cdist(landmarks.double(), landmarks.double()).square()
    apart = between[between > 0]
    scale = (float(apart.median()) if len(apart) else 1.0) / _WIDTH  # equal rows alone have no scale
    inner = torch.exp(-between / scale)
    inner.diagonal().add_(1e-6)
    root = torch.linalg.cholesky(inner).float()
    blocks = [torch.exp(-torch.cdist(block, landmarks).square() / scale) for block in torch.split(rows, _BLOCK)]
    features: Tensor = torch.linalg.solve_triangular(root, torch.cat(blocks).T, upper=False).T
    return features
