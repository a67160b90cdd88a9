"""UMAP's layout as synchronous pulls: parallel, and the same bytes for any number of threads.

In umap-learn an edge moves both of its ends at once, so that threads race for positions and a seed means one thread.
Here every vertex reads the positions of the previous epoch and writes only its own new one. Two more changes make the
steps regular, so that they vectorise and suit a GPU:

- an edge pulls in every epoch with its probability as weight, where umap-learn lets it fire now and then;
- a vertex draws a fixed number of random vertices to be pushed from, weighted to the same expected push.

Steps that add many pulls at once overshoot where umap-learn's one by one do not. The learning rate is lower for it, and
a hub's is lower still; measured, this reaches umap-learn's quality in fewer epochs (docs: the quality table).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from torchviz_layers._numba import LOCK, jit, parallel_jit
from torchviz_layers.reduce.graph import Graph

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[int, Array], bool]

LANES = 16  # edges and negatives are worked on side by side in groups of this many
NEGATIVES = 32  # random vertices a vertex is pushed from in an epoch
LEARNING_RATE = 0.18
_NEGATIVE_RATE = 5.0  # pushes for one pull, umap-learn's negative_sample_rate
_HUB = 16.0  # total edge weight above which a vertex takes shorter steps
_BLOCK_SECONDS = 0.1  # epochs between two looks at the clock, at Ctrl-C and at the callback
_BATCH = 64  # vertices a thread takes at once

_GOLDEN = np.uint32(0x9E3779B9)
# log2(m) on [1, 2) and 2**f on [0, 1): least-squares polynomials on Chebyshev nodes, errors 1.4e-5 and 3.8e-6.
_L0, _L1, _L2 = np.float32(-2.7941537), np.float32(5.0697565), np.float32(-3.5202188)
_L3, _L4, _L5 = np.float32(1.6101775), np.float32(-0.40947559), np.float32(0.043928627)
_E0, _E1, _E2 = np.float32(1.0000036), np.float32(0.69296956), np.float32(0.24162132)
_E3, _E4 = np.float32(0.051717736), np.float32(0.013683983)
_ONE, _TWO, _CLIP = np.float32(1.0), np.float32(2.0), np.float32(4.0)
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
        self.pushes = (total * (_NEGATIVE_RATE / NEGATIVES)).astype(np.float32)
        self.steps = np.minimum(1.0, _HUB / np.maximum(total, 1e-9)).astype(np.float32)


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
    done, block = 0, 1
    while done < n_epochs:
        count = min(block, n_epochs - done)
        began = time.perf_counter()
        with LOCK:
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
        elapsed = time.perf_counter() - began
        block = max(1, min(4 * count, int(count * _BLOCK_SECONDS / max(elapsed, 1e-6))))
    return np.ascontiguousarray(now.T)


@jit
def mix(value: np.uint32) -> np.uint32:
    """Hash 32 bits (a bijection with full avalanche; constants found by C. Wellons, "hash-prospector")."""
    h = np.uint32(value)
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x846CA68B))
    return np.uint32(h ^ (h >> np.uint32(16)))


@jit
def _power(x: np.float32, exponent: np.float32) -> np.float32:
    """x ** exponent for x > 0, to about 1e-5."""
    bits = np.float32(x).view(np.int32)
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    log = np.float32((bits >> 23) - 127) + (_L0 + m * (_L1 + m * (_L2 + m * (_L3 + m * (_L4 + m * _L5)))))
    scaled = max(log * exponent, np.float32(-126.0))
    whole = np.floor(scaled)
    f = scaled - whole
    fraction = _E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * _E4)))
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
    """Run epochs `done` to `done + count`; positions lie as (n_components, n), and the last epoch's in first or second."""
    dims, n = first.shape
    for step in range(count):
        now = first if step % 2 == 0 else second
        after = second if step % 2 == 0 else first
        others = now if fixed.shape[1] == 0 else fixed
        n_others = np.uint64(others.shape[1])
        alpha = rate * np.float32(1.0 - (done + step) / n_epochs)
        epoch_key = mix(seed ^ mix(np.uint32(done + step)))
        for batch in prange((n + _BATCH - 1) // _BATCH):
            apart = np.empty((dims, NEGATIVES), np.float32)
            square = np.empty(NEGATIVES, np.float32)
            force = np.empty(NEGATIVES, np.float32)
            drawn = np.empty(NEGATIVES, np.int32)
            total = np.empty(dims, np.float32)
            for i in range(batch * _BATCH, min(n, (batch + 1) * _BATCH)):
                total[:] = 0.0
                for group in range(offsets[i], offsets[i + 1], LANES):
                    square[:LANES] = _TINY
                    for c in range(dims):
                        own = now[c, i]
                        for q in range(LANES):
                            apart[c, q] = own - others[c, neighbors[group + q]]
                        for q in range(LANES):
                            square[q] += apart[c, q] * apart[c, q]
                    for q in range(LANES):
                        power = _power(square[q], b)
                        force[q] = -_TWO * a * b * power / (square[q] * (_ONE + a * power))
                    for c in range(dims):
                        pull = np.float32(0.0)
                        for q in range(LANES):
                            pull += weights[group + q] * min(max(force[q] * apart[c, q], -_CLIP), _CLIP)
                        total[c] += _TWO * pull  # the edge's other end does not push back in its own turn
                key = mix(epoch_key + keys[i])
                for q in range(NEGATIVES):
                    draw = mix(key + np.uint32(np.uint32(q) * _GOLDEN))
                    drawn[q] = np.int32((np.uint64(draw) * n_others) >> np.uint64(32))
                square[:] = _TINY
                for c in range(dims):
                    own = now[c, i]
                    for q in range(NEGATIVES):
                        apart[c, q] = own - others[c, drawn[q]]
                    for q in range(NEGATIVES):
                        square[q] += apart[c, q] * apart[c, q]
                for q in range(NEGATIVES):
                    force[q] = _TWO * b / ((_CLOSE + square[q]) * (_ONE + a * _power(square[q], b)))
                for c in range(dims):
                    push = np.float32(0.0)
                    for q in range(NEGATIVES):
                        push += min(max(force[q] * apart[c, q], -_CLIP), _CLIP)
                    after[c, i] = now[c, i] + alpha * steps[i] * (total[c] + pushes[i] * push)
