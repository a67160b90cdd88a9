"""Embed activations in few dimensions: UMAP and its engines, PCA, and any other reducer by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from torchviz_layers.reducers.align import align
from torchviz_layers.reducers.registry import Reducer, available_reducers, make_reducer, register_reducer

if TYPE_CHECKING:
    from torchviz_layers.reducers.embedding import Embedding, embed
    from torchviz_layers.reducers.pca import PCA
    from torchviz_layers.reducers.umap import UMAP

__all__ = [
    "PCA",
    "UMAP",
    "Embedding",
    "Reducer",
    "align",
    "available_reducers",
    "embed",
    "make_reducer",
    "register_reducer",
]

_ON_USE = {"Embedding": "embedding", "PCA": "pca", "UMAP": "umap", "embed": "embedding"}  # they import scikit-learn


def __getattr__(name: str) -> Any:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ON_USE[name]}"), name)
