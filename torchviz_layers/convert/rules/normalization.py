"""Normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.normalization import (
    BatchNorm,
    GroupNorm,
    LayerNorm,
    LayerScale,
    Scale,
    Standardize,
    UnitNorm,
)
from torchviz_layers.convert.registry import Built, Site, keep, refuse, rule, selected_names
from torchviz_layers.convert.rules.options import fill


def axes_of(layer: Layer, key: str = "axis", default: int = -1) -> tuple[int, ...]:
    """Return an axis option, which may be a number or a list, as Keras counts axes."""
    value = layer.get(key, default)
    if isinstance(value, (list, tuple)):
        return tuple(int(axis) for axis in value)
    return (int(value),)


@rule(
    "BatchNormalization",
    "SyncBatchNormalization",
    weights=("gamma:scale", "beta:center"),
    state=("moving_mean", "moving_variance"),
    order=keep,
)
def batch_normalization(layer: Layer, site: Site) -> Built:
    """Keras's momentum is 1 - torch's; a missing scale or offset is 1 or 0."""
    axes = axes_of(layer)
    if len(axes) != 1:
        raise refuse(layer, f"it normalises over {len(axes)} axes at once")
    weights = layer.weights
    mean = weights["moving_mean"]
    momentum = 1 - float(layer.get("momentum", 0.99))
    module = BatchNorm(len(mean), float(layer.get("epsilon", 1e-3)), momentum, True, site.axis(axes[0]))
    fill(
        layer,
        module,
        weight=weights.get("gamma", np.ones_like(mean)),
        bias=weights.get("beta", np.zeros_like(mean)),
        running_mean=mean,
        running_var=weights["moving_variance"],
        num_batches_tracked=np.zeros((), np.int64),
    )
    return Built(module, site.same, mask="pass")


_SCALE_AND_CENTER = ("gamma:scale", "beta:center")


def _layer_norm_arrays(layer: Layer) -> tuple[str, ...]:
    if layer.get("rms_scaling", False):
        return ("gamma",)
    return selected_names(_SCALE_AND_CENTER, layer)


@rule("LayerNormalization", weights=_layer_norm_arrays, order=keep)
def layer_normalization(layer: Layer, site: Site) -> Built:
    """Over one or several axes; weights have their sizes."""
    axes = axes_of(layer)
    arrays = {"weight": layer.weights.get("gamma"), "bias": layer.weights.get("beta")}
    given = {name: array for name, array in arrays.items() if array is not None}
    if site.rank is not None:
        # Keras 3 keeps [1, -1] as [-1, 1] and reshapes the weights to ascending axes: entries stay in their order
        axes = tuple(axis % site.rank for axis in axes)
        ascending = np.argsort(axes)
        axes = tuple(sorted(axes))
        for name, array in given.items():
            given[name] = array.reshape([array.shape[index] for index in ascending])
    # The axes of the network's tensors may be in another order than Keras's; the weights follow.
    positions = tuple(site.axis(axis) for axis in axes)
    for name, array in given.items():
        given[name] = array.transpose(np.argsort(positions))
    positions = tuple(sorted(positions))
    if site.order is None and site.rank is not None and positions == (site.rank - 1,):
        positions = (-1,)  # what `F.layer_norm` computes
    shape = next((array.shape for array in given.values()), ())
    rms = "variance" if layer.get("rms_scaling", False) else None
    epsilon = float(layer.get("epsilon", 1e-3))
    module = LayerNorm(positions, shape, epsilon, "weight" in given, "bias" in given, rms)
    fill(layer, module, **given)
    return Built(module, site.same, mask="pass")


@rule("RMSNormalization", weights=("scale",), order=keep)
def rms_normalization(layer: Layer, site: Site) -> Built:
    """Divide by the root of the mean square, times a learned vector."""
    axes = tuple(site.axis(axis) for axis in axes_of(layer))
    scale = layer.weights["scale"]
    module = LayerNorm(axes, scale.shape, float(layer.get("epsilon", 1e-6)), True, False, rms="mean square")
    fill(layer, module, weight=scale)
    return Built(module, site.same, mask="pass")


@rule("GroupNormalization", weights=_SCALE_AND_CENTER, order=keep)
def group_normalization(layer: Layer, site: Site) -> Built:
    """Normalise groups of channels; -1 means one channel a group."""
    gamma, beta = layer.weights.get("gamma"), layer.weights.get("beta")
    channels = next((len(array) for array in (gamma, beta) if array is not None), None)
    groups = int(layer.get("groups", 32))
    if groups == -1:
        if channels is None:
            raise refuse(layer, "without scale and center, the file does not say how many channels it has")
        groups = channels
    module = GroupNorm(
        groups,
        channels,
        float(layer.get("epsilon", 1e-3)),
        gamma is not None,
        beta is not None,
        site.axis(axes_of(layer)[0]),
    )
    fill(layer, module, weight=gamma, bias=beta)
    return Built(module, site.same, mask="pass")


@rule("UnitNormalization", order=keep)
def unit_normalization(layer: Layer, site: Site) -> Built:
    """Divide by the Euclidean norm."""
    return Built(UnitNorm(tuple(site.axis(axis) for axis in axes_of(layer))), site.same, mask="pass")


@rule("LayerScale", weights=("gamma",), order=keep)
def layer_scale(layer: Layer, site: Site) -> Built:
    """ConvNeXt's learned scale of the features."""
    gamma = layer.weights["gamma"]
    module = LayerScale(len(gamma), site.axis(-1))
    fill(layer, module, weight=gamma)
    return Built(module, site.same)


def _given(value: Any) -> Array:
    """Return numbers from a configuration: plain, in lists, or an array that Keras 3 serialized."""
    if isinstance(value, dict):
        value = value["config"]
        if isinstance(value, dict):
            value = value["value"]
    return np.asarray(value, dtype=np.float32)


def _spread(site: Site, value: Array) -> Array:
    """Return numbers along Keras's last axes, shaped to broadcast with the tensors of the converted network."""
    if value.ndim == 0 or site.order is None:
        return value
    if value.ndim > 1:
        # (1, ..., *value.shape) with all axes, then the channels to their index
        padded = value.reshape((1,) * (site.order.rank - value.ndim) + value.shape)
        return np.moveaxis(padded, -1, site.order.at)
    # (channels, 1, ..., 1): as many axes of size 1 as follow the channels
    return value.reshape(-1, *(1,) * (site.order.rank - 1 - site.order.at))


@rule("Rescaling", order=keep)
def rescaling(layer: Layer, site: Site) -> Built:
    """Scale * x + offset."""
    scale, offset = _spread(site, _given(layer.config["scale"])), _spread(site, _given(layer.get("offset", 0.0)))
    shape = np.broadcast_shapes(scale.shape, offset.shape)
    module = Scale(shape)
    fill(layer, module, scale=np.broadcast_to(scale, shape), offset=np.broadcast_to(offset, shape))
    return Built(module, site.same, mask="pass")


def _normalization_state(layer: Layer) -> tuple[str, ...]:
    return () if layer.get("mean") is not None else ("mean", "variance", "count")


@rule("Normalization", state=_normalization_state, order=keep)
def normalization(layer: Layer, site: Site) -> Built:
    """Mean and variance come from the configuration or from adapt(); they have the axes that are kept."""
    if layer.get("mean") is not None:
        mean, variance = _given(layer.config["mean"]), _given(layer.config["variance"])
    else:
        mean, variance = layer.weights["mean"], layer.weights["variance"]
    rank = site.rank or 2
    kept = sorted(axis % rank if axis < 0 else axis for axis in _as_list(layer.config.get("axis", -1)))
    if mean.ndim and mean.ndim == len(kept):
        shape = [1] * (site.rank or max(kept) + 1)
        for axis, size in zip(kept, mean.shape, strict=True):
            shape[axis] = size
        mean, variance = mean.reshape(shape), variance.reshape(shape)  # 1 on all other axes
    if site.order is not None and mean.ndim == site.order.rank:
        mean, variance = (np.moveaxis(value, -1, site.order.at) for value in (mean, variance))
    module = Standardize(mean.shape, bool(layer.get("invert", False)))
    fill(layer, module, mean=mean, variance=variance)
    return Built(module, site.same, mask="pass")


def _as_list(axes: Any) -> list[int]:
    if axes is None:
        return []
    return list(axes) if isinstance(axes, (list, tuple)) else [axes]
