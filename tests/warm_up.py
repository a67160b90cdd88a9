"""Compile the Numba kernels that the tests use, ours and umap-learn's, into Numba's cache.

In a new checkout that takes over a minute on one core. `conftest.py` starts it beside a run of the whole suite, whose
first tests need none of them.
"""

import numpy as np
import torch

from torchviz_layers import UMAP
from torchviz_layers.neighbors import knn


def main() -> None:
    """Call each kernel once, those first that the suite needs first."""
    torch.set_num_threads(1)
    X = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    for random_state in (0, None):
        UMAP(n_epochs=5, random_state=random_state, device="cpu").fit(X).transform(X[:20] + 0.1)
    for metric in ("euclidean", "cosine", "correlation", "manhattan"):
        knn(X, 10, metric=metric, method="exact", device="cpu")
        knn(np.repeat(X, 10, axis=0), 10, metric=metric, method="approximate", device="cpu")
    import umap  # noqa: F401  compiles while it is imported


if __name__ == "__main__":
    main()
