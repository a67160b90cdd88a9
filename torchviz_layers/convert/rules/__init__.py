"""One short rule for each kind of Keras layer; importing this package fills the registry."""

from torchviz_layers.convert.rules import activation, convolution, core, pooling

__all__ = ["activation", "convolution", "core", "pooling"]
