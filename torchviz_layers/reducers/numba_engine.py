"""UMAP on the CPU, compiled by Numba: neighbours, fuzzy graph, initial positions, optimization."""

from __future__ import annotations

from torchviz_layers._common.arrays import Array, as_numpy
from torchviz_layers.neighbors import knn
from torchviz_layers.reducers.graph import Graph, fuzzy_graph
from torchviz_layers.reducers.initialization import diffused, initial_positions, principal_scores
from torchviz_layers.reducers.optimization import PaddedGraph, optimize
from torchviz_layers.reducers.problem import Problem, fit_curve


def fit(problem: Problem) -> tuple[Array, None]:
    """Embed the problem's rows, (n_samples, n_components) float32."""
    indices, distances = problem.neighbors or knn(
        problem.X, problem.n_neighbors - 1, metric=problem.metric, device="cpu", random_state=problem.seed
    )
    graph = fuzzy_graph(indices, distances, problem.n_neighbors)
    with problem.progress() as progress:
        Z = optimize(
            PaddedGraph(graph, problem.epochs),
            start_positions(problem, graph),
            fit_curve(problem.spread, problem.min_dist),
            problem.epochs,
            problem.seed,
            progress=progress,
        )
    return Z, None


def start_positions(problem: Problem, graph: Graph) -> Array:
    """Return the initial positions, (n, n_components) float64."""

    def scores(diffuse: bool) -> Array:
        found = principal_scores(as_numpy(problem.X), problem.n_components)
        return diffused(found, graph) if diffuse else found

    return initial_positions(problem, scores)
