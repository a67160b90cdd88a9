"""Recurrent layers with Keras's semantics: sequences are (n, steps, features)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.recurrent_cells import ConvLSTMCell, RNNCell, StackedCells


def with_states(
    output: Tensor, states: list[Tensor] | tuple[Tensor, ...], return_state: bool
) -> Tensor | tuple[Tensor, ...]:
    """Return the output alone, or with the last states behind it."""
    return (output, *states) if return_state else output


class StatefulLayer(KerasModule):
    """What recurrent layers share: with `stateful`, a batch starts from the last states of the batch before it.

    A batch of another size starts from zeros, as after `reset_states()`. So does every batch of an exported program,
    which keeps no states.
    """

    stateful: bool
    kept_states: list[Tensor] | None = None

    def reset_states(self) -> None:
        """Forget the states: the next batch starts from zeros."""
        self.kept_states = None

    def initial_states(self, x: Tensor) -> list[Tensor]:
        """Return the states with which a batch starts; an empty list stands for zeros."""
        if self.kept_states is None or len(self.kept_states[0]) != len(x) or torch.compiler.is_compiling():
            return []
        return [state.to(x.device, x.dtype) for state in self.kept_states]

    def keep_states(self, states: Sequence[Tensor]) -> None:
        """Keep the states after a batch."""
        if self.stateful and not torch.compiler.is_compiling():
            self.kept_states = [state.detach() for state in states]


class LSTM(StatefulLayer, nn.LSTM):
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
        given = self.initial_states(x) if h is None or c is None else [h, c]  # each (n, units)
        start = (given[0].unsqueeze(0), given[1].unsqueeze(0)) if given else None
        if self.reverse:
            x = x.flip(1)
        output, (h, c) = super().forward(x, start)  # (n, steps, units), each state (1, n, units)
        states = (h[0], c[0])
        self.keep_states(states)
        return with_states(output if self.return_sequences else output[:, -1], states, self.return_state)


class GRU(StatefulLayer, nn.GRU):
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
        given = self.initial_states(x) if h is None else [h]  # (n, units)
        start = given[0].unsqueeze(0) if given else None
        if self.reverse:
            x = x.flip(1)
        output, h = super().forward(x, start)  # (n, steps, units), state (1, n, units)
        states = (h[0],)
        self.keep_states(states)
        return with_states(output if self.return_sequences else output[:, -1], states, self.return_state)


class Recurrent(StatefulLayer):
    """A cell applied to each step of a sequence: for activations, masks and cells that `nn.LSTM` and `nn.GRU` lack.

    A step that is masked out leaves the states as they were and repeats the output before it, or outputs zeros with
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
        projected = self.cell.project(x)  # (n, steps, ...)
        states = list(start) or self.initial_states(x) or self.cell.start(projected)
        outputs: list[Tensor] = []
        steps = list(range(projected.shape[1]))
        if self.reverse:
            steps.reverse()
        for t in steps:
            output, after = self.cell.step(projected[:, t], states)
            if mask is not None:
                # (n, 1, ...): False where the step is masked out of a sequence
                kept = mask[:, t].bool().view(-1, *(1,) * (output.ndim - 1))
                after = [torch.where(kept, new, old) for new, old in zip(after, states, strict=True)]
                instead = torch.zeros_like(output)
                if outputs and not self.zero_output_for_mask:
                    instead = outputs[-1]
                output = torch.where(kept, output, instead)
            outputs.append(output)
            states = after
        self.keep_states(states)
        result = torch.stack(outputs, 1) if self.return_sequences else outputs[-1]
        return with_states(result, states, self.return_state)
