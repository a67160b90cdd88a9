"""The live page: a stored extraction in the browser, where layers are embedded again as the reader asks."""

from torchviz_layers.live.serving import serve

__all__ = ["serve"]
