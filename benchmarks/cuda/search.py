"""Exact neighbours on a card; the CPU's search and float64 differences are the judges."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.cuda.bench import Bench, extracted_softmax
from benchmarks.cuda.goals import Goal
from torchviz_layers.neighbors import cuda, knn

K = 15
EXACT = "indices and order of the CPU's exact search"
BY_DIFFERENCES = "indices and order by float64 differences"
_TILE_ROWS = 2**16  # points that are float64 at once: all of a million of 512 features would be 4 GB
_DISTANCES = 2**25  # distances in float64 that are sorted at once: 256 MB, and as much again three times


def neighbors(bench: Bench) -> Iterator[Goal]:
    """Check exact neighbours against the CPU's and, where these would take long, against float64 differences."""
    what, X, _ = bench.pixels(bench.size(10_000, 1_000))
    points = torch.as_tensor(X, device=bench.device)
    name = f"neighbours of {shape(X)} {what}"
    yield bench.attempt(name, EXACT, lambda: _as_on_the_cpu(bench, name, points, X))

    precision = "neighbours with TF32 and autocast on", "the same bytes, settings kept"
    yield bench.attempt(*precision, lambda: _any_precision(bench, *precision, points))

    softmax, _ = extracted_softmax(bench, bench.size(10_000, 1_000))
    named = f"neighbours of {shape(softmax)} near-duplicates (a softmax)"
    near = torch.as_tensor(softmax, device=bench.device)
    yield bench.attempt(named, EXACT, lambda: _as_on_the_cpu(bench, named, near, softmax))

    what, X, _ = bench.pixels(bench.size(70_000, 1_200))
    yield _many(bench, what, torch.as_tensor(X, device=bench.device))


def _as_on_the_cpu(bench: Bench, name: str, points: torch.Tensor, X: np.ndarray) -> Goal:
    figures, (found, _) = bench.clock(partial(_exact, bench, points))
    wanted, _ = knn(X, K, device="cpu", method="exact")
    return _same_rows(bench, name, EXACT, found, wanted, figures)


def _many(bench: Bench, what: str, points: torch.Tensor) -> Goal:
    """Check some rows of many."""
    asked = np.random.default_rng(0).choice(len(points), bench.size(2_000, 100), replace=False)
    name = f"neighbours of {shape(points)} {what}, {len(asked):,} rows of them"

    def job() -> Goal:
        figures, (found, _) = bench.clock(partial(_exact, bench, points))
        wanted = by_differences(points, torch.as_tensor(asked, device=bench.device)).cpu().numpy()
        return _same_rows(bench, name, BY_DIFFERENCES, found[asked], wanted, figures)

    return bench.attempt(name, BY_DIFFERENCES, job)


def _exact(bench: Bench, X: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Search as `knn` does on a card, on any device."""
    indices, distances = cuda.search(X, K, None, "euclidean", bench.device)
    return indices.cpu().numpy(), distances.cpu().numpy()


def by_differences(points: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Return the neighbours of some rows by differences in float64, equal distances by the lower index."""
    found = []
    for part in torch.split(asked, max(1, _DISTANCES // len(points))):
        here = points[part].double()
        tiles = [
            torch.cdist(here, tile.double(), compute_mode="donot_use_mm_for_euclid_dist")
            for tile in torch.split(points, _TILE_ROWS)
        ]
        far = torch.cat(tiles, dim=1)
        far.scatter_(1, part[:, None], torch.inf)
        found.append(far.sort(dim=1, stable=True).indices[:, :K])
    return torch.cat(found)


def _same_rows(
    bench: Bench, name: str, goal: str, found: np.ndarray, wanted: np.ndarray, figures: dict[str, Any]
) -> Goal:
    same = int((found == wanted).all(axis=1).sum())
    reached = same == len(wanted) > 0
    return bench.judge(name, goal, f"{same:,} of {len(wanted):,} rows equal", reached, **figures)


def _any_precision(bench: Bench, name: str, wanted: str, points: torch.Tensor) -> Goal:
    """Search again as a user who has asked for TF32 and is under autocast."""
    found, far = _exact(bench, points)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with torch.autocast(bench.device.type, dtype=torch.bfloat16):
            again, distances = _exact(bench, points)
        left = torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    same = found.tobytes() == again.tobytes() and far.tobytes() == distances.tobytes()
    summary = f"{'the same' if same else 'other'} bytes, settings {'kept' if left else 'changed'}"
    return bench.judge(name, wanted, summary, same and left)


def shape(X: Any) -> str:
    """Return the shape of rows in words."""
    return f"{X.shape[0]:,} x {X.shape[1]}"
