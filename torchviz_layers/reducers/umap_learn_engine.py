"""UMAP by umap-learn: the reference implementation, for all options that the other engines do not cover."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers._common.numba import LOCK
from torchviz_layers.neighbors import knn
from torchviz_layers.neighbors.search import METRICS
from torchviz_layers.reducers.checks import check_names, naming, with_self
from torchviz_layers.reducers.graph import fuzzy_graph
from torchviz_layers.reducers.numba_engine import start_positions
from torchviz_layers.reducers.problem import Problem


def fit(problem: Problem) -> tuple[Array, Any]:
    """Embed the problem's rows; also return umap-learn's estimator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TensorFlow is missing
        import umap

    params = problem.library_params | {
        "init": "pca" if problem.start == "diffusion" else problem.init,
        "n_jobs": 1 if problem.seeded else -1,
    }
    dense = not hasattr(problem.X, "tocsr")
    neighbors = problem.neighbors
    if neighbors is None and dense and problem.metric in METRICS:
        neighbors = knn(problem.X, problem.n_neighbors - 1, metric=problem.metric, device=problem.device)
    if neighbors is not None:
        params["precomputed_knn"] = with_self(*neighbors)
        if problem.start == "diffusion":
            indices, distances = map(as_numpy, neighbors)
            graph = fuzzy_graph(indices, distances, problem.n_neighbors)
            params["init"] = start_positions(problem, graph)
    check_names(problem.options, umap.UMAP, "engine_kwargs: umap-learn")
    model = umap.UMAP(**(params | problem.options))
    supervised = problem.y if "target_metric" in problem.options else None
    with LOCK, naming("umap-learn", {"metric": problem.metric} | problem.options), warnings.catch_warnings():
        # It warns that a seed means one thread, that its transform wants its own neighbour index (ours does not),
        # and of small or disconnected graphs; `UMAP` itself warns of rows that come out as NaN.
        warnings.simplefilter("ignore")
        Z = model.fit_transform(as_numpy(problem.X) if dense else problem.X, y=supervised)
    return np.ascontiguousarray(Z, np.float32), model
