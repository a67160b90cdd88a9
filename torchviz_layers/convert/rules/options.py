"""Reading a layer's options: sizes, padding, activations; and giving a module its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.activations import ACTIVATIONS, AXIS_ACTIVATIONS, LeakyReLU
from torchviz_layers.convert.registry import Site, refuse
from torchviz_layers.exceptions import ConversionError

_ALIASES = {
    "swish": "silu",
    "hard_silu": "hard_swish",
    "softmax_v2": "softmax",
    "relu_v2": "relu",
    "exp": "exponential",
    "tanhshrink": "tanh_shrink",
    "leaky_relu_v2": "leaky_relu",
}


def sizes(value: Any, rank: int) -> tuple[int, ...]:
    """Return an option that is a number or one number an axis, as a tuple."""
    entries = (value,) * rank if isinstance(value, int) else tuple(int(entry) for entry in value)
    if len(entries) != rank or any(entry < 0 for entry in entries):
        raise ValueError(f"{value!r} is not {rank} sizes")
    return entries


def activation_of(layer: Layer, key: str = "activation", site: Site | None = None) -> str | nn.Module | None:
    """Return a layer's activation: a name, a module for one that is given as a layer, None for linear."""
    value = layer.config.get(key)
    if key in layer.children:
        if site is None:
            raise refuse(layer, f"its {key} is the layer {layer.children[key].kind}")
        return site.build(layer.children[key], site).module
    if isinstance(value, dict):
        value = value.get("config", value.get("class_name"))
    if value is None or value == "linear":
        return None
    name = _ALIASES.get(str(value), str(value)).rpartition(">")[2]
    # Keras 3 changed the slope from 0.2 to 1/6.
    if name == "hard_sigmoid" and layer.major < 3:
        return "hard_sigmoid_keras2"
    if name == "leaky_relu":
        return LeakyReLU(0.2)
    if name not in ACTIVATIONS and name not in AXIS_ACTIVATIONS:
        raise refuse(layer, f"its {key} {value!r} is not one of Keras's")
    return name


def fill(layer: Layer, module: nn.Module, **arrays: Array | None) -> None:
    """Give a module its weights, by the name of parameter or buffer; None is one that the layer lacks.

    Raises
    ------
    ConversionError
        An array's shape is not that of the layer's configuration.
    """
    for path, array in arrays.items():
        if array is None:
            continue
        owner_path, _, name = path.replace("__", ".").rpartition(".")
        owner = module.get_submodule(owner_path)
        target = getattr(owner, name)
        if tuple(target.shape) != array.shape:
            raise ConversionError(
                f"layer {layer.name!r} ({layer.kind}): its configuration asks for {name} of shape "
                f"{tuple(target.shape)}, but the file holds {tuple(array.shape)}"
            )
        value = as_tensor(array)
        if isinstance(target, nn.Parameter):
            owner.register_parameter(name, nn.Parameter(value))
        else:
            owner.register_buffer(name, value)


def as_tensor(array: Array) -> torch.Tensor:
    """Return weights as a float32 tensor of the same memory format; kernels that come channels-last stay so."""
    array = np.asarray(array, dtype=np.float32)
    if not array.flags.owndata or not array.flags.writeable or not array.flags.c_contiguous:
        array = array.copy(order="C")
    return torch.from_numpy(array)
