"""Padding, cropping and resizing."""

from __future__ import annotations

from typing import Any

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.resampling import KERNELS, CenterCrop, Pad, Repeat, Resize, Upsample
from torchviz_layers.convert.registry import Built, Out, Site, images, refuse, rule, spatial_rank
from torchviz_layers.convert.rules.options import sizes


def pairs(value: Any, rank: int) -> list[tuple[int, int]]:
    """Return how much to pad or crop before and after, an axis each: a number, one an axis, or a pair an axis."""
    entries = [value] * rank if isinstance(value, int) else list(value)
    if rank == 1 and len(entries) == 2 and all(isinstance(entry, int) for entry in entries):
        entries = [entries]
    found = [(entry, entry) if isinstance(entry, int) else (int(entry[0]), int(entry[1])) for entry in entries]
    if len(found) != rank:
        raise ValueError(f"{value!r} is not {rank} pairs")
    return found


@rule("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D", order=images)
def padding(layer: Layer, site: Site) -> Built:
    """Pad with zeros; cropping pads by negative amounts."""
    rank = spatial_rank(layer)
    key, sign = ("padding", 1) if "Padding" in layer.kind else ("cropping", -1)
    # `F.pad` counts axes from the last one; with channels last that is the channels, which stay.
    channels_first = site.order is not None or layer.get("data_format") == "channels_first"
    amounts: list[int] = [] if channels_first else [0, 0]
    for before, after in reversed(pairs(layer.get(key, 1), rank)):
        amounts += [sign * before, sign * after]
    return Built(Pad(tuple(amounts)), Out(site.order, rank + 2))


@rule("UpSampling1D", "UpSampling2D", "UpSampling3D", order=images)
def upsampling(layer: Layer, site: Site) -> Built:
    """Repeat entries along each axis, or interpolate images."""
    rank = spatial_rank(layer)
    factors = sizes(layer.get("size", 2), rank)
    out = Out(site.order, rank + 2)
    if rank == 2 and str(layer.get("interpolation", "nearest")).lower() != "nearest":
        return Built(Upsample((factors[0], factors[1]), interpolation(layer)), out)
    first_axis = 1 if rank == 1 else 2  # sequences have channels last, images and volumes channels first
    return Built(Repeat(factors, first_axis), out)


@rule("Resizing", order=images)
def resizing(layer: Layer, site: Site) -> Built:
    """As TensorFlow does: half-pixel centres, nine interpolations, without antialiasing unless asked."""
    size = int(layer.config["height"]), int(layer.config["width"])
    fill = None
    if layer.get("pad_to_aspect_ratio", False):
        if layer.get("fill_mode", "constant") != "constant":
            raise refuse(layer, f"fill_mode {layer.get('fill_mode')!r} is not constant")
        fill = float(layer.get("fill_value", 0.0))
    crop, antialias = bool(layer.get("crop_to_aspect_ratio", False)), bool(layer.get("antialias", False))
    return Built(Resize(size, interpolation(layer), crop, antialias, fill), Out(site.order, 4))


def interpolation(layer: Layer) -> str:
    """Return how a layer interpolates."""
    mode = str(layer.get("interpolation", "bilinear")).lower()
    if mode not in ("nearest", "area", *KERNELS):
        raise refuse(layer, f"interpolation {mode!r} is not known")
    return mode


@rule("CenterCrop", order=images)
def center_crop(layer: Layer, site: Site) -> Built:
    """Keep the middle of the image."""
    return Built(CenterCrop((int(layer.config["height"]), int(layer.config["width"]))), Out(site.order, 4))
