"""What the tests of the UMAP engines share."""

import numpy as np
import scipy.sparse
import torch

from torchviz_layers.reducers.problem import Problem


def rows_in_groups():
    """Return 250 rows of 12 features in four groups, ten of them copies of the first."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(250, 12)) + 4 * rng.integers(4, size=(250, 1))
    X[::25] = X[0]
    return X


def as_matrix(g):
    """Return a fuzzy graph of ours as a sparse matrix."""
    parts = (np.asarray(part) for part in (g.weights, g.neighbors, g.offsets))
    n = len(g.offsets) - 1
    return scipy.sparse.csr_matrix(tuple(parts), shape=(n, n))


def problem(X, **changes):
    """Return a problem as `UMAP` makes it by default, with changes."""
    settings = {
        "n_components": 2,
        "n_neighbors": 15,
        "min_dist": 0.1,
        "spread": 1.0,
        "metric": "euclidean",
        "n_epochs": None,
        "init": "diffusion",
        "seed": 0,
        "seeded": True,
        "device": torch.device("cpu"),
    }
    return Problem(X=X, **(settings | changes))
