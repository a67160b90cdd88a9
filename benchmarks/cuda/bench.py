"""What the parts of the CUDA suite share: the device, the sizes, the data, and how a goal is judged."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import statistics
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from benchmarks.cuda.goals import FAILED, MISSED, NOT_MEASURED, REACHED, Goal, OtherEngineError, described
from benchmarks.data import data_spec, samples_of
from benchmarks.timing import peak_above, stopwatch
from torchviz_layers import UMAP, Samples, extract, load_model
from torchviz_layers.exceptions import DataError


class CheckedUMAP(UMAP):
    """A UMAP that fails where another engine computed the map than the one that was asked for.

    Where a card runs out of memory, the CPU's engine takes over: its map and its time would pass for the card's.
    """

    def fit(self, X: Any, y: Any = None) -> CheckedUMAP:
        """Fit, and look at the engine."""
        super().fit(X, y)
        if self.engine_ != self.engine:
            raise OtherEngineError(f"{self.engine_} ran instead of {self.engine}: {self.engine_reason_}")
        return self


@dataclass(frozen=True)
class Bench:
    """Where the parts run and how large their data are."""

    device: torch.device
    quick: bool = False
    data: str | None = None

    @property
    def on_card(self) -> bool:
        """Whether this is a card, and not the CPU on which the suite is rehearsed."""
        return self.device.type == "cuda"

    def size(self, full: int, quick: int) -> int:
        """Return the number that fits the run."""
        return quick if self.quick else full

    def judge(self, name: str, wanted: str, measured: str, reached: bool, **figures: Any) -> Goal:
        """Return a goal that any device must reach: a result is right or wrong."""
        return Goal(name, wanted, measured, REACHED if reached else MISSED, figures)

    def judge_speed(self, name: str, wanted: str, measured: str, reached: bool, **figures: Any) -> Goal:
        """Return a goal of full sizes on a card: elsewhere the figures only show that the part runs."""
        if self.on_card and not self.quick:
            return self.judge(name, wanted, measured, reached, **figures)
        where = "in a quick run" if self.on_card else "on the CPU"
        return Goal(name, wanted, f"{measured} {where}", NOT_MEASURED, figures)

    def attempt(self, name: str, wanted: str, job: Callable[[], Goal]) -> Goal:
        """Return the goal of a job, failed where it raises: the part's other goals are looked at all the same."""
        try:
            return job()
        except Exception as error:  # each library has its own
            traceback.print_exc()  # for the log
            return Goal(name, wanted, described(error), FAILED)

    def without(self, name: str, wanted: str, library: str) -> Goal:
        """Return a goal that needs a library which is not here."""
        return Goal(name, wanted, f"{library} is not installed", NOT_MEASURED)

    def clock(self, job: Callable[[], Any], repeats: int = 3) -> tuple[dict[str, Any], Any]:
        """Run a job once to warm up and then some times: median seconds, those of the first run, peak memory."""
        device = str(self.device)
        with peak_above(device) as peak:
            first, _, result = stopwatch(job, device)
        times = []
        for _ in range(1 if self.quick else repeats):
            del result  # else the next run would have to find other memory
            seconds, _, result = stopwatch(job, device)
            times.append(seconds)
        figures = {
            "seconds": statistics.median(times),
            "first_seconds": first,
            "peak_mb": None if peak.bytes is None else peak.bytes / 2**20,
            "repeats": times,
        }
        return figures, result

    @cached_property
    def options(self) -> argparse.Namespace:
        """What `samples_of` wants to know."""
        return argparse.Namespace(data=self.data, max_n=None)

    def samples(self, limit: int) -> Samples:
        """Return up to `limit` samples of the data, MNIST where it is on disk."""
        return samples_of(self.options, limit)

    def pixels(self, n: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Return n rows of 784 pixels with their labels, and what they are; made up where the data are too few."""
        name, _, _ = data_spec(self.options).partition(":")
        spec = f"{name}:all" if n > 10_000 else self.data
        with contextlib.suppress(DataError):  # no such split, as of scikit-learn's digits: too few samples anyway
            samples = samples_of(argparse.Namespace(data=spec, max_n=None), n)
            if len(samples) == n and samples.shown.images[0].size == 784 and samples.targets is not None:
                return f"pixels of {samples.name}", samples.shown.images.reshape(n, 784), samples.targets
        X, labels = made_up(n, 784, torch.device("cpu"))
        return "features, made up", X.numpy(), labels.numpy()


def made_up(n: int, n_features: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows in 30 clouds of 16 dimensions, turned into n_features and with a little noise, and their clouds.

    A layer's outputs are of few dimensions too. Isotropic clouds of hundreds of dimensions would have no neighbourhoods
    that any search other than an exact one could find.
    """
    random = torch.Generator(device).manual_seed(0)
    centres = 4.0 * torch.randn(30, 16, generator=random, device=device)
    clouds = torch.randint(30, (n,), generator=random, device=device)
    inner = centres[clouds] + torch.randn(n, 16, generator=random, device=device)
    turned = torch.randn(16, n_features, generator=random, device=device) / math.sqrt(n_features)
    noise = torch.randn(n, n_features, generator=random, device=device).mul_(0.1 / math.sqrt(n_features))
    return noise.addmm_(inner, turned), clouds


def has(library: str) -> bool:
    """Say whether a library is installed, without importing it."""
    return importlib.util.find_spec(library) is not None


def extracted_softmax(bench: Bench, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a confident network outputs for n digits, and their classes: many rows are nearly or wholly equal."""
    samples = bench.samples(n)
    model = load_model("mnist_dense128")
    acts = extract(model, samples.batches(256, model.transform), [-1], device="cpu", progress=False)
    rows = np.asarray(next(iter(acts.values())))
    labels = rows.argmax(axis=1) if samples.targets is None else samples.targets
    return rows, np.asarray(labels)
