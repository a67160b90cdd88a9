"""UMAP by cuML on a CUDA card, with its traps seen to.

- Neighbours of up to `_EXACT_ROWS` rows are ours: exact on near-duplicates (a confident network's softmax), and the
  same whether a seed is given or not. Above, cuML's neighbour descent is asked for by name, because
  ``build_algo="auto"`` turns to brute force when a seed is given.
- The start is ours: its own default, `spectral`, turns on the slower serial epochs. Principal axes are diffused where
  the neighbours are at hand.
- Rows stay on the card: tensors are handed over by the CUDA array interface, once they are written.
- The library is imported here, never patched in (`cuml.accel` falls back to the CPU without a word).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers.neighbors.search import find, to_numpy
from torchviz_layers.reducers.checks import check_names, naming, with_self
from torchviz_layers.reducers.problem import Problem
from torchviz_layers.reducers.torch_engine import start_positions
from torchviz_layers.reducers.torch_graph import fuzzy_graph

_EXACT_ROWS = 100_000


def fit(problem: Problem) -> tuple[Array, Any]:
    """Lay the problem's rows out; also return cuML's estimator."""
    from cuml.manifold import UMAP

    rows = torch.as_tensor(problem.X, device=problem.device).float().contiguous()
    params: dict[str, Any] = {
        "n_components": problem.n_components,
        "n_neighbors": problem.n_neighbors,
        "min_dist": problem.min_dist,
        "spread": problem.spread,
        "metric": problem.metric,
        "n_epochs": problem.n_epochs,
        "random_state": problem.seed if problem.seeded else None,
        "verbose": problem.verbose,
        "output_type": "numpy",
    }
    neighbors, graph = problem.neighbors, None
    if neighbors is None and len(rows) <= _EXACT_ROWS:
        neighbors = find(rows, problem.n_neighbors - 1, None, problem.metric, problem.device)
    if neighbors is not None:
        params["precomputed_knn"] = with_self(*(to_numpy(part) for part in neighbors))
        indices, distances = (torch.as_tensor(part, device=rows.device) for part in neighbors)
        graph = fuzzy_graph(indices, distances, problem.n_neighbors)
    else:
        params["build_algo"] = "nn_descent"
    if problem.start in ("random", "spectral"):
        params["init"] = problem.init
    else:
        params["init"] = start_positions(problem, rows, graph).float().cpu().numpy()
    check_names(problem.options, UMAP, "engine_kwargs: cuML")
    _finish(rows)
    with naming("cuML", {"metric": problem.metric} | problem.options):
        model = UMAP(**(params | problem.options))
        Z = model.fit_transform(rows)
    return np.ascontiguousarray(Z, np.float32), model


def _finish(rows: torch.Tensor) -> None:
    """Wait until rows are written: PyTorch and cuML each have a stream of work of their own on a card."""
    if rows.is_cuda:
        torch.cuda.current_stream(rows.device).synchronize()
