"""One record of a map's quality, which prints as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from torchviz_layers.metrics import distances as d
from torchviz_layers.metrics.labels import knn_accuracy, neighborhood_hit, silhouette
from torchviz_layers.metrics.neighborhoods import neighborhoods
from torchviz_layers.metrics.shapes import distance_spearman, triplet_accuracy


@dataclass(frozen=True)
class EmbeddingQuality:
    """How faithful a map is; label measures are None without targets. Prints as a table."""

    trustworthiness: float
    continuity: float
    knn_recall: float
    distance_spearman: float
    triplet_accuracy: float
    knn_accuracy: float | None
    neighborhood_hit: float | None
    silhouette: float | None
    k: int
    n_samples: int
    n_queries: int

    def __str__(self) -> str:
        measures = {name: value for name, value in asdict(self).items() if isinstance(value, float)}
        width = max(map(len, measures))
        lines = [f"{name:<{width}}  {value:8.4f}" for name, value in measures.items()]
        looked = "all" if self.n_queries == self.n_samples else f"{self.n_queries:,} of"
        return "\n".join([*lines, f"k = {self.k}; {looked} {self.n_samples:,} samples"])


def evaluate_embedding(
    X: Any,
    Z: Any,
    targets: Any = None,
    *,
    k: int = 15,
    metric: str = "euclidean",
    sample: int | None = 2000,
    device: str | torch.device = "auto",
    random_state: int = 0,
) -> EmbeddingQuality:
    """Measure how faithful the map Z is to X, and how it separates classes.

    Parameters
    ----------
    X, Z
        Samples (n, n_features) and their map (n, n_components), n >= 4.
    targets
        Class labels (n,), or None.
    k
        Neighbours that count as near; cut where n is too small for it.
    metric
        Of X.
    sample
        Rows whose neighbourhoods and distances are measured, against all rows; None: every row. Neighbour votes always
        use every row.
    device, random_state
        Where to calculate, and the seed of the rows that are sampled.

    Returns
    -------
    EmbeddingQuality
        Its fields are the measures, None for those of labels without targets; printed, it is a table.

    Raises
    ------
    DataError
        Where the shapes do not fit or there are too few rows.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(50, 5))
    >>> evaluate_embedding(X, X[:, :2]).n_samples
    50
    """
    high, low = d.paired(X, Z, device)
    n = len(high)
    k = max(1, min(k, (n - 1) // 2))
    options: dict[str, Any] = {"sample": sample, "device": device, "random_state": random_state}
    near = neighborhoods(high, low, k, metric=metric, **options)
    accuracy = hit = apart = None
    if targets is not None:
        votes = min(10, n - 1)
        accuracy = knn_accuracy(low, targets, votes, device=device)
        hit = neighborhood_hit(low, targets, votes, device=device)
        apart = silhouette(low, targets, **options) if len(set(d.labels_of(targets, n).tolist())) > 1 else None
    return EmbeddingQuality(
        *near,
        distance_spearman(high, low, **options),
        triplet_accuracy(high, low, device=device, random_state=random_state),
        accuracy,
        hit,
        apart,
        k,
        n,
        n if sample is None else min(sample, n),
    )
