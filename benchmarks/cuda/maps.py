"""Neighbours, UMAP and measures on a card; the CPU, its numba engine and float64 differences are the judges."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import measures
from benchmarks.cuda.bench import MEASURED, Bench, Goal, has, made_up
from benchmarks.timing import stopwatch
from torchviz_layers import UMAP, extract, load_model, metrics
from torchviz_layers.neighbors import cuda, knn, lists

K = 15
EXACT = "indices and order of the CPU's exact search"


def neighbors(bench: Bench) -> Iterator[Goal]:
    """Check exact neighbours against the CPU's and, where these would take long, against float64 differences."""
    what, X, _ = bench.pixels(bench.size(10_000, 1_000))
    wanted, _ = knn(X, K, device="cpu", method="exact")
    figures, (found, far) = bench.clock(partial(_exact, bench, X))
    yield _same_rows(bench, f"neighbours of {_shape(X)} {what}", found, wanted, figures)

    yield _any_precision(bench, X, found, far)

    softmax = _softmax(bench, bench.size(10_000, 1_000))
    wanted, _ = knn(softmax, K, device="cpu", method="exact")
    figures, (found, _) = bench.clock(partial(_exact, bench, softmax))
    yield _same_rows(bench, f"neighbours of {_shape(softmax)} near-duplicates (a softmax)", found, wanted, figures)

    what, X, _ = bench.pixels(bench.size(70_000, 1_200))
    asked = np.random.default_rng(0).choice(len(X), bench.size(2_000, 100), replace=False)
    points = torch.as_tensor(X, device=bench.device)
    wanted = _by_differences(points, torch.as_tensor(asked, device=bench.device)).cpu().numpy()
    figures, (found, _) = bench.clock(partial(_exact, bench, points))
    name = f"neighbours of {_shape(X)} {what}, {len(asked):,} rows of them"
    yield _same_rows(bench, name, found[asked], wanted, figures)


def _exact(bench: Bench, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Search as `knn` does on a card, on any device."""
    indices, distances = cuda.search(X, K, None, "euclidean", bench.device)
    return indices.cpu().numpy(), distances.cpu().numpy()


def _by_differences(points: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Return the neighbours of some rows by differences in float64, equal distances by the lower index."""
    found, whole = [], points.double()
    for part in torch.split(asked, 250):
        far = torch.cdist(whole[part], whole, compute_mode="donot_use_mm_for_euclid_dist")
        far.scatter_(1, part[:, None], torch.inf)
        found.append(far.sort(dim=1, stable=True).indices[:, :K])
    return torch.cat(found)


def _same_rows(bench: Bench, name: str, found: np.ndarray, wanted: np.ndarray, figures: dict[str, Any]) -> Goal:
    same = int((found == wanted).all(axis=1).sum())
    goal = EXACT if len(found) == len(wanted) else "those by float64 differences"
    return bench.judge(name, goal, f"{same:,} of {len(wanted):,} rows equal", same == len(wanted), **figures)


def _any_precision(bench: Bench, X: np.ndarray, found: np.ndarray, far: np.ndarray) -> Goal:
    """Search again as a user who has asked for TF32 and is under autocast."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        with torch.autocast(bench.device.type, dtype=torch.bfloat16):
            again, distances = _exact(bench, X)
        left = torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    same = found.tobytes() == again.tobytes() and far.tobytes() == distances.tobytes()
    told = f"{'the same' if same else 'other'} bytes, settings {'kept' if left else 'changed'}"
    return bench.judge("neighbours with TF32 and autocast on", "the same bytes, settings kept", told, same and left)


def same_bytes(bench: Bench) -> Iterator[Goal]:
    """Fit three times with one seed."""
    what, X, _ = bench.pixels(bench.size(10_000, 400))
    maps = [_map(bench, X) for _ in range(3)]
    same = sum(Z.tobytes() == maps[0].tobytes() for Z in maps)
    yield bench.judge(
        f"UMAP of {_shape(X)} {what}, one seed, three times", "the same bytes", f"{same} of 3 the same", same == 3
    )


def _map(bench: Bench, X: Any, seed: int = 0) -> np.ndarray:
    n_epochs = 50 if bench.quick else None
    return UMAP(engine="torch", device=bench.device, random_state=seed, n_epochs=n_epochs).fit_transform(X)


def quality(bench: Bench) -> Iterator[Goal]:
    """Hold maps beside the numba engine's, of the same rows and seeds."""
    n = bench.size(10_000, 400)
    what, X, labels = bench.pixels(n)
    yield _as_faithful(bench, what, X, labels, bench.size(3, 1))
    softmax = _softmax(bench, n)
    yield _as_faithful(bench, "softmax", softmax, labels[: len(softmax)], bench.size(3, 1))


def quality_of_many(bench: Bench) -> Iterator[Goal]:
    """Hold the map of 70,000 samples beside the numba engine's."""
    what, X, labels = bench.pixels(bench.size(70_000, 500))
    yield _as_faithful(bench, what, X, labels, 1)


def _as_faithful(bench: Bench, what: str, X: np.ndarray, labels: np.ndarray, n_seeds: int) -> Goal:
    less: dict[str, list[float]] = {"trustworthiness": [], "knn_accuracy": []}
    for seed in range(n_seeds):
        ours = _map(bench, X, seed)
        n_epochs = 50 if bench.quick else None
        wanted = UMAP(engine="numba", device="cpu", random_state=seed, n_epochs=n_epochs).fit_transform(X)
        less["trustworthiness"].append(
            measures.trustworthiness(X, ours, n_rows=500) - measures.trustworthiness(X, wanted, n_rows=500)
        )
        less["knn_accuracy"].append(measures.knn_accuracy(ours, labels) - measures.knn_accuracy(wanted, labels))
    trust, accuracy = (statistics.mean(values) for values in less.values())
    # Maps of a few hundred samples differ by more from seed to seed.
    least_trust, least_accuracy = (-0.03, -0.05) if bench.quick else (-0.003, -0.005)
    return bench.judge(
        f"quality of the map of {_shape(X)} {what}, less the numba engine's",
        f"trustworthiness at least {least_trust}, 10-NN accuracy at least {least_accuracy}",
        f"{trust:+.4f}, {accuracy:+.4f}",
        trust >= least_trust and accuracy >= least_accuracy,
        trustworthiness_less=trust,
        knn_accuracy_less=accuracy,
    )


def times(bench: Bench) -> Iterator[Goal]:
    """Time UMAP of 10,000 and 70,000 samples, beside cuML's where it is installed."""
    for n in (10_000, 70_000) if not bench.quick else (300,):
        what, X, _ = bench.pixels(n)
        yield _beside_cuml(bench, f"UMAP of {_shape(X)} {what}", torch.as_tensor(X, device=bench.device))


def _beside_cuml(bench: Bench, name: str, X: torch.Tensor) -> Goal:
    figures, _ = bench.clock(partial(_map, bench, X), repeats=3 if len(X) < 100_000 else 1)
    wanted = "at most 1.5 times cuML's time"
    if not has("cuml"):
        return bench.without(name, wanted, "cuML", **figures)
    theirs, _ = bench.clock(lambda: UMAP(engine="cuml", device=bench.device).fit_transform(X), repeats=1)
    ratio = figures["seconds"] / theirs["seconds"]
    told = f"{ratio:.2f} times"
    return bench.judge_speed(name, wanted, told, ratio <= 1.5, cuml_seconds=theirs["seconds"], **figures)


def million(bench: Bench) -> Iterator[Goal]:
    """Search and lay out a million rows: recall of 1,000 of them against float64 differences, time, memory."""
    n = bench.size(1_000_000, 3_000)
    for n_features in (64, 512) if not bench.quick else (64,):
        X, _ = made_up(n, n_features, bench.device)
        figures, (found, _) = bench.clock(partial(lists.search, X, K, "euclidean", 0, bench.device), repeats=1)
        asked = torch.arange(0, n, n // bench.size(1_000, 200), device=bench.device)
        wanted = _by_differences(X, asked)
        hits = (found[asked][:, :, None] == wanted[:, None, :]).any(2).float().mean()
        yield bench.judge(
            f"neighbours of {_shape(X)}, inverted lists",
            "recall at least .95",
            f"recall {float(hits):.4f}",
            bool(hits >= 0.95),
            recall=float(hits),
            cuml_seconds=_cuml_neighbors(bench, X),
            **figures,
        )
        del found
        yield _beside_cuml(bench, f"UMAP of {_shape(X)}, made up", X)


def _cuml_neighbors(bench: Bench, X: torch.Tensor) -> float | None:
    """Return the seconds of cuML's brute force, where it is installed."""
    if not has("cuml"):
        return None
    from cuml.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=K + 1)
    seconds, _, _ = stopwatch(lambda: search.fit(X).kneighbors(X), str(bench.device))
    return seconds


def against_umap_learn(bench: Bench) -> Iterator[Goal]:
    """Hold the time of 70,000 samples beside umap-learn's on this machine's CPU."""
    wanted = "at least 50 times as fast"
    what, X, _ = bench.pixels(bench.size(70_000, 300))
    name = f"UMAP of {_shape(X)} {what} beside umap-learn on the CPU"
    if not has("umap"):
        yield bench.without(name, wanted, "umap-learn")
        return
    import umap

    umap.UMAP(n_epochs=11).fit_transform(X[:5_000])  # compiles
    seconds, _, _ = stopwatch(lambda: umap.UMAP().fit_transform(X))
    figures, _ = bench.clock(partial(_map, bench, torch.as_tensor(X, device=bench.device)), repeats=1)
    ratio = seconds / figures["seconds"]
    figures["umap_learn_over_ours"] = ratio
    yield bench.judge_speed(name, wanted, f"{ratio:.1f} times", ratio >= 50, **figures)


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
        off = abs(job(bench.device) - job("cpu"))
        yield bench.judge(f"{name} of {_shape(X)}", "the CPU's within 1e-6", f"{off:.1e} off", off <= 1e-6, off=off)


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
        few = 3
        kernel, plain = (run(few, 0, use_triton=use) for use in (True, False))
        off = float((kernel - plain).abs().max())
        yield bench.judge(
            f"the layout's kernel, {n:,} vertices, {few} epochs",
            "plain torch's positions within 1e-3 of 10",
            f"{off:.1e} off",
            off <= 1e-3,
            off=off,
        )
        epochs = bench.size(300, 4)
        for name, use in (("Triton", True), ("plain torch", False)) if bench.on_card else ():
            figures, _ = bench.clock(partial(run, epochs, 0, use_triton=use))
            each = figures["seconds"] / epochs * 1e6
            figures["microseconds"] = each
            yield Goal(f"an epoch of the layout by {name}, {n:,} vertices", "", f"{each:.0f} us", MEASURED, figures)


def _softmax(bench: Bench, n: int) -> np.ndarray:
    """Return what a confident network says of n digits: many rows are nearly or wholly the same."""
    samples = bench.samples(n)
    model = load_model("mnist_dense128")
    acts = extract(model, samples.batches(256, model.transform), [-1], device="cpu", progress=False)
    return np.asarray(next(iter(acts.values())))


def _shape(X: Any) -> str:
    return f"{X.shape[0]:,} x {X.shape[1]}"
