"""The reducers that are compared: name -> library that must be there, and how its estimator is made.

Each is imported and built only inside its own process (`benchmarks.reducer_worker`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Contender(NamedTuple):
    """One reducer of the comparison."""

    library: str
    build: Callable[[str], Any]  # device -> object with fit_transform
    quick: bool = False  # runs with --quick too
    slow: bool = False  # a minute or more at 10,000 rows: one repeat


def _ours(device: str, **options: Any) -> Any:
    from torchviz_layers import UMAP

    return UMAP(device=device, **options)


def _umap_learn(_device: str, **options: Any) -> Any:
    import umap

    return umap.UMAP(**options)


def _opentsne(_device: str) -> Any:
    import openTSNE

    class Estimator(openTSNE.TSNE):  # type: ignore[misc] # untyped
        def fit_transform(self, X: Any) -> Any:
            return self.fit(X)

    return Estimator(n_jobs=-1)


def _pacmap(_device: str) -> Any:
    import pacmap

    return pacmap.PaCMAP()


def _torchdr(device: str) -> Any:
    import torchdr

    return torchdr.UMAP(n_neighbors=15, device=device)


def _cuml(device: str) -> Any:
    return _ours(device, engine="cuml")


CONTENDERS = {
    "ours": Contender("torchviz_layers", _ours, quick=True),
    "ours, seeded": Contender("torchviz_layers", lambda device: _ours(device, random_state=0), quick=True),
    "umap-learn": Contender("umap", _umap_learn, quick=True),
    "umap-learn, seeded": Contender("umap", lambda device: _umap_learn(device, random_state=0)),
    "umap-learn, 200 epochs": Contender("umap", lambda device: _umap_learn(device, n_epochs=200)),
    "openTSNE": Contender("openTSNE", _opentsne, slow=True),
    "PaCMAP": Contender("pacmap", _pacmap),
    "TorchDR UMAP": Contender("torchdr", _torchdr, slow=True),
}
ON_CUDA = {
    "ours, torch": Contender("torchviz_layers", lambda device: _ours(device, engine="torch")),
    "ours, cuml": Contender("cuml", _cuml),
}
