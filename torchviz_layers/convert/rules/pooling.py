"""Pooling, local and global."""

from __future__ import annotations

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.pooling import AdaptivePool, AvgPool, GlobalPool, MaxPool
from torchviz_layers.convert.registry import Built, Out, Site, images, rule, spatial_rank
from torchviz_layers.convert.rules.options import sizes


@rule(
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    order=images,
)
def pooling(layer: Layer, site: Site) -> Built:
    """Take the maximum or mean of each window; padding does not count."""
    rank = spatial_rank(layer)
    size = sizes(layer.config["pool_size"], rank)
    kind = MaxPool if layer.kind.startswith("Max") else AvgPool
    channels_last = rank == 1 and layer.get("data_format") != "channels_first"
    module = kind(size, sizes(layer.get("strides", size), rank), layer.get("padding") == "same", channels_last)
    return Built(module, Out(site.order, rank + 2))


@rule(
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    order=images,
)
def global_pooling(layer: Layer, site: Site) -> Built:
    """Take the maximum or mean over all positions; masked steps of a sequence do not count in the mean."""
    rank = spatial_rank(layer)
    first = site.order is not None or layer.get("data_format") == "channels_first"
    axes = tuple(range(2, rank + 2)) if first else tuple(range(1, rank + 1))
    keepdims = bool(layer.get("keepdims", False))
    module = GlobalPool(axes, "Max" in layer.kind, keepdims)
    out = Out(site.order, rank + 2) if keepdims else Out(None, 2)
    return Built(module, out, takes_mask="Average" in layer.kind and rank == 1)


@rule(
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    order=images,
)
def adaptive_pooling(layer: Layer, site: Site) -> Built:
    """Take the maximum or mean over windows that give an output of a fixed size."""
    rank = spatial_rank(layer)
    last = rank == 1 and layer.get("data_format") != "channels_first"
    module = AdaptivePool(sizes(layer.config["output_size"], rank), "Max" in layer.kind, last)
    return Built(module, Out(site.order, rank + 2))
