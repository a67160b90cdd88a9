"""UMAP by cuML on a CUDA card.

cuML's defaults are changed in four ways:

- Neighbours of up to `_EXACT_ROWS` rows are ours: exact for near-duplicates (a confident network's softmax), and the
  same with and without a seed. For more rows cuML's neighbour descent is chosen by name, because with a seed
  ``build_algo="auto"`` is brute force.
- The initial positions are ours: with cuML's default, `spectral`, epochs are serial and slower. Principal components
  are diffused if the neighbours are ours.
- Rows stay on the card: tensors are passed by the CUDA array interface, once they are written.
- The library is imported here, not patched in by `cuml.accel`, which falls back to the CPU without a message.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers.neighbors.search import find
from torchviz_layers.reducers.checks import check_names, naming, with_self
from torchviz_layers.reducers.problem import Problem
from torchviz_layers.reducers.torch_engine import start_positions
from torchviz_layers.reducers.torch_graph import fuzzy_graph

_EXACT_ROWS = 100_000  # above, an exact search takes longer than the map


def fit(problem: Problem) -> tuple[Array, Any]:
    """Embed the problem's rows; also return cuML's estimator."""
    from cuml.manifold import UMAP

    rows = torch.as_tensor(problem.X, device=problem.device).float().contiguous()
    params = problem.library_params | {"output_type": "numpy"}
    neighbors, graph = problem.neighbors, None
    if neighbors is None and len(rows) <= _EXACT_ROWS:
        neighbors = find(rows, problem.n_neighbors - 1, None, problem.metric, problem.device)
    if neighbors is not None:
        params["precomputed_knn"] = with_self(*(as_numpy(part) for part in neighbors))
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
    """Wait until rows are written: PyTorch and cuML work on a card in streams of their own."""
    if rows.is_cuda:
        torch.cuda.current_stream(rows.device).synchronize()
