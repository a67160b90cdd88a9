"""Recurrent layers with Keras's semantics: sequences are (n, steps, features)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchviz_layers.convert.layers.activations import activate
from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.convolution import same_padding

States = list[Tensor]
CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def shaped(
    output: Tensor, states: list[Tensor] | tuple[Tensor, ...], return_state: bool
) -> Tensor | tuple[Tensor, ...]:
    """Return the output alone, or with the last states behind it."""
    return (output, *states) if return_state else output


class Carrying(KerasModule):
    """What recurrent layers share: with `stateful`, a batch starts from the states in which the one before it ended.

    A batch of another size starts anew, as after `reset_states()`; so does an exported program, which keeps nothing.
    """

    stateful: bool
    carried: list[Tensor] | None = None

    def reset_states(self) -> None:
        """Forget: the next batch starts from zeros."""
        self.carried = None

    def starting(self, x: Tensor) -> list[Tensor]:
        """Return the carried states for a batch; an empty list stands for zeros."""
        if self.carried is None or len(self.carried[0]) != len(x) or torch.compiler.is_compiling():
            return []
        return [state.to(x.device, x.dtype) for state in self.carried]

    def carry(self, states: Sequence[Tensor]) -> None:
        """Keep the states after a batch."""
        if self.stateful and not torch.compiler.is_compiling():
            self.carried = [state.detach() for state in states]


class LSTM(Carrying, nn.LSTM):
    """`nn.LSTM` that returns what Keras's LSTM returns; `reverse` reads the sequence from its end."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        stateful: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias, batch_first=True)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.reverse = reverse
        self.stateful = stateful

    def forward(self, x: Tensor, h: Tensor | None = None, c: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:  # type: ignore[override]
        """Return (n, units), or (n, steps, units) with `return_sequences`."""
        given = self.starting(x) if h is None or c is None else [h, c]
        start = (given[0].unsqueeze(0), given[1].unsqueeze(0)) if given else None
        output, (h, c) = super().forward(x.flip(1) if self.reverse else x, start)
        self.carry((h[0], c[0]))
        return shaped(output if self.return_sequences else output[:, -1], (h[0], c[0]), self.return_state)


class GRU(Carrying, nn.GRU):
    """`nn.GRU` that returns what Keras's GRU (with reset_after) returns; `reverse` reads the sequence from its end."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        stateful: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias, batch_first=True)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.reverse = reverse
        self.stateful = stateful

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:  # type: ignore[override]
        """Return (n, units), or (n, steps, units) with `return_sequences`."""
        given = self.starting(x) if h is None else [h]
        output, h = super().forward(x.flip(1) if self.reverse else x, given[0].unsqueeze(0) if given else None)
        self.carry((h[0],))
        return shaped(output if self.return_sequences else output[:, -1], (h[0],), self.return_state)


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
    """One step of Keras's LSTM with any activations; gates lie in the order i, f, c, o."""

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
    """One step of Keras's GRU; gates lie in the order z, r, h.

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


class StackedCells(KerasModule):
    """Cells one upon the other: the output of one is the input of the next."""

    def __init__(self, cells: list[RNNCell]) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.state_count = sum(cell.state_count for cell in cells)

    def extra_repr(self) -> str:
        """Return nothing: the cells are listed below."""
        return ""

    def start(self, x: Tensor) -> States:
        """Return the states of all cells before the first step."""
        return [state for cell in self.cells for state in cell.start(x)]  # type: ignore[operator] # cells, not any module

    def project(self, x: Tensor) -> Tensor:
        """Return the input: only the first cell sees it."""
        return x

    def step(self, projected: Tensor, states: States) -> tuple[Tensor, States]:
        """Return the output of the last cell and the states of all."""
        output, after = projected, []
        for cell in self.cells:
            assert isinstance(cell, RNNCell)
            own, states = states[: cell.state_count], states[cell.state_count :]
            output, new = cell.step(cell.project(output), own)
            after += new
        return output, after


class Recurrent(Carrying):
    """A cell stepped over a sequence: where activations, masks or cells are not those of `nn.LSTM` and `nn.GRU`.

    A step that is masked out leaves the states as they were and repeats the output before it, or gives zeros with
    `zero_output_for_mask`.
    """

    def __init__(
        self,
        cell: RNNCell | StackedCells | ConvLSTMCell,
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.reverse = reverse
        self.stateful = stateful
        self.zero_output_for_mask = zero_output_for_mask

    def forward(self, x: Tensor, *start: Tensor, mask: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Return the last output, or (n, steps, ...) with `return_sequences`; then, if wanted, the states."""
        projected = self.cell.project(x)
        states = list(start) or self.starting(x) or self.cell.start(projected)
        outputs: list[Tensor] = []
        steps = range(projected.shape[1])
        for t in reversed(steps) if self.reverse else steps:
            output, after = self.cell.step(projected[:, t], states)
            if mask is not None:
                kept = mask[:, t].bool().view(-1, *(1,) * (output.ndim - 1))
                after = [torch.where(kept, new, old) for new, old in zip(after, states, strict=True)]
                before = torch.zeros_like(output) if self.zero_output_for_mask or not outputs else outputs[-1]
                output = torch.where(kept, output, before)
            outputs.append(output)
            states = after
        self.carry(states)
        result = torch.stack(outputs, 1) if self.return_sequences else outputs[-1]
        return shaped(result, states, self.return_state)


class ConvLSTMCell(KerasModule):
    """One step of Keras's ConvLSTM on maps with channels first; gates lie in the order i, f, c, o."""

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
