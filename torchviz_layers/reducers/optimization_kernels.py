"""The compiled loops of the layout (`optimization`, which has the formulas).

Written so that compilers vectorise them: the pulls of `LANES` edges and the pushes of `NEGATIVES` vertices are computed
side by side in loops of fixed length without branches, and powers by polynomials instead of calls. Random numbers are
hashes of (seed, epoch, vertex, number of the draw), so that no thread has a state of its own.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.numba import jit, mix, parallel_jit

LANES = 16  # edges that are computed side by side; each vertex's edges are padded to a multiple
NEGATIVES = 32  # random vertices a vertex is pushed from in an epoch
_BATCH = 64  # vertices a thread takes at once

_GOLDEN = np.uint32(0x9E3779B9)  # 2^32 over the golden ratio: multiples of it are far from each other
# log2(m) on [1, 2) and 2**f on [0, 1): coefficients of least-squares polynomials on Chebyshev nodes, with errors of
# 1.4e-5 and 3.8e-6.
_L0, _L1, _L2 = np.float32(-2.7941537), np.float32(5.0697565), np.float32(-3.5202188)
_L3, _L4, _L5 = np.float32(1.6101775), np.float32(-0.40947559), np.float32(0.043928627)
_E0, _E1, _E2 = np.float32(1.0000036), np.float32(0.69296956), np.float32(0.24162132)
_E3, _E4 = np.float32(0.051717736), np.float32(0.013683983)
_ONE, _PUSH_CLIP, _PULL_CLIP = np.float32(1.0), np.float32(4.0), np.float32(8.0)
_TINY = np.float32(1e-12)  # added to squared distances, whose logarithm is taken
_CLOSE = np.float32(1e-3)  # bounds the push of vertices that are very near; umap-learn's


@jit
def _power(x: np.float32, exponent: np.float32) -> np.float32:
    """X ** exponent for x > 0, to about 1e-5: 2 ** (exponent log2(x)).

    log2 is the float's own exponent plus a polynomial of its fraction m in [1, 2); 2 ** s is a float with exponent
    floor(s) times a polynomial of the rest.
    """
    bits = np.float32(x).view(np.int32)
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    log = np.float32((bits >> 23) - 127) + (_L0 + m * (_L1 + m * (_L2 + m * (_L3 + m * (_L4 + m * _L5)))))
    # Below 2^-126 there are no normal floats.
    scaled = max(log * exponent, np.float32(-126.0))
    whole = np.floor(scaled)
    f = scaled - whole
    fraction: np.float32 = _E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * _E4)))
    return fraction * np.int32((np.int32(whole) + 127) << 23).view(np.float32)


@jit
def _attraction(square: np.float32, a: np.float32, b: np.float32) -> np.float32:
    """Return twice the attraction of an edge over the difference of its ends: 2 F(u) / u."""
    power = _power(square, b)
    return np.float32(-4.0) * a * b * power / (square * (_ONE + a * power))


@jit
def _repulsion(square: np.float32, a: np.float32, b: np.float32) -> np.float32:
    """Return the repulsion from a random vertex over the difference: G(u) / u."""
    return np.float32(2.0) * b / ((_CLOSE + square) * (_ONE + a * _power(square, b)))


@jit
def _clipped(force: np.float32, most: np.float32) -> np.float32:
    return min(max(force, -most), most)


@jit
def _draw(key: np.uint32, n: np.uint64, drawn: Array) -> None:
    """Fill `drawn` with random numbers below n, each a function of the key and its own index alone.

    The upper 32 bits of value * n are as good as value % n, without a division (D. Lemire, "Fast random integer
    generation in an interval", ACM TOMACS 2019).
    """
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
        # Gathers first, in a loop of their own: the arithmetic below vectorises without them.
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
    """Move one vertex by its edges' pulls and the drawn vertices' pushes, in any number of dimensions.

    `now`, `after` and `others` are (n_components, n), `edges` the slice of the vertex's edges. `work` is scratch memory
    (n_components + 1, NEGATIVES): the differences, and in its last row squared distances, then forces.
    """
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
        # Sums in a register. Added to `after` one by one, they came out in another order in the process that compiled
        # the kernel than in those that read it from Numba's cache.
        for c in range(dims):
            pull = np.float32(0.0)
            for q in range(LANES):
                pull += weights[group + q] * _clipped(force[q] * work[c, q], _PULL_CLIP)
            after[c, i] += step * pull
    force[:] = _TINY
    for c in range(dims):
        for q in range(NEGATIVES):
            work[c, q] = now[c, i] - others[c, drawn[q]]
            force[q] += work[c, q] * work[c, q]
    for q in range(NEGATIVES):
        force[q] = _repulsion(force[q], a, b)
    for c in range(dims):
        pushed = np.float32(0.0)
        for q in range(NEGATIVES):
            pushed += _clipped(force[q] * work[c, q], _PUSH_CLIP)
        after[c, i] += step * push * pushed


@parallel_jit
def run_epochs(
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
    """Run epochs `done` to `done + count`.

    `first` (n_components, n) holds the positions; both arrays are swapped after every epoch, so that the last one's are
    in `first` if `count` is even, else in `second`. `fixed` has no columns where vertices refer to each other.
    """
    dims, n = first.shape
    for epoch in range(done, done + count):
        now = first if (epoch - done) % 2 == 0 else second
        after = second if (epoch - done) % 2 == 0 else first
        others = now if fixed.shape[1] == 0 else fixed
        # The learning rate falls linearly to 0.
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
