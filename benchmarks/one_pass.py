"""Two networks in one pass beside two passes, and how much memory a pass over many large pictures takes."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import networks
from benchmarks.data import samples_of
from benchmarks.report import Table
from benchmarks.timing import interleave
from benchmarks.workers import Worker
from torchviz_layers import extract

TWO, ONE = "two passes", "one pass"
PAIRS, PICTURES = "two networks", "large pictures"
MARKS, QUICK_MARKS = (10_000, 30_000, 60_000), (500, 1000, 2000)


def pairs(options: argparse.Namespace) -> Table:
    """Measure LeNet60 twice, with two sets of weights, on one loader: in two passes and in one."""
    samples = samples_of(options, 1000 if options.quick else 10_000)
    images = nn.functional.pad(torch.from_numpy(np.array(samples.shown.images, np.float32)), (2, 2, 2, 2))
    dataset = TensorDataset(images, torch.from_numpy(samples.targets))
    torch.manual_seed(0)
    models = {name: networks.lenet60().eval().to(options.device) for name in ("first", "second")}
    sources: dict[str, Any] = {
        "batches in memory": list(images.split(256)),
        "DataLoader": DataLoader(dataset, batch_size=256),
    }
    rows = []
    for source, data in sources.items():
        rows += _pair_rows(source, models, data, options)
    return Table(PAIRS, f"Extraction: two LeNet60, {len(images):,} images of {samples.name}, every leaf call", rows)


def _pair_rows(
    source: str, models: dict[str, nn.Module], data: Any, options: argparse.Namespace
) -> list[dict[str, Any]]:
    shared = {"device": options.device, "progress": False}
    contenders: dict[str, Callable[[], Any]] = {
        TWO: lambda: {name: extract(model, data, **shared) for name, model in models.items()},
        ONE: lambda: extract(models, data, **shared),
    }
    expected = contenders[TWO]()

    def check(name: str, found: Any) -> None:
        for model, acts in expected.items():
            for layer in acts:
                assert np.array_equal(found[model][layer], acts[layer]), f"{name}: {model}, {layer}"

    repeats = options.repeats or (2 if options.quick else 9)
    timings = interleave(contenders, repeats=repeats, device=options.device, check=check)
    ratios = [one / two for one, two in zip(timings[ONE].wall, timings[TWO].wall, strict=True)]
    rows = [timing.row(f"{source}, {name}") for name, timing in timings.items()]
    rows[-1]["over_two_passes"] = statistics.median(ratios)
    return rows


def pictures(options: argparse.Namespace) -> Table:
    """Measure the peak memory of one pass at several numbers of generated pictures, in a process of its own."""
    marks = QUICK_MARKS if options.quick else MARKS
    worker = Worker([sys.executable, "-m", "benchmarks.large_pictures", *map(str, marks)])
    try:
        result = worker.ask()
    finally:
        worker.close()
    peaks: Sequence[int] = result["peaks"]
    rows = []
    for mark, peak, seconds in zip(marks, peaks, result["seconds"], strict=True):
        rows.append(
            {
                "name": f"{mark:,} pictures",
                "seconds": seconds,
                "peak_rss_mb": peak / 2**20,
                "over_first": peak / peaks[0],
            }
        )
    assert result["rows"] == marks[-1], f"{result['rows']} rows of {marks[-1]} pictures"
    return Table(PICTURES, "Extraction: one pass over generated pictures of 3 x 224 x 224, a small convnet", rows)


TABLES: dict[str, Callable[[argparse.Namespace], Table]] = {PAIRS: pairs, PICTURES: pictures}
