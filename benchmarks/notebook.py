"""The user's notebook as it was written, beside the same job with this library: whole processes, pixels to saved page.

Cold: from the start of the process, imports included, to the saved figures, caches on disk filled by an earlier
process. Warm: the same once more in that process. The two take turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import samples_of
from benchmarks.report import Table
from benchmarks.workers import Worker

MODELS = Path(__file__).parents[1] / "models"
ORIGINAL = Path(__file__).with_name("notebook_original.py")


def run(options: argparse.Namespace) -> list[Table]:
    """Measure both where an interpreter with TensorFlow is given, else ours alone."""
    samples = samples_of(options, 500 if options.quick else 10_000)
    repeats = options.repeats or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, images=samples.shown.images[:, 0], targets=samples.targets)
        places = [str(data), str(MODELS), folder]
        commands = {"ours": [sys.executable, "-m", "benchmarks.notebook_ours", *places, options.device]}
        if options.tensorflow:
            commands["the notebook as written"] = [str(options.tensorflow), str(ORIGINAL), *places]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        if not options.quick:  # fills the caches on disk
            for command in commands.values():
                _both(command)
        for _ in range(repeats):
            for name, command in commands.items():
                runs[name].append(_both(command))
        size = sum(file.stat().st_size for file in Path(folder).glob("page.html"))
        original_size = sum(file.stat().st_size for file in Path(folder).glob("*.html")) - size
    rows = [_row(name, measured, size if name == "ours" else original_size) for name, measured in runs.items()]
    for row in rows[1:]:
        _check_same(runs)
        row["cold_over_ours"] = row["cold_seconds"] / rows[0]["cold_seconds"]
        row["warm_over_ours"] = row["seconds"] / rows[0]["seconds"]
    if not options.tensorflow:
        rows.append({"name": "the notebook as written", "note": "needs --tensorflow PYTHON"})
    return [Table("notebook", f"Notebook: five embeddings of {len(samples):,} images of {samples.name}", rows)]


def _both(command: Sequence[str]) -> dict[str, Any]:
    """Start a process, run it cold and warm, and return both times and the accuracies."""
    started = time.perf_counter()
    worker = Worker(command)
    accuracies = worker.ask()
    cold = time.perf_counter() - started
    started = time.perf_counter()
    again = worker.ask()
    warm = time.perf_counter() - started
    worker.close()
    assert again == accuracies, f"two runs, two accuracies: {accuracies}, {again}"
    return {"cold": cold, "warm": warm, "accuracies": accuracies}


def _row(name: str, runs: list[dict[str, Any]], size: int) -> dict[str, Any]:
    return {
        "name": name,
        "cold_seconds": statistics.median(run["cold"] for run in runs),
        "seconds": statistics.median(run["warm"] for run in runs),
        "dense128_accuracy": runs[0]["accuracies"]["dense128"],
        "lenet60_accuracy": runs[0]["accuracies"]["LeNet60"],
        "html_mb": size / 1e6,
        "repeats": [run["warm"] for run in runs],
        "cold_repeats": [run["cold"] for run in runs],
    }


def _check_same(runs: dict[str, list[dict[str, Any]]]) -> None:
    first, *others = (measured[0]["accuracies"] for measured in runs.values())
    for other in others:
        for network, accuracy in first.items():
            assert abs(accuracy - other[network]) < 1e-4, f"{network}: accuracies {accuracy} and {other[network]}"
