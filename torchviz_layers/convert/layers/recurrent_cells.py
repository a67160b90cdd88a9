"""One step of Keras's recurrent layers, for the layer `Recurrent` that repeats it.

Every cell has three methods. `project` computes what depends on the inputs alone, for all steps at once. `start`
returns the states before the first step. `step` computes the output of one step and the states after it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.activations import activate
from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.convolution import same_padding

States = list[Tensor]
CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class RNNCell(KerasModule):
    """One step of Keras's SimpleRNN: h' = activation(W x + U h + b)."""

    gates = 1
    state_count = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        activation: str | nn.Module | None = "tanh",
        recurrent_activation: str | nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.weight_ih = nn.Parameter(torch.empty(self.gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(self.gates * hidden_size)) if bias else None

    def start(self, x: Tensor) -> States:
        """Return the states before the first step, zeros."""
        return [x.new_zeros(x.shape[0], self.hidden_size) for _ in range(self.state_count)]

    def project(self, x: Tensor) -> Tensor:
        """Return the part of a step that depends on the input alone, for all steps at once."""
        return F.linear(x, self.weight_ih, self.bias)

    def step(self, projected: Tensor, states: States) -> tuple[Tensor, States]:
        """Return the output of a step and the states after it."""
        h = activate(self.activation, projected + F.linear(states[0], self.weight_hh))
        return h, [h]


class LSTMCell(RNNCell):
    """One step of Keras's LSTM with any activations; the gates are in the order i, f, c, o."""

    gates = 4
    state_count = 2

    def step(self, projected: Tensor, states: States) -> tuple[Tensor, States]:
        """Return the output of a step and the states after it."""
        h, c = states
        i, f, g, o = (projected + F.linear(h, self.weight_hh)).chunk(4, -1)
        gate = self.recurrent_activation
        c = activate(gate, f) * c + activate(gate, i) * activate(self.activation, g)
        h = activate(gate, o) * activate(self.activation, c)
        return h, [h, c]


class GRUCell(RNNCell):
    """One step of Keras's GRU; the gates are in the order z, r, h.

    With `reset_after` the recurrent part has a bias of its own and is multiplied by the reset gate after the matrix.
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        activation: str | nn.Module | None = "tanh",
        recurrent_activation: str | nn.Module | None = "sigmoid",
        reset_after: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, activation, recurrent_activation)
        self.reset_after = reset_after
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size)) if bias and reset_after else None

    def step(self, projected: Tensor, states: States) -> tuple[Tensor, States]:
        """Return the output of a step and the states after it."""
        (h,) = states
        size = self.hidden_size
        # The gates z and r are computed together (n, 2 units), the candidate for the new state (n, units) after them.
        x_zr, x_h = projected[:, : 2 * size], projected[:, 2 * size :]
        if self.reset_after:
            inner = F.linear(h, self.weight_hh, self.bias_hh)
            z, r = activate(self.recurrent_activation, x_zr + inner[:, : 2 * size]).chunk(2, -1)
            candidate = activate(self.activation, x_h + r * inner[:, 2 * size :])
        else:
            z, r = activate(self.recurrent_activation, x_zr + F.linear(h, self.weight_hh[: 2 * size])).chunk(2, -1)
            candidate = activate(self.activation, x_h + F.linear(r * h, self.weight_hh[2 * size :]))
        h = z * h + (1 - z) * candidate
        return h, [h]


class ConvLSTMCell(KerasModule):
    """One step of Keras's ConvLSTM on maps with channels first; the gates are in the order i, f, c, o."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        same: bool,
        bias: bool = True,
        activation: str | nn.Module | None = "tanh",
        recurrent_activation: str | nn.Module | None = "hard_sigmoid",
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.same = same
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.weight_ih = nn.Parameter(torch.empty(4 * out_channels, in_channels, *kernel_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * out_channels, out_channels, *kernel_size))
        self.bias = nn.Parameter(torch.empty(4 * out_channels)) if bias else None

    def start(self, projected: Tensor) -> States:
        """Return the states before the first step, zeros."""
        shape = (projected.shape[0], self.out_channels, *projected.shape[3:])
        return [projected.new_zeros(shape), projected.new_zeros(shape)]

    def project(self, x: Tensor) -> Tensor:
        """Convolve the inputs of all steps at once: (n, steps, channels, *sizes)."""
        maps = x.flatten(0, 1)
        if self.same:
            maps = F.pad(maps, same_padding(maps.shape[2:], self.kernel_size, self.stride, self.dilation))
        convolve = CONVOLVE[len(self.kernel_size)]
        y = convolve(maps, self.weight_ih, self.bias, self.stride, 0, self.dilation)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def step(self, projected: Tensor, states: States) -> tuple[Tensor, States]:
        """Return the output of a step and the states after it."""
        h, c = states
        ones = (1,) * len(self.kernel_size)
        padded = F.pad(h, same_padding(h.shape[2:], self.kernel_size, ones, ones))
        i, f, g, o = (projected + CONVOLVE[len(self.kernel_size)](padded, self.weight_hh)).chunk(4, 1)
        gate = self.recurrent_activation
        c = activate(gate, f) * c + activate(gate, i) * activate(self.activation, g)
        h = activate(gate, o) * activate(self.activation, c)
        return h, [h, c]


class StackedCells(KerasModule):
    """A stack of cells: the output of one is the input of the next."""

    def __init__(self, cells: list[RNNCell]) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.state_count = sum(cell.state_count for cell in cells)

    def extra_repr(self) -> str:
        """Return nothing: the cells are listed below."""
        return ""

    def start(self, x: Tensor) -> States:
        """Return the states of all cells before the first step."""
        states: States = []
        for cell in self.cells:
            assert isinstance(cell, RNNCell)
            states += cell.start(x)
        return states

    def project(self, x: Tensor) -> Tensor:
        """Return the input: each cell projects its own in `step`."""
        return x

    def step(self, projected: Tensor, states: States) -> tuple[Tensor, States]:
        """Return the output of the last cell and the states of all."""
        output, after = projected, []
        for cell in self.cells:
            assert isinstance(cell, RNNCell)
            # The states of all cells are one list, the first cell's at the front.
            own, states = states[: cell.state_count], states[cell.state_count :]
            output, new = cell.step(cell.project(output), own)
            after += new
        return output, after
