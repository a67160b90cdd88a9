"""Lay activations out in few dimensions: UMAP and its engines, PCA, and any other reducer by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from torchviz_layers.reduce.align import align
from torchviz_layers.reduce.registry import Reducer, available_reducers, make_reducer, register_reducer

if TYPE_CHECKING:
    from torchviz_layers.reduce.pca import PCA
    from torchviz_layers.reduce.umap import UMAP

__all__ = ["PCA", "UMAP", "Reducer", "align", "available_reducers", "make_reducer", "register_reducer"]

_ON_USE = {"PCA": "pca", "UMAP": "umap"}  # they import scikit-learn


def __getattr__(name: str) -> Any:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ON_USE[name]}"), name)
