"""Recurrent layers, their cells, and masking."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from torch import nn

from torchviz_layers._common.arrays import Array
from torchviz_layers.convert.keras_files.records import Layer
from torchviz_layers.convert.layers.core import Masking, differs
from torchviz_layers.convert.layers.recurrent import GRU, LSTM, Recurrent
from torchviz_layers.convert.layers.recurrent_cells import ConvLSTMCell, GRUCell, LSTMCell, RNNCell, StackedCells
from torchviz_layers.convert.registry import Built, Order, Out, Site, refuse, rule, spatial_rank
from torchviz_layers.convert.rules.options import activation_of, fill, sizes

_ARRAYS = ("kernel", "recurrent_kernel", "bias:use_bias")


def sequence_options(layer: Layer) -> dict[str, bool]:
    """Return the options that say what a recurrent layer returns."""
    if layer.get("time_major", False):
        raise refuse(layer, "time_major puts the steps before the batch")
    return {
        "return_sequences": bool(layer.get("return_sequences", False)),
        "return_state": bool(layer.get("return_state", False)),
        "reverse": bool(layer.get("go_backwards", False)),
        "stateful": bool(layer.get("stateful", False)),
    }


def sequence_built(layer: Layer, module: nn.Module, states: int, takes_mask: bool) -> Built:
    """Return what a recurrent layer on vectors is built to."""
    options = sequence_options(layer)
    outs: tuple[Out, ...] = (Out(None, 3 if options["return_sequences"] else 2),)
    if options["return_state"]:
        outs += (Out(None, 2),) * states
    return Built(module, one_or_all(outs), mask=sequence_mask(options), takes_mask=takes_mask)


def one_or_all(outs: tuple[Out, ...]) -> Out | tuple[Out, ...]:
    """Return the only output by itself: a module with one output returns no tuple."""
    return outs if len(outs) > 1 else outs[0]


def sequence_mask(options: dict[str, bool]) -> Literal["pass", "drop"]:
    """Keep the mask of the steps where the output has the steps too."""
    return "pass" if options["return_sequences"] else "drop"


def stepped(layer: Layer, cell: RNNCell | StackedCells) -> Recurrent:
    """Return a cell stepped over the sequence."""
    return Recurrent(
        cell, **sequence_options(layer), zero_output_for_mask=bool(layer.get("zero_output_for_mask", False))
    )


def simple_rnn_cell(layer: Layer, site: Site) -> RNNCell:
    """Return the cell of a SimpleRNN."""
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    cell = RNNCell(kernel.shape[0], layer.config["units"], bias is not None, activation_of(layer, site=site))
    fill(layer, cell, weight_ih=kernel.T, weight_hh=layer.weights["recurrent_kernel"].T, bias=bias)
    return cell


def lstm_cell(layer: Layer, site: Site) -> LSTMCell:
    """Return the cell of an LSTM."""
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    activations = activation_of(layer, site=site), activation_of(layer, "recurrent_activation", site)
    cell = LSTMCell(kernel.shape[0], layer.config["units"], bias is not None, *activations)
    fill(layer, cell, weight_ih=kernel.T, weight_hh=layer.weights["recurrent_kernel"].T, bias=bias)
    return cell


def gru_cell(layer: Layer, site: Site) -> GRUCell:
    """Return the cell of a GRU; with reset_after its bias is (2, 3 units): input's and recurrent part's."""
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    after = bool(layer.get("reset_after", False))
    activations = activation_of(layer, site=site), activation_of(layer, "recurrent_activation", site)
    cell = GRUCell(kernel.shape[0], layer.config["units"], bias is not None, *activations, after)
    bias_ih, bias_hh = bias, None
    if bias is not None and after:
        bias_ih, bias_hh = bias
    fill(layer, cell, weight_ih=kernel.T, weight_hh=layer.weights["recurrent_kernel"].T, bias=bias_ih, bias_hh=bias_hh)
    return cell


def usual_activations(layer: Layer, site: Site) -> bool:
    """Return whether a layer computes what torch's own recurrent modules compute, without masks."""
    gates = activation_of(layer, "recurrent_activation", site)
    return activation_of(layer, site=site) == "tanh" and gates == "sigmoid" and not any(site.masked)


@rule("SimpleRNN", weights=_ARRAYS, parts=("cell",))
def simple_rnn(layer: Layer, site: Site) -> Built:
    """Feed the output back through a matrix."""
    return sequence_built(layer, stepped(layer, simple_rnn_cell(layer, site)), 1, takes_mask=True)


@rule("LSTM", weights=_ARRAYS, parts=("cell",))
def lstm(layer: Layer, site: Site) -> Built:
    """`nn.LSTM` where the activations are the usual ones and nothing is masked."""
    if not usual_activations(layer, site):
        return sequence_built(layer, stepped(layer, lstm_cell(layer, site)), 2, takes_mask=True)
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    module = LSTM(kernel.shape[0], layer.config["units"], bias is not None, **sequence_options(layer))
    fill(
        layer,
        module,
        weight_ih_l0=kernel.T,
        weight_hh_l0=layer.weights["recurrent_kernel"].T,
        bias_ih_l0=bias,
        bias_hh_l0=None if bias is None else np.zeros_like(bias),
    )
    return sequence_built(layer, module, 2, takes_mask=False)


@rule("GRU", weights=_ARRAYS, parts=("cell",))
def gru(layer: Layer, site: Site) -> Built:
    """`nn.GRU` where the activations are the usual ones, the reset comes after, and nothing is masked."""
    if not usual_activations(layer, site) or not layer.get("reset_after", False):
        return sequence_built(layer, stepped(layer, gru_cell(layer, site)), 1, takes_mask=True)
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    module = GRU(kernel.shape[0], layer.config["units"], bias is not None, **sequence_options(layer))
    fill(
        layer,
        module,
        weight_ih_l0=torch_gates(kernel).T,
        weight_hh_l0=torch_gates(layer.weights["recurrent_kernel"]).T,
        bias_ih_l0=None if bias is None else torch_gates(bias[0]),
        bias_hh_l0=None if bias is None else torch_gates(bias[1]),
    )
    return sequence_built(layer, module, 1, takes_mask=False)


def torch_gates(array: Array) -> Array:
    """Reorder a GRU's gates along the last axis: Keras's z, r, h -> torch's r, z, n."""
    z, r, h = np.split(array, 3, axis=-1)
    return np.concatenate([r, z, h], axis=-1)


def _from_cudnn(layer: Layer, gates: int, bias: Array, **options: bool) -> Layer:
    """Return the layer as one of the usual kind: cuDNN stores each gate's matrix transposed."""
    weights = layer.weights
    # (inputs, gates * units), each gate stored as (units, inputs) in the memory of (inputs, units)
    kernels = [part.T.reshape(part.shape, order="F") for part in np.split(weights["kernel"], gates, axis=1)]
    recurrent = [part.T for part in np.split(weights["recurrent_kernel"], gates, axis=1)]
    arrays = {"kernel": np.hstack(kernels), "recurrent_kernel": np.hstack(recurrent), "bias": bias}
    config = {**layer.config, "activation": "tanh", "recurrent_activation": "sigmoid", **options}
    return replace(layer, weights=arrays, config=config)


@rule("CuDNNLSTM", weights=("kernel", "recurrent_kernel", "bias"))
def cudnn_lstm(layer: Layer, site: Site) -> Built:
    """Add up the two biases of an LSTM."""
    return lstm(_from_cudnn(layer, 4, layer.weights["bias"].reshape(2, -1).sum(0)), site)


@rule("CuDNNGRU", weights=("kernel", "recurrent_kernel", "bias"))
def cudnn_gru(layer: Layer, site: Site) -> Built:
    """Reset after the matrix, with two biases."""
    return gru(_from_cudnn(layer, 3, layer.weights["bias"].reshape(2, -1), reset_after=True), site)


_CELLS = {"SimpleRNNCell": simple_rnn_cell, "LSTMCell": lstm_cell, "GRUCell": gru_cell}


@rule(*_CELLS, weights=_ARRAYS)
def cell(layer: Layer, site: Site) -> Built:
    """One step of a recurrent layer, inside an RNN layer."""
    return Built(_CELLS[layer.kind](layer, site), site.same)


def _stacked(cells: list[Layer], site: Site) -> StackedCells:
    modules = []
    for child in cells:
        module = site.build(child, site).module
        if not isinstance(module, RNNCell):
            raise refuse(child, "a stack may contain Keras's own cells only")
        modules.append(module)
    return StackedCells(modules)


@rule("StackedRNNCells")
def stacked_cells(layer: Layer, site: Site) -> Built:
    """Stack cells: each gets the output of the one before it."""
    return Built(_stacked(list(layer.children.values()), site), site.same)


@rule("RNN")
def rnn(layer: Layer, site: Site) -> Built:
    """Step a cell, or a stack of them, over the sequence."""
    inner = layer.children.get("cell")
    if inner is None:
        cells = [child for key, child in layer.children.items() if key.startswith("cells/")]
        module: nn.Module = _stacked(cells, site)
    else:
        module = site.build(inner, site).module
    if not isinstance(module, (RNNCell, StackedCells)):
        raise refuse(layer, f"its cell {inner.kind if inner else '?'} is not one of Keras's")
    return sequence_built(layer, stepped(layer, module), module.state_count, takes_mask=True)


@rule("Masking")
def masking(layer: Layer, site: Site) -> Built:
    """Mask steps in which every feature is the mask value, and set them to 0."""
    value = float(layer.get("mask_value", 0.0))
    return Built(Masking(value), site.same, make_mask=(differs, (value,)))


def _conv_lstm_order(layer: Layer, given: Order | None) -> Order | None:  # noqa: ARG001 - the signature of all orders
    return None if layer.get("data_format") == "channels_first" else Order(spatial_rank(layer) + 3, 2)


@rule("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", weights=_ARRAYS, parts=("cell",), order=_conv_lstm_order)
def conv_lstm(layer: Layer, site: Site) -> Built:
    """Convolve maps over time: (n, steps, channels, *sizes) inside."""
    rank = spatial_rank(layer)
    kernel, recurrent, bias = layer.weights["kernel"], layer.weights["recurrent_kernel"], layer.weights.get("bias")
    order = (-1, -2, *range(rank))  # (*sizes, in, out) -> (out, in, *sizes)
    inner = ConvLSTMCell(
        kernel.shape[-2],
        layer.config["filters"],
        sizes(layer.config["kernel_size"], rank),
        sizes(layer.get("strides", 1), rank),
        sizes(layer.get("dilation_rate", 1), rank),
        layer.get("padding") == "same",
        bias is not None,
        activation_of(layer, site=site),
        activation_of(layer, "recurrent_activation", site),
    )
    fill(layer, inner, weight_ih=kernel.transpose(order), weight_hh=recurrent.transpose(order), bias=bias)
    options = sequence_options(layer)
    module = Recurrent(inner, **options, zero_output_for_mask=bool(layer.get("zero_output_for_mask", False)))
    # The axes are those of channels first; where Keras has channels first itself, that is no other order.
    is_order = site.order is not None
    map_ = Out(Order(rank + 2, 1) if is_order else None, rank + 2)
    sequence = Out(Order(rank + 3, 2) if is_order else None, rank + 3)
    outs: tuple[Out, ...] = (sequence if options["return_sequences"] else map_,)
    if options["return_state"]:
        outs += (map_, map_)
    return Built(module, one_or_all(outs), sequence_mask(options), takes_mask=True)
