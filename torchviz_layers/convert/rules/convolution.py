"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.convolution import Conv1d, Conv2d, Conv3d
from torchviz_layers.convert.layers.transposed import ConvTranspose, LocallyConnected, SeparableConv
from torchviz_layers.convert.registry import Built, Out, Site, images, refuse, rule, spatial_rank
from torchviz_layers.convert.rules.options import activation_of, fill, sizes

_ARRAYS = ("kernel", "bias:use_bias")
_CONVOLUTIONS = {1: Conv1d, 2: Conv2d, 3: Conv3d}


def window(layer: Layer, rank: int) -> dict[str, Any]:
    """Return the options that say how a convolution's window moves."""
    stride, dilation = sizes(layer.get("strides", 1), rank), sizes(layer.get("dilation_rate", 1), rank)
    padding = layer.get("padding", "valid")
    if padding not in ("valid", "same", "causal"):
        raise refuse(layer, f"padding {padding!r} is not valid, same or causal")
    kernel = sizes(layer.config["kernel_size"], rank)
    # torch pads evenly and for stride 1 only; Keras's padding depends on the size, and is larger at the end
    own = any(step > 1 for step in stride) or any(
        (size - 1) * gap % 2 for size, gap in zip(kernel, dilation, strict=True)
    )
    return {
        "kernel_size": kernel,
        "stride": stride,
        "padding": "same" if padding == "same" and not own else 0,
        "dilation": dilation,
        "keras_same": padding == "same" and own,
        "causal": padding == "causal",
        "channels_last": rank == 1 and layer.get("data_format") != "channels_first",
    }


@rule("Conv1D", "Conv2D", "Conv3D", weights=_ARRAYS, order=images)
def convolution(layer: Layer, site: Site) -> Built:
    """Convolve; padding that depends on the size of the input is computed in each call."""
    rank = spatial_rank(layer)
    # Keras's kernel is (*sizes, in / groups, out), torch's is (out, in / groups, *sizes).
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
    return Built(module, Out(site.order, rank + 2))


@rule("DepthwiseConv1D", "DepthwiseConv2D", weights=("depthwise_kernel", "bias:use_bias"), order=images)
def depthwise(layer: Layer, site: Site) -> Built:
    """Convolve each channel by itself: a convolution with a group for each channel."""
    rank = spatial_rank(layer)
    kernel = layer.weights["depthwise_kernel"]  # (*sizes, in, multiplier)
    channels, multiplier = kernel.shape[-2:]
    module = _CONVOLUTIONS[rank](
        channels,
        channels * multiplier,
        groups=channels,
        bias="bias" in layer.weights,
        activation=activation_of(layer, site=site),
        **window(layer, rank),
    )
    fill(layer, module, weight=_depthwise_weight(kernel, rank), bias=layer.weights.get("bias"))
    return Built(module, Out(site.order, rank + 2))


def _depthwise_weight(kernel: np.ndarray, rank: int) -> np.ndarray:
    """(*sizes, in, multiplier) -> (in * multiplier, 1, *sizes)."""
    sizes_, channels, multiplier = kernel.shape[:rank], *kernel.shape[rank:]
    return kernel.reshape(*sizes_, 1, channels * multiplier).transpose(-1, -2, *range(rank))


@rule(
    "SeparableConv1D",
    "SeparableConv2D",
    weights=("depthwise_kernel", "pointwise_kernel", "bias:use_bias"),
    order=images,
)
def separable(layer: Layer, site: Site) -> Built:
    """Convolve each channel by itself, then mix the channels at each position."""
    rank = spatial_rank(layer)
    kernel, mix = layer.weights["depthwise_kernel"], layer.weights["pointwise_kernel"]
    options = window(layer, rank)
    module = SeparableConv(
        kernel.shape[-2],
        layer.config["filters"],
        options["kernel_size"],
        options["stride"],
        layer.get("padding") == "same",
        options["dilation"],
        kernel.shape[-1],
        "bias" in layer.weights,
        activation_of(layer, site=site),
        options["causal"],
        options["channels_last"],
    )
    fill(
        layer,
        module,
        depthwise=_depthwise_weight(kernel, rank),
        pointwise=mix.transpose(-1, -2, *range(rank)),
        bias=layer.weights.get("bias"),
    )
    return Built(module, Out(site.order, rank + 2))


@rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", weights=_ARRAYS, order=images)
def transposed(layer: Layer, site: Site) -> Built:
    """Convolve transposed, and crop to the size of Keras's output."""
    rank = spatial_rank(layer)
    kernel = layer.weights["kernel"]  # (*sizes, out, in)
    options = window(layer, rank)
    extra = layer.get("output_padding")
    module = ConvTranspose(
        kernel.shape[-1],
        layer.config["filters"],
        options["kernel_size"],
        options["stride"],
        layer.get("padding") == "same",
        options["dilation"],
        None if extra is None else sizes(extra, rank),
        "bias" in layer.weights,
        activation_of(layer, site=site),
        options["channels_last"],
    )
    fill(layer, module, weight=kernel.transpose(-1, -2, *range(rank)), bias=layer.weights.get("bias"))
    return Built(module, Out(site.order, rank + 2))


@rule("LocallyConnected1D", "LocallyConnected2D", weights=_ARRAYS)
def locally_connected(layer: Layer, site: Site) -> Built:
    """Convolve with a kernel of its own at each position (Keras 1 and 2 only)."""
    if layer.get("implementation", 1) != 1:
        raise refuse(layer, "implementations 2 and 3 store a matrix over all positions")
    rank = spatial_rank(layer)
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    size, step = sizes(layer.config["kernel_size"], rank), sizes(layer.get("strides", 1), rank)
    last = layer.get("data_format") != "channels_first"
    module = LocallyConnected(
        kernel.shape[0],
        kernel.shape[1],
        layer.config["filters"],
        size,
        step,
        bias is not None,
        activation_of(layer, site=site),
        last,
    )
    fill(layer, module, weight=kernel, bias=None if bias is None else bias.reshape(-1, bias.shape[-1]))
    return Built(module, Out(None, rank + 2))
