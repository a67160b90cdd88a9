"""Likeness at large: order of distances, random triplets, linear CKA between two layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchviz_layers.exceptions import DataError
from torchviz_layers.metrics import distances as d


def distance_spearman(
    X: Any,
    Z: Any,
    *,
    sample: int | None = None,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    """Spearman's rank correlation between all pairwise distances in X and in Z, in [-1, 1].

    Parameters
    ----------
    X, Z
        Samples (n, n_features) and their map (n, n_components), n >= 3.
    sample
        Rows whose pairs are taken. None: all n (n - 1) / 2 pairs, which for 10,000 rows is 50 million.
    device, random_state
        As for `trustworthiness`.
    """
    from scipy.stats import spearmanr

    high, low = d.paired(X, Z, device)
    rows = d.sampled(len(high), sample, random_state).to(high.device)
    if len(rows) < 3:
        raise DataError(f"distance_spearman needs at least 3 rows, and there are {len(rows)}")
    high, low = d.prepared(high[rows], "euclidean"), d.prepared(low[rows], "euclidean")
    pairs = torch.triu_indices(len(rows), len(rows), 1, device=high.device)
    every = torch.arange(len(rows), device=high.device)
    above, below = (d.distances(A, every)[pairs[0], pairs[1]].cpu().numpy() for A in (high, low))
    if above.min() == above.max() or below.min() == below.max():
        return 0.0  # all distances are the same: no order to agree on
    return float(spearmanr(above, below).statistic)


def triplet_accuracy(
    X: Any,
    Z: Any,
    *,
    triplets: int = 100_000,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> float:
    """Share of random triplets (i, j, l) in which Z agrees with X on which of j and l is nearer to i; 0.5 is chance.

    Parameters
    ----------
    X, Z
        Samples (n, n_features) and their map (n, n_components), n >= 3.
    triplets
        How many are drawn.
    """
    high, low = d.paired(X, Z, device)
    n = len(high)
    if n < 3:
        raise DataError(f"triplet_accuracy needs at least 3 rows, and there are {n}")
    rng = np.random.default_rng(random_state)
    i = rng.integers(n, size=triplets)
    j = (i + rng.integers(1, n, size=triplets)) % n
    other = (i + rng.integers(1, n, size=triplets)) % n
    keep = j != other
    agree = 0
    drawn = torch.from_numpy(np.stack([i[keep], j[keep], other[keep]], axis=1)).to(high.device)
    for part in torch.split(drawn, 4096):
        nearer = []
        for A in (high, low):
            first, second = (A[part[:, 0]] - A[part[:, 1]]).norm(dim=1), (A[part[:, 0]] - A[part[:, 2]]).norm(dim=1)
            nearer.append(first < second)
        agree += int((nearer[0] == nearer[1]).sum())
    return agree / int(keep.sum())


def linear_cka(A: Any, B: Any, *, device: str | torch.device = "auto") -> float:
    r"""Linear centred kernel alignment of two layers' activations for the same samples, in [0, 1].

    .. math:: \frac{\|B^T A\|_F^2}{\|A^T A\|_F \|B^T B\|_F}

    with centred columns; 1 where one is the other rotated and scaled. 0 where one of them is constant.

    Parameters
    ----------
    A, B
        Activations (n, n_features_a) and (n, n_features_b): two layers, of one network or of two.

    Notes
    -----
    S. Kornblith, M. Norouzi, H. Lee, G. Hinton, "Similarity of neural network representations revisited", ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.random.default_rng(0).normal(size=(30, 4))
    >>> round(linear_cka(A, 3 * A[:, ::-1] + 1), 6)
    1.0
    """
    left, right = d.paired(A, B, device)
    left, right = left - left.mean(dim=0), right - right.mean(dim=0)
    n = len(left)
    if max(left.shape[1], right.shape[1]) <= n:
        cross, own, other = (left.T @ right).norm() ** 2, (left.T @ left).norm(), (right.T @ right).norm()
    else:
        one, two = left @ left.T, right @ right.T
        cross, own, other = (one * two).sum(), one.norm(), two.norm()
    scale = float(own * other)
    return float(cross) / scale if scale > 0 else 0.0
