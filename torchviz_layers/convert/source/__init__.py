"""A converted module written as readable PyTorch source."""

from torchviz_layers.convert.source.writer import write_source

__all__ = ["write_source"]
