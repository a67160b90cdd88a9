"""Layers with several inputs."""

from __future__ import annotations

import torch

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.merging import Concatenate, Dot, Merge, ScaledAdd, joined_mask
from torchviz_layers.convert.registry import Built, Out, Site, keep, rule

_OPERATIONS = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Average": "average",
    "Maximum": "maximum",
    "Minimum": "minimum",
}


@rule(*_OPERATIONS, order=keep)
def merge(layer: Layer, site: Site) -> Built:
    """Combine entry by entry; Keras 2 takes a step as masked if one input masks it, Keras 3 if all do."""
    ranks = [rank for rank in site.ranks if rank is not None]
    all_known = len(ranks) == len(site.ranks)
    out = site.same
    if site.order is None:
        out = Out(None, max(ranks) if all_known else None)
    merge_masks = torch.logical_or if layer.major >= 3 else torch.logical_and
    broadcast = site.order is None and (not all_known or len(set(ranks)) > 1)
    takes_masks = layer.kind == "Multiply" and layer.major >= 3
    module = Merge(_OPERATIONS[layer.kind], broadcast)
    return Built(module, out, mask="merge", merge_masks=merge_masks, takes_masks=takes_masks)


@rule("Concatenate", order=keep)
def concatenate(layer: Layer, site: Site) -> Built:
    """Join along Keras's axis."""
    axis = site.axis(int(layer.get("axis", -1)))
    joined = (joined_mask, (axis, layer.major >= 3)) if site.order is None else None
    return Built(Concatenate(axis), site.same, mask="merge", join_masks=joined)


@rule("Dot")
def dot(layer: Layer, site: Site) -> Built:
    """Multiply and sum over one axis of each input."""
    axes = layer.config["axes"]
    first, second = (axes, axes) if isinstance(axes, int) else axes
    ranks = [rank for rank in site.ranks if rank is not None]
    rank = max(2, sum(ranks) - 3) if len(ranks) == 2 else None
    return Built(Dot((int(first), int(second)), bool(layer.get("normalize", False))), Out(None, rank))


@rule("CustomScaleLayer", "Custom>CustomScaleLayer", order=keep)
def scaled_add(layer: Layer, site: Site) -> Built:
    """Add the second input times a fixed scale to the first: keras.applications' own layer."""
    return Built(ScaledAdd(float(layer.config["scale"])), site.same)
