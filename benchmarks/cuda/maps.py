"""UMAP on a card: the same bytes for a seed, as faithful as the numba engine's maps, and how long it takes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from benchmarks import measures
from benchmarks.cuda import judges
from benchmarks.cuda.bench import Bench, CheckedUMAP, extracted_softmax, has, made_up
from benchmarks.cuda.goals import MEASURED, NOT_MEASURED, Goal
from benchmarks.cuda.search import K, by_differences, shape
from torchviz_layers.neighbors import lists

BESIDE_CUML = 1.5  # of cuML's time, at most
RECALL = 0.95
_CUML_LIMIT = 45.0  # seconds that one run of cuML may take, imports included
_UMAP_LEARN_LIMIT = 180.0


def same_bytes(bench: Bench) -> Iterator[Goal]:
    """Fit three times with one seed."""
    what, X, _ = bench.pixels(bench.size(10_000, 400))
    maps = [_map(bench, X) for _ in range(3)]
    same = sum(Z.tobytes() == maps[0].tobytes() for Z in maps)
    yield bench.judge(
        f"UMAP of {shape(X)} {what}, one seed, three times", "the same bytes", f"{same} of 3 the same", same == 3
    )


def _map(bench: Bench, X: Any, seed: int = 0, engine: Literal["torch", "numba"] = "torch") -> np.ndarray:
    """Lay rows out by the torch engine on the device, or by the numba engine on the CPU."""
    device = bench.device if engine == "torch" else "cpu"
    n_epochs = 50 if bench.quick else None
    umap = CheckedUMAP(engine=engine, device=device, random_state=seed, n_epochs=n_epochs)
    return np.asarray(umap.fit_transform(X))


def quality(bench: Bench) -> Iterator[Goal]:
    """Hold maps beside the numba engine's, of the same rows and seeds."""
    n = bench.size(10_000, 400)
    yield from _as_faithful(bench, *bench.pixels(n), bench.size(3, 1))
    yield from _as_faithful(bench, "softmax", *extracted_softmax(bench, n), bench.size(3, 1))


def quality_of_many(bench: Bench) -> Iterator[Goal]:
    """Hold the map of 70,000 samples beside the numba engine's."""
    yield from _as_faithful(bench, *bench.pixels(bench.size(70_000, 500)), 1)


def _as_faithful(bench: Bench, what: str, X: np.ndarray, labels: np.ndarray, n_seeds: int) -> Iterator[Goal]:
    """Yield the quality of our maps, and then what it is less the numba engine's, which may take long."""
    # Maps of a few hundred samples differ by more from seed to seed.
    least_trust, least_accuracy = (-0.03, -0.05) if bench.quick else (-0.003, -0.005)
    name = f"quality of the map of {shape(X)} {what}"
    wanted = f"trustworthiness at least {least_trust}, 10-NN accuracy at least {least_accuracy}"

    def measure(engine: Literal["torch", "numba"]) -> dict[str, float]:
        maps = [_map(bench, X, seed, engine) for seed in range(n_seeds)]
        return {
            "trustworthiness": statistics.mean(measures.trustworthiness(X, Z, n_rows=500) for Z in maps),
            "knn_accuracy": statistics.mean(measures.knn_accuracy(Z, labels) for Z in maps),
        }

    def ours() -> Goal:
        found = measure("torch")
        summary = f"trustworthiness {found['trustworthiness']:.4f}, 10-NN accuracy {found['knn_accuracy']:.4f}"
        return Goal(name, "", summary, MEASURED, found)

    def less() -> Goal:
        theirs = measure("numba")
        trust, accuracy = (goal.figures[key] - theirs[key] for key in ("trustworthiness", "knn_accuracy"))
        return bench.judge(
            f"{name}, less the numba engine's",
            wanted,
            f"{trust:+.4f}, {accuracy:+.4f}",
            trust >= least_trust and accuracy >= least_accuracy,
            trustworthiness_less=trust,
            knn_accuracy_less=accuracy,
        )

    goal = bench.attempt(name, wanted, ours)
    yield goal
    if goal.outcome == MEASURED:
        yield bench.attempt(f"{name}, less the numba engine's", wanted, less)


def times(bench: Bench) -> Iterator[Goal]:
    """Time UMAP of 10,000 and 70,000 samples; then cuML's, where it is installed."""
    taken = {}
    for n in (10_000, 70_000) if not bench.quick else (300,):
        what, X, _ = bench.pixels(n)
        goal = _timed(bench, f"UMAP of {shape(X)} {what}", torch.as_tensor(X, device=bench.device), 3)
        taken[n] = goal
        yield goal
    for n, goal in taken.items():
        yield _beside_cuml(bench, goal, {"pixels": n})


def _timed(bench: Bench, name: str, X: torch.Tensor, repeats: int) -> Goal:
    """Time the torch engine on rows that are on the device."""

    def job() -> Goal:
        figures, _ = bench.clock(partial(_map, bench, X), repeats=repeats)
        return Goal(name, "", f"median of {len(figures['repeats'])}", MEASURED, figures)

    return bench.attempt(name, "", job)


def _beside_cuml(bench: Bench, ours: Goal, rows: dict[str, Any]) -> Goal:
    name = f"{ours.name}, beside cuML"
    if missing := _no_cuml(bench):
        return Goal(name, f"at most {BESIDE_CUML} times cuML's time", missing, NOT_MEASURED)
    verdict = judges.ask(bench, "cuml-umap", rows, _CUML_LIMIT)
    return judges.at_most(bench, name, BESIDE_CUML, ours.figures.get("seconds"), "cuML", verdict)


def _no_cuml(bench: Bench) -> str:
    """Say why cuML cannot be asked, or nothing."""
    if not has("cuml"):
        return "cuML is not installed"
    return "" if bench.on_card else "cuML needs a card"


def million(bench: Bench) -> Iterator[Goal]:
    """Search and lay out a million rows, then ask cuML; recall is that of 1,000 rows against float64 differences."""
    n = bench.size(1_000_000, 3_000)
    taken = {}
    for n_features in (64, 512) if not bench.quick else (64,):
        X, _ = made_up(n, n_features, bench.device)
        yield _recall(bench, X)
        goal = _timed(bench, f"UMAP of {shape(X)}, made up", X, 1)
        taken[n_features] = goal
        yield goal
        del X  # the next rows and cuML's process need the memory
    for n_features, goal in taken.items():
        rows = {"made_up_rows": [n, n_features]}
        yield _beside_cuml(bench, goal, rows)
        if not _no_cuml(bench):
            verdict = judges.ask(bench, "cuml-neighbors", rows, _CUML_LIMIT)
            yield judges.measured(f"exact neighbours of {n:,} x {n_features} by cuML", "cuML", verdict)


def _recall(bench: Bench, X: torch.Tensor) -> Goal:
    name, wanted = f"neighbours of {shape(X)}, inverted lists", f"recall at least {RECALL}"

    def job() -> Goal:
        figures, (found, _) = bench.clock(partial(lists.search, X, K, "euclidean", 0, bench.device), repeats=1)
        asked = torch.arange(0, len(X), len(X) // bench.size(1_000, 200), device=bench.device)
        exact = by_differences(X, asked)
        recall = float((found[asked][:, :, None] == exact[:, None, :]).any(2).float().mean())
        return bench.judge(name, wanted, f"recall {recall:.4f}", recall >= RECALL, recall=recall, **figures)

    return bench.attempt(name, wanted, job)


def against_umap_learn(bench: Bench) -> Iterator[Goal]:
    """Time 70,000 samples; then umap-learn's on this machine's CPU."""
    n = bench.size(70_000, 300)
    what, X, _ = bench.pixels(n)
    ours = _timed(bench, f"UMAP of {shape(X)} {what}, once more", torch.as_tensor(X, device=bench.device), 1)
    yield ours
    name, least = f"UMAP of {shape(X)} {what} beside umap-learn on the CPU", 50
    if not has("umap"):
        yield bench.without(name, f"at least {least} times as fast", "umap-learn")
        return
    verdict = judges.ask(bench, "umap-learn", {"pixels": n}, _UMAP_LEARN_LIMIT)
    yield judges.at_least(bench, name, least, ours.figures.get("seconds"), "umap-learn", verdict)
