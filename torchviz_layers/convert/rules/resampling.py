"""Padding, cropping and resizing."""

from __future__ import annotations

from typing import Any

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.resampling import KERNELS, CenterCrop, Pad, Repeat, Resize, Upsample
from torchviz_layers.convert.registry import Built, Out, Site, images, refuse, rule
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


def padding(layer: Layer, site: Site, rank: int) -> Built:
    """Return a padding or cropping."""
    sign = 1 if "Padding" in layer.kind else -1
    key = "padding" if sign > 0 else "cropping"
    amounts = [sign * amount for pair in reversed(pairs(layer.get(key, 1), rank)) for amount in pair]
    first = site.order is not None or layer.get("data_format") == "channels_first"
    return Built(Pad(tuple(amounts if first else [0, 0, *amounts])), Out(site.order, rank + 2))


@rule("ZeroPadding1D", "Cropping1D")
def padding1d(layer: Layer, site: Site) -> Built:
    """Sequences stay (n, steps, channels)."""
    return padding(layer, site, 1)


@rule("ZeroPadding2D", "Cropping2D", order=images(4))
def padding2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return padding(layer, site, 2)


@rule("ZeroPadding3D", "Cropping3D", order=images(5))
def padding3d(layer: Layer, site: Site) -> Built:
    """Volumes."""
    return padding(layer, site, 3)


@rule("UpSampling1D")
def upsampling1d(layer: Layer, site: Site) -> Built:
    """Repeat each step."""
    return Built(Repeat(sizes(layer.get("size", 2), 1), 1), site.same)


@rule("UpSampling2D", order=images(4))
def upsampling2d(layer: Layer, site: Site) -> Built:
    """Repeat rows and columns, or interpolate."""
    mode = str(layer.get("interpolation", "nearest")).lower()
    factors = sizes(layer.get("size", 2), 2)
    if mode == "nearest":
        return Built(Repeat(factors, 2), Out(site.order, 4))
    return Built(Upsample((factors[0], factors[1]), interpolation(layer)), Out(site.order, 4))


@rule("UpSampling3D", order=images(5))
def upsampling3d(layer: Layer, site: Site) -> Built:
    """Repeat along three axes."""
    return Built(Repeat(sizes(layer.get("size", 2), 3), 2), Out(site.order, 5))


@rule("Resizing", order=images(4))
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


@rule("CenterCrop", order=images(4))
def center_crop(layer: Layer, site: Site) -> Built:
    """Keep the middle of the image."""
    return Built(CenterCrop((int(layer.config["height"]), int(layer.config["width"]))), Out(site.order, 4))
