"""One epoch of the layout as a Triton kernel: `optimization_kernels._move` for a tile of vertices at once.

A program moves `_VERTICES` vertices. Blocks of edges are (VERTICES, LANES), of random vertices (VERTICES, NEGATIVES).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from torchviz_layers.reducers.optimization_kernels import LANES, NEGATIVES

_VERTICES = 8  # vertices of a program; with LANES edges side by side they fill four warps


def launch(
    now: torch.Tensor,
    after: torch.Tensor,
    offsets: torch.Tensor,
    neighbors: torch.Tensor,
    weights: torch.Tensor,
    pushes: torch.Tensor,
    steps: torch.Tensor,
    curve: tuple[float, float],
    rate: float,
    key: int,
) -> None:
    """Move every vertex from `now` to `after`, both (n_components, n) float32."""
    dims, n = now.shape
    key = key - 2**32 if key >= 2**31 else key  # the same bits as a signed number: one type, one compiled kernel
    grid = (triton.cdiv(n, _VERTICES),)
    _epoch[grid](
        now, after, offsets, neighbors, weights, pushes, steps, n, key, curve[0], curve[1], rate,
        DIMS=dims, PADDED=triton.next_power_of_2(dims), VERTICES=_VERTICES, LANES=LANES, NEGATIVES=NEGATIVES,
    )  # fmt: skip


@triton.jit
def _mix(h):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - Triton reads types at run time
    h = h ^ (h >> 16)
    h = h * 0x7FEB352D
    h = h ^ (h >> 15)
    h = h * 0x846CA68B
    return h ^ (h >> 16)


@triton.jit(do_not_specialize=["n", "key"])  # type: ignore[untyped-decorator]
def _epoch(  # type: ignore[no-untyped-def] # noqa: ANN202
    now, after, offsets, neighbors, weights, pushes, steps, n, key, a, b, rate,  # noqa: ANN001
    DIMS: tl.constexpr, PADDED: tl.constexpr, VERTICES: tl.constexpr, LANES: tl.constexpr, NEGATIVES: tl.constexpr,
):  # fmt: skip
    wide = tl.full((), 0, tl.int64) + n  # n_components x n may pass 2^31
    vertex = tl.program_id(0) * VERTICES + tl.arange(0, VERTICES)
    inside = vertex < n
    axis = tl.arange(0, PADDED)[None, :]
    first = tl.load(offsets + vertex, inside, 0)
    last = tl.load(offsets + vertex + 1, inside, 0)
    # Attraction. Triton has no arrays to index: sums over the edges are kept in the columns of one block.
    moved = tl.zeros((VERTICES, PADDED), tl.float32)
    for group in range(0, tl.max(last - first, 0), LANES):
        edge = first[:, None] + group + tl.arange(0, LANES)[None, :]
        there = edge < last[:, None]
        other = tl.load(neighbors + edge, there, 0)
        weight = tl.load(weights + edge, there, 0.0)
        square = tl.full((VERTICES, LANES), 1e-12, tl.float32)
        for c in tl.static_range(DIMS):
            apart = tl.load(now + c * wide + vertex, inside, 0.0)[:, None] - tl.load(now + c * wide + other)
            square += apart * apart
        power = tl.exp2(b * tl.log2(square))
        force = -4.0 * a * b * power / (square * (1.0 + a * power))
        # Differences are loaded again, from the cache: DIMS blocks of them would not fit in the registers.
        for c in tl.static_range(DIMS):
            apart = tl.load(now + c * wide + vertex, inside, 0.0)[:, None] - tl.load(now + c * wide + other)
            pull = tl.sum(weight * tl.minimum(tl.maximum(force * apart, -8.0), 8.0), 1)
            moved += tl.where(axis == c, pull[:, None], 0.0)
    # Repulsion from random vertices.
    lane = tl.arange(0, NEGATIVES).to(tl.uint32)[None, :] * 0x9E3779B9
    drawn = _mix(_mix(vertex.to(tl.uint32) + key.to(tl.uint32))[:, None] + lane)
    other = tl.umulhi(drawn, tl.full((VERTICES, NEGATIVES), 0, tl.uint32) + n.to(tl.uint32)).to(tl.int32)
    square = tl.full((VERTICES, NEGATIVES), 1e-12, tl.float32)
    for c in tl.static_range(DIMS):
        apart = tl.load(now + c * wide + vertex, inside, 0.0)[:, None] - tl.load(now + c * wide + other)
        square += apart * apart
    force = 2.0 * b / ((1e-3 + square) * (1.0 + a * tl.exp2(b * tl.log2(square))))
    share = tl.load(pushes + vertex, inside, 0.0)
    step = rate * tl.load(steps + vertex, inside, 0.0)
    for c in tl.static_range(DIMS):
        own = tl.load(now + c * wide + vertex, inside, 0.0)
        apart = own[:, None] - tl.load(now + c * wide + other)
        push = tl.sum(tl.minimum(tl.maximum(force * apart, -4.0), 4.0), 1)
        pull = tl.sum(tl.where(axis == c, moved, 0.0), 1)
        tl.store(after + c * wide + vertex, own + step * (pull + share * push), inside)
