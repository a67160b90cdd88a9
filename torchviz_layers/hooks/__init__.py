"""The hook API: which layers a model has, and what each of them outputs in a forward pass."""

from torchviz_layers.hooks.capturing import Capture, LayerInfo, LayerTable, capture, computing_layers, list_layers

__all__ = ["Capture", "LayerInfo", "LayerTable", "capture", "computing_layers", "list_layers"]
