"""Made-up pages of a regression and of a multi-label task, whose errors are known."""

from dataclasses import replace

import numpy as np

from tests.pages import Case, nearest
from torchviz_layers.page import Network, PageData, Panel


def _layer(name: str, meaning: np.ndarray, spread: float, rng: np.random.Generator, **measures) -> Panel:
    """A layer whose plane shows the first two columns of what it has learnt."""
    Z = meaning[:, :2] + rng.normal(scale=spread, size=(len(meaning), 2))
    return Panel(name, Z.astype(np.float32), nearest(Z), trustworthiness=0.95, kind="Linear", shape=(16,), **measures)


def regression_page(n: int = 300, n_networks: int = 2, seed: int = 0, **changes) -> PageData:
    """Values from about -3 to 3; net k is off by exactly 2 on rows 10 k to 10 k + 14, and by at most 0.5 elsewhere."""
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=n), 3)
    meaning = np.stack([values, rng.normal(size=n)], axis=1)
    networks = []
    for k in range(n_networks):
        residuals = rng.uniform(-0.5, 0.5, size=n)
        residuals[10 * k : 10 * k + 15] = 2 * (-1) ** np.arange(15)
        panels = tuple(
            _layer(
                f"fc_{step}",
                meaning,
                1 / (step + 1),
                rng,
                neighbor_r2=(-0.2, 0.3, 0.6)[step],
                probe_r2=0.3 + 0.3 * step,
            )
            for step in range(3)
        )
        networks.append(Network(f"net {'ABCDEFGHIJKL'[k]}", panels, values=(values + residuals).astype(np.float32)))
    given = {
        "title": "made-up values",
        "networks": tuple(networks),
        "values": values,
        "input_panel": _layer("input", meaning, 2, rng, neighbor_r2=-0.3, probe_r2=0.1),
        "corner_cases": (
            Case("large residual", 3, 2.0, "far off"),
            Case("isolated", 40, 1.0, "no neighbour is like it"),
        ),
    }
    return PageData(**(given | changes))


def label_page(n: int = 300, n_labels: int = 6, n_networks: int = 2, seed: int = 0, **changes) -> PageData:
    """Net k misses or invents label 0 on rows 10 k to 10 k + 14, and on the first five of these label 1, too."""
    rng = np.random.default_rng(seed)
    sets = rng.uniform(size=(n, n_labels)) < 0.3
    meaning = 3.0 * sets[:, :2] + rng.normal(scale=0.3, size=(n, 2))
    networks = []
    for k in range(n_networks):
        said = sets.copy()
        said[10 * k : 10 * k + 15, 0] ^= True
        said[10 * k : 10 * k + 5, 1] ^= True
        sure = rng.uniform(0.6, 1, size=sets.shape)
        panels = tuple(
            _layer(
                f"conv_{step}", meaning, 2 / (step + 1), rng, purity=0.4 + 0.2 * step, probe_accuracy=0.7 + 0.1 * step
            )
            for step in range(2)
        )
        probabilities = np.where(said, sure, 1 - sure).astype(np.float32)
        networks.append(Network(f"net {'ABCDEFGHIJKL'[k]}", panels, probabilities))
    given = {
        "title": "made-up tags",
        "networks": tuple(networks),
        "label_sets": sets,
        "class_names": tuple(f"tag {k}" for k in range(n_labels)),
        "images": rng.uniform(size=(n, 1, 12, 10)).astype(np.float32),
        "input_panel": _layer("input", meaning, 4, rng, purity=0.3, probe_accuracy=0.6),
    }
    return PageData(**(given | changes))


def unlabelled(data: PageData, rows: list[int]) -> PageData:
    """The same page with NaN for some true values."""
    values = data.values.copy()
    values[rows] = np.nan
    return replace(data, values=values)
