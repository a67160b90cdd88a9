"""Activations as layers."""

from __future__ import annotations

import numpy as np

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.activations import Activation, Elementwise, LeakyReLU, PReLU, Softmax
from torchviz_layers.convert.registry import Built, Site, keep, rule
from torchviz_layers.convert.rules.options import activation_of, fill


@rule("Activation", order=keep)
def activation(layer: Layer, site: Site) -> Built:
    """Apply a function by name."""
    return Built(Activation(activation_of(layer, site=site), site.axis(-1)), site.same, mask="pass")


@rule("Softmax", order=keep)
def softmax(layer: Layer, site: Site) -> Built:
    """Softmax over the configured axis or axes."""
    axis = layer.get("axis", -1)
    axes = tuple(site.axis(entry) for entry in (axis if isinstance(axis, list) else [axis]))
    return Built(Softmax(axes), site.same, mask="pass", takes_mask=True)


@rule("ReLU", order=keep)
def relu(layer: Layer, site: Site) -> Built:
    """ReLU with slope, ceiling and threshold; the common ones by name."""
    slope, ceiling, threshold = layer.get("negative_slope", 0.0), layer.get("max_value"), layer.get("threshold", 0.0)
    if slope == 0 and threshold == 0 and ceiling in (None, 6):
        return Built(Activation("relu" if ceiling is None else "relu6"), site.same, mask="pass")
    return Built(LeakyReLU(float(slope), ceiling, float(threshold)), site.same, mask="pass")


@rule("LeakyReLU", order=keep)
def leaky_relu(layer: Layer, site: Site) -> Built:
    """Keras 3 calls the slope negative_slope, earlier ones alpha; 0.3 by default."""
    slope = layer.get("negative_slope", layer.get("alpha", 0.3))
    return Built(LeakyReLU(float(slope)), site.same, mask="pass")


@rule("PReLU", weights=("alpha",), order=keep)
def prelu(layer: Layer, site: Site) -> Built:
    """One slope a position; alpha has Keras's axes."""
    alpha = layer.weights["alpha"]
    if site.order is not None:
        alpha = np.moveaxis(alpha, -1, site.order.at - 1)
    module = PReLU(alpha.shape)
    fill(layer, module, weight=alpha)
    return Built(module, site.same, mask="pass")


@rule("ELU", order=keep)
def elu(layer: Layer, site: Site) -> Built:
    """Alpha times exp(x) - 1 below 0."""
    return Built(Elementwise("elu", float(layer.get("alpha", 1.0))), site.same, mask="pass")


@rule("ThresholdedReLU", order=keep)
def thresholded_relu(layer: Layer, site: Site) -> Built:
    """Keep x above theta, else 0."""
    return Built(Elementwise("threshold", float(layer.get("theta", 1.0))), site.same, mask="pass")
