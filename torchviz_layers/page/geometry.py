"""Coordinates, ranges and sizes of the figures: NumPy alone, nothing of Bokeh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.outcomes import errors_of, shown_labels
from torchviz_layers.page.records import PageData, Panel, shortened
from torchviz_layers.page.tasks import task_of

MAX_NAMED_CLASSES = 20
MAX_PLACED_CLASSES = 300  # the page shows those of the names that fit
MAX_NAME = 12  # letters of a class's name in a figure
MIN_NAMED_SAMPLES = 3  # the name of a smaller class would cover its points


@dataclass(frozen=True)
class Marks:
    """Size in pixels and opacity of the points of a figure, from how many there are."""

    size: float
    alpha: float

    @classmethod
    def of(cls, n_samples: int, scale: float) -> Marks:
        """Return marks that keep a figure of so many points legible; `scale` is 1 for a small panel."""
        # The area that a point covers shrinks with their number, so that all together always cover about the same.
        root = max(1.0, n_samples) ** 0.5
        size = np.clip(130 * scale / root, 1.5 * scale, 4 * scale)
        alpha = np.clip(55 / root, 0.3, 0.85)
        return cls(float(size), float(alpha))


def drawing_order(data: PageData) -> NDArray[np.int64]:
    """Return the order in which samples are drawn: shuffled, so that no class hides another, errors last."""
    order = np.random.default_rng(0).permutation(data.n_samples)
    # A stable sort keeps the shuffled order among the errors and among the others.
    anywhere = np.any([errors_of(data, network) for network in data.networks], axis=0)
    return order[np.argsort(anywhere[order], kind="stable")]


def owners(data: PageData) -> list[int | None]:
    """Return the number of the network that each of `data.panels` belongs to; None for the input."""
    numbers: list[int | None] = []
    if data.input_panel is not None:
        numbers.append(None)
    for number, network in enumerate(data.networks):
        numbers += [number] * len(network.panels)
    return numbers


def coordinates(panel: Panel) -> NDArray[np.float32]:
    """Return the panel's coordinates (n_samples, 2), both NaN for a sample that was not embedded."""
    Z = np.array(panel.Z, dtype=np.float32)
    Z[~np.isfinite(Z).all(axis=1)] = np.nan
    return Z


def square_ranges(Z: NDArray[np.float32]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ranges of x and y of the same length, so that a square panel shows distances undistorted."""
    finite = Z[np.isfinite(Z).all(axis=1)].astype(np.float64)
    if not len(finite):
        return (-1.0, 1.0), (-1.0, 1.0)
    low, high = finite.min(axis=0), finite.max(axis=0)
    half = 0.5 * 1.08 * float((high - low).max())  # 8 % margin
    if half == 0:  # all points are the same
        half = 1.0
    # Both ranges have the length of the longer one, around the centre of the points.
    x, y = (low + high) / 2
    return (float(x - half), float(x + half)), (float(y - half), float(y + half))


def class_centres(data: PageData, Z: NDArray[np.float32], most: int = MAX_NAMED_CLASSES) -> dict[str, list[Any]]:
    """Return x, y and text of the classes' names: at the median of a class's points, NaN if it has too few.

    All three are empty if there are more than `most` classes.
    """
    labels = shown_labels(data)
    centres: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    if labels is None or data.n_classes > most:
        return centres
    finite = np.isfinite(Z).all(axis=1)
    for code, name in enumerate(data.names_of_classes):
        members = Z[finite & (labels == code)]
        x, y = np.nan, np.nan
        if len(members) >= MIN_NAMED_SAMPLES:
            x, y = np.median(members, axis=0)
        centres["x"].append(float(x))
        centres["y"].append(float(y))
        centres["text"].append(shortened(name, MAX_NAME))
    return centres


def first_colors(data: PageData) -> NDArray[np.float32]:
    """Return the colour codes that the page opens with: those of the task or of `shown_labels`, or else zeros."""
    task = task_of(data)
    if task is not None:
        return task.first_colors()[0]
    labels = shown_labels(data)
    if labels is None:
        return np.zeros(data.n_samples, np.float32)
    return labels.astype(np.float32)
