"""The page: the same samples through the layers of one to twelve networks, in one offline HTML file."""

from __future__ import annotations

from torchviz_layers.page.build import Page, build_page
from torchviz_layers.page.plot import Plot, plot_embedding
from torchviz_layers.page.records import Network, PageData, Panel

__all__ = ["Network", "Page", "PageData", "Panel", "Plot", "build_page", "plot_embedding"]
