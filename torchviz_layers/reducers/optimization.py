"""UMAP's layout as synchronous steps: parallel, and the same bytes for any number of threads.

UMAP minimises the cross-entropy between the edges' probabilities p and those of the map, 1 / (1 + a d^2b) at distance
d (L. McInnes, J. Healy, J. Melville, arXiv 1802.03426, section 3.2). Its gradient is an attraction along each edge and
a repulsion from all other vertices, of which a few are drawn at random. For vertex x in epoch t, with edges to y and
random vertices z,

    x <- x + rate(t) s(x) ( sum_y p(x, y) clip_8(2 F(x - y)) + r(x) sum_z clip_4(G(x - z)) )

    F(u) = -2 a b |u|^(2b - 2) / (1 + a |u|^2b) u         attraction
    G(u) = 2 b / ((0.001 + |u|^2) (1 + a |u|^2b)) u       repulsion

F and G are umap-learn's (`umap.layouts`), and so are the clips: 4 for a force, and 8 for twice a force.

In umap-learn an edge moves both of its ends at once, so that threads race for positions and a seed means one thread.
Here every vertex reads the positions of the previous epoch and writes only its own new one. Each edge is stored in both
directions, and umap-learn moves both ends for each of the two; hence the 2 above. Two more changes make the steps
regular, so that they vectorise and suit a GPU:

- An edge pulls in every epoch with its probability as weight. In umap-learn it pulls in a share p of the epochs.
- A vertex draws a fixed number of random vertices. Their weight r(x) gives the push that umap-learn's 5 draws for each
  pull would give: r(x) = 5 sum_y p(x, y) / `NEGATIVES`.

Steps that add many pulls at once overshoot where umap-learn's one by one do not. The learning rate is lower for it
(0.2, not 1), and lower still for a hub: s(x) = min(1, `HUB` / sum_y p(x, y)). Measured, this keeps umap-learn's quality
(`benchmarks/quality.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit
from torchviz_layers.reducers.graph import Graph
from torchviz_layers.reducers.optimization_kernels import LANES, NEGATIVES, run_epochs
from torchviz_layers.reducers.threads import ThreadSchedule

Progress = Callable[[int, Array], bool]

LEARNING_RATE = 0.2
NEGATIVE_RATE = 5.0  # pushes for one pull, umap-learn's negative_sample_rate
HUB = 16.0  # total edge weight above which a vertex takes shorter steps


class PaddedGraph:
    """The graph as the kernels read it: each row's edges are padded to whole groups of `LANES` with weight 0.

    Parameters
    ----------
    graph
        Edges with their weights.
    n_epochs
        Edges of a probability below 1 / n_epochs are left out: umap-learn would not let them pull once.
    relative
        Divide the weights by the largest, so that the heaviest edge has probability 1. False where a vertex's edges
        must not depend on those of others.

    Attributes
    ----------
    offsets : ndarray of shape (n + 1,), int64
    neighbors, weights : ndarrays of shape (n_padded_edges,)
    pushes, steps : ndarrays of shape (n,), float32
        r(x) and s(x) of the formula above.
    """

    def __init__(self, graph: Graph, n_epochs: int, *, relative: bool = True) -> None:
        largest = graph.weights.max(initial=0.0) if relative else 1.0
        probability = graph.weights / np.float32(largest or 1.0)
        with LOCK:
            self.offsets, self.neighbors, self.weights = _padded(
                graph.offsets, graph.neighbors, probability, np.float32(1.0 / n_epochs)
            )
            total = _row_sums(self.offsets, self.weights)
        self.pushes = (total * (NEGATIVE_RATE / NEGATIVES)).astype(np.float32)
        self.steps = np.minimum(1.0, HUB / np.maximum(total, 1e-9)).astype(np.float32)


def optimize(
    graph: PaddedGraph,
    start: Array,
    curve: tuple[float, float],
    n_epochs: int,
    seed: int,
    *,
    keys: Array | None = None,
    fixed: Array | None = None,
    learning_rate: float = LEARNING_RATE,
    progress: Progress | None = None,
) -> Array:
    """Move vertices to where attraction and repulsion balance.

    Parameters
    ----------
    graph
        Edges of the n vertices to move.
    start
        First positions, (n, n_components).
    curve
        The parameters a and b of 1 / (1 + a d^2b).
    n_epochs, seed, learning_rate
        The schedule: the learning rate falls linearly to 0.
    keys
        (n,) uint32: a vertex's random draws depend on the seed, the epoch and its key. Default: its row.
    fixed
        Positions (n_fixed, n_components) that edges and draws refer to and that do not move, for new points among
        fitted ones. Default: the vertices themselves.
    progress
        Called with the epochs done and the positions, about ten times a second; returning True stops.

    Returns
    -------
    Positions (n, n_components), float32.
    """
    # Coordinates are rows, (n_components, n), so that one coordinate of many vertices is contiguous.
    now = np.ascontiguousarray(start.T, np.float32)
    after = now.copy()
    keys = np.arange(len(start), dtype=np.uint32) if keys is None else keys
    others = now[:, :0] if fixed is None else np.ascontiguousarray(fixed.T, np.float32)
    done, schedule = 0, ThreadSchedule()
    while done < n_epochs:
        count = min(schedule.epochs, n_epochs - done)
        with LOCK, schedule.measured(count):
            run_epochs(
                now, after, others, graph.offsets, graph.neighbors, graph.weights, graph.pushes, graph.steps, keys,
                done, count, n_epochs, np.float32(curve[0]), np.float32(curve[1]), np.uint32(seed & 0xFFFFFFFF),
                np.float32(learning_rate),
            )  # fmt: skip
        if count % 2:  # the kernel swaps both arrays after every epoch
            now, after = after, now
        done += count
        if progress is not None and progress(done, now.T):
            break
    return np.ascontiguousarray(now.T)


@jit
def _padded(offsets: Array, neighbors: Array, weights: Array, least: np.float32) -> tuple[Array, Array, Array]:
    """Leave out edges of a probability below `least`, and pad each row's edges to whole groups of `LANES`."""
    n = offsets.shape[0] - 1
    starts = np.zeros(n + 1, np.int64)
    for i in range(n):
        count = 0
        for e in range(offsets[i], offsets[i + 1]):
            count += weights[e] >= least
        starts[i + 1] = starts[i] + (count + LANES - 1) // LANES * LANES
    # Padding is an edge of weight 0 to vertex 0.
    near, weight = np.zeros(starts[n], np.int32), np.zeros(starts[n], np.float32)
    for i in range(n):
        slot = starts[i]
        for e in range(offsets[i], offsets[i + 1]):
            if weights[e] >= least:
                near[slot], weight[slot] = neighbors[e], weights[e]
                slot += 1
    return starts, near, weight


@jit
def _row_sums(offsets: Array, weights: Array) -> Array:
    """Return the total weight of each vertex's edges, (n,) float64."""
    sums = np.zeros(offsets.shape[0] - 1, np.float64)
    for i in range(sums.shape[0]):
        for e in range(offsets[i], offsets[i + 1]):
            sums[i] += weights[e]
    return sums
