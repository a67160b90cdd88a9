"""UMAP in torch: the numba engine's graph and pull layout for CUDA cards, with or without Triton."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchviz_layers.exceptions import ReducerError
from torchviz_layers.neighbors import knn
from torchviz_layers.reduce.problem import Problem, fit_curve
from torchviz_layers.reduce.start import ROUNDS, SIDE, SPARE, noise, random_start
from torchviz_layers.reduce.torch_graph import fuzzy_graph
from torchviz_layers.reduce.torch_layout import optimize

Array = np.ndarray[Any, np.dtype[Any]]


def fit(problem: Problem) -> tuple[Array, None]:
    """Lay the problem's rows out, (n_samples, n_components) float32."""
    rows = torch.as_tensor(problem.X, device=problem.device)
    indices, distances = problem.neighbors or knn(
        rows, problem.n_neighbors - 1, metric=problem.metric, device=problem.device, random_state=problem.seed
    )
    graph = fuzzy_graph(
        torch.as_tensor(indices, device=problem.device),
        torch.as_tensor(distances, device=problem.device),
        problem.n_neighbors,
    )
    with problem.progress() as progress:
        Z = optimize(
            graph,
            start_positions(problem, rows),
            fit_curve(problem.spread, problem.min_dist),
            problem.epochs,
            problem.seed,
            progress=progress,
        )
    return Z.cpu().numpy(), None


def start_positions(problem: Problem, rows: torch.Tensor) -> torch.Tensor:
    """Return the first positions as the numba engine has them, (n, n_components) float64, on the rows' device."""
    n, dims = len(rows), problem.n_components
    if not isinstance(problem.init, str):
        start = np.asarray(problem.init, np.float64)
        if start.shape != (n, dims) or not np.isfinite(start).all():
            raise ReducerError(
                f"init: an array of shape {start.shape}; finite numbers of shape ({n}, {dims}) are needed"
            )
        return torch.from_numpy(start + noise(start.shape, problem.seed)).to(rows.device)
    if problem.init == "random":
        return torch.from_numpy(random_start(n, dims, problem.seed)).to(rows.device)
    if problem.init != "pca":
        raise ReducerError(f"init: {problem.init!r} is none of pca, random, spectral, or an array ({n}, {dims})")
    scores = _principal_components(rows, dims)
    largest = scores.abs().max()
    if not largest > 0:
        return torch.from_numpy(random_start(n, dims, problem.seed)).to(rows.device)
    return scores / largest * SIDE + torch.from_numpy(noise((n, dims), problem.seed)).to(rows.device)


def _principal_components(X: torch.Tensor, n_components: int) -> torch.Tensor:
    """Rows on their leading principal axes, (n, n_components) float64, the largest entry of each column positive."""
    width = min(n_components + SPARE, *X.shape)
    centre = X.mean(dim=0, dtype=torch.float64).to(X.dtype)
    centred = X - centre
    axes = torch.from_numpy(np.random.default_rng(0).standard_normal((X.shape[1], width))).to(X)
    for _ in range(ROUNDS):
        axes = torch.linalg.qr(centred.T @ (centred @ axes))[0]
    scores = (centred @ axes).double()
    _, vectors = torch.linalg.eigh(scores.T @ scores)
    scores = (scores @ vectors).flip(1)[:, :n_components]
    signs = scores.gather(0, scores.abs().argmax(dim=0, keepdim=True)).sign()
    scores = scores * torch.where(signs == 0, 1.0, signs)
    return torch.nn.functional.pad(scores, (0, n_components - scores.shape[1]))
