"""Keras 1's names of layers and options -> Keras 2's."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.records import Layer

_KINDS = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}
_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "concat": "Concatenate",
    "ave": "Average",
    "max": "Maximum",
    "dot": "Dot",
    "cos": "Dot",
}

_OPTIONS = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "border_mode": "padding",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "pool_length": "pool_size",
    "inner_activation": "recurrent_activation",
    "p": "rate",
    "sigma": "stddev",
    "length": "size",
}
_SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
_ORDERINGS = {"tf": "channels_last", "th": "channels_first"}
_UNITS = ("Dense", "LSTM", "GRU", "SimpleRNN", "MaxoutDense", "TimeDistributedDense")


def to_keras2(kind: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a layer's kind and configuration of Keras 1 with the names of Keras 2."""
    new = {_OPTIONS.get(key, key): value for key, value in config.items()}
    for names in _SIZES:
        if all(name in config for name in names):
            new["kernel_size"] = [config[name] for name in names]
    if "dim_ordering" in config:
        new["data_format"] = _ORDERINGS.get(config["dim_ordering"], "channels_last")
    if kind in _UNITS and "output_dim" in config:
        new["units"] = config["output_dim"]
    if kind == "Merge":
        return _merge(config, new)
    if kind == "TimeDistributedDense":
        return "Dense", new
    if kind == "BatchNormalization" and config.get("mode", 0) == 1:
        return "BatchNormalization(mode=1)", new
    return _KINDS.get(kind, kind), new


def _merge(config: dict[str, Any], new: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    mode = config.get("mode", "sum")
    kind = _MERGES.get(mode, "Merge") if isinstance(mode, str) else "Merge"
    new["axis"] = config.get("concat_axis", -1)
    new["axes"] = config.get("dot_axes", -1)
    axes = new["axes"]
    if isinstance(axes, list) and len(axes) == 2 and isinstance(axes[0], list) and isinstance(axes[1], list):
        new["axes"] = [axes[0][0], axes[1][0]]  # Keras 1 lists several axes of each input; one is supported
    new["normalize"] = mode == "cos"
    return kind, new


_GATES = {"LSTM": "icfo", "GRU": "zrh"}


def keras1_arrays(layer: Layer) -> tuple[str, ...]:
    """Return the names of a recurrent layer's arrays in a file of Keras 1, where every gate has its own three."""
    if layer.kind not in _GATES or layer.config.get("consume_less") == "gpu":
        return ()
    return tuple(f"{part}_{gate}" for gate in _GATES[layer.kind] for part in ("kernel", "recurrent_kernel", "bias"))


def convert_arrays(layer: Layer, backend: str) -> None:
    """Change a layer's arrays to Keras 2's shapes: gates joined, the kernels of Theano flipped."""
    weights = layer.weights
    if "kernel_z" in weights or "kernel_i" in weights:
        gates = "ifco" if layer.kind == "LSTM" else "zrh"
        for part in ("kernel", "recurrent_kernel", "bias"):
            weights[part] = np.concatenate([weights.pop(f"{part}_{gate}") for gate in gates], axis=-1)
    if "Conv" not in layer.kind or "kernel" not in weights:
        return
    if layer.major <= 1:
        weights["kernel"] = _conv_kernel(layer, weights["kernel"])
    if backend == "theano" and "Depthwise" not in layer.kind:
        kernel = weights["kernel"]
        weights["kernel"] = np.ascontiguousarray(np.flip(kernel, axis=tuple(range(kernel.ndim - 2))))


def _conv_kernel(layer: Layer, kernel: Array) -> Array:
    """Return a kernel of Keras 1 as (*sizes, in, out), or (*sizes, out, in) for a transposed convolution."""
    if layer.kind == "Conv1D" and kernel.ndim == 4:  # (steps, 1, in, out) or, for Theano, (out, in, steps, 1)
        size = layer.config["kernel_size"]
        steps = size[0] if isinstance(size, list) else size
        if kernel.shape[:2] != (steps, 1) or kernel.shape[3] != layer.config["filters"]:
            kernel = kernel.transpose(2, 3, 1, 0)
        return kernel[:, 0]
    if layer.kind == "Conv2DTranspose":  # (out, in, *sizes) or (*sizes, in, out)
        return kernel.transpose((2, 3, 0, 1) if layer.get("data_format") == "channels_first" else (0, 1, 3, 2))
    if layer.get("data_format") == "channels_first" and layer.kind in ("Conv2D", "Conv3D"):
        return kernel.transpose(*range(2, kernel.ndim), 1, 0)
    return kernel
