"""UMAP in torch: the numba engine's graph and pull layout for CUDA cards, with or without Triton."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from torchviz_layers._common.arrays import Array
from torchviz_layers.neighbors.search import find
from torchviz_layers.reducers.initialization import FAINT, ROUNDS, SIDE, SPARE, STEPS, first_positions, noise
from torchviz_layers.reducers.problem import Problem, fit_curve
from torchviz_layers.reducers.torch_graph import TorchGraph, fuzzy_graph, row_sums
from torchviz_layers.reducers.torch_optimization import optimize


def fit(problem: Problem) -> tuple[Array, None]:
    """Lay the problem's rows out, (n_samples, n_components) float32.

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
    """Return the first positions as the numba engine has them, (n, n_components) float64, on the rows' device.

    Without a graph the principal axes are not diffused.
    """
    if problem.start not in ("diffusion", "pca"):
        return torch.from_numpy(first_positions(problem)).to(rows.device)
    scores = _principal_components(rows, problem.n_components)
    if problem.start == "diffusion" and graph is not None:
        scores = _diffused(scores, graph)
    largest = scores.abs().max()
    if not bool(largest > 0):  # all rows are alike
        return torch.from_numpy(first_positions(replace(problem, init="random"))).to(rows.device)
    offsets = torch.from_numpy(noise(tuple(scores.shape), problem.seed)).to(rows.device)
    return scores / largest * SIDE + offsets


def _diffused(scores: torch.Tensor, graph: TorchGraph) -> torch.Tensor:
    """Positions after every vertex has moved to its neighbours' mean time and again: `start.diffused`."""
    weights = graph.weights.double()[:, None]
    totals = row_sums(weights, graph.offsets)
    spreads = scores.std(dim=0)
    for _ in range(STEPS):
        moved = row_sums(weights * scores[graph.neighbors], graph.offsets) / totals
        moved = torch.where(totals > 0, moved, scores)
        if bool((moved.std(dim=0) < FAINT * spreads).any()):
            break
        scores = moved
    return scores - scores.mean(dim=0)


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
