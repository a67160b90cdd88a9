"""Planted wrong labels among digits: how many of the label suspects are true, and how many of the planted are found.

A hundredth of the labels are changed to other classes, seed by seed, and the corner cases are searched for as the page
does it: with the layers that `informative_layers` chooses, and with the neighbours that it shows in every layer. The
same networks with random weights show what an untrained one makes of it. True are the planted labels and those of MNIST
that people refute. The second table holds the stated probabilities against the share of true ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import networks
from benchmarks.data import samples_of
from benchmarks.report import Table
from torchviz_layers import Samples, extract, find_corner_cases, load_model
from torchviz_layers.corner_cases import CornerCase, informative_layers
from torchviz_layers.hooks import computing_layers
from torchviz_layers.neighbors import knn

# Digits of MNIST's test set whose label no majority of five people confirmed: C. G. Northcutt, A. Athalye, J. Mueller,
# "Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks" (2021).
REFUTED = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)

LEAST = 0.6  # the probability from which the page counts a suspect, until its reader chooses another
SHOWN_NEIGHBORS = 8  # of a sample, in each layer, on the page
SEEDS, QUICK_SEEDS = range(7), range(1)
PLANTED = 0.01  # share of the labels
LIMIT, QUICK_LIMIT = 250, 10  # suspects that are looked at
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)

INPUT = "input"
DEMO_LAYERS = [-2, -1]  # of each network, in the demo


def run(options: argparse.Namespace) -> list[Table]:
    """Measure the bundled networks, alone and as the demo shows them, and the same ones untrained."""
    samples = samples_of(options, 1000 if options.quick else 10_000)
    seeds, limit = (QUICK_SEEDS, QUICK_LIMIT) if options.quick else (SEEDS, LIMIT)
    rows, bins = [], []
    for name, contender in _contenders(samples).items():
        trials = [contender.trial(seed, limit) for seed in seeds]
        rows.append({"name": name, **counts(trials)})
        bins.append({"name": name, **reliability(trials)})
    n = len(samples)
    planted = planted_labels(contender.targets, 0)[1]
    about = f"{len(planted):,} planted among {n:,} labels of {samples.name}, means of {len(seeds)} seeds"
    return [
        Table("suspects", f"Label suspects: {about}", rows),
        Table("reliability", f"Label suspects: share of true ones by the probability stated; {about}", bins),
    ]


@dataclass(frozen=True)
class Look:
    """What one network makes of the samples: its probabilities, and its layers with the input first.

    Parameters
    ----------
    probabilities
        Of shape (n, n_classes).
    layers
        Outputs of shape (n, ...), in forward order; the last is the output.
    """

    probabilities: np.ndarray
    layers: Mapping[str, np.ndarray]

    @cached_property
    def evidence(self) -> dict[str, np.ndarray]:
        """The layers that say most about a label; the output repeats the predictions."""
        hidden = list(self.layers)[:-1]
        return {
            name: self.layers[name]
            for name in informative_layers({name: self.layers[name].shape[1:] for name in hidden})
        }

    @cached_property
    def neighbors(self) -> dict[str, np.ndarray]:
        """Rows of the neighbours that the page shows in each layer, (n, k)."""
        found = {}
        for name, values in self.layers.items():
            X = np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)
            found[name] = knn(X, min(SHOWN_NEIGHBORS, len(X) - 1))[0]
        return found


@dataclass(frozen=True)
class Trial:
    """The suspects among labels with planted errors, strongest first, and the rows whose label is wrong."""

    suspects: Sequence[CornerCase]
    planted: np.ndarray
    refuted: Sequence[int] = ()

    @property
    def rows(self) -> np.ndarray:
        """Rows of the suspects."""
        return np.array([case.sample for case in self.suspects], np.int64)

    @property
    def probabilities(self) -> np.ndarray:
        """The probability stated of each suspect."""
        return np.array([case.probability for case in self.suspects], np.float64)

    @property
    def true(self) -> np.ndarray:
        """Whether the label of each suspect is wrong: planted, or refuted by people."""
        return np.isin(self.rows, [*self.planted, *self.refuted])


@dataclass(frozen=True)
class Contender:
    """One or several networks whose suspects are looked at together, as on one page."""

    looks: Mapping[str, Look]
    targets: np.ndarray
    refuted: Sequence[int] = ()
    share: float = PLANTED  # of the labels that are changed

    def trial(self, seed: int, limit: int = LIMIT) -> Trial:
        """Plant errors and search for them."""
        given, planted = planted_labels(self.targets, seed, self.share)
        cases = find_corner_cases(
            {name: look.probabilities for name, look in self.looks.items()},
            given,
            {name: look.evidence for name, look in self.looks.items()},
            neighbors={name: look.neighbors for name, look in self.looks.items()},
            limit=limit,
        )
        return Trial([case for case in cases if case.kind == "label suspect"], planted, self.refuted)


def planted_labels(targets: np.ndarray, seed: int, share: float = PLANTED) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of which a share is changed to another class, and the rows of those."""
    generator = np.random.default_rng(seed)
    n, n_classes = len(targets), int(targets.max()) + 1
    count = max(1, round(share * n))
    planted = generator.choice(n, count, replace=False)
    given = targets.copy()
    given[planted] = (given[planted] + generator.integers(1, n_classes, count)) % n_classes
    return given, planted


@torch.no_grad()
def looked(model: nn.Module, samples: Samples, layers: Sequence[Any] | None = None, transform: Any = None) -> Look:
    """Return what a network makes of samples, by default in all layers that compute something."""
    transform = transform or model.transform
    found = extract(
        model, samples.batches(256, transform), layers or computing_layers(model), device="cpu", progress=False
    )
    values = {INPUT: np.asarray(samples.shown.images, np.float32)}
    values |= {name: np.asarray(found[name]) for name in found}
    return Look(np.asarray(found.predictions, np.float64), values)


def _contenders(samples: Samples) -> dict[str, Contender]:
    assert samples.targets is not None
    targets = np.asarray(samples.targets, np.int64)
    refuted = REFUTED if samples.name.startswith("mnist") and len(samples) == 10_000 else ()
    trained = {"dense128": load_model("mnist_dense128"), "LeNet60": load_model("mnist_lenet60")}
    by_hand: dict[str, Callable[[], nn.Module]] = {"dense128": networks.dense128, "LeNet60": networks.lenet60}
    torch.manual_seed(0)
    untrained = {name: build().eval() for name, build in by_hand.items()}

    def alone(look: Look) -> Contender:
        return Contender({"": look}, targets, refuted)

    found = {name: alone(looked(model, samples)) for name, model in trained.items()}
    demo = {name: looked(model, samples, DEMO_LAYERS) for name, model in trained.items()}
    found["both, as in the demo"] = Contender(demo, targets, refuted)
    for name, model in untrained.items():
        found[f"{name}, untrained"] = alone(looked(model, samples, transform=trained[name].transform))
    return found


def counts(trials: Iterable[Trial], least: float = LEAST) -> dict[str, Any]:
    """Return how many suspects are true above the threshold and by rank, means over the seeds."""
    first, true, others, stated, found = [], [], [], [], []
    for trial in trials:
        above = trial.probabilities >= least
        planted = np.isin(trial.rows, trial.planted)
        first.append(planted[: len(trial.planted)].sum())
        true.append((trial.true & above).sum())
        others.append((~trial.true & above).sum())
        stated.append(trial.probabilities[above].sum())
        found.append((planted & above).sum() / len(trial.planted))
    shown = sum(true) + sum(others)
    return {
        "planted_first": float(np.mean(first)),  # among as many as were planted
        "true": float(np.mean(true)),  # at or above the threshold
        "others": float(np.mean(others)),
        "precision": float(sum(true) / shown) if shown else None,
        "stated": float(sum(stated) / shown) if shown else None,  # mean probability
        "recall": float(np.mean(found)),
        "per_seed": [[int(a), int(b)] for a, b in zip(true, others, strict=True)],
    }


def reliability(trials: Iterable[Trial], edges: Sequence[float] = BINS) -> dict[str, Any]:
    """Return the share of true ones among the suspects of each bin of the stated probability; None in an empty one."""
    trials = list(trials)
    stated = np.concatenate([trial.probabilities for trial in trials])
    true = np.concatenate([trial.true for trial in trials])
    # The last bin has 1 itself.
    bins = np.minimum(np.searchsorted(edges, stated, side="right") - 1, len(edges) - 2)
    row: dict[str, Any] = {}
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = true[bins == number]
        row[f"{low:.0%} to {high:.0%}"] = float(inside.mean()) if len(inside) else None
        row[f"of {low:.0%} to {high:.0%}"] = len(inside)
    return row
