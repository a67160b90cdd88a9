"""Inputs, fully connected layers, embeddings, and layers that only act in training."""

from __future__ import annotations

import torch

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.core import (
    Dropout,
    EinsumLinear,
    Embedding,
    Flatten,
    GaussianNoise,
    Identity,
    Input,
    Linear,
    Permute,
    RepeatVector,
    Reshape,
    Unembedding,
)
from torchviz_layers.convert.registry import Built, Out, Site, keep, rule, spatial_rank, take
from torchviz_layers.convert.rules.options import activation_of, fill


@rule("InputLayer", order=keep)
def input_layer(layer: Layer, site: Site) -> Built:
    """Pass the tensor; the module shows Keras's shape."""
    shape = layer.batch_shape
    return Built(Input(tuple(shape[1:]) if shape else None), site.same)


@rule("Dense", weights=("kernel", "bias:use_bias"), order=keep)
def dense(layer: Layer, site: Site) -> Built:
    """Keras's kernel is (in, out); it works on Keras's last axis."""
    kernel = layer.weights["kernel"]
    axis = site.axis(-1)
    module = Linear(
        kernel.shape[0], layer.config["units"], "bias" in layer.weights, activation_of(layer, site=site), axis
    )
    fill(layer, module, weight=kernel.T, bias=layer.weights.get("bias"))
    return Built(module, site.same, mask="pass")


@rule("Embedding", weights=("embeddings",))
def embedding(layer: Layer, site: Site) -> Built:
    """Row 0 is looked up like any other; with mask_zero, index 0 is masked."""
    module = Embedding(layer.config["input_dim"], layer.config["output_dim"])
    fill(layer, module, weight=layer.weights["embeddings"])
    rank = None if site.rank is None else site.rank + 1
    return Built(module, Out(None, rank), make_mask=(torch.ne, (0,)) if layer.get("mask_zero") else None)


def _reversible_arrays(layer: Layer) -> tuple[str, ...]:
    return ("embeddings",) if layer.get("tie_weights", True) else ("embeddings", "reverse_embeddings")


@rule("ReversibleEmbedding", weights=_reversible_arrays)
def reversible_embedding(layer: Layer, site: Site) -> Built:
    """Embed; a call with reverse=True goes back, to logits, with the same rows or others."""
    if not site.kwargs.get("reverse"):
        return embedding(layer, site)
    rows, columns = layer.weights["embeddings"], layer.weights.get("reverse_embeddings")
    module = Unembedding(rows.shape[0], rows.shape[1], columns is None, layer.get("logit_soft_cap"))
    fill(layer, module, **({"weight": rows} if columns is None else {"reverse_weight": columns.T}))
    return Built(module, Out(None, site.rank))


@rule("Flatten", order=take)
def flatten(layer: Layer, site: Site) -> Built:
    """Keep Keras's order of features; a channels_first layer puts channels last before it flattens."""
    if layer.get("data_format") == "channels_first" and (site.rank or 3) > 2:
        return Built(Flatten(1), Out(None, 2))
    return Built(Flatten(site.axis(-1)), Out(None, 2))


@rule("Reshape")
def reshape(layer: Layer, site: Site) -> Built:  # noqa: ARG001 - the signature of all rules
    """Keep Keras's order of entries."""
    shape = tuple(-1 if size is None else int(size) for size in layer.config["target_shape"])
    return Built(Reshape(shape), Out(None, len(shape) + 1))


@rule("Permute")
def permute(layer: Layer, site: Site) -> Built:
    """Axes count from 1, in Keras's order."""
    return Built(Permute(tuple(int(axis) for axis in layer.config["dims"])), Out(None, site.rank))


@rule("RepeatVector")
def repeat_vector(layer: Layer, site: Site) -> Built:  # noqa: ARG001 - the signature of all rules
    """(n, features) -> (n, steps, features)."""
    return Built(RepeatVector(int(layer.config["n"])), Out(None, 3))


@rule("Dropout", order=keep)
def dropout(layer: Layer, site: Site) -> Built:
    """Only in training; noise_shape has Keras's axes."""
    shape, axes = layer.get("noise_shape"), None
    if shape:
        shared = [site.axis(axis) for axis, size in enumerate(shape) if size == 1]
        axes = tuple(sorted(shared))
    return Built(Dropout(float(layer.config["rate"]), axes), site.same, mask="pass")


@rule("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", order=keep)
def spatial_dropout(layer: Layer, site: Site) -> Built:
    """Drop whole channels in training."""
    rank = spatial_rank(layer) + 2
    first = layer.get("data_format") == "channels_first"
    spatial = range(2, rank) if first else range(1, rank - 1)
    axes = tuple(sorted(map(site.axis, spatial)))
    return Built(Dropout(float(layer.config["rate"]), axes), site.same, mask="pass")


@rule("GaussianNoise", "GaussianDropout", order=keep)
def gaussian(layer: Layer, site: Site) -> Built:
    """Noise in training."""
    if layer.kind == "GaussianNoise":
        return Built(GaussianNoise(float(layer.config["stddev"])), site.same, mask="pass")
    rate = float(layer.config["rate"])
    return Built(GaussianNoise((rate / (1 - rate)) ** 0.5, multiply=True), site.same, mask="pass")


@rule("AlphaDropout", "ActivityRegularization", "AddLoss", "AddMetric", "Identity", order=keep)
def identity(layer: Layer, site: Site) -> Built:
    """Nothing happens to the values outside training."""
    return Built(Identity(layer.kind), site.same, mask="pass")


def _einsum_arrays(layer: Layer) -> tuple[str, ...]:
    return ("kernel",) if layer.get("bias_axes") is None else ("kernel", "bias")


@rule("EinsumDense", weights=_einsum_arrays)
def einsum_dense(layer: Layer, site: Site) -> Built:
    """Multiply by Einstein's convention; the bias is stored ready to be broadcast."""
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    shape = None if bias is None else bias.shape
    module = EinsumLinear(str(layer.config["equation"]), kernel.shape, shape, activation_of(layer, site=site))
    fill(layer, module, weight=kernel, bias=bias)
    return Built(module, Out(None, None))
