"""What an engine is given: one UMAP problem, checked, with every default resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from torchviz_layers._common.arrays import Array

Callback = Callable[[int, int, Array], Any]


@dataclass(frozen=True)
class Problem:
    """Rows to lay out and how; `n_neighbors` counts the point itself, as umap-learn's does."""

    X: Any
    n_components: int
    n_neighbors: int
    min_dist: float
    spread: float
    metric: Any
    n_epochs: int | None
    init: str | Array
    seed: int
    seeded: bool
    device: torch.device
    neighbors: tuple[Array, Array] | None = None
    callback: Callback | None = None
    verbose: bool = False
    y: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def start(self) -> str:
        """How the first positions are found: `init`, or `given` where it holds them."""
        return self.init if isinstance(self.init, str) else "given"

    @property
    def epochs(self) -> int:
        """Epochs of the pull layout: fewer for many rows, whose graph takes more time and shows less noise."""
        if self.n_epochs is not None:
            return self.n_epochs
        return 500 if self.X.shape[0] <= 20_000 else 300

    @contextmanager
    def progress(self) -> Iterator[Callable[[int, Array], bool] | None]:
        """Yield what the layout calls with the epochs done and the positions, and which tells it whether to stop.

        None where nobody watches: positions on a card need not be copied for it.
        """
        if not self.verbose and self.callback is None:
            yield None
            return
        bar = _bar(self.epochs) if self.verbose else None

        def report(done: int, Z: Array) -> bool:
            if bar is not None:
                bar.update(done - bar.n)
            return self.callback is not None and self.callback(done, self.epochs, Z.copy()) is True

        try:
            yield report
        finally:
            if bar is not None:
                bar.close()


def _bar(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="UMAP", unit="epoch", delay=2.0, disable=None)


def fit_curve(spread: float, min_dist: float) -> tuple[float, float]:
    """Find a and b so that 1 / (1 + a d^2b) is near 1 up to `min_dist` and then exp(-(d - min_dist) / spread)."""
    from scipy.optimize import curve_fit

    d = np.linspace(0, spread * 3, 300)
    wanted = np.where(d < min_dist, 1.0, np.exp(-(d - min_dist) / spread))
    (a, b), _ = curve_fit(lambda d, a, b: 1.0 / (1.0 + a * d ** (2 * b)), d, wanted)
    return float(a), float(b)
