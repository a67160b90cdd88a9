"""See how a network folds its samples, layer by layer."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from torchviz_layers.activations import Activations
    from torchviz_layers.capture import capture, list_layers
    from torchviz_layers.convert import convert_keras
    from torchviz_layers.corner_cases import find_corner_cases
    from torchviz_layers.data import Samples, load_dataset
    from torchviz_layers.embedding import embed
    from torchviz_layers.exceptions import ConversionError, TorchvizLayersError
    from torchviz_layers.extract import extract
    from torchviz_layers.metrics import evaluate_embedding
    from torchviz_layers.models import load_model
    from torchviz_layers.page import Page, plot_embedding
    from torchviz_layers.pipeline import visualize_layers
    from torchviz_layers.reduce import UMAP, make_reducer

# Public name -> module that defines it. Names resolve on first use (PEP 562), so that `import torchviz_layers` stays
# as quick as `import torch`.
_HOME = {
    "Activations": "activations",
    "ConversionError": "exceptions",
    "Page": "page",
    "Samples": "data",
    "TorchvizLayersError": "exceptions",
    "UMAP": "reduce",
    "capture": "capture",
    "convert_keras": "convert",
    "embed": "embedding",
    "evaluate_embedding": "metrics",
    "extract": "extract",
    "find_corner_cases": "corner_cases",
    "list_layers": "capture",
    "load_dataset": "data",
    "load_model": "models",
    "make_reducer": "reduce",
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


class _Package(ModuleType):
    """Lets `capture` and `extract` name the functions although the modules that define them have the same names.

    Importing a submodule binds it in its package, whoever imports it; here the function of that name is bound instead.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if _HOME.get(name) == name and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'torchviz_layers' has no attribute {name!r}")
    return getattr(importlib.import_module(f"torchviz_layers.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
