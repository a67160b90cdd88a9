"""How time and memory grow with samples and features: neighbours, UMAP, extraction, page. Data are made up (blobs).

The exponent is the slope of log(seconds) over log(size), fitted to the upper half of the sizes,
where fixed costs weigh little.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.page import page_data
from benchmarks.report import Table
from benchmarks.timing import peak_above, stopwatch
from torchviz_layers import UMAP, Samples, extract, load_model
from torchviz_layers.neighbors import knn
from torchviz_layers.page import build_page

SIZES = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
FEATURES = (10, 64, 256, 1024, 4096)
WARMED_UP = 10_000
PAGE_LIMIT = 20_000  # beyond it the page shows a part of the samples

Job = Callable[[], Any]


def run(options: argparse.Namespace) -> list[Table]:
    """Measure all stages over samples, and the neighbours over features."""
    limit = options.max_n or (2000 if options.quick else 50_000)
    sizes = [n for n in SIZES if n <= limit]
    device = options.device
    stages: dict[str, Callable[[int], Job]] = {
        "kNN, 64 features": lambda n: partial(knn, blobs(n, 64), 15, device=device),
        "UMAP, 64 features": lambda n: partial(UMAP(random_state=0, device=device).fit_transform, blobs(n, 64)),
        "extraction, LeNet60": partial(_extraction, device),
        "page, ten panels": lambda n: partial(build_page, page_data(_digits(n))),
    }
    rows = [
        row
        for name, stage in stages.items()
        for row in _grow(name, "n", stage, [n for n in sizes if "page" not in name or n <= PAGE_LIMIT], device)
    ]
    n = min(limit, 5000)
    widths = FEATURES[:3] if options.quick else FEATURES
    wide = list(
        _grow(f"kNN, {n:,} samples", "features", lambda d: partial(knn, blobs(n, d), 15, device=device), widths, device)
    )
    return [Table("samples", "Scaling with samples", rows), Table("features", "Scaling with features", wide)]


def blobs(n: int, n_features: int) -> np.ndarray:
    """Return n rows in 30 Gaussian clouds, float32."""
    generator = np.random.default_rng(0)
    centres = generator.uniform(-10, 10, (30, n_features))
    return (centres[generator.integers(0, 30, n)] + generator.normal(size=(n, n_features))).astype(np.float32)


def fitted_exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float | None:
    """Return the slope of log(seconds) over log(size) on the upper half of the sizes; None for fewer than two."""
    half = min(len(sizes) // 2, len(sizes) - 2)
    if half < 0:
        return None
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def _grow(
    name: str, unit: str, stage: Callable[[int], Job], sizes: Sequence[int], device: str
) -> Iterator[dict[str, Any]]:
    seconds: list[float] = []
    for size in sizes:
        job = stage(size)
        if size <= WARMED_UP:  # code is compiled on the way, some of it only from some size on
            stopwatch(job, device)
        with peak_above(device) as peak:
            wall, cpu, result = stopwatch(job, device)
        assert result is not None
        del result
        seconds.append(wall)
        yield {
            "name": f"{name}, {unit} = {size:,}",
            "stage": name,
            unit: size,
            "seconds": wall,
            "cpu_seconds": cpu,
            "peak_mb": None if peak.bytes is None else peak.bytes / 2**20,
            "exponent": fitted_exponent(sizes, seconds) if size == sizes[-1] else None,
        }


def _extraction(device: str, n: int) -> Job:
    model = load_model("mnist_lenet60")
    images = torch.from_numpy(np.random.default_rng(0).random((256, 1, 32, 32), np.float32))

    def batches() -> Iterator[torch.Tensor]:
        yield from (images[: min(256, n - start)] for start in range(0, n, 256))

    return lambda: extract(model, batches(), ["dense_0", "dense_1", "dense_2"], device=device, total=n, progress=False)


def _digits(n: int) -> Samples:
    generator = np.random.default_rng(0)
    return Samples.of((generator.random((n, 1, 28, 28), np.float32), generator.integers(0, 10, n)), name="noise")
