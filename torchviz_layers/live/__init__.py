"""The live page: stored activations in the browser, where the reader embeds layers and selections again."""

from torchviz_layers.live.serving import serve

__all__ = ["serve"]
