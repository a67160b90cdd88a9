"""Nearest neighbours, exact and approximate, on the CPU and on CUDA."""

from torchviz_layers.neighbors.search import knn

__all__ = ["knn"]
