"""UMAP by every engine, and other reducers: cold, warm, memory and quality, each in a process of its own.

Cold is the first fit of the second process on the machine: caches on disk are there, nothing is compiled in memory.
Warm fits follow in the same processes, in turns, the rows permuted anew for each. Quality is that of the cold fit:
trustworthiness of 2,000 rows against all (k = 15) and the leave-one-out accuracy of 10 neighbours in the plane.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS, ON_CUDA
from benchmarks.data import samples_of
from benchmarks.measures import knn_accuracy, trustworthiness
from benchmarks.report import Table
from benchmarks.workers import Worker


def run(options: argparse.Namespace) -> list[Table]:
    """Measure all reducers on the pixels of the data."""
    samples = samples_of(options, 1000 if options.quick else options.max_n or 10_000)
    X, targets = samples.shown.images.reshape(len(samples), -1), samples.targets
    chosen = CONTENDERS | (ON_CUDA if options.device == "cuda" else {})
    if options.only:
        if unknown := set(options.only) - set(chosen):
            raise SystemExit(f"--only {', '.join(sorted(unknown))}: there are {', '.join(chosen)}")
        chosen = {name: contender for name, contender in chosen.items() if name in options.only}
    rows = measure(X, targets, options, chosen)
    title = f"Reducers: {len(X):,} x {X.shape[1]} pixels of {samples.name}"
    return [Table("pixels", title, rows)]


def measure(
    X: np.ndarray, targets: np.ndarray | None, options: argparse.Namespace, chosen: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a row a reducer."""
    repeats = options.repeats or (1 if options.quick else 5)
    notes: dict[str, str] = {}
    for name, contender in chosen.items():
        if importlib.util.find_spec(contender.library) is None:
            notes[name] = "not installed"
        elif options.quick and not contender.quick:
            notes[name] = "not with --quick"
    running = [name for name in chosen if name not in notes]
    with tempfile.TemporaryDirectory() as folder:
        files = _permutations(X, repeats, Path(folder))
        cold, processes = {}, {}
        for name in running:  # the first process on the machine fills the caches on disk
            if not options.quick:
                first = _Fits(name, options.device, Path(folder))
                first.fit(files[0])
                first.close()
            processes[name] = _Fits(name, options.device, Path(folder))
            cold[name] = processes[name].fit(files[0])
            cold[name] |= quality(X, processes[name].embedding(), targets)
        warm: dict[str, list[dict[str, Any]]] = {name: [] for name in running}
        for turn in range(repeats):
            for name in running:
                if not (chosen[name].slow and turn):  # once is enough of a minute
                    warm[name].append(processes[name].fit(files[turn + 1]))
        for process in processes.values():
            process.close()
    rows = [_row(name, cold[name], warm[name]) for name in running]
    return [*_with_ratios(rows), *({"name": name, "note": note} for name, note in notes.items())]


def quality(X: np.ndarray, Z: np.ndarray, targets: np.ndarray | None) -> dict[str, Any]:
    """Return trustworthiness and 10-NN accuracy; assert that there is a usable embedding at all."""
    assert Z.shape == (len(X), 2), f"an embedding of shape {Z.shape}"
    assert np.isfinite(Z).all(), "NaN or infinity in an embedding"
    return {
        "trustworthiness": trustworthiness(X, Z),
        "knn_accuracy": None if targets is None else knn_accuracy(Z, targets),
    }


def _permutations(X: np.ndarray, repeats: int, folder: Path) -> list[Path]:
    """Write X as it is and `repeats` permutations of its rows."""
    files = []
    for turn in range(repeats + 1):
        order = np.random.default_rng(turn).permutation(len(X)) if turn else np.arange(len(X))
        files.append(folder / f"X{turn}.npy")
        np.save(files[-1], np.ascontiguousarray(X[order]))
    return files


class _Fits:
    """A worker that fits one reducer, and the file that it leaves its embedding in."""

    def __init__(self, name: str, device: str, folder: Path) -> None:
        self._Z = folder / f"Z-{name}.npy"
        self._worker = Worker([sys.executable, "-m", "benchmarks.reducer_worker", name, device])

    def fit(self, X: Path) -> dict[str, Any]:
        """Fit once and return what the worker measured."""
        return self._worker.ask({"X": str(X), "Z": str(self._Z)})

    def embedding(self) -> np.ndarray:
        """Return the embedding of the last fit."""
        return np.asarray(np.load(self._Z))

    def close(self) -> None:
        """End the process."""
        self._worker.close()


def _row(name: str, cold: dict[str, Any], warm: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": f"{name} ({cold['engine']})" if cold["engine"] else name,
        "import_seconds": cold["import_seconds"],
        "cold_seconds": cold["wall"],
        "seconds": statistics.median(fit["wall"] for fit in warm),
        "cpu_seconds": statistics.median(fit["cpu"] for fit in warm),
        "peak_mb": None if cold["peak"] is None else cold["peak"] / 2**20,
        "trustworthiness": cold["trustworthiness"],
        "knn_accuracy": cold["knn_accuracy"],
        "repeats": [fit["wall"] for fit in warm],
    }


def _with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say how many times longer than ours each takes; the seeded ones beside our seeded one."""
    ours = {row["name"].split(" (")[0]: row for row in rows}
    for row in rows:
        own = ours.get("ours, seeded" if "seeded" in row["name"] else "ours")
        if own is not None:
            row["warm_over_ours"] = row["seconds"] / own["seconds"]
            row["cold_over_ours"] = row["cold_seconds"] / own["cold_seconds"]
    return rows
