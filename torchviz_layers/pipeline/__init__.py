"""`visualize_layers`: all stages in a row."""

from torchviz_layers.pipeline.visualize import visualize_layers

__all__ = ["visualize_layers"]
