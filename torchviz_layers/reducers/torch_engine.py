"""UMAP in torch, for CUDA cards: the same steps as the numba engine, with or without Triton.

`torch_graph` is `graph`, `torch_optimization` is `optimization`; here are the initial positions of `initialization`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers.neighbors.search import find
from torchviz_layers.reducers.initialization import (
    DIFFUSION_STEPS,
    EXTENT,
    EXTRA_AXES,
    LEAST_SPREAD,
    POWER_ITERATIONS,
    initial_positions,
    noise,
)
from torchviz_layers.reducers.problem import Problem, fit_curve
from torchviz_layers.reducers.torch_graph import TorchGraph, fuzzy_graph, row_sums
from torchviz_layers.reducers.torch_optimization import optimize


def fit(problem: Problem) -> tuple[Array, None]:
    """Embed the problem's rows, (n_samples, n_components) float32.

    From the rows to the positions everything stays on the device; only single numbers are read from it.
    """
    rows = torch.as_tensor(problem.X, device=problem.device)
    indices, distances = problem.neighbors or find(
        rows, problem.n_neighbors - 1, None, problem.metric, problem.device, seed=problem.seed
    )
    graph = fuzzy_graph(
        torch.as_tensor(indices, device=problem.device),
        torch.as_tensor(distances, device=problem.device),
        problem.n_neighbors,
    )
    with problem.progress() as progress:
        Z = optimize(
            graph,
            start_positions(problem, rows, graph),
            fit_curve(problem.spread, problem.min_dist),
            problem.epochs,
            problem.seed,
            progress=progress,
        )
    return Z.cpu().numpy(), None


def start_positions(problem: Problem, rows: torch.Tensor, graph: TorchGraph | None) -> torch.Tensor:
    """Return the initial positions as the numba engine does, (n, n_components) float64, on the rows' device.

    Without a graph the principal components are not diffused.
    """
    if problem.start not in ("diffusion", "pca"):
        return torch.from_numpy(initial_positions(problem)).to(rows.device)
    scores = _principal_components(rows, problem.n_components)
    if problem.start == "diffusion" and graph is not None:
        scores = _diffused(scores, graph)
    largest = scores.abs().max()
    if not bool(largest > 0):  # all rows are equal
        return torch.from_numpy(initial_positions(replace(problem, init="random"))).to(rows.device)
    offsets = torch.from_numpy(noise(tuple(scores.shape), problem.seed)).to(rows.device)
    return scores / largest * EXTENT + offsets


def _diffused(scores: torch.Tensor, graph: TorchGraph) -> torch.Tensor:
    """Return `initialization.diffused` of the scores (n, n_components)."""
    weights = graph.weights.double()[:, None]
    totals = row_sums(weights, graph.offsets)
    spreads = scores.std(dim=0)
    for _ in range(DIFFUSION_STEPS):
        # A vertex without edges stays: its mean is 0 / 0.
        moved = row_sums(weights * scores[graph.neighbors], graph.offsets) / totals
        moved = torch.where(totals > 0, moved, scores)
        if bool((moved.std(dim=0) < LEAST_SPREAD * spreads).any()):
            break
        scores = moved
    return scores - scores.mean(dim=0)


def _principal_components(X: torch.Tensor, n_components: int) -> torch.Tensor:
    """Return `initialization.principal_scores` of X (n, n_features), from all rows and with torch's own products."""
    width = min(n_components + EXTRA_AXES, *X.shape)
    centre = X.mean(dim=0, dtype=torch.float64).to(X.dtype)
    centred = X - centre
    axes = torch.from_numpy(np.random.default_rng(0).standard_normal((X.shape[1], width))).to(X)
    for _ in range(POWER_ITERATIONS):
        axes = torch.linalg.qr(centred.T @ (centred @ axes))[0]
    scores = (centred @ axes).double()
    _, vectors = torch.linalg.eigh(scores.T @ scores)
    scores = (scores @ vectors).flip(1)[:, :n_components]
    signs = scores.gather(0, scores.abs().argmax(dim=0, keepdim=True)).sign()
    scores = scores * torch.where(signs == 0, 1.0, signs)
    return torch.nn.functional.pad(scores, (0, n_components - scores.shape[1]))
