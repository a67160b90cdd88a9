"""Where things stand in the figures, and how large they are drawn: numbers alone, nothing of Bokeh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.records import Network, PageData, Panel

MAX_NAMED_CLASSES = 20
# The name of a class of fewer samples would stand on them.
FEWEST_NAMED = 3


@dataclass(frozen=True)
class Marks:
    """Size in pixels and opacity of the points of a figure, from how many there are."""

    size: float
    alpha: float

    @classmethod
    def of(cls, n_samples: int, scale: float) -> Marks:
        """Return marks that leave a figure of so many points legible; `scale` is 1 for a small panel."""
        root = max(1.0, n_samples) ** 0.5
        return cls(float(np.clip(130 * scale / root, 1.5 * scale, 4 * scale)), float(np.clip(55 / root, 0.3, 0.85)))


def drawing_order(data: PageData) -> NDArray[np.int64]:
    """Return the samples in the order that they are drawn: shuffled, so that no class hides another, errors on top."""
    order = np.random.default_rng(0).permutation(data.n_samples)
    anywhere = np.any([errors_of(data, network) for network in data.networks], axis=0)
    return order[np.argsort(anywhere[order], kind="stable")]


def errors_of(data: PageData, network: Network) -> NDArray[np.bool_]:
    """Return where a network errs; nowhere without targets or answers."""
    if data.targets is None or network.predictions is None:
        return np.zeros(data.n_samples, bool)
    return np.asarray(network.predictions != data.targets)


def owners(data: PageData) -> list[int | None]:
    """Return the number of the network that each of `data.panels` belongs to; None for the input."""
    shared: list[int | None] = [] if data.input_panel is None else [None]
    return shared + [number for number, network in enumerate(data.networks) for _ in network.panels]


def place(panel: Panel) -> NDArray[np.float32]:
    """Return the panel's coordinates with NaN where a sample has no place."""
    Z = np.array(panel.Z, dtype=np.float32)
    Z[~np.isfinite(Z).all(axis=1)] = np.nan
    return Z


def square(Z: NDArray[np.float32]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ranges of x and y of one length, so that a square panel shows distances as they are."""
    placed = Z[np.isfinite(Z).all(axis=1)].astype(np.float64)
    if not len(placed):
        return (-1.0, 1.0), (-1.0, 1.0)
    low, high = placed.min(axis=0), placed.max(axis=0)
    half = 0.5 * float((high - low).max()) * 1.08 or 1.0
    x, y = (low + high) / 2
    return (float(x - half), float(x + half)), (float(y - half), float(y + half))


def class_centres(data: PageData, Z: NDArray[np.float32]) -> dict[str, list[Any]]:
    """Return where each class's name stands: the median of its points, NaN with too few; nothing for too many names."""
    labels = data.labels(data.networks[0])
    centres: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    if labels is None or data.n_classes > MAX_NAMED_CLASSES:
        return centres
    placed = np.isfinite(Z).all(axis=1)
    for code, name in enumerate(data.names_of_classes):
        members = Z[placed & (labels == code)]
        x, y = np.median(members, axis=0) if len(members) >= FEWEST_NAMED else (np.nan, np.nan)
        centres["x"].append(float(x))
        centres["y"].append(float(y))
        centres["text"].append(name if len(name) <= 12 else name[:11] + "…")
    return centres


def first_colors(data: PageData) -> NDArray[np.float32]:
    """Return the codes that the page opens with: the truth or, without it, the first network's predictions."""
    labels = data.labels(data.networks[0])
    return np.zeros(data.n_samples, np.float32) if labels is None else labels.astype(np.float32)
