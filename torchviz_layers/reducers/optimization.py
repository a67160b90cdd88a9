"""UMAP's layout as synchronous pulls: parallel, and the same bytes for any number of threads.

In umap-learn an edge moves both of its ends at once, so that threads race for positions and a seed means one thread.
Here every vertex reads the positions of the previous epoch and writes only its own new one. Two more changes make the
steps regular, so that they vectorise and suit a GPU:

- an edge pulls in every epoch with its probability as weight, where umap-learn lets it fire now and then;
- a vertex draws a fixed number of random vertices to be pushed from, weighted to the same expected push.

Steps that add many pulls at once overshoot where umap-learn's one by one do not. The learning rate is lower for it, and
a hub's is lower still; measured, this keeps umap-learn's quality (`benchmarks/quality.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import LOCK, jit, mix, parallel_jit
from torchviz_layers.reducers.graph import Graph
from torchviz_layers.reducers.threads import Crew

Progress = Callable[[int, Array], bool]

LANES = 16  # edges and negatives are worked on side by side in groups of this many
NEGATIVES = 32  # random vertices a vertex is pushed from in an epoch
LEARNING_RATE = 0.2
NEGATIVE_RATE = 5.0  # pushes for one pull, umap-learn's negative_sample_rate
HUB = 16.0  # total edge weight above which a vertex takes shorter steps
_BATCH = 64  # vertices a thread takes at once

_GOLDEN = np.uint32(0x9E3779B9)
# log2(m) on [1, 2) and 2**f on [0, 1): least-squares polynomials on Chebyshev nodes, errors 1.4e-5 and 3.8e-6.
_L0, _L1, _L2 = np.float32(-2.7941537), np.float32(5.0697565), np.float32(-3.5202188)
_L3, _L4, _L5 = np.float32(1.6101775), np.float32(-0.40947559), np.float32(0.043928627)
_E0, _E1, _E2 = np.float32(1.0000036), np.float32(0.69296956), np.float32(0.24162132)
_E3, _E4 = np.float32(0.051717736), np.float32(0.013683983)
_ONE, _PUSH_CLIP, _PULL_CLIP = np.float32(1.0), np.float32(4.0), np.float32(8.0)
_TINY, _CLOSE = np.float32(1e-12), np.float32(1e-3)


class Pulls:
    """The graph as the kernels read it: rows of edges padded to whole groups of `LANES` with weight 0.

    `relative` makes the heaviest edge's probability 1; a vertex's edges then depend on the whole graph.
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
    pulls: Pulls,
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
    """Lay vertices out.

    Parameters
    ----------
    pulls
        Edges of the n vertices to move.
    start
        First positions, (n, n_components).
    curve
        a and b of 1 / (1 + a d^2b).
    n_epochs, seed, learning_rate
        The schedule: the rate falls linearly to 0.
    keys
        (n,) uint32: what a vertex's random draws depend on besides seed and epoch. Default: its row.
    fixed
        Positions (n_fixed, n_components) that edges and draws refer to and that do not move: new points among old
        ones. Default: the vertices themselves.
    progress
        Called with the epochs done and the positions, about ten times a second; True stops.

    Returns
    -------
    Positions (n, n_components), float32.
    """
    now = np.ascontiguousarray(start.T, np.float32)
    after = now.copy()
    keys = np.arange(len(start), dtype=np.uint32) if keys is None else keys
    others = now[:, :0] if fixed is None else np.ascontiguousarray(fixed.T, np.float32)
    done, crew = 0, Crew()
    while done < n_epochs:
        count = min(crew.epochs, n_epochs - done)
        with LOCK, crew.at_work(count):
            _epochs(
                now, after, others, pulls.offsets, pulls.neighbors, pulls.weights, pulls.pushes, pulls.steps, keys,
                done, count, n_epochs, np.float32(curve[0]), np.float32(curve[1]), np.uint32(seed & 0xFFFFFFFF),
                np.float32(learning_rate),
            )  # fmt: skip
        if count % 2:
            now, after = after, now
        done += count
        if progress is not None and progress(done, now.T):
            break
    return np.ascontiguousarray(now.T)


@jit
def _power(x: np.float32, exponent: np.float32) -> np.float32:
    """X ** exponent for x > 0, to about 1e-5."""
    bits = np.float32(x).view(np.int32)
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    log = np.float32((bits >> 23) - 127) + (_L0 + m * (_L1 + m * (_L2 + m * (_L3 + m * (_L4 + m * _L5)))))
    scaled = max(log * exponent, np.float32(-126.0))
    whole = np.floor(scaled)
    f = scaled - whole
    fraction: np.float32 = _E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * _E4)))
    return fraction * np.int32((np.int32(whole) + 127) << 23).view(np.float32)


@jit
def _padded(offsets: Array, neighbors: Array, weights: Array, least: np.float32) -> tuple[Array, Array, Array]:
    """Drop edges too weak to fire once, and pad each row to whole groups."""
    n = offsets.shape[0] - 1
    starts = np.zeros(n + 1, np.int64)
    for i in range(n):
        count = 0
        for e in range(offsets[i], offsets[i + 1]):
            count += weights[e] >= least
        starts[i + 1] = starts[i] + (count + LANES - 1) // LANES * LANES
    near, weight = np.zeros(starts[n], np.int32), np.zeros(starts[n], np.float32)
    for i in range(n):
        place = starts[i]
        for e in range(offsets[i], offsets[i + 1]):
            if weights[e] >= least:
                near[place], weight[place] = neighbors[e], weights[e]
                place += 1
    return starts, near, weight


@jit
def _row_sums(offsets: Array, weights: Array) -> Array:
    sums = np.zeros(offsets.shape[0] - 1, np.float64)
    for i in range(sums.shape[0]):
        for e in range(offsets[i], offsets[i + 1]):
            sums[i] += weights[e]
    return sums


@jit
def _attraction(square: np.float32, a: np.float32, b: np.float32) -> np.float32:
    """Pull of an edge per unit of difference, twice: its other end does not move it in its own turn."""
    power = _power(square, b)
    return np.float32(-4.0) * a * b * power / (square * (_ONE + a * power))


@jit
def _repulsion(square: np.float32, a: np.float32, b: np.float32) -> np.float32:
    """Push from a random vertex per unit of difference."""
    return np.float32(2.0) * b / ((_CLOSE + square) * (_ONE + a * _power(square, b)))


@jit
def _clipped(force: np.float32, most: np.float32) -> np.float32:
    return min(max(force, -most), most)


@jit
def _draw(key: np.uint32, n: np.uint64, drawn: Array) -> None:
    """Fill `drawn` with random numbers below n, which follow from the key and the place alone."""
    for q in range(NEGATIVES):
        value = mix(key + np.uint32(np.uint32(q) * _GOLDEN))
        drawn[q] = np.int32((np.uint64(value) * n) >> np.uint64(32))


@jit
def _move_in_plane(
    i: int,
    now: Array,
    after: Array,
    others: Array,
    edges: tuple[int, int],
    neighbors: Array,
    weights: Array,
    drawn: Array,
    push: np.float32,
    step: np.float32,
    a: np.float32,
    b: np.float32,
    work: Array,
) -> None:
    """Move one vertex of a map in two dimensions: `_move`, with both coordinates in registers."""
    x, y = now[0, i], now[1, i]
    px, py = np.float32(0.0), np.float32(0.0)
    for group in range(edges[0], edges[1], LANES):
        for q in range(LANES):
            work[0, q], work[1, q] = others[0, neighbors[group + q]], others[1, neighbors[group + q]]
        for q in range(LANES):
            dx, dy = x - work[0, q], y - work[1, q]
            force = _attraction(dx * dx + dy * dy + _TINY, a, b)
            px += weights[group + q] * _clipped(force * dx, _PULL_CLIP)
            py += weights[group + q] * _clipped(force * dy, _PULL_CLIP)
    for q in range(NEGATIVES):
        work[0, q], work[1, q] = others[0, drawn[q]], others[1, drawn[q]]
    qx, qy = np.float32(0.0), np.float32(0.0)
    for q in range(NEGATIVES):
        dx, dy = x - work[0, q], y - work[1, q]
        force = _repulsion(dx * dx + dy * dy + _TINY, a, b)
        qx += _clipped(force * dx, _PUSH_CLIP)
        qy += _clipped(force * dy, _PUSH_CLIP)
    after[0, i], after[1, i] = x + step * (px + push * qx), y + step * (py + push * qy)


@jit
def _move(
    i: int,
    now: Array,
    after: Array,
    others: Array,
    edges: tuple[int, int],
    neighbors: Array,
    weights: Array,
    drawn: Array,
    push: np.float32,
    step: np.float32,
    a: np.float32,
    b: np.float32,
    work: Array,
) -> None:
    """Move one vertex by its edges' pulls and the drawn vertices' pushes; `work` is (n_components + 1, NEGATIVES)."""
    dims = now.shape[0]
    force = work[dims]
    for c in range(dims):
        after[c, i] = now[c, i]
    for group in range(edges[0], edges[1], LANES):
        force[:] = _TINY
        for c in range(dims):
            for q in range(LANES):
                work[c, q] = now[c, i] - others[c, neighbors[group + q]]
                force[q] += work[c, q] * work[c, q]
        for q in range(LANES):
            force[q] = _attraction(force[q], a, b)
        for c in range(dims):
            for q in range(LANES):
                after[c, i] += step * weights[group + q] * _clipped(force[q] * work[c, q], _PULL_CLIP)
    force[:] = _TINY
    for c in range(dims):
        for q in range(NEGATIVES):
            work[c, q] = now[c, i] - others[c, drawn[q]]
            force[q] += work[c, q] * work[c, q]
    for q in range(NEGATIVES):
        force[q] = _repulsion(force[q], a, b)
    for c in range(dims):
        for q in range(NEGATIVES):
            after[c, i] += step * push * _clipped(force[q] * work[c, q], _PUSH_CLIP)


@parallel_jit
def _epochs(
    first: Array,
    second: Array,
    fixed: Array,
    offsets: Array,
    neighbors: Array,
    weights: Array,
    pushes: Array,
    steps: Array,
    keys: Array,
    done: int,
    count: int,
    n_epochs: int,
    a: np.float32,
    b: np.float32,
    seed: np.uint32,
    rate: np.float32,
) -> None:
    """Run epochs `done` to `done + count`; positions lie as (n_components, n), the last epoch's in first or second."""
    dims, n = first.shape
    for epoch in range(done, done + count):
        now = first if (epoch - done) % 2 == 0 else second
        after = second if (epoch - done) % 2 == 0 else first
        others = now if fixed.shape[1] == 0 else fixed
        alpha = rate * np.float32(1.0 - epoch / n_epochs)
        epoch_key = mix(seed ^ mix(np.uint32(epoch)))
        for batch in prange((n + _BATCH - 1) // _BATCH):
            work = np.empty((dims + 1, NEGATIVES), np.float32)
            drawn = np.empty(NEGATIVES, np.int32)
            for i in range(batch * _BATCH, min(n, (batch + 1) * _BATCH)):
                _draw(mix(epoch_key + keys[i]), np.uint64(others.shape[1]), drawn)
                edges = offsets[i], offsets[i + 1]
                step = alpha * steps[i]
                if dims == 2:
                    _move_in_plane(i, now, after, others, edges, neighbors, weights, drawn, pushes[i], step, a, b, work)
                else:
                    _move(i, now, after, others, edges, neighbors, weights, drawn, pushes[i], step, a, b, work)
