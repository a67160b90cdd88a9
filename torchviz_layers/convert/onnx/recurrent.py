"""Recurrent layers as ONNX's own operators LSTM, GRU and RNN: `torch.onnx` would unroll them, a node a step.

Masked steps, stacks of cells and convolutional cells have no operator; they stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchviz_layers.convert.layers.recurrent import GRU, LSTM, Recurrent, with_states
from torchviz_layers.convert.layers.recurrent_cells import GRUCell, LSTMCell, RNNCell

# ONNX's name of an activation, its alpha and its beta
_ACTIVATIONS: dict[Any, tuple[str, float, float]] = {
    None: ("Affine", 1.0, 0.0),
    "elu": ("Elu", 1.0, 0.0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "hard_sigmoid_keras2": ("HardSigmoid", 0.2, 0.5),
    "relu": ("Relu", 0.0, 0.0),
    "sigmoid": ("Sigmoid", 0.0, 0.0),
    "softplus": ("Softplus", 0.0, 0.0),
    "softsign": ("Softsign", 0.0, 0.0),
    "tanh": ("Tanh", 0.0, 0.0),
}


@contextlib.contextmanager
def recurrent_operators(module: nn.Module) -> Iterator[None]:
    """Replace the recurrent layers of `module` by ONNX operators while the block exports it."""
    before = [(path, part) for path, part in module.named_modules() if path and _operator_of(part) is not None]
    try:
        for path, part in before:
            _put(module, path, _OperatorLayer(part))
        yield
    finally:
        for path, part in before:
            _put(module, path, part)


def _put(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part)


@dataclass(frozen=True)
class _Operator:
    """An operator, its activations, and its weights: (gates * units, inputs), (gates * units, units), biases."""

    name: str
    activations: tuple[Any, ...]
    weights: tuple[Tensor, Tensor]
    biases: tuple[Tensor | None, Tensor | None]
    attributes: dict[str, int]

    @property
    def units(self) -> int:
        return int(self.weights[1].shape[1])


def _operator_of(layer: nn.Module) -> _Operator | None:
    """Return the operator that does what a layer does, or None; ONNX's gates are i, o, f, c and z, r, h."""
    if isinstance(layer, LSTM):
        return _of_torch(layer, "LSTM", (0, 3, 1, 2), ("sigmoid", "tanh", "tanh"), {})
    if isinstance(layer, GRU):
        return _of_torch(layer, "GRU", (1, 0, 2), ("sigmoid", "tanh"), {"linear_before_reset": 1})
    cell = layer.cell if isinstance(layer, Recurrent) else None
    if not isinstance(cell, RNNCell):
        return None
    inner, outer = cell.activation, cell.recurrent_activation
    if type(cell) is LSTMCell:
        return _of_cell(cell, "LSTM", (0, 3, 1, 2), (outer, inner, inner), None, {})
    if type(cell) is GRUCell:
        after = {"linear_before_reset": int(cell.reset_after)}
        return _of_cell(cell, "GRU", (0, 1, 2), (outer, inner), cell.bias_hh, after)
    return _of_cell(cell, "RNN", (0,), (inner,), None, {})


def _of_torch(
    layer: nn.LSTM | nn.GRU, name: str, gates: Sequence[int], activations: tuple[str, ...], attributes: dict[str, int]
) -> _Operator:
    weights = [_gates(weight, gates) for weight in layer.all_weights[0]]
    first, second = weights[2:] if layer.bias else (None, None)
    return _Operator(name, activations, (weights[0], weights[1]), (first, second), attributes)


def _of_cell(
    cell: RNNCell,
    name: str,
    gates: Sequence[int],
    activations: tuple[Any, ...],
    bias: Tensor | None,
    attributes: dict[str, int],
) -> _Operator | None:
    if not all(activation is None or activation in _ACTIVATIONS for activation in activations):
        return None
    biases = [None if value is None else _gates(value, gates) for value in (cell.bias, bias)]
    weights = _gates(cell.weight_ih, gates), _gates(cell.weight_hh, gates)
    return _Operator(name, activations, weights, (biases[0], biases[1]), attributes)


def _gates(weight: Tensor, order: Sequence[int]) -> Tensor:
    parts = weight.detach().chunk(len(order))
    return torch.cat([parts[index] for index in order])


class _OperatorLayer(nn.Module):
    """Stands for a recurrent layer while it is exported; a call with a mask goes to the layer itself."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        operator = _operator_of(layer)
        assert operator is not None
        assert isinstance(layer, (LSTM, GRU, Recurrent))
        self.layer = layer
        self.operator = operator
        zeros = torch.zeros(len(operator.weights[0]))
        biases = [zeros if bias is None else bias for bias in operator.biases]
        for name, value in zip(("w", "r", "b"), (*operator.weights, torch.cat(biases)), strict=True):
            self.register_buffer(name, value.unsqueeze(0))  # of one direction

    def forward(self, x: Tensor, *start: Tensor, mask: Tensor | None = None) -> Any:
        """Return what the layer returns."""
        if mask is not None:
            return self.layer(x, *start, mask=mask)
        if self.layer.reverse:
            x = x.flip(1)
        inputs: list[Tensor | None] = [
            x.transpose(0, 1),
            self.get_buffer("w"),
            self.get_buffer("r"),
            self.get_buffer("b"),
        ]
        if start:
            # None stands for the lengths of the sequences: all are whole
            inputs += [None, *(state.unsqueeze(0) for state in start)]
        state_shape = (1, x.shape[0], self.operator.units)  # directions, n, units
        shapes = [(x.shape[1], *state_shape), state_shape]  # the sequence has the steps in front
        if self.operator.name == "LSTM":
            shapes.append(state_shape)
        outputs = torch.onnx.ops.symbolic_multi_out(
            self.operator.name,
            inputs,
            self._attributes(),
            dtypes=[x.dtype] * len(shapes),
            shapes=shapes,
            version=14,
        )
        sequence = outputs[0].squeeze(1).transpose(0, 1)  # (n, steps, units)
        states = [state.squeeze(0) for state in outputs[1:]]  # each (n, units)
        return with_states(sequence if self.layer.return_sequences else states[0], states, self.layer.return_state)

    def _attributes(self) -> dict[str, Any]:
        names, alphas, betas = zip(*(_ACTIVATIONS[activation] for activation in self.operator.activations), strict=True)
        return {
            "hidden_size": self.operator.units,
            "activations": list(names),
            "activation_alpha": list(alphas),
            "activation_beta": list(betas),
            **self.operator.attributes,
        }
