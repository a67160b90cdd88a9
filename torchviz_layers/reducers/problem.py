"""The input of an engine: one UMAP problem, checked, with its defaults resolved."""

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
    """The rows to embed, and `UMAP`'s parameters, which are explained there."""

    X: Any  # (n, n_features): float32 or float64 array, tensor on a card, or csr_matrix; finite
    n_components: int
    n_neighbors: int  # at most n; the point itself is counted, as in umap-learn
    min_dist: float
    spread: float
    metric: Any
    n_epochs: int | None  # None: the engine's own default; see `epochs`
    init: str | Array
    seed: int  # 32 bits
    seeded: bool  # whether the caller gave the seed: a library may be quicker without one
    device: torch.device
    neighbors: tuple[Array, Array] | None = None  # indices and distances (n, n_neighbors - 1), without the point itself
    callback: Callback | None = None
    verbose: bool = False
    y: Any = None
    options: dict[str, Any] = field(default_factory=dict)  # `engine_kwargs`

    @property
    def start(self) -> str:
        """How the initial positions are computed: `init`, or `given` if it is an array."""
        return self.init if isinstance(self.init, str) else "given"

    @property
    def epochs(self) -> int:
        """Epochs of our engines. Many rows need fewer: an epoch takes longer, and the map has less noise."""
        if self.n_epochs is not None:
            return self.n_epochs
        return 500 if self.X.shape[0] <= 20_000 else 300

    @property
    def library_params(self) -> dict[str, Any]:
        """The parameters that umap-learn and cuML have in common, under their names."""
        return {
            "n_components": self.n_components,
            "n_neighbors": self.n_neighbors,
            "min_dist": self.min_dist,
            "spread": self.spread,
            "metric": self.metric,
            "n_epochs": self.n_epochs,
            "random_state": self.seed if self.seeded else None,
            "verbose": self.verbose,
        }

    @contextmanager
    def progress(self) -> Iterator[Callable[[int, Array], bool] | None]:
        """Yield a function to call with the epochs done and the positions (n, n_components); True means: stop.

        It is None if there is neither a bar nor a callback: positions need not be copied from a card then.
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
    """Return a and b for which 1 / (1 + a d^2b) is nearest to umap-learn's target (`find_ab_params`).

    The target is 1 up to `min_dist` and exp(-(d - min_dist) / spread) from there on.
    """
    from scipy.optimize import curve_fit

    d = np.linspace(0, spread * 3, 300)
    wanted = np.where(d < min_dist, 1.0, np.exp(-(d - min_dist) / spread))
    (a, b), _ = curve_fit(lambda d, a, b: 1.0 / (1.0 + a * d ** (2 * b)), d, wanted)
    return float(a), float(b)
