"""Measures and the layout's kernel on a card; the CPU and plain torch are the judges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.cuda.bench import Bench, has, made_up
from benchmarks.cuda.goals import MEASURED, NOT_MEASURED, Goal
from benchmarks.cuda.search import K, shape
from torchviz_layers import metrics
from torchviz_layers.neighbors import cuda, lists

FEW_EPOCHS = 3  # after more of them rounding has moved the vertices apart


def measuring(bench: Bench) -> Iterator[Goal]:
    """Hold every measure on the device beside the CPU's."""
    _, X, labels = bench.pixels(bench.size(5_000, 400))
    Z = np.random.default_rng(0).normal(size=(len(X), 2)) + X[:, :2]
    jobs: dict[str, Any] = {
        "trustworthiness": lambda device: metrics.trustworthiness(X, Z, device=device),
        "continuity": lambda device: metrics.continuity(X, Z, device=device),
        "knn_recall": lambda device: metrics.knn_recall(X, Z, device=device),
        "knn_accuracy": lambda device: metrics.knn_accuracy(X, labels, device=device),
        "neighborhood_hit": lambda device: metrics.neighborhood_hit(X, labels, device=device),
        "silhouette": lambda device: metrics.silhouette(X, labels, device=device),
        "linear_probe_accuracy": lambda device: metrics.linear_probe_accuracy(X, labels, device=device),
        "distance_spearman": lambda device: metrics.distance_spearman(X, Z, device=device),
        "linear_cka": lambda device: metrics.linear_cka(X, X[:, :100], device=device),
    }
    for name, job in jobs.items():
        yield _near(bench, f"{name} of {shape(X)}", job, 1e-6)


def _near(bench: Bench, name: str, job: Callable[[Any], float], within: float) -> Goal:
    """Hold a measure on the device beside the CPU's."""
    wanted = f"the CPU's within {within:g}"

    def compare() -> Goal:
        off = abs(job(bench.device) - job("cpu"))
        return bench.judge(name, wanted, f"{off:.1e} off", off <= within, off=off)

    return bench.attempt(name, wanted, compare)


def full_precision(bench: Bench) -> Iterator[Goal]:
    """Measure as a user who has asked for TF32, at a size at which the linear probe computes in float32."""
    wanted = "the same as with TF32 off"
    if not bench.on_card:
        yield Goal("measures with TF32 on", wanted, "only a card has TF32", NOT_MEASURED)
        return
    _, X, labels = bench.pixels(40_000)
    rows, half = torch.as_tensor(X, device=bench.device), torch.as_tensor(X[:, :400], device=bench.device)
    points, _ = made_up(20_000, 64, bench.device)

    def searched() -> list[list[int]]:
        indices, _ = lists.search(points, K, "euclidean", 0, bench.device)
        found: list[list[int]] = indices.tolist()
        return found

    jobs: dict[str, Callable[[], Any]] = {
        f"linear_probe_accuracy of {shape(rows)}": lambda: metrics.linear_probe_accuracy(rows, labels),
        f"linear_cka of {shape(rows)}": lambda: metrics.linear_cka(rows, half),
        f"neighbours of {shape(points)}, inverted lists": searched,
    }
    for name, job in jobs.items():
        name = f"{name}, TF32 on"
        yield bench.attempt(name, wanted, partial(_with_tf32, bench, name, wanted, job))
    yield _near(
        bench,
        f"linear_probe_accuracy of {shape(rows)}",
        lambda device: metrics.linear_probe_accuracy(X, labels, device=device),
        1e-3,  # of the rows: in float32 the card's sums and the CPU's decide some of them otherwise
    )


def _with_tf32(bench: Bench, name: str, wanted: str, job: Callable[[], Any]) -> Goal:
    off = job()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        on = job()
    finally:
        torch.set_float32_matmul_precision(before)
    return bench.judge(name, wanted, "the same" if on == off else "another result", on == off)


def layout(bench: Bench) -> Iterator[Goal]:
    """Check the Triton kernel against plain torch, and time an epoch of both: short ones are the launch alone."""
    from torchviz_layers.reducers.torch_graph import fuzzy_graph
    from torchviz_layers.reducers.torch_optimization import optimize

    if not has("triton"):
        yield bench.without("the Triton kernel of the layout", "what plain torch computes", "Triton")
        return
    for n in (1_000, 10_000, 100_000) if bench.on_card else (100,):
        X, _ = made_up(n, 32, bench.device)
        graph = fuzzy_graph(*cuda.search(X, 14, None, "euclidean", bench.device), 15)
        start = X[:, :2].double() / X[:, :2].abs().max() * 10
        run = partial(optimize, graph, start, (1.577, 0.895))
        yield bench.attempt(*_kernel_goal(n), partial(_as_plain_torch, bench, n, run))
        for name, use in (("Triton", True), ("plain torch", False)) if bench.on_card else ():
            yield _epoch(bench, f"an epoch of the layout by {name}, {n:,} vertices", partial(run, use_triton=use))


def _kernel_goal(n: int) -> tuple[str, str]:
    return f"the layout's kernel, {n:,} vertices, {FEW_EPOCHS} epochs", "plain torch's positions within 1e-3 of 10"


def _as_plain_torch(bench: Bench, n: int, run: Callable[..., torch.Tensor]) -> Goal:
    kernel, plain = (run(FEW_EPOCHS, 0, use_triton=use) for use in (True, False))
    off = float((kernel - plain).abs().max())
    return bench.judge(*_kernel_goal(n), f"{off:.1e} off", off <= 1e-3, off=off)


def _epoch(bench: Bench, name: str, run: Callable[..., torch.Tensor]) -> Goal:
    """Time an epoch: the difference of two runs, so that what a layout prepares once is not in it."""
    few, many = bench.size(100, 10), bench.size(400, 40)

    def job() -> Goal:
        (short, _), (long, _) = (bench.clock(partial(run, epochs, 0)) for epochs in (few, many))
        each = (long["seconds"] - short["seconds"]) / (many - few)
        figures = {
            "microseconds": each * 1e6,
            "set_up_seconds": short["seconds"] - few * each,
            "repeats": [short["repeats"], long["repeats"]],
            "peak_mb": long["peak_mb"],
        }
        return Goal(name, "", f"{each * 1e6:.0f} us", MEASURED, figures)

    return bench.attempt(name, "", job)
