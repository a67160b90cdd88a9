"""Layers around layers: both directions of a sequence, every step of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchviz_layers.convert.layers.base import KerasModule
from torchviz_layers.convert.layers.recurrent import with_states


class Bidirectional(KerasModule):
    """A recurrent layer read forwards and another read backwards; `merge` is concat, sum, mul, ave or None (both).

    `axis` is that of the features in the output.
    """

    def __init__(
        self,
        forward_layer: nn.Module,
        backward_layer: nn.Module,
        merge: str | None,
        return_sequences: bool,
        return_state: bool,
        axis: int = -1,
    ) -> None:
        super().__init__()
        self.forward_layer = forward_layer
        self.backward_layer = backward_layer
        self.merge = merge
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.axis = axis

    def forward(self, x: Tensor, *start: Tensor, mask: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Return the merged outputs; with `return_state` the states of both behind them."""
        half = len(start) // 2
        options = {} if mask is None else {"mask": mask}
        ahead = self.forward_layer(x, *start[:half], **options)
        back = self.backward_layer(x, *start[half:], **options)
        states: tuple[Tensor, ...] = ()
        if self.return_state:
            states = (*ahead[1:], *back[1:])
            ahead, back = ahead[0], back[0]
        # The backward layer starts at the end: its first output is that of the last step.
        if self.return_sequences:
            back = back.flip(1)
        merged = merge_two(ahead, back, self.merge, self.axis)
        return (*merged, *states) if isinstance(merged, tuple) else with_states(merged, states, self.return_state)


def merge_two(a: Tensor, b: Tensor, how: str | None, axis: int) -> Tensor | tuple[Tensor, Tensor]:
    """Merge the outputs of two directions."""
    if how is None:
        return a, b
    if how == "concat":
        return torch.cat([a, b], axis)
    if how == "mul":
        return a * b
    return a + b if how == "sum" else (a + b) / 2


class TimeDistributed(KerasModule):
    """A layer applied to every step: (n, steps, ...) -> (n, steps, ...)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all steps."""
        result: Tensor = self.layer(x.flatten(0, 1))
        return result.reshape(*x.shape[:2], *result.shape[1:])
