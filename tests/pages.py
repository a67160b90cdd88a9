"""Made-up page data with a known answer, for the tests of the page."""

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchviz_layers.data import load_dataset
from torchviz_layers.page import Network, PageData, Panel


@dataclass(frozen=True)
class Case:
    kind: str
    sample: int
    score: float
    reason: str


def clusters(labels: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Points around one centre a class, on a circle."""
    angle = 2 * np.pi * labels / (labels.max() + 1)
    centre = 4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (centre + rng.normal(scale=spread, size=centre.shape)).astype(np.float32)


def nearest(Z: np.ndarray, k: int = 8) -> np.ndarray:
    """Rows of the k nearest others, by brute force."""
    distance = np.square(Z[:, None] - Z[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def panel(name: str, labels: np.ndarray, spread: float, rng: np.random.Generator) -> Panel:
    Z = clusters(labels, spread, rng)
    near = nearest(Z)
    purity = float(np.mean(labels[near] == labels[:, None]))
    return Panel(name, Z, near, purity, min(1.0, purity + 0.01), 0.95, 0.8, "Dense", (16,))


def answers(labels: np.ndarray, n_classes: int, errors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities that name the label, but the class after it for the rows of `errors`."""
    said = labels.copy()
    said[errors] = (said[errors] + 1) % n_classes
    outputs = rng.uniform(0, 0.3, size=(len(labels), n_classes)).astype(np.float32)
    outputs[np.arange(len(labels)), said] = rng.uniform(0.5, 1, size=len(labels))
    return outputs / outputs.sum(axis=1, keepdims=True)


def page_data(
    n: int = 300, n_classes: int = 10, layers: tuple[int, ...] = (2, 3), seed: int = 0, **changes
) -> PageData:
    """Two networks: A is wrong on rows 0..19, B on rows 15..24; so both on 15..19."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    wrong = [np.arange(20), np.arange(15, 25)]
    networks = tuple(
        Network(
            f"net {'AB'[k]}",
            tuple(panel(f"dense_{step}", labels, 2.0 / (step + 1), rng) for step in range(count)),
            answers(labels, n_classes, wrong[k], rng),
        )
        for k, count in enumerate(layers)
    )
    images = rng.uniform(size=(n, 1, 12, 10)).astype(np.float32)
    given = {
        "title": "made-up digits",
        "networks": networks,
        "images": images,
        "targets": labels,
        "class_names": tuple(str(code) for code in range(n_classes)),
        "input_panel": panel("input", labels, 2.5, rng),
        "corner_cases": tuple(
            Case("label suspect", row, 1.0, f"both say another class ({row})") for row in range(15, 20)
        )
        + tuple(Case("changes at the end", row, 1.0, "right until the last layer") for row in range(3)),
        "notes": ("UMAP by umap-learn: no CUDA card.",),
    }
    return PageData(**(given | changes))


def unpacked(dtype: str, shape: tuple[int, ...] | list[int], data: str) -> Any:
    """What a column of a page contains, read back from its text as the page's script does."""
    raw = zlib.decompress(base64.b64decode(data))
    if dtype == "json":
        return json.loads(raw)
    # All first bytes of the numbers, then all second ones, and so on.
    planes = np.frombuffer(raw, np.uint8).reshape(np.dtype(dtype).itemsize, -1)
    return np.ascontiguousarray(planes.T).view(np.dtype(dtype).newbyteorder("<")).reshape(shape)


def half_a_step(Z: np.ndarray) -> float:
    """The most that a coordinate is rounded by: the page has 32,766 steps over a panel and its margins of 4 %."""
    return 1.08 * float(np.ptp(Z, axis=0).max()) / 32_766 / 2 + 1e-6  # and float32's own rounding


def mnist_page(layers: tuple[int, int]) -> PageData:
    """All MNIST test digits with layouts and neighbours as hard to pack as can be: random ones."""
    samples = load_dataset("mnist", split="test")
    rng = np.random.default_rng(0)
    n = len(samples)

    def layer(name: str) -> Panel:
        return Panel(name, rng.normal(size=(n, 2)).astype(np.float32), rng.integers(0, n, (n, 8)), 0.9, 0.9, 0.9, 0.9)

    outputs = np.eye(10, dtype=np.float32)[
        np.where(rng.uniform(size=n) < 0.02, rng.integers(0, 10, n), samples.targets)
    ]
    outputs = 0.9 * outputs + 0.1 * rng.dirichlet(np.ones(10), n).astype(np.float32)
    networks = tuple(
        Network(f"network {k}", tuple(layer(f"layer_{step}") for step in range(count)), outputs)
        for k, count in enumerate(layers)
    )
    cases = tuple(Case("label suspect", row, 1.0, "both say another class") for row in range(100))
    shown = {"images": samples.shown.images, "targets": samples.targets, "class_names": samples.class_names}
    return PageData("MNIST", networks, **shown, input_panel=layer("input"), corner_cases=cases)


def photographs(n: int, side: int = 224, seed: int = 0) -> np.ndarray:
    """Smooth pictures with some grain, uint8 (n, 3, side, side); the colour of the whole says which row it is."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-40, 40, side)
    grain = rng.normal(scale=6, size=(3, side, side))
    return np.clip(own_colours(n)[:, :, None, None] + ramp[:, None] + ramp + grain, 0, 255).astype(np.uint8)


def own_colours(n: int) -> np.ndarray:
    """A colour (n, 3) a row, at least ten steps from that of any other of the first thousand."""
    rows = np.arange(n)
    return np.stack([80 + 10 * (rows % 10), 80 + 10 * (rows // 10 % 10), 80 + 10 * (rows // 100)], axis=1)
