"""Convolutions."""

from __future__ import annotations

from typing import Any

from torchviz_layers.convert.layers.convolution import Conv1d, Conv2d, Conv3d
from torchviz_layers.convert.records import Layer
from torchviz_layers.convert.registry import Built, Out, Site, images, refuse, rule
from torchviz_layers.convert.rules.options import activation_of, fill, sizes

_CONVOLUTIONS = {1: Conv1d, 2: Conv2d, 3: Conv3d}


def window(layer: Layer, rank: int) -> dict[str, Any]:
    """Return the options that say how a convolution's window moves."""
    stride, dilation = sizes(layer.get("strides", 1), rank), sizes(layer.get("dilation_rate", 1), rank)
    padding = layer.get("padding", "valid")
    if padding not in ("valid", "same", "causal"):
        raise refuse(layer, f"padding {padding!r} is not valid, same or causal")
    strided = any(step > 1 for step in stride)
    return {
        "kernel_size": sizes(layer.config["kernel_size"], rank),
        "stride": stride,
        "padding": "same" if padding == "same" and not strided else 0,
        "dilation": dilation,
        "keras_same": padding == "same" and strided,
        "causal": padding == "causal",
        "channels_last": rank == 1 and layer.get("data_format") != "channels_first",
    }


def convolution(layer: Layer, site: Site, rank: int) -> Built:
    """Return a convolution; Keras's kernel is (*sizes, in / groups, out)."""
    kernel, groups = layer.weights["kernel"], int(layer.get("groups", 1))
    module = _CONVOLUTIONS[rank](
        kernel.shape[-2] * groups,
        layer.config["filters"],
        groups=groups,
        bias="bias" in layer.weights,
        activation=activation_of(layer, site=site),
        **window(layer, rank),
    )
    fill(layer, module, weight=kernel.transpose(-1, -2, *range(rank)), bias=layer.weights.get("bias"))
    return Built(module, Out(site.order, rank + 2), mask="pass" if rank == 1 else "drop")


@rule("Conv1D", weights=("kernel", "bias:use_bias"))
def conv1d(layer: Layer, site: Site) -> Built:
    """Sequences stay (n, steps, channels)."""
    return convolution(layer, site, 1)


@rule("Conv2D", weights=("kernel", "bias:use_bias"), order=images(4))
def conv2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return convolution(layer, site, 2)


@rule("Conv3D", weights=("kernel", "bias:use_bias"), order=images(5))
def conv3d(layer: Layer, site: Site) -> Built:
    """Volumes."""
    return convolution(layer, site, 3)
