"""See how a network folds its samples, layer by layer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from torchviz_layers._common.version import __version__

if TYPE_CHECKING:
    from torchviz_layers.convert import convert_keras
    from torchviz_layers.corner_cases import find_corner_cases
    from torchviz_layers.data import Samples, load_dataset
    from torchviz_layers.exceptions import ConversionError, TorchvizLayersError
    from torchviz_layers.extraction import Activations, extract
    from torchviz_layers.hooks import capture, list_layers
    from torchviz_layers.metrics import evaluate_embedding
    from torchviz_layers.models import load_model
    from torchviz_layers.page import Page, plot_embedding
    from torchviz_layers.pipeline import visualize_layers
    from torchviz_layers.reducers import UMAP, embed, make_reducer

# Public name -> the room that it is in. Names resolve on first use (PEP 562), so that `import torchviz_layers` stays as
# quick as `import torch`.
_ROOMS = {
    "Activations": "extraction",
    "ConversionError": "exceptions",
    "Page": "page",
    "Samples": "data",
    "TorchvizLayersError": "exceptions",
    "UMAP": "reducers",
    "capture": "hooks",
    "convert_keras": "convert",
    "embed": "reducers",
    "evaluate_embedding": "metrics",
    "extract": "extraction",
    "find_corner_cases": "corner_cases",
    "list_layers": "hooks",
    "load_dataset": "data",
    "load_model": "models",
    "make_reducer": "reducers",
    "plot_embedding": "page",
    "visualize_layers": "pipeline",
}

__all__ = [
    "UMAP",
    "Activations",
    "ConversionError",
    "Page",
    "Samples",
    "TorchvizLayersError",
    "__version__",
    "capture",
    "convert_keras",
    "embed",
    "evaluate_embedding",
    "extract",
    "find_corner_cases",
    "list_layers",
    "load_dataset",
    "load_model",
    "make_reducer",
    "plot_embedding",
    "visualize_layers",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'torchviz_layers' has no attribute {name!r}")
    return getattr(importlib.import_module(f"torchviz_layers.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
