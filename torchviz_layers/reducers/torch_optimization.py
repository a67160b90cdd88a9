"""The layout in torch, by a Triton kernel on CUDA or in plain torch; `optimization` has the formulas.

Random numbers are the numba engine's: the same hash of (seed, epoch, vertex, number of the draw).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import numpy as np
import torch

from torchviz_layers.reducers.optimization import HUB, LEARNING_RATE, NEGATIVE_RATE, Progress
from torchviz_layers.reducers.optimization_kernels import NEGATIVES
from torchviz_layers.reducers.torch_graph import TorchGraph, row_sums

Step = Callable[[torch.Tensor, torch.Tensor, float, int], None]

_BLOCK_SECONDS = 0.1  # between two calls of `progress`
_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


def optimize(
    graph: TorchGraph,
    start: torch.Tensor,
    curve: tuple[float, float],
    n_epochs: int,
    seed: int,
    *,
    learning_rate: float = LEARNING_RATE,
    progress: Progress | None = None,
    use_triton: bool | None = None,
) -> torch.Tensor:
    """Move vertices as `optimization.optimize` does; its arguments, with a graph that is not padded.

    `use_triton` None: if the positions are on a card and Triton is installed.
    """
    now = start.T.float().contiguous()  # (n_components, n)
    after = now.clone()
    if use_triton is None:
        use_triton = now.is_cuda and importlib.util.find_spec("triton") is not None
    step = _triton_step(graph, curve, n_epochs) if use_triton else _torch_step(graph, curve, n_epochs)
    reported = time.perf_counter()
    for epoch in range(n_epochs):
        rate = float(np.float32(learning_rate) * np.float32(1.0 - epoch / n_epochs))
        step(now, after, rate, mix(seed ^ mix(epoch)))
        now, after = after, now
        if progress is not None and (time.perf_counter() - reported > _BLOCK_SECONDS or epoch + 1 == n_epochs):
            reported = time.perf_counter()
            if progress(epoch + 1, now.T.cpu().numpy()):
                break
    return now.T.contiguous()


def mix(value: int) -> int:
    """Hash 32 bits: `_common.numba.mix` in Python."""
    h = value & _MASK
    h ^= h >> 16
    h = h * 0x7FEB352D & _MASK
    h ^= h >> 15
    h = h * 0x846CA68B & _MASK
    return h ^ h >> 16


def _schedule(graph: TorchGraph, n_epochs: int) -> tuple[TorchGraph, torch.Tensor, torch.Tensor]:
    """Return the edges that are kept with their probabilities, and r(x) and s(x): `optimization.PaddedGraph`."""
    n = len(graph.offsets) - 1
    largest = graph.weights.max() if len(graph.weights) else torch.ones(())
    probability = graph.weights / largest
    keep = probability >= np.float32(1.0 / n_epochs)
    rows = torch.repeat_interleave(torch.arange(n, device=keep.device), graph.offsets.diff())[keep]
    offsets = torch.searchsorted(rows, torch.arange(n + 1, device=keep.device))
    kept = TorchGraph(offsets, graph.neighbors[keep], probability[keep])
    total = row_sums(kept.weights.double()[:, None], offsets)[:, 0]
    return kept, (total * (NEGATIVE_RATE / NEGATIVES)).float(), (HUB / total.clamp(min=1e-9)).clamp(max=1.0).float()


def _triton_step(graph: TorchGraph, curve: tuple[float, float], n_epochs: int) -> Step:
    from torchviz_layers.reducers.triton_kernel import launch

    kept, pushes, steps = _schedule(graph, n_epochs)
    neighbors = kept.neighbors.to(torch.int32)  # half the memory to read in every epoch

    def step(now: torch.Tensor, after: torch.Tensor, rate: float, key: int) -> None:
        launch(now, after, kept.offsets, neighbors, kept.weights, pushes, steps, curve, rate, key)

    return step


def _torch_step(graph: TorchGraph, curve: tuple[float, float], n_epochs: int) -> Step:
    kept, pushes, steps = _schedule(graph, n_epochs)
    a, b = curve
    n = len(kept.offsets) - 1
    device = kept.weights.device
    rows = torch.repeat_interleave(torch.arange(n, device=device), kept.offsets.diff())
    vertices = torch.arange(n, device=device)[:, None]
    lanes = torch.arange(NEGATIVES, device=device) * _GOLDEN & _MASK

    def step(now: torch.Tensor, after: torch.Tensor, rate: float, key: int) -> None:
        # Attraction along the edges.
        apart = now[:, rows] - now[:, kept.neighbors]  # (n_components, n_edges)
        square = apart.square().sum(0) + 1e-12
        power = square**b
        pull = (-4.0 * a * b * power / (square * (1.0 + a * power)) * apart).clamp(-8.0, 8.0) * kept.weights
        # Repulsion from random vertices; the upper half of a 32 x 32 bit product is a number below n.
        drawn = _mixed(_mixed(vertices + key) + lanes) * n >> 32  # (n, NEGATIVES)
        apart = now[:, :, None] - now[:, drawn]  # (n_components, n, NEGATIVES)
        square = apart.square().sum(0) + 1e-12
        push = (2.0 * b / ((1e-3 + square) * (1.0 + a * square**b)) * apart).clamp(-4.0, 4.0).sum(2)
        torch.add(now, rate * steps * (row_sums(pull.T.contiguous(), kept.offsets).T + pushes * push), out=after)

    return step


def _mixed(values: torch.Tensor) -> torch.Tensor:
    """Return `mix` of each entry; int64 because torch has no arithmetic of uint32."""
    h = values & _MASK
    h = h ^ (h >> 16)
    h = h * 0x7FEB352D & _MASK
    h = h ^ (h >> 15)
    h = h * 0x846CA68B & _MASK
    return h ^ (h >> 16)
