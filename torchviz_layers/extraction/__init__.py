"""Data streamed through models: one array a layer, in memory or in a Zarr store."""

from torchviz_layers.extraction.activations import Activations
from torchviz_layers.extraction.extracting import extract
from torchviz_layers.extraction.input_rows import InputRows, input_column

__all__ = ["Activations", "InputRows", "extract", "input_column"]
