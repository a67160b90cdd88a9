"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.convolution import Conv1d, Conv2d, Conv3d
from torchviz_layers.convert.layers.transposed import ConvTranspose, LocallyConnected, SeparableConv
from torchviz_layers.convert.registry import Built, Out, Site, images, refuse, rule
from torchviz_layers.convert.rules.options import activation_of, fill, sizes

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
    return Built(module, Out(site.order, rank + 2))


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


def depthwise(layer: Layer, site: Site, rank: int) -> Built:
    """Return a depthwise convolution; Keras's kernel is (*sizes, in, multiplier)."""
    kernel = layer.weights["depthwise_kernel"]
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


@rule("DepthwiseConv1D", weights=("depthwise_kernel", "bias:use_bias"))
def depthwise1d(layer: Layer, site: Site) -> Built:
    """Sequences stay (n, steps, channels)."""
    return depthwise(layer, site, 1)


@rule("DepthwiseConv2D", weights=("depthwise_kernel", "bias:use_bias"), order=images(4))
def depthwise2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return depthwise(layer, site, 2)


def separable(layer: Layer, site: Site, rank: int) -> Built:
    """Return a depthwise and a pointwise convolution in one."""
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


_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias:use_bias")


@rule("SeparableConv1D", weights=_SEPARABLE)
def separable1d(layer: Layer, site: Site) -> Built:
    """Sequences stay (n, steps, channels)."""
    return separable(layer, site, 1)


@rule("SeparableConv2D", weights=_SEPARABLE, order=images(4))
def separable2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return separable(layer, site, 2)


def transposed(layer: Layer, site: Site, rank: int) -> Built:
    """Return a transposed convolution; Keras's kernel is (*sizes, out, in)."""
    kernel, options = layer.weights["kernel"], window(layer, rank)
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


@rule("Conv1DTranspose", weights=("kernel", "bias:use_bias"))
def transposed1d(layer: Layer, site: Site) -> Built:
    """Sequences stay (n, steps, channels)."""
    return transposed(layer, site, 1)


@rule("Conv2DTranspose", weights=("kernel", "bias:use_bias"), order=images(4))
def transposed2d(layer: Layer, site: Site) -> Built:
    """Images."""
    return transposed(layer, site, 2)


@rule("Conv3DTranspose", weights=("kernel", "bias:use_bias"), order=images(5))
def transposed3d(layer: Layer, site: Site) -> Built:
    """Volumes."""
    return transposed(layer, site, 3)


def locally_connected(layer: Layer, site: Site, rank: int) -> Built:
    """Return a convolution with weights of its own everywhere (implementation 1: a kernel a position)."""
    if layer.get("implementation", 1) != 1:
        raise refuse(layer, "implementations 2 and 3 store a matrix over all positions")
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


@rule("LocallyConnected1D", weights=("kernel", "bias:use_bias"))
def locally_connected1d(layer: Layer, site: Site) -> Built:
    """Sequences; Keras 2 only."""
    return locally_connected(layer, site, 1)


@rule("LocallyConnected2D", weights=("kernel", "bias:use_bias"))
def locally_connected2d(layer: Layer, site: Site) -> Built:
    """Images; Keras 2 only."""
    return locally_connected(layer, site, 2)
