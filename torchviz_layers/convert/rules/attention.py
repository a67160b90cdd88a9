"""Attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.attention import Attention, MultiHeadAttention, Projection
from torchviz_layers.convert.layers.operations import TensorArgument
from torchviz_layers.convert.nested import leaves
from torchviz_layers.convert.registry import Built, Out, Site, refuse, rule
from torchviz_layers.convert.rules.options import fill

_PARAMETERS = ("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask")


def call_options(site: Site) -> tuple[bool, bool]:
    """Return whether a call is causal, and whether it wants the weights too."""
    return bool(site.kwargs.get("use_causal_mask")), bool(site.kwargs.get("return_attention_scores"))


def _scale_names(layer: Layer) -> tuple[str, ...]:
    names = []
    if layer.get("use_scale", layer.kind == "AdditiveAttention"):
        names.append("scale")
    if layer.get("score_mode") == "concat":
        names.append("concat_score_weight")
    return tuple(names)


@rule("Attention", "AdditiveAttention", weights=_scale_names)
def attention(layer: Layer, site: Site) -> Built:
    """Attend from query to value and, if given, key."""
    causal, scores_too = call_options(site)
    scale, concat = layer.weights.get("scale"), layer.weights.get("concat_score_weight")
    module = Attention(
        None if scale is None else scale.shape,
        concat is not None,
        layer.kind == "AdditiveAttention",
        causal or bool(layer.get("causal", False)),
        scores_too,
    )
    fill(layer, module, scale=scale, concat_weight=concat)
    out = Out(None, site.rank)
    return Built(module, (out, Out(None, site.rank)) if scores_too else out, mask="pass", takes_masks=True)


def argument_names(layer: Layer, site: Site) -> tuple[str, ...]:
    """Return what each tensor of a call of MultiHeadAttention is."""
    named: dict[int, str] = {}
    for name, value in [*zip(_PARAMETERS, site.args, strict=False), *site.kwargs.items()]:
        for slot in leaves(value, TensorArgument):
            if name in ("query_mask", "value_mask", "key_mask") or name not in _PARAMETERS:
                raise refuse(layer, f"it is called with a tensor as {name}")
            named[slot.position] = name
    return tuple(named[index] for index in sorted(named))


def _mha_names(layer: Layer) -> tuple[str, ...]:
    parts = ["query", "key", "gate", "value", "output"]
    if not layer.get("use_gate"):
        parts.remove("gate")
    kinds = ["kernel", "bias"] if layer.config.get("use_bias", True) else ["kernel"]
    return tuple(f"{part}_{kind}" for part in parts for kind in kinds)


def _projection(layer: Layer, name: str, n_in: int) -> Projection:
    """Return a projection; the first `n_in` axes of its kernel are those of the input."""
    kernel, bias = layer.weights[f"{name}_kernel"], layer.weights.get(f"{name}_bias")
    out_shape = kernel.shape[n_in:]
    if bias is not None and bias.size == int(np.prod(out_shape)):
        bias = bias.reshape(out_shape)  # stored with axes of size 1; of another size, it is an error in `fill`
    module = Projection(kernel.shape[:n_in], out_shape, bias is not None)
    fill(layer, module, weight=kernel, bias=bias)
    return module


_PARTS = ("query_dense", "key_dense", "gate_dense", "value_dense", "output_dense")  # or with a _ before


@rule("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention", weights=_mha_names, parts=_PARTS)
def multi_head_attention(layer: Layer, site: Site) -> Built:
    """Kernels are (features, heads, size) and, for the output, (heads, size, features)."""
    causal, scores_too = call_options(site)
    axes: Any = layer.get("attention_axes")
    if isinstance(axes, int):
        axes = [axes]
    if axes is not None and site.rank is not None:
        axes = tuple(axis % site.rank for axis in axes)
    repeats = 1
    if "num_query_heads" in layer.config:
        repeats = layer.config["num_query_heads"] // layer.config["num_key_value_heads"]
    module = MultiHeadAttention(
        _projection(layer, "query", 1),
        _projection(layer, "key", 1),
        _projection(layer, "value", 1),
        _projection(layer, "output", 2),
        argument_names(layer, site),
        axes,
        repeats,
        causal,
        scores_too,
        _projection(layer, "gate", 1) if layer.get("use_gate") else None,
        layer.get("sliding_window"),
    )
    out = Out(None, site.rank)
    return Built(module, (out, Out(None, None)) if scores_too else out, mask="pass", takes_masks=True)
