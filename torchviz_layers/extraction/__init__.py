"""A loader streamed through a model: one array a layer, in memory or in a Zarr store."""

from torchviz_layers.extraction.activations import Activations
from torchviz_layers.extraction.extracting import extract

__all__ = ["Activations", "extract"]
