"""Pooling, local and global."""

from __future__ import annotations

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.pooling import AdaptivePool, AvgPool, GlobalPool, MaxPool
from torchviz_layers.convert.registry import Built, Out, Site, images, rule
from torchviz_layers.convert.rules.options import sizes


def pooling(layer: Layer, site: Site, rank: int) -> Built:
    """Return a local pooling."""
    size = sizes(layer.config["pool_size"], rank)
    kind = MaxPool if layer.kind.startswith("Max") else AvgPool
    channels_last = rank == 1 and layer.get("data_format") != "channels_first"
    module = kind(size, sizes(layer.get("strides", size), rank), layer.get("padding") == "same", channels_last)
    return Built(module, Out(site.order, rank + 2))


@rule("MaxPooling1D", "AveragePooling1D")
def pooling1d(layer: Layer, site: Site) -> Built:
    """Sequences stay (n, steps, channels)."""
    return pooling(layer, site, 1)


@rule("MaxPooling2D", "AveragePooling2D", order=images(4))
def pooling2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return pooling(layer, site, 2)


@rule("MaxPooling3D", "AveragePooling3D", order=images(5))
def pooling3d(layer: Layer, site: Site) -> Built:
    """Volumes."""
    return pooling(layer, site, 3)


def global_pooling(layer: Layer, site: Site, rank: int) -> Built:
    """Return a pooling over all positions."""
    first = site.order is not None or layer.get("data_format") == "channels_first"
    axes = tuple(range(2, rank + 2)) if first else tuple(range(1, rank + 1))
    keepdims = bool(layer.get("keepdims", False))
    module = GlobalPool(axes, "Max" in layer.kind, keepdims)
    out = Out(site.order, rank + 2) if keepdims else Out(None, 2)
    return Built(module, out, takes_mask="Average" in layer.kind and rank == 1)


@rule("GlobalMaxPooling1D", "GlobalAveragePooling1D")
def global_pooling1d(layer: Layer, site: Site) -> Built:
    """Sequences: masked steps do not count in the mean."""
    return global_pooling(layer, site, 1)


@rule("GlobalMaxPooling2D", "GlobalAveragePooling2D", order=images(4))
def global_pooling2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return global_pooling(layer, site, 2)


@rule("GlobalMaxPooling3D", "GlobalAveragePooling3D", order=images(5))
def global_pooling3d(layer: Layer, site: Site) -> Built:
    """Volumes."""
    return global_pooling(layer, site, 3)


def adaptive_pooling(layer: Layer, site: Site, rank: int) -> Built:
    """Return a pooling to a given size."""
    last = rank == 1 and layer.get("data_format") != "channels_first"
    module = AdaptivePool(sizes(layer.config["output_size"], rank), "Max" in layer.kind, last)
    return Built(module, Out(site.order, rank + 2))


@rule("AdaptiveMaxPooling1D", "AdaptiveAveragePooling1D")
def adaptive_pooling1d(layer: Layer, site: Site) -> Built:
    """Sequences stay (n, steps, channels)."""
    return adaptive_pooling(layer, site, 1)


@rule("AdaptiveMaxPooling2D", "AdaptiveAveragePooling2D", order=images(4))
def adaptive_pooling2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return adaptive_pooling(layer, site, 2)


@rule("AdaptiveMaxPooling3D", "AdaptiveAveragePooling3D", order=images(5))
def adaptive_pooling3d(layer: Layer, site: Site) -> Built:
    """Volumes."""
    return adaptive_pooling(layer, site, 3)
