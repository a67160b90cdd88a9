"""Run the Triton kernel in Triton's interpreter for eight of so many vertices that 32 bits cannot count their numbers.

The positions lie in memory of which only the pages that are used exist. Run with ``TRITON_INTERPRET=1 python -m
tests.huge_layout``; it raises an AssertionError where the kernel computes something else than the formula.
"""

from __future__ import annotations

import mmap

import numpy as np
import torch

MAP_NORESERVE = 0x4000  # of Linux; Python has no name for it everywhere
N = 2**30 + 7
DIMS = 3
VERTICES = 8
EDGES = 4  # of each vertex
CURVE = (1.577, 0.895)
RATE, KEY = 0.5, 0xFEDCBA98


def sparse_positions() -> torch.Tensor:
    """Return zeros (DIMS, N); raise OSError where the system has no memory that is not reserved beforehand."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    pages = mmap.mmap(-1, 4 * DIMS * N, flags)
    return torch.frombuffer(pages, dtype=torch.float32).view(DIMS, N)


def drawn_vertices() -> np.ndarray:
    """Return the vertices that each of the eight is pushed away from."""
    from torchviz_layers.reducers.optimization_kernels import NEGATIVES
    from torchviz_layers.reducers.torch_optimization import mix

    lanes = [mix(KEY + vertex) for vertex in range(VERTICES)]
    return np.array([[mix(lane + q * 0x9E3779B9) * N >> 32 for q in range(NEGATIVES)] for lane in lanes])


def moved_by_formula(now, neighbors, drawn, weights, pushes, steps) -> np.ndarray:
    """Return where the eight vertices move to, (DIMS, VERTICES) float64."""
    a, b = CURVE
    moved = []
    for vertex in range(VERTICES):
        own = now[:, vertex, None].double().numpy()
        apart = own - now[:, neighbors[vertex]].double().numpy()  # (DIMS, EDGES)
        square = (apart**2).sum(0) + 1e-12
        pull = np.clip(-4 * a * b * square ** (b - 1) / (1 + a * square**b) * apart, -8, 8) @ weights[vertex]
        apart = own - now[:, drawn[vertex]].double().numpy()
        square = (apart**2).sum(0) + 1e-12
        push = np.clip(2 * b / ((1e-3 + square) * (1 + a * square**b)) * apart, -4, 4).sum(1)
        moved.append(own[:, 0] + RATE * steps[vertex] * (pull + pushes[vertex] * push))
    return np.stack(moved, axis=1)


def main() -> None:
    """Move the vertices, and hold the result beside the formula."""
    from torchviz_layers.reducers import triton_kernel
    from torchviz_layers.reducers.optimization_kernels import LANES, NEGATIVES

    rng = np.random.default_rng(0)
    now, after = sparse_positions(), sparse_positions()
    neighbors = N - 1 - rng.permutation(10_000)[: VERTICES * EDGES].reshape(VERTICES, EDGES)
    drawn = drawn_vertices()
    for vertices in (np.arange(VERTICES), neighbors.ravel(), np.unique(drawn)):
        now[:, vertices] = torch.from_numpy(rng.normal(size=(DIMS, len(vertices))) * 3).float()
    weights = rng.uniform(0.2, 1, neighbors.shape).astype(np.float32)
    pushes, steps = rng.uniform(0.2, 1, (2, VERTICES)).astype(np.float32)
    offsets = torch.arange(0, VERTICES * EDGES + 1, EDGES)
    edges = torch.from_numpy(neighbors.ravel()).int()
    numbers = map(torch.from_numpy, (weights.ravel(), pushes, steps))
    triton_kernel._epoch[1,](
        now, after, offsets, edges, *numbers, N, KEY - 2**32, *CURVE, RATE,
        DIMS=DIMS, PADDED=4, VERTICES=VERTICES, LANES=LANES, NEGATIVES=NEGATIVES,
    )  # fmt: skip
    expected = moved_by_formula(now, neighbors, drawn, weights, pushes, steps)
    found = after[:, :VERTICES].numpy()
    assert np.abs(expected - now[:, :VERTICES].numpy()).min() > 1e-3  # every one moves
    np.testing.assert_allclose(found, expected, atol=1e-4)


if __name__ == "__main__":
    main()
